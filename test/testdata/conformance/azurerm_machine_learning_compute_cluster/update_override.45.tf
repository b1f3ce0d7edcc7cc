resource "azurerm_machine_learning_compute_cluster" "it" {
  scale_settings {
    min_node_count                       = 0
    max_node_count                       = 4
    scale_down_nodes_after_idle_duration = "PT5M"
  }
}
