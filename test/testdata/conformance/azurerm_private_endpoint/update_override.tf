resource "azurerm_private_endpoint" "it" {
  tags = { team = "platform" }
}

resource "azurerm_private_endpoint" "static" {
  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.file.id]
  }
}
