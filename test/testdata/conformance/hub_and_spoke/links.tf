resource "azurerm_private_dns_zone_virtual_network_link" "it" {
  for_each            = local.links
  name                = each.value[1]
  private_dns_zone_id = azurerm_private_dns_zone.it[each.value[0]].id
  virtual_network_id  = local.networks[each.value[1]]
}
