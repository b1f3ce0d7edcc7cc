resource "azurerm_key_vault_key" "it" {
  key_opts        = ["verify"]
  expiration_date = "2030-01-02T03:04:05Z"
}
