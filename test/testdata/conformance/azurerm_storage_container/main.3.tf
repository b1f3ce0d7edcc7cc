resource "azurerm_storage_container" "it" {
  name                 = "data"
  storage_account_name = azurerm_storage_account.it.name
  metadata             = { owner = "lab" }
}
