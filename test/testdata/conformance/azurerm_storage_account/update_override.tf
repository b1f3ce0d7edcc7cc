resource "azurerm_storage_account" "it" {
  account_replication_type = "GRS"
  access_tier              = "Cool"
  tags                     = { team = "platform" }

  blob_properties {
    versioning_enabled = false

    delete_retention_policy {
      days = 7
    }
  }

  network_rules {
    default_action = "Allow"
    bypass         = ["AzureServices"]
    ip_rules       = ["198.51.100.7"]
  }
}
