resource "azurerm_role_assignment" "it" {
  description = "looks around"
}
