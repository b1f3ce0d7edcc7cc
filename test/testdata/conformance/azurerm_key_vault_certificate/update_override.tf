resource "azurerm_key_vault_certificate" "it" {
  tags = { changed = "yes" }
}
