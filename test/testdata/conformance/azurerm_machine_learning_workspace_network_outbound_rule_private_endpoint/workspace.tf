resource "azurerm_storage_account" "it" {
  name                     = "st${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
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
  name                    = "mlw-${local.name}"
  location                = azurerm_resource_group.it.location
  resource_group_name     = azurerm_resource_group.it.name
  application_insights_id = azurerm_application_insights.it.id
  key_vault_id            = azurerm_key_vault.it.id
  storage_account_id      = azurerm_storage_account.it.id

  identity {
    type = "SystemAssigned"
  }

  managed_network {
    isolation_mode = "AllowInternetOutbound"
  }
}
