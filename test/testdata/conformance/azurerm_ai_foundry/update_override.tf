resource "azurerm_ai_foundry" "it" {
  description   = "The lab's hub"
  friendly_name = "Lab"
  tags          = { team = "platform" }

  managed_network {
    isolation_mode = "AllowOnlyApprovedOutbound"
  }
}
