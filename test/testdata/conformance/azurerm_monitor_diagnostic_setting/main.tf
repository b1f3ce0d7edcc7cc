resource "azurerm_log_analytics_workspace" "it" {
  name                = "log-${local.name}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_storage_account" "it" {
  name                     = "st${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
}

resource "azurerm_monitor_diagnostic_setting" "it" {
  name                       = "blobs"
  target_resource_id         = "${azurerm_storage_account.it.id}/blobServices/default"
  log_analytics_workspace_id = azurerm_log_analytics_workspace.it.id

  enabled_log {
    category = "StorageWrite"
  }
}
