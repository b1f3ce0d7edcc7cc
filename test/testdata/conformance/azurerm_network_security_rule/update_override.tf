resource "azurerm_network_security_rule" "it" {
  description             = "to the workspace"
  priority                = 210
  destination_port_range  = null
  destination_port_ranges = ["443", "8787"]
}
