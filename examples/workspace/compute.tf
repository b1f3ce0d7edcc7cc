# Clusters grow when jobs are submitted and shrink to min_nodes when idle.
#
# Azure wants the name of a compute to be unique in its region, also across
# workspaces. Before azurerm 4.35 a change of scale_settings or tags replaces the
# cluster.
resource "azurerm_machine_learning_compute_cluster" "this" {
  for_each = var.clusters

  name                          = each.key
  location                      = azurerm_resource_group.ml.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.ml.id
  vm_size                       = each.value.vm_size
  vm_priority                   = each.value.priority
  subnet_resource_id            = azurerm_subnet.compute.id
  ssh_public_access_enabled     = false

  scale_settings {
    min_node_count                       = each.value.min_nodes
    max_node_count                       = each.value.max_nodes
    scale_down_nodes_after_idle_duration = each.value.idle
  }

  # What a job may reach is what this identity may reach.
  identity {
    type = "SystemAssigned"
  }

  tags = local.tags
}

# A machine with Jupyter for one person, who alone can use it. The provider has
# no argument for idle shutdown: it runs, and is billed, until it is stopped.
resource "azurerm_machine_learning_compute_instance" "data_scientist" {
  count = var.data_scientist_object_id == null ? 0 : 1

  name                          = "ci-${local.short}-${var.suffix}"
  machine_learning_workspace_id = azurerm_machine_learning_workspace.ml.id
  virtual_machine_size          = "Standard_D4s_v3"
  authorization_type            = "personal"
  subnet_resource_id            = azurerm_subnet.compute.id

  assign_to_user {
    object_id = var.data_scientist_object_id
    tenant_id = data.azurerm_client_config.current.tenant_id
  }

  tags = local.tags
}
