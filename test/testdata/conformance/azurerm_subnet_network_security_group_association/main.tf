resource "azurerm_network_security_group" "it" {
  name                = "nsg"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_subnet_network_security_group_association" "it" {
  subnet_id                 = azurerm_subnet.it.id
  network_security_group_id = azurerm_network_security_group.it.id
}
