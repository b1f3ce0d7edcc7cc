resource "azurerm_log_analytics_workspace" "ml" {
  name                = "log-ml-${var.environment}-${var.suffix}"
  location            = azurerm_resource_group.ml.location
  resource_group_name = azurerm_resource_group.ml.name
  sku                 = "PerGB2018"
  retention_in_days   = var.log_retention_days
  tags                = local.tags
}

# Application Insights without a workspace_id ("classic") was retired on
# 2024-02-29.
resource "azurerm_application_insights" "ml" {
  name                = "appi-ml-${var.environment}"
  location            = azurerm_resource_group.ml.location
  resource_group_name = azurerm_resource_group.ml.name
  workspace_id        = azurerm_log_analytics_workspace.ml.id
  application_type    = "web"
  tags                = local.tags
}

# No admin user: nodes pull images with their clusters' identities (access.tf).
resource "azurerm_container_registry" "ml" {
  name                = "crml${local.short}${var.suffix}"
  location            = azurerm_resource_group.ml.location
  resource_group_name = azurerm_resource_group.ml.name
  sku                 = var.registry_sku
  admin_enabled       = false
  tags                = local.tags
}

resource "azurerm_machine_learning_workspace" "ml" {
  name                = "mlw-${var.environment}-${var.suffix}"
  location            = azurerm_resource_group.ml.location
  resource_group_name = azurerm_resource_group.ml.name
  friendly_name       = "ML ${title(var.environment)}"
  description         = "Machine learning workspace for ${var.environment}"

  application_insights_id = azurerm_application_insights.ml.id
  key_vault_id            = azurerm_key_vault.ml.id
  storage_account_id      = azurerm_storage_account.default.id
  container_registry_id   = azurerm_container_registry.ml.id

  # azurerm 3.x makes a workspace private when this is not said.
  public_network_access_enabled = true

  # A registry behind private endpoints cannot build images itself; a CPU cluster
  # of the workspace does it then. This is only a name: the cluster comes later,
  # and renaming it would break image builds.
  image_build_compute_name = local.private ? "cpu-cluster" : null

  identity {
    type = "SystemAssigned"
  }

  tags = local.tags
}
