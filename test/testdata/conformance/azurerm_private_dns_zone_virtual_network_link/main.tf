resource "azurerm_private_dns_zone_virtual_network_link" "it" {
  name                = "hub"
  private_dns_zone_id = azurerm_private_dns_zone.it.id
  virtual_network_id  = azurerm_virtual_network.it.id
}
