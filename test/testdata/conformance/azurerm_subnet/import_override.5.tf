resource "azurerm_subnet" "wo" {
  lifecycle {
    ignore_changes = [network_security_group_id_wo_version, route_table_id_wo_version]
  }
}
