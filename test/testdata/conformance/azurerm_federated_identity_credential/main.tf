resource "azurerm_federated_identity_credential" "it" {
  name                      = "github"
  user_assigned_identity_id = azurerm_user_assigned_identity.it.id
  audience                  = ["api://AzureADTokenExchange"]
  issuer                    = "https://token.actions.githubusercontent.com"
  subject                   = "repo:lab/models:ref:refs/heads/main"
}
