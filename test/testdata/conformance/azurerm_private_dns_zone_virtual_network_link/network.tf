resource "azurerm_virtual_network" "it" {
  name                = "vnet"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  address_space       = ["10.0.0.0/16"]
}
