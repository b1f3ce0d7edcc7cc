resource "azurerm_private_endpoint" "it" {
  name                = "pe-blob"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  subnet_id           = azurerm_subnet.it.id

  private_service_connection {
    name                           = "blob"
    private_connection_resource_id = azurerm_storage_account.it.id
    subresource_names              = ["blob"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.it.id]
  }
}

resource "azurerm_private_endpoint" "static" {
  name                          = "pe-file"
  location                      = azurerm_resource_group.it.location
  resource_group_name           = azurerm_resource_group.it.name
  subnet_id                     = azurerm_subnet.it.id
  custom_network_interface_name = "nic-file"

  private_service_connection {
    name                           = "file"
    private_connection_resource_id = azurerm_storage_account.it.id
    subresource_names              = ["file"]
    is_manual_connection           = true
    request_message                = "please"
  }

  ip_configuration {
    name               = "file"
    private_ip_address = "10.0.1.40"
    subresource_name   = "file"
  }
}
