resource "azurerm_subnet" "it" {
  address_prefixes                              = ["10.0.2.0/24"]
  private_link_service_network_policies_enabled = false

  service_endpoint {
    service = "Microsoft.Storage"
  }
}

resource "azurerm_subnet" "wo" {
  network_security_group_id_wo         = null
  network_security_group_id_wo_version = null
  route_table_id_wo                    = azurerm_route_table.it.id
  route_table_id_wo_version            = 1
}
