resource "azurerm_storage_blob" "it" {
  lifecycle {
    ignore_changes = [parallelism, size, source_content]
  }
}

resource "azurerm_storage_blob" "log" {
  lifecycle {
    ignore_changes = [parallelism, size]
  }
}

resource "azurerm_storage_blob" "disk" {
  lifecycle {
    ignore_changes = [parallelism, size]
  }
}

resource "azurerm_storage_blob" "file" {
  lifecycle {
    ignore_changes = [parallelism, size, source]
  }
}

resource "azurerm_storage_blob" "copy" {
  lifecycle {
    ignore_changes = [parallelism, size, source_uri]
  }
}
