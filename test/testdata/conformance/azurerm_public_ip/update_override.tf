resource "azurerm_public_ip" "it" {
  idle_timeout_in_minutes = 10
  domain_name_label       = "lab-${local.name}"
  tags                    = { team = "platform" }
}
