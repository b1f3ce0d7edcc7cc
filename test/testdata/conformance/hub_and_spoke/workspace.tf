resource "azurerm_user_assigned_identity" "it" {
  name                = "id-${local.name}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_storage_account" "it" {
  name                     = "st${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
}

resource "azurerm_container_registry" "it" {
  name                          = "acr${local.name}"
  location                      = azurerm_resource_group.it.location
  resource_group_name           = azurerm_resource_group.it.name
  sku                           = "Premium"
  public_network_access_enabled = false
}

resource "azurerm_log_analytics_workspace" "it" {
  name                = "log-${local.name}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_application_insights" "it" {
  name                = "appi-${local.name}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  workspace_id        = azurerm_log_analytics_workspace.it.id
  application_type    = "web"
}

resource "azurerm_machine_learning_workspace" "it" {
  name                           = "mlw-${local.name}"
  location                       = azurerm_resource_group.it.location
  resource_group_name            = azurerm_resource_group.it.name
  application_insights_id        = azurerm_application_insights.it.id
  key_vault_id                   = azurerm_key_vault.it.id
  storage_account_id             = azurerm_storage_account.it.id
  container_registry_id          = azurerm_container_registry.it.id
  primary_user_assigned_identity = azurerm_user_assigned_identity.it.id
  public_network_access_enabled  = false

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.it.id]
  }

  depends_on = [azurerm_role_assignment.identity]
}

resource "azurerm_role_definition" "operator" {
  name        = "Operator ${local.name}"
  scope       = azurerm_resource_group.it.id
  description = "runs jobs, and deletes no workspace"

  permissions {
    actions     = ["Microsoft.MachineLearningServices/*"]
    not_actions = ["Microsoft.MachineLearningServices/workspaces/delete"]
  }
}

resource "azurerm_role_assignment" "operator" {
  scope              = azurerm_resource_group.it.id
  role_definition_id = azurerm_role_definition.operator.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.it.principal_id
}

resource "azurerm_role_assignment" "identity" {
  for_each = {
    "Storage Blob Data Contributor" = azurerm_storage_account.it.id
    "Key Vault Administrator"       = azurerm_key_vault.it.id
    "AcrPush"                       = azurerm_container_registry.it.id
    "Contributor"                   = azurerm_resource_group.it.id
  }
  scope                = each.value
  role_definition_name = each.key
  principal_id         = azurerm_user_assigned_identity.it.principal_id
}

resource "azurerm_monitor_diagnostic_setting" "blobs" {
  name                       = "blobs"
  target_resource_id         = "${azurerm_storage_account.it.id}/blobServices/default"
  log_analytics_workspace_id = azurerm_log_analytics_workspace.it.id

  enabled_log {
    category = "StorageWrite"
  }
}

resource "azurerm_management_lock" "hub" {
  name       = "keep"
  scope      = azurerm_virtual_network.hub.id
  lock_level = "CanNotDelete"

  # what it would keep from going
  depends_on = [
    azurerm_private_endpoint.it, azurerm_private_dns_zone_virtual_network_link.it,
    azurerm_virtual_network_peering.to_spoke,
  ]
}
