resource "azurerm_network_security_group" "it" {
  name                = "nsg"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_route_table" "it" {
  name                = "rt"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_subnet" "wo" {
  name                 = "at-once"
  resource_group_name  = azurerm_resource_group.it.name
  virtual_network_name = azurerm_virtual_network.it.name
  address_prefixes     = ["10.0.8.0/24"]

  network_security_group_id_wo         = azurerm_network_security_group.it.id
  network_security_group_id_wo_version = 1
}
