resource "azurerm_network_security_group" "it" {
  name                = "nsg"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_virtual_network" "inline" {
  name                = "vnet-inline"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  address_space       = ["10.1.0.0/16"]

  subnet {
    name           = "compute"
    address_prefix = "10.1.1.0/24"
    security_group = azurerm_network_security_group.it.id
  }

  subnet {
    name           = "endpoints"
    address_prefix = "10.1.2.0/24"
  }
}
