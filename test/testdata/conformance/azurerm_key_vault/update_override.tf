resource "azurerm_key_vault" "it" {
  enabled_for_deployment        = true
  public_network_access_enabled = false
  tags                          = { team = "platform" }

  network_acls {
    default_action = "Deny"
    bypass         = "AzureServices"
    ip_rules       = ["203.0.113.7/32"]
  }
}
