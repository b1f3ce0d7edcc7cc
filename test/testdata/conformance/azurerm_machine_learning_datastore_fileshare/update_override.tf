resource "azurerm_machine_learning_datastore_fileshare" "it" {
  service_data_identity = "WorkspaceSystemAssignedIdentity"
}
