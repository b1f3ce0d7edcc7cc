resource "azurerm_network_security_group" "it" {
  name                = "nsg"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_network_security_rule" "it" {
  name                        = "https"
  resource_group_name         = azurerm_resource_group.it.name
  network_security_group_name = azurerm_network_security_group.it.name
  priority                    = 200
  direction                   = "Outbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_address_prefix       = "*"
  source_port_range           = "*"
  destination_address_prefix  = "AzureMachineLearning"
  destination_port_range      = "443"
}

resource "azurerm_network_security_rule" "other" {
  name                        = "none"
  resource_group_name         = azurerm_resource_group.it.name
  network_security_group_name = azurerm_network_security_group.it.name
  priority                    = 300
  direction                   = "Outbound"
  access                      = "Deny"
  protocol                    = "*"
  source_address_prefix       = "*"
  source_port_range           = "*"
  destination_address_prefix  = "Internet"
  destination_port_range      = "*"
}
