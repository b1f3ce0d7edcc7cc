resource "azurerm_storage_container" "it" {
  metadata = { owner = "platform", stage = "dev" }
}
