resource "azurerm_machine_learning_datastore_blobstorage" "it" {
  lifecycle {
    ignore_changes = [account_key]
  }
}
