resource "azurerm_storage_account" "it" {
  account_replication_type      = "GRS"
  access_tier                   = "Cool"
  shared_access_key_enabled     = true
  public_network_access_enabled = false
  tags                          = { team = "platform" }

  blob_properties {
    versioning_enabled = false

    delete_retention_policy {
      days = 7
    }
  }

  network_rules {
    default_action = "Allow"
    ip_rules       = []
  }
}
