resource "azurerm_application_insights" "it" {
  retention_in_days   = 120
  sampling_percentage = 50
  tags                = { team = "platform" }
}
