resource "azurerm_virtual_network_peering" "back" {
  lifecycle {
    ignore_changes = [triggers]
  }
}
