resource "azurerm_user_assigned_identity" "it" {
  name                = "id-nodes"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_role_assignment" "it" {
  scope                = azurerm_resource_group.it.id
  role_definition_name = "Reader"
  principal_id         = azurerm_user_assigned_identity.it.principal_id
  description          = "looks"
}
