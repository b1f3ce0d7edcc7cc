resource "azurerm_private_dns_zone_virtual_network_link" "it" {
  for_each              = local.links
  name                  = each.value[1]
  resource_group_name   = azurerm_resource_group.it.name
  private_dns_zone_name = azurerm_private_dns_zone.it[each.value[0]].name
  virtual_network_id    = local.networks[each.value[1]]
}
