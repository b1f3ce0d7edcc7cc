resource "azurerm_log_analytics_workspace" "it" {
  name                = "log-${local.name}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  retention_in_days   = 30
}
