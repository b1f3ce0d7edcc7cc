resource "azurerm_storage_data_lake_gen2_filesystem" "it" {
  properties = { team = base64encode("platform") }
}
