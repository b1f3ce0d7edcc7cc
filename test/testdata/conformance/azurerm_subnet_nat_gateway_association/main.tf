resource "azurerm_nat_gateway" "it" {
  name                = "nat"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_subnet_nat_gateway_association" "it" {
  subnet_id      = azurerm_subnet.it.id
  nat_gateway_id = azurerm_nat_gateway.it.id
}
