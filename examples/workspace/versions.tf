# One module for every environment; what differs is in *.tfvars.
#
# It is written for azurerm 3.x, 4.x and 5.x alike: it uses only arguments that
# all of them have and sets every argument whose default they disagree on. One
# argument, that of key_vault.tf, has no name in common: for 3.x first run
#
#   cp azurerm-3.x/*.tf .

terraform {
  required_version = ">= 1.3"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 3.105, < 6.0"
    }
  }
}

# The subscription and the credentials come from the environment
# (ARM_SUBSCRIPTION_ID, …), so that the same files serve Azimuth and Azure.
provider "azurerm" {
  features {}
}

data "azurerm_client_config" "current" {}
