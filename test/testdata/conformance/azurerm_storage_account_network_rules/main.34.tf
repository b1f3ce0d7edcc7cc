resource "azurerm_storage_account" "it" {
  name                     = "st${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
}

resource "azurerm_virtual_network" "it" {
  name                = "vnet-${local.name}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  address_space       = ["10.0.0.0/16"]
}

resource "azurerm_subnet" "it" {
  name                 = "compute"
  resource_group_name  = azurerm_resource_group.it.name
  virtual_network_name = azurerm_virtual_network.it.name
  address_prefixes     = ["10.0.0.0/24"]
  service_endpoints    = ["Microsoft.Storage"]
}

resource "azurerm_storage_account_network_rules" "it" {
  storage_account_id = azurerm_storage_account.it.id
  # Deny would keep azurerm 3.x from reading the account.
  default_action             = "Allow"
  ip_rules                   = ["23.45.1.0/24"]
  virtual_network_subnet_ids = [azurerm_subnet.it.id]
}
