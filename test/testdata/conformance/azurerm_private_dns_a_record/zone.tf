resource "azurerm_private_dns_zone" "it" {
  name                = "${local.name}.internal"
  resource_group_name = azurerm_resource_group.it.name
}
