resource "azurerm_machine_learning_datastore_datalake_gen2" "it" {
  service_data_identity = "WorkspaceSystemAssignedIdentity"
}
