# Terraform merges a file named *_override.tf into the blocks of the others.

terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 3.105"
    }
  }
}
