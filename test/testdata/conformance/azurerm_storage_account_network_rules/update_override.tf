resource "azurerm_storage_account_network_rules" "it" {
  ip_rules = ["23.45.1.0/24", "23.45.2.7"]
  bypass   = ["Logging", "Metrics"]
}
