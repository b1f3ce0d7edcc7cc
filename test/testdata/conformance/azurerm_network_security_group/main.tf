resource "azurerm_network_security_group" "it" {
  name                = "nsg"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name

  security_rule {
    name                       = "ssh"
    description                = "from the office"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = "203.0.113.0/24"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "22"
  }

  security_rule {
    name                         = "out"
    priority                     = 100
    direction                    = "Outbound"
    access                       = "Deny"
    protocol                     = "*"
    source_address_prefixes      = ["10.0.0.0/8", "192.168.0.0/16"]
    source_port_range            = "*"
    destination_address_prefixes = ["198.51.100.0/24"]
    destination_port_ranges      = ["80", "8000-8080"]
  }
}

data "azurerm_network_security_group" "it" {
  name                = azurerm_network_security_group.it.name
  resource_group_name = azurerm_resource_group.it.name
}
