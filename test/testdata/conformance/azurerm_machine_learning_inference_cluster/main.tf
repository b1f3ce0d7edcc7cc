# a cluster of Azure's Kubernetes service, of which there are none here
resource "azurerm_machine_learning_inference_cluster" "it" {
  name                          = "aks"
  location                      = azurerm_resource_group.it.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.it.id
  kubernetes_cluster_id         = "${azurerm_resource_group.it.id}/providers/Microsoft.ContainerService/managedClusters/aks"
}
