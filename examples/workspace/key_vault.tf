# For azurerm 4.42 to 5.x. The argument about roles is required in 5.x and had
# another name before 4.42; azurerm-3.x/ has this file for azurerm 3.x.
resource "azurerm_key_vault" "ml" {
  name                = "kv-ml-${local.short}-${var.suffix}"
  location            = azurerm_resource_group.ml.location
  resource_group_name = azurerm_resource_group.ml.name
  tenant_id           = data.azurerm_client_config.current.tenant_id
  sku_name            = "standard"

  purge_protection_enabled   = var.purge_protection
  soft_delete_retention_days = var.soft_delete_days

  # Roles (access.tf), not access policies, say who may read secrets.
  rbac_authorization_enabled = true

  tags = local.tags
}
