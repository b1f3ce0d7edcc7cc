resource "azurerm_storage_account" "it" {
  name                     = "st${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"

  blob_properties {
    versioning_enabled = true

    delete_retention_policy {
      days = 14
    }
  }

  # A default of Deny would also keep azurerm's 3.x from reading the account.
  network_rules {
    default_action = "Allow"
    bypass         = ["AzureServices", "Metrics"]
    ip_rules       = ["203.0.113.0/24"]
  }

  static_website {
    index_document = "index.html"
  }
}
