resource "azurerm_ai_foundry_project" "it" {
  name               = "proj-${local.name}"
  location           = azurerm_ai_foundry.hub.location
  ai_services_hub_id = azurerm_ai_foundry.hub.id

  identity {
    type = "SystemAssigned"
  }
}
