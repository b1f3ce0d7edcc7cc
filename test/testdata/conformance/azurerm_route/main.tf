resource "azurerm_route_table" "it" {
  name                = "rt"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_route" "it" {
  name                = "all"
  resource_group_name = azurerm_resource_group.it.name
  route_table_name    = azurerm_route_table.it.name
  address_prefix      = "0.0.0.0/0"
  next_hop_type       = "Internet"
}
