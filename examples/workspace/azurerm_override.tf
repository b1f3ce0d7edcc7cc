# For azurerm 4.42 to 5.x. Terraform merges a file named *_override.tf into the
# blocks of the same name.
#
# "Who may read a secret is decided by role assignments" is written
# rbac_authorization_enabled from 4.42 on (and required in 5.x), and
# enable_rbac_authorization before. To use azurerm 3.x put the other file in
# this one's place:
#
#   cp azurerm-3.x/azurerm_override.tf .

terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.42, < 6.0"
    }
  }
}

resource "azurerm_key_vault" "ml" {
  rbac_authorization_enabled = true
}
