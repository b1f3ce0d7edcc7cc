resource "azurerm_federated_identity_credential" "it" {
  subject = "repo:lab/models:environment:prod"
}
