resource "azurerm_private_dns_zone" "it" {
  name                = "${local.name}.internal"
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_private_dns_zone" "soa" {
  name                = "soa.${local.name}.internal"
  resource_group_name = azurerm_resource_group.it.name

  soa_record {
    email       = "hostmaster.example.com"
    minimum_ttl = 20
    tags        = { team = "lab" }
  }
}

data "azurerm_private_dns_zone" "it" {
  name = azurerm_private_dns_zone.it.name
}
