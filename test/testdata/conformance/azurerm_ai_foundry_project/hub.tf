resource "azurerm_storage_account" "it" {
  name                     = "st${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
}

resource "azurerm_ai_foundry" "hub" {
  name                = "hub-${local.name}"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  storage_account_id  = azurerm_storage_account.it.id
  key_vault_id        = azurerm_key_vault.it.id

  identity {
    type = "SystemAssigned"
  }
}
