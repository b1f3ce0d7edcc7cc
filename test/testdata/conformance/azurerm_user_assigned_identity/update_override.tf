resource "azurerm_user_assigned_identity" "it" {
  tags = { team = "platform" }
}
