resource "azurerm_route_table" "it" {
  bgp_route_propagation_enabled = false
  tags                          = { team = "platform" }

  route {
    name           = "all"
    address_prefix = "0.0.0.0/0"
    next_hop_type  = "None"
  }
}
