resource "azurerm_private_dns_a_record" "it" {
  name                = "registry"
  private_dns_zone_id = azurerm_private_dns_zone.it.id
  ttl                 = 300
  records             = ["10.0.0.4"]
}
