# a pool of Azure Synapse, of which there are none here
resource "azurerm_machine_learning_synapse_spark" "it" {
  name                          = "spark"
  location                      = azurerm_resource_group.it.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.it.id
  synapse_spark_pool_id         = "${azurerm_resource_group.it.id}/providers/Microsoft.Synapse/workspaces/syn/bigDataPools/pool"
}
