resource "azurerm_machine_learning_datastore_blobstorage" "it" {
  service_data_auth_identity = "WorkspaceSystemAssignedIdentity"
}
