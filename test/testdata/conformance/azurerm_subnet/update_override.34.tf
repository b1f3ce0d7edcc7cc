resource "azurerm_subnet" "it" {
  address_prefixes                              = ["10.0.2.0/24"]
  service_endpoints                             = ["Microsoft.Storage"]
  private_link_service_network_policies_enabled = false
}
