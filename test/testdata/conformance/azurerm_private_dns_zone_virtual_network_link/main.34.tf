resource "azurerm_private_dns_zone_virtual_network_link" "it" {
  name                  = "hub"
  resource_group_name   = azurerm_resource_group.it.name
  private_dns_zone_name = azurerm_private_dns_zone.it.name
  virtual_network_id    = azurerm_virtual_network.it.id
}
