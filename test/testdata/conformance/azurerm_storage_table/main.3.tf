resource "azurerm_storage_table" "it" {
  name                 = "runs"
  storage_account_name = azurerm_storage_account.it.name

  acl {
    id = "readers"
    access_policy {
      permissions = "r"
      start       = "2026-01-01T00:00:00.0000000Z"
      expiry      = "2030-01-01T00:00:00.0000000Z"
    }
  }
}
