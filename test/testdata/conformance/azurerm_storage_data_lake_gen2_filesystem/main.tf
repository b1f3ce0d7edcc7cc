resource "azurerm_storage_account" "it" {
  name                     = "st${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
  is_hns_enabled           = true
}

resource "azurerm_role_assignment" "me" {
  scope                = azurerm_storage_account.it.id
  role_definition_name = "Storage Blob Data Owner"
  principal_id         = data.azurerm_client_config.me.object_id
}

resource "azurerm_storage_data_lake_gen2_filesystem" "it" {
  name               = "raw"
  storage_account_id = azurerm_storage_account.it.id
  properties         = { team = base64encode("lab") }

  depends_on = [azurerm_role_assignment.me]
}
