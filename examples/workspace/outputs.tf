output "resource_group_name" {
  description = "Resource group that holds everything."
  value       = azurerm_resource_group.ml.name
}

output "workspace_name" {
  description = "Name of the workspace, as in az ml … -w NAME."
  value       = azurerm_machine_learning_workspace.ml.name
}

output "workspace_id" {
  description = "Resource ID of the workspace."
  value       = azurerm_machine_learning_workspace.ml.id
}

output "clusters" {
  description = "Compute clusters: size, most nodes, and the principal to give roles to."
  value = {
    for name, c in azurerm_machine_learning_compute_cluster.this : name => {
      vm_size      = c.vm_size
      max_nodes    = c.scale_settings[0].max_node_count
      principal_id = c.identity[0].principal_id
    }
  }
}

output "compute_instance" {
  description = "Name of the data scientist's compute instance, if there is one."
  value       = one(azurerm_machine_learning_compute_instance.data_scientist[*].name)
}

output "storage_account_name" {
  description = "Default storage account of the workspace."
  value       = azurerm_storage_account.default.name
}

output "lake_url" {
  description = "Where data goes: the file system behind the datastore \"lake\"."
  value       = "abfss://${azurerm_storage_data_lake_gen2_filesystem.data.name}@${azurerm_storage_account.lake.primary_dfs_host}/"
}

output "key_vault_uri" {
  description = "Address of the Key Vault."
  value       = azurerm_key_vault.ml.vault_uri
}

output "container_registry" {
  description = "Login server of the container registry."
  value       = azurerm_container_registry.ml.login_server
}
