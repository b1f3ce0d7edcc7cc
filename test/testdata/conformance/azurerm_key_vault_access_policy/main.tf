resource "azurerm_key_vault_access_policy" "it" {
  key_vault_id            = azurerm_key_vault.it.id
  tenant_id               = data.azurerm_client_config.me.tenant_id
  object_id               = data.azurerm_client_config.me.object_id
  secret_permissions      = ["Get", "List"]
  certificate_permissions = ["Get"]
}

resource "azurerm_key_vault_access_policy" "application" {
  key_vault_id    = azurerm_key_vault.it.id
  tenant_id       = data.azurerm_client_config.me.tenant_id
  object_id       = data.azurerm_client_config.me.object_id
  application_id  = "11111111-2222-3333-4444-555555555555"
  key_permissions = ["Get", "WrapKey"]
}
