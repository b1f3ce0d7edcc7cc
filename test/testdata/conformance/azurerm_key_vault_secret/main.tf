resource "azurerm_key_vault_secret" "it" {
  name         = "token"
  key_vault_id = azurerm_key_vault.it.id
  value        = "first"
  content_type = "text/plain"

  depends_on = [azurerm_role_assignment.me]
}
