package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// secretStack has a secret, and reads it back. The roles come first, as they have
// to on Azure.
const secretStack = `
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

variable "password" {
  type      = string
  sensitive = true
}

variable "expires" {
  type    = string
  default = null
}

data "azurerm_client_config" "me" {}

resource "azurerm_resource_group" "it" {
  name     = "rg-secrets"
  location = "westeurope"
}

resource "azurerm_key_vault" "it" {
  name                = "kv-secrets"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  tenant_id           = data.azurerm_client_config.me.tenant_id
  sku_name            = "standard"
  %s = true
}

resource "azurerm_role_assignment" "officer" {
  scope                = azurerm_key_vault.it.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = data.azurerm_client_config.me.object_id
}

resource "azurerm_key_vault_secret" "db" {
  name            = "db"
  key_vault_id    = azurerm_key_vault.it.id
  value           = var.password
  content_type    = "text/plain"
  expiration_date = var.expires
  depends_on      = [azurerm_role_assignment.officer]
}

data "azurerm_key_vault_secret" "db" {
  name         = azurerm_key_vault_secret.db.name
  key_vault_id = azurerm_key_vault.it.id
}

output "is_the_same" {
  value = nonsensitive(data.azurerm_key_vault_secret.db.value == var.password)
}

output "id" {
  value = azurerm_key_vault_secret.db.id
}
`

// TestSecretInAStack takes a secret through what Terraform does with it.
func TestSecretInAStack(t *testing.T) {
	needTerraform(t)
	for major, argument := range map[int]string{3: "enable_rbac_authorization", 5: "rbac_authorization_enabled"} {
		t.Run(fmt.Sprintf("azurerm %d", major), func(t *testing.T) {
			e := newEnv(t)
			dir := write(t, map[string]string{"main.tf": fmt.Sprintf(secretStack, major, argument)})
			up := func(want string, args ...string) {
				t.Helper()
				out := e.run(append([]string{"up", dir}, args...)...)
				if !strings.Contains(out, want) || !strings.Contains(out, "is_the_same") || strings.Contains(out, "swordfish") {
					t.Fatalf("want %q:\n%s", want, out)
				}
			}
			up("4 added", "-var", "password=swordfish")
			up("no changes", "-var", "password=swordfish")
			up("1 changed", "-var", "password=swordfish", "-var", "expires=2030-01-02T03:04:05Z")
			up("no changes", "-var", "password=swordfish", "-var", "expires=2030-01-02T03:04:05Z")
			up("1 changed", "-var", "password=swordfish2", "-var", "expires=2030-01-02T03:04:05Z")
			w := e.wire()
			vault, err := azsecrets.NewClient("https://kv-secrets.vault.azure.net", fixedToken(w.tokens[forVault]),
				&azsecrets.ClientOptions{ClientOptions: policy.ClientOptions{Transport: w.http}})
			if err != nil {
				t.Fatal(err)
			}
			now, err := vault.GetSecret(t.Context(), "db", "", nil)
			if err != nil || *now.Value != "swordfish2" || *now.ContentType != "text/plain" || now.Attributes.Expires.Unix() != 1893553445 {
				t.Fatalf("the secret is %+v, %v", now.Secret, err)
			}
			versions, err := vault.NewListSecretPropertiesVersionsPager("db", nil).NextPage(t.Context())
			if err != nil || len(versions.Value) != 2 {
				t.Errorf("%d versions, %v", len(versions.Value), err)
			}

			// A state that lost it takes it back by import.
			variables := []string{"-var", "password=swordfish2", "-var", "expires=2030-01-02T03:04:05Z"}
			e.run("terraform", "-chdir="+dir, "state", "rm", "azurerm_key_vault_secret.db")
			r := e.try(append([]string{"up", dir}, variables...)...)
			if r.code == 0 || !strings.Contains(r.stderr+r.stdout, "needs to be imported into the State") {
				t.Errorf("up over a secret that is not in the state: %s", r)
			}
			e.run(append(append([]string{"terraform", "-chdir=" + dir, "import"}, variables...), "azurerm_key_vault_secret.db", string(*now.ID))...)
			up("no changes", variables...)

			if out := e.run(append([]string{"down", dir}, variables...)...); !strings.Contains(out, "4 destroyed") {
				t.Errorf("down:\n%s", out)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
				t.Errorf("in the user's directory: %v, %v", left, err)
			}
		})
	}
}
