resource "azurerm_storage_account" "lake" {
  name                     = "lake${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
  is_hns_enabled           = true
}

resource "azurerm_machine_learning_datastore_datalake_gen2" "it" {
  name                 = "lake"
  workspace_id         = azurerm_machine_learning_workspace.it.id
  storage_container_id = "${azurerm_storage_account.lake.id}/blobServices/default/containers/raw"
}
