resource "azurerm_nat_gateway" "it" {
  name                = "nat"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}
