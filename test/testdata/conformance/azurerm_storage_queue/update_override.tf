resource "azurerm_storage_queue" "it" {
  metadata = { owner = "platform", stage = "dev" }
}
