resource "azurerm_resource_group" "more" {
  name     = "rg-more-${local.name}"
  location = "North Europe"
  tags     = { team = "research" }
}
