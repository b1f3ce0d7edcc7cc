resource "azurerm_machine_learning_workspace_network_outbound_rule_service_tag" "it" {
  service_tag = "DataFactory"
  port_ranges = "80, 8080-8089"
}
