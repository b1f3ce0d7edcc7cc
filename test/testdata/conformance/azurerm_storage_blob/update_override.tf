resource "azurerm_storage_blob" "it" {
  content_type  = "text/plain"
  cache_control = "no-cache"
  access_tier   = "Cool"
  metadata      = { owner = "platform", stage = "dev" }
}
