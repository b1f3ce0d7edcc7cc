# For azurerm 3.105 to 3.117, in place of ../key_vault.tf.
resource "azurerm_key_vault" "ml" {
  name                = "kv-ml-${local.short}-${var.suffix}"
  location            = azurerm_resource_group.ml.location
  resource_group_name = azurerm_resource_group.ml.name
  tenant_id           = data.azurerm_client_config.current.tenant_id
  sku_name            = "standard"

  purge_protection_enabled   = var.purge_protection
  soft_delete_retention_days = var.soft_delete_days

  # Roles (access.tf), not access policies, say who may read secrets.
  enable_rbac_authorization = true

  tags = local.tags
}
