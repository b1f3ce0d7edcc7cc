resource "azurerm_machine_learning_compute_cluster" "it" {
  name                          = "cpu"
  location                      = azurerm_resource_group.it.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.it.id
  vm_size                       = "Standard_D4s_v3"
  vm_priority                   = "Dedicated"

  scale_settings {
    min_node_count                       = 0
    max_node_count                       = 2
    scale_down_nodes_after_idle_duration = "PT15M"
  }

  identity {
    type = "SystemAssigned"
  }
}
