resource "azurerm_key_vault_secret" "it" {
  content_type    = "text/markdown"
  expiration_date = "2030-01-02T03:04:05Z"
  tags            = { team = "platform" }
}
