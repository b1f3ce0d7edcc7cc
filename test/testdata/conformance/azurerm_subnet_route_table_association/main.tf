resource "azurerm_route_table" "it" {
  name                = "rt"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_subnet_route_table_association" "it" {
  subnet_id      = azurerm_subnet.it.id
  route_table_id = azurerm_route_table.it.id
}
