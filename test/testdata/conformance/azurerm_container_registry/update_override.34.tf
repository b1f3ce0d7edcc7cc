resource "azurerm_container_registry" "it" {
  sku           = "Premium"
  admin_enabled = true
  tags          = { team = "platform" }

  georeplications {
    location                  = "northeurope"
    regional_endpoint_enabled = true
  }
}
