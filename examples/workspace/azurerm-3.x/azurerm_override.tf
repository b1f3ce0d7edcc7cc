# For azurerm 3.105 to 3.117: copy over ../azurerm_override.tf.

terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 3.105"
    }
  }
}

resource "azurerm_key_vault" "ml" {
  enable_rbac_authorization = true
}
