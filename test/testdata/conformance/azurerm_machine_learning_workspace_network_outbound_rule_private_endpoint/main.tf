resource "azurerm_storage_account" "data" {
  name                     = "sd${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
}

resource "azurerm_machine_learning_workspace_network_outbound_rule_private_endpoint" "it" {
  name                = "data"
  workspace_id        = azurerm_machine_learning_workspace.it.id
  service_resource_id = azurerm_storage_account.data.id
  sub_resource_target = "blob"
}
