resource "azurerm_private_dns_a_record" "it" {
  ttl     = 60
  records = ["10.0.0.5", "10.0.0.4"]
  tags    = { team = "platform" }
}
