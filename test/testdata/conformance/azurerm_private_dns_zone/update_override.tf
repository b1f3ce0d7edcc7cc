resource "azurerm_private_dns_zone" "it" {
  tags = { team = "platform" }
}
