resource "azurerm_storage_share" "it" {
  name                 = "data"
  storage_account_name = azurerm_storage_account.it.name
  quota                = 5
}

resource "azurerm_machine_learning_datastore_fileshare" "it" {
  name                 = "training"
  workspace_id         = azurerm_machine_learning_workspace.it.id
  storage_fileshare_id = azurerm_storage_share.it.rbac_scope_id
  account_key          = azurerm_storage_account.it.primary_access_key
}
