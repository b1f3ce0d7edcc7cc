resource "azurerm_role_definition" "it" {
  name        = "Looks ${local.name}"
  scope       = azurerm_resource_group.it.id
  description = "looks at networks"

  permissions {
    actions     = ["Microsoft.Network/*/read"]
    not_actions = ["Microsoft.Network/publicIPAddresses/read"]
  }
}
