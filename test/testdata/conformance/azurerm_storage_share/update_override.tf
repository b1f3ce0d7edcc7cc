resource "azurerm_storage_share" "it" {
  quota       = 60
  access_tier = "Hot"
  metadata    = { owner = "platform", stage = "dev" }
}
