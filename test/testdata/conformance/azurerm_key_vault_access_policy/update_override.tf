resource "azurerm_key_vault_access_policy" "it" {
  secret_permissions = ["Get", "Set", "Delete"]
}
