resource "azurerm_nat_gateway" "it" {
  name                = "nat"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_public_ip" "it" {
  count               = 2
  name                = "pip-${count.index}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  allocation_method   = "Static"
  sku                 = "Standard"
}

resource "azurerm_nat_gateway_public_ip_association" "it" {
  count                = 2
  nat_gateway_id       = azurerm_nat_gateway.it.id
  public_ip_address_id = azurerm_public_ip.it[count.index].id
}
