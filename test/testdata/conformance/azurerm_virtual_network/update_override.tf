resource "azurerm_virtual_network" "it" {
  address_space           = ["10.0.0.0/16", "fd00:db8::/48"]
  dns_servers             = []
  flow_timeout_in_minutes = 10
  tags                    = { team = "platform" }
}

resource "azurerm_virtual_network" "inline" {
  subnet {
    name             = "compute"
    address_prefixes = ["10.1.1.0/24"]
  }
}
