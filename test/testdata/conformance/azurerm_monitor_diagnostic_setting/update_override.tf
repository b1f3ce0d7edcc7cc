resource "azurerm_monitor_diagnostic_setting" "it" {
  storage_account_id = azurerm_storage_account.it.id

  enabled_log {
    category = "StorageWrite"
  }
  enabled_log {
    category = "StorageDelete"
  }
}
