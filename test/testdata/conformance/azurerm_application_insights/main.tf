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
