resource "azurerm_key_vault_key" "it" {
  name         = "wrap"
  key_vault_id = azurerm_key_vault.it.id
  key_type     = "EC"
  curve        = "P-256"
  key_opts     = ["sign", "verify"]

  depends_on = [azurerm_role_assignment.me]
}
