resource "azurerm_storage_table" "it" {
  acl {
    id = "writers"
    access_policy {
      permissions = "raud"
      start       = "2026-01-01T00:00:00.0000000Z"
      expiry      = "2031-01-01T00:00:00.0000000Z"
    }
  }
}
