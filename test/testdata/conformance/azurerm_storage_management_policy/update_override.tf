resource "azurerm_storage_management_policy" "it" {
  rule {
    name    = "all"
    enabled = true
    filters {
      blob_types = ["blockBlob", "appendBlob"]
    }
    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = 30
      }
      version {
        delete_after_days_since_creation                    = 60
        tier_to_cold_after_days_since_creation_greater_than = 30
      }
    }
  }
}
