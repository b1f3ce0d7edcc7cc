resource "azurerm_nat_gateway" "it" {
  idle_timeout_in_minutes = 30
  tags                    = { team = "platform" }
}
