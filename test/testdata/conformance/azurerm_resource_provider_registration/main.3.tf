resource "azurerm_resource_provider_registration" "it" {
  name = "Microsoft.Bing"
}
