resource "azurerm_storage_container" "it" {
  name               = "data"
  storage_account_id = azurerm_storage_account.it.id
  metadata           = { owner = "lab" }
}
