resource "azurerm_resource_group" "more" {
  tags = { team = "platform", stage = "dev" }
}
