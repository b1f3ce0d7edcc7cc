resource "azurerm_storage_queue" "it" {
  name               = "jobs"
  storage_account_id = azurerm_storage_account.it.id
  metadata           = { owner = "lab" }
}
