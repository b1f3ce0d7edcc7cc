resource "azurerm_machine_learning_workspace_network_outbound_rule_fqdn" "it" {
  name             = "packages"
  workspace_id     = azurerm_machine_learning_workspace.it.id
  destination_fqdn = "pypi.org"
}
