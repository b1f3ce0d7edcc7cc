resource "azurerm_storage_queue" "it" {
  name                 = "jobs"
  storage_account_name = azurerm_storage_account.it.name
  metadata             = { owner = "lab" }
}
