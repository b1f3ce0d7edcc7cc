resource "azurerm_storage_account" "it" {
  name                     = "st${local.name}"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
}

resource "azurerm_storage_management_policy" "it" {
  storage_account_id = azurerm_storage_account.it.id

  rule {
    name    = "scratch"
    enabled = true
    filters {
      prefix_match = ["azureml-blobstore/tmp", "azureml-blobstore/ExperimentRun"]
      blob_types   = ["blockBlob"]
    }
    actions {
      base_blob {
        tier_to_cool_after_days_since_modification_greater_than = 10
        delete_after_days_since_modification_greater_than       = 90
      }
      snapshot {
        delete_after_days_since_creation_greater_than = 30
      }
    }
  }

  rule {
    name    = "marked"
    enabled = false
    filters {
      blob_types = ["blockBlob"]
      match_blob_index_tag {
        name      = "stage"
        operation = "=="
        value     = "old"
      }
    }
    actions {
      base_blob {
        delete_after_days_since_creation_greater_than = 1
      }
    }
  }
}
