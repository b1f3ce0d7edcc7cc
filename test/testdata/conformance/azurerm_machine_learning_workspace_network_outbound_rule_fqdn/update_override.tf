resource "azurerm_machine_learning_workspace_network_outbound_rule_fqdn" "it" {
  destination_fqdn = "*.pypi.org"
}
