resource "azurerm_storage_container" "it" {
  name               = "data"
  storage_account_id = azurerm_storage_account.it.id
}

resource "azurerm_machine_learning_datastore_blobstorage" "it" {
  name                 = "training"
  workspace_id         = azurerm_machine_learning_workspace.it.id
  storage_container_id = azurerm_storage_container.it.id
  account_key          = azurerm_storage_account.it.primary_access_key
}
