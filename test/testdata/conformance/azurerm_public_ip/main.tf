resource "azurerm_public_ip" "it" {
  name                = "pip"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  allocation_method   = "Static"
  sku                 = "Standard"
  zones               = ["1", "2", "3"]
}
