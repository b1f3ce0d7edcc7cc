resource "azurerm_key_vault" "it" {
  name                      = "kv-${local.name}"
  location                  = azurerm_resource_group.it.location
  resource_group_name       = azurerm_resource_group.it.name
  tenant_id                 = data.azurerm_client_config.me.tenant_id
  sku_name                  = "standard"
  enable_rbac_authorization = true
}
