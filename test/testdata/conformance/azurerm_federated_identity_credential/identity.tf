resource "azurerm_user_assigned_identity" "it" {
  name                = "id-ci"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}
