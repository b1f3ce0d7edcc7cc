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

# may assign Reader, and nothing else
resource "azurerm_role_assignment" "delegate" {
  scope                = azurerm_resource_group.it.id
  role_definition_name = "Role Based Access Control Administrator"
  principal_id         = azurerm_user_assigned_identity.it.principal_id
  condition_version    = "2.0"
  condition            = <<-EOT
    (
      !(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})
    ) OR (
      @Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId]
      ForAnyOfAnyValues:GuidEquals {acdd72a7-3385-48ef-bd42-f606fba81ae7}
    )
  EOT
}
