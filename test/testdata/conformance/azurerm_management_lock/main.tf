resource "azurerm_virtual_network" "it" {
  name                = "vnet"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  address_space       = ["10.0.0.0/16"]
}

resource "azurerm_management_lock" "it" {
  name       = "keep"
  scope      = azurerm_virtual_network.it.id
  lock_level = "CanNotDelete"
  notes      = "in use by everyone"
}
