resource "azurerm_machine_learning_datastore_fileshare" "it" {
  lifecycle {
    ignore_changes = [account_key]
  }
}
