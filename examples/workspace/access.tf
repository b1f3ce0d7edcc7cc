# Azure itself gives the workspace's identity its roles on the default storage
# account, the registry and the resource group; assigning those again could
# collide. What it needs beyond them:

resource "azurerm_role_assignment" "workspace" {
  for_each = {
    vault = { role = "Key Vault Administrator", scope = azurerm_key_vault.ml.id }
    lake  = { role = "Storage Blob Data Contributor", scope = azurerm_storage_account.lake.id }
  }

  scope                = each.value.scope
  role_definition_name = each.value.role
  principal_id         = azurerm_machine_learning_workspace.ml.identity[0].principal_id

  # Said outright, Azure does not look for an identity that is seconds old.
  principal_type = "ServicePrincipal"
}

locals {
  # What every job may do, through the identity of the cluster it runs on.
  cluster_roles = {
    # Nodes pull images. Without this, and with the registry's admin user off,
    # every job fails with FailedPullingImage.
    registry = { role = "AcrPull", scope = azurerm_container_registry.ml.id }
    # Jobs read code and write outputs.
    storage = { role = "Storage Blob Data Contributor", scope = azurerm_storage_account.default.id }
    # Data is for reading. A job that has to write into the lake needs
    # "Storage Blob Data Contributor".
    lake = { role = "Storage Blob Data Reader", scope = azurerm_storage_account.lake.id }
  }

  cluster_grants = {
    for pair in setproduct(keys(var.clusters), keys(local.cluster_roles)) :
    "${pair[0]}/${pair[1]}" => { cluster = pair[0], grant = pair[1] }
  }
}

resource "azurerm_role_assignment" "cluster" {
  for_each = local.cluster_grants

  scope                = local.cluster_roles[each.value.grant].scope
  role_definition_name = local.cluster_roles[each.value.grant].role
  principal_id         = azurerm_machine_learning_compute_cluster.this[each.value.cluster].identity[0].principal_id
  principal_type       = "ServicePrincipal"
}

# Who applies this may look at the data, too. As on Azure, being Owner of the
# subscription is not enough for that: `az storage blob list --auth-mode login`.
resource "azurerm_role_assignment" "deployer" {
  for_each = {
    default = azurerm_storage_account.default.id
    lake    = azurerm_storage_account.lake.id
  }

  scope                = each.value
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = data.azurerm_client_config.current.object_id
}
