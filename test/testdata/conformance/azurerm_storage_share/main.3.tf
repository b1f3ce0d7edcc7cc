resource "azurerm_storage_share" "it" {
  name                 = "data"
  storage_account_name = azurerm_storage_account.it.name
  quota                = 50
  metadata             = { owner = "lab" }

  acl {
    id = "readers"
    access_policy {
      permissions = "rl"
      expiry      = "2030-01-01T00:00:00Z"
    }
  }
}
