resource "azurerm_private_dns_zone_virtual_network_link" "it" {
  registration_enabled = true
  tags                 = { team = "platform" }
}
