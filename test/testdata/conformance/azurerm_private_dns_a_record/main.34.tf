resource "azurerm_private_dns_a_record" "it" {
  name                = "registry"
  zone_name           = azurerm_private_dns_zone.it.name
  resource_group_name = azurerm_resource_group.it.name
  ttl                 = 300
  records             = ["10.0.0.4"]
}
