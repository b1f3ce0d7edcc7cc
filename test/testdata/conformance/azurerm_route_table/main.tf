resource "azurerm_route_table" "it" {
  name                = "rt"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name

  route {
    name                   = "all"
    address_prefix         = "0.0.0.0/0"
    next_hop_type          = "VirtualAppliance"
    next_hop_in_ip_address = "10.0.0.4"
  }

  route {
    name           = "workspace"
    address_prefix = "AzureMachineLearning"
    next_hop_type  = "Internet"
  }
}
