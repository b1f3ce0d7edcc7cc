resource "azurerm_machine_learning_workspace_network_outbound_rule_service_tag" "it" {
  name         = "configuration"
  workspace_id = azurerm_machine_learning_workspace.it.id
  service_tag  = "AppConfiguration"
  protocol     = "TCP"
  port_ranges  = "443"
}
