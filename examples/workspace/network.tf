resource "azurerm_virtual_network" "ml" {
  name                = "vnet-ml-${var.environment}"
  location            = azurerm_resource_group.ml.location
  resource_group_name = azurerm_resource_group.ml.name
  address_space       = [var.address_space]
  tags                = local.tags
}

# One address per node. While a cluster has nodes, Azure keeps a network security
# group and a load balancer for it in this resource group: no delete locks here.
resource "azurerm_subnet" "compute" {
  name                 = "snet-compute"
  resource_group_name  = azurerm_resource_group.ml.name
  virtual_network_name = azurerm_virtual_network.ml.name
  address_prefixes     = [cidrsubnet(var.address_space, 8, 1)]
}

# For private endpoints of storage, vault, registry and workspace. Those also
# need the private DNS zones; without them their names resolve to public addresses.
resource "azurerm_subnet" "private_endpoints" {
  count = local.private ? 1 : 0

  name                 = "snet-private-endpoints"
  resource_group_name  = azurerm_resource_group.ml.name
  virtual_network_name = azurerm_virtual_network.ml.name
  address_prefixes     = [cidrsubnet(var.address_space, 8, 2)]
}
