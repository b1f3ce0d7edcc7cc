resource "azurerm_virtual_network_peering" "it" {
  allow_forwarded_traffic      = true
  allow_gateway_transit        = true
  allow_virtual_network_access = false
}
