resource "azurerm_container_registry" "it" {
  name                = "cr${local.name}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  sku                 = "Basic"
}
