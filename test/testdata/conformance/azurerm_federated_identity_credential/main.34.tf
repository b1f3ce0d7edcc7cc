resource "azurerm_federated_identity_credential" "it" {
  name                = "github"
  resource_group_name = azurerm_resource_group.it.name
  parent_id           = azurerm_user_assigned_identity.it.id
  audience            = ["api://AzureADTokenExchange"]
  issuer              = "https://token.actions.githubusercontent.com"
  subject             = "repo:lab/models:ref:refs/heads/main"
}
