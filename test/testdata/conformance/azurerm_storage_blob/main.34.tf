resource "azurerm_storage_container" "it" {
  name                 = "files"
  storage_account_name = azurerm_storage_account.it.name
}

resource "azurerm_storage_blob" "it" {
  name                   = "config/model one.json"
  storage_account_name   = azurerm_storage_account.it.name
  storage_container_name = azurerm_storage_container.it.name
  type                   = "Block"
  source_content         = jsonencode({ layers = 3 })
  content_md5            = md5(jsonencode({ layers = 3 }))
  content_type           = "application/json"
  metadata               = { owner = "lab" }
}

resource "azurerm_storage_blob" "log" {
  name                   = "log"
  storage_account_name   = azurerm_storage_account.it.name
  storage_container_name = azurerm_storage_container.it.name
  type                   = "Append"
}

resource "azurerm_storage_blob" "disk" {
  name                   = "disk"
  storage_account_name   = azurerm_storage_account.it.name
  storage_container_name = azurerm_storage_container.it.name
  type                   = "Page"
  size                   = 1024
}

resource "azurerm_storage_blob" "file" {
  name                   = "main.tf"
  storage_account_name   = azurerm_storage_account.it.name
  storage_container_name = azurerm_storage_container.it.name
  type                   = "Block"
  source                 = "${path.module}/main.tf"
}

resource "azurerm_storage_blob" "copy" {
  name                   = "copy"
  storage_account_name   = azurerm_storage_account.it.name
  storage_container_name = azurerm_storage_container.it.name
  type                   = "Block"
  source_uri             = "${azurerm_storage_blob.file.url}${data.azurerm_storage_account_sas.it.sas}"
}

data "azurerm_storage_account_sas" "it" {
  connection_string = azurerm_storage_account.it.primary_connection_string
  start             = "2020-01-01T00:00:00Z"
  expiry            = "2099-01-01T00:00:00Z"

  services {
    blob  = true
    queue = false
    table = false
    file  = false
  }
  resource_types {
    service   = false
    container = false
    object    = true
  }
  permissions {
    read    = true
    write   = false
    delete  = false
    list    = false
    add     = false
    create  = false
    update  = false
    process = false
    tag     = false
    filter  = false
  }
}
