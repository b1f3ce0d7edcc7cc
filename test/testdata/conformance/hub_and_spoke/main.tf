# A hub that holds names and private endpoints, and a spoke for the nodes.

resource "azurerm_virtual_network" "hub" {
  name                = "vnet-hub"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  address_space       = ["10.0.0.0/16"]
}

resource "azurerm_subnet" "endpoints" {
  name                 = "snet-endpoints"
  resource_group_name  = azurerm_resource_group.it.name
  virtual_network_name = azurerm_virtual_network.hub.name
  address_prefixes     = ["10.0.1.0/24"]
}

resource "azurerm_virtual_network" "spoke" {
  name                = "vnet-spoke"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  address_space       = ["10.1.0.0/16"]
}

resource "azurerm_subnet" "compute" {
  name                 = "snet-compute"
  resource_group_name  = azurerm_resource_group.it.name
  virtual_network_name = azurerm_virtual_network.spoke.name
  address_prefixes     = ["10.1.1.0/24"]
}

resource "azurerm_network_security_group" "compute" {
  name                = "nsg-compute"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name

  security_rule {
    name                       = "endpoints"
    priority                   = 100
    direction                  = "Outbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_port_range          = "*"
    source_address_prefix      = "VirtualNetwork"
    destination_port_range     = "443"
    destination_address_prefix = "10.0.1.0/24"
  }
}

resource "azurerm_subnet_network_security_group_association" "compute" {
  subnet_id                 = azurerm_subnet.compute.id
  network_security_group_id = azurerm_network_security_group.compute.id
}

locals {
  zones = {
    blob      = "privatelink.blob.core.windows.net"
    vault     = "privatelink.vaultcore.azure.net"
    registry  = "privatelink.azurecr.io"
    workspace = "privatelink.api.azureml.ms"
    notebooks = "privatelink.notebooks.azure.net"
  }
  networks = { hub = azurerm_virtual_network.hub.id, spoke = azurerm_virtual_network.spoke.id }
  links    = { for pair in setproduct(keys(local.zones), ["hub", "spoke"]) : "${pair[0]}-${pair[1]}" => pair }
  endpoints = {
    blob      = { of = azurerm_storage_account.it.id, group = "blob", zones = ["blob"] }
    vault     = { of = azurerm_key_vault.it.id, group = "vault", zones = ["vault"] }
    registry  = { of = azurerm_container_registry.it.id, group = "registry", zones = ["registry"] }
    workspace = { of = azurerm_machine_learning_workspace.it.id, group = "amlworkspace", zones = ["workspace", "notebooks"] }
  }
}

resource "azurerm_private_dns_zone" "it" {
  for_each            = local.zones
  name                = each.value
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_private_endpoint" "it" {
  for_each            = local.endpoints
  name                = "pe-${each.key}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  subnet_id           = azurerm_subnet.endpoints.id

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value.of
    subresource_names              = [each.value.group]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [for z in each.value.zones : azurerm_private_dns_zone.it[z].id]
  }
}
