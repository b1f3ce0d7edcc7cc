package test

import (
	"fmt"
	"strings"
	"testing"
)

// keyStack has a key that rotates by itself, and reads it back.
const keyStack = `
terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> %d.0"
    }
  }
}

provider "azurerm" {
  features {}
}

variable "key_opts" {
  type    = list(string)
  default = ["sign", "verify"]
}

data "azurerm_client_config" "me" {}

resource "azurerm_resource_group" "it" {
  name     = "rg-keys"
  location = "westeurope"
}

resource "azurerm_key_vault" "it" {
  name                = "kv-keys"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  tenant_id           = data.azurerm_client_config.me.tenant_id
  sku_name            = "premium"
  %s = true
}

resource "azurerm_role_assignment" "officer" {
  scope                = azurerm_key_vault.it.id
  role_definition_name = "Key Vault Crypto Officer"
  principal_id         = data.azurerm_client_config.me.object_id
}

resource "azurerm_key_vault_key" "sign" {
  name         = "sign"
  key_vault_id = azurerm_key_vault.it.id
  key_type     = "RSA-HSM"
  key_size     = 2048
  key_opts     = var.key_opts
  depends_on   = [azurerm_role_assignment.officer]

  rotation_policy {
    expire_after         = "P90D"
    notify_before_expiry = "P29D"

    automatic {
      time_before_expiry = "P30D"
    }
  }
}

resource "azurerm_key_vault_key" "curve" {
  name         = "curve"
  key_vault_id = azurerm_key_vault.it.id
  key_type     = "EC"
  curve        = "P-384"
  key_opts     = ["sign"]
  depends_on   = [azurerm_role_assignment.officer]
}

data "azurerm_key_vault_key" "curve" {
  name         = azurerm_key_vault_key.curve.name
  key_vault_id = azurerm_key_vault.it.id
}

output "same" {
  value = data.azurerm_key_vault_key.curve.public_key_pem == azurerm_key_vault_key.curve.public_key_pem
}

output "ssh" {
  value = azurerm_key_vault_key.curve.public_key_openssh
}

output "id" {
  value = azurerm_key_vault_key.sign.id
}
`

// TestKeysInAStack takes keys through what Terraform does with them.
func TestKeysInAStack(t *testing.T) {
	needTerraform(t)
	for major, argument := range map[int]string{3: "enable_rbac_authorization", 5: "rbac_authorization_enabled"} {
		t.Run(fmt.Sprintf("azurerm %d", major), func(t *testing.T) {
			e := newEnv(t)
			dir := write(t, map[string]string{"main.tf": fmt.Sprintf(keyStack, major, argument)})
			up := func(want string, args ...string) {
				t.Helper()
				if out := e.run(append([]string{"up", dir}, args...)...); !strings.Contains(out, want) || !strings.Contains(out, "ecdsa-sha2-nistp384 ") {
					t.Fatalf("want %q:\n%s", want, out)
				}
			}
			up("5 added")
			up("no changes")
			if same := strings.TrimSpace(e.run("terraform", "-chdir="+dir, "output", "same")); same != "true" {
				t.Errorf("the data source shows another key: %s", same)
			}
			opts := []string{"-var", `key_opts=["sign", "verify", "encrypt"]`}
			up("1 changed", opts...)
			up("no changes", opts...)
			// The first version has no expiry that a rotation could precede.
			e.run("clock", "advance", "2000h")
			up("no changes", opts...)

			id := strings.Trim(strings.TrimSpace(e.run("terraform", "-chdir="+dir, "output", "id")), `"`)
			e.run("terraform", "-chdir="+dir, "state", "rm", "azurerm_key_vault_key.sign")
			e.run("terraform", "-chdir="+dir, "import", "azurerm_key_vault_key.sign", id)
			up("no changes", opts...)
			if out := e.run("down", dir); !strings.Contains(out, "5 destroyed") {
				t.Errorf("down:\n%s", out)
			}
		})
	}
}
