package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// admins is what a platform team keeps: a group, a role with what its CI needs and
// no more, and the right to hand out one role.
const admins = `
provider "azurerm" {
  features {}
}
variable "deployer" { type = string }
variable "delegate" { type = bool }
resource "azurerm_resource_group" "team" {
  name     = "rg-team"
  location = "westeurope"
}
resource "azurerm_role_definition" "deployer" {
  name  = "Team Deployer"
  scope = azurerm_resource_group.team.id
  permissions {
    actions = [
      "Microsoft.Resources/subscriptions/resourceGroups/read",
      "Microsoft.Storage/*",
      "Microsoft.ManagedIdentity/userAssignedIdentities/*",
      "Microsoft.Authorization/*/read",
    ]
    not_actions = ["Microsoft.Storage/storageAccounts/delete"]
  }
}
resource "azurerm_role_assignment" "deployer" {
  scope              = azurerm_resource_group.team.id
  role_definition_id = azurerm_role_definition.deployer.role_definition_resource_id
  principal_id       = var.deployer
}
resource "azurerm_role_assignment" "delegate" {
  count                = var.delegate ? 1 : 0
  scope                = azurerm_resource_group.team.id
  role_definition_name = "Role Based Access Control Administrator"
  principal_id         = var.deployer
  condition_version    = "2.0"
  condition            = <<-EOT
    (
      !(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})
      OR
      (
        @Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {2a2b9908-6ea1-4ae2-8e65-a410df84e7d1}
        AND
        @Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEqualsIgnoreCase 'ServicePrincipal'
      )
    )
  EOT
}
`

// theirs is what the team's CI applies.
const theirs = `
provider "azurerm" {
  features {}
}
data "azurerm_resource_group" "team" {
  name = "rg-team"
}
resource "azurerm_storage_account" "data" {
  name                     = "stteamdata01"
  resource_group_name      = data.azurerm_resource_group.team.name
  location                 = data.azurerm_resource_group.team.location
  account_tier             = "Standard"
  account_replication_type = "LRS"
}
resource "azurerm_user_assigned_identity" "app" {
  name                = "id-app"
  resource_group_name = data.azurerm_resource_group.team.name
  location            = data.azurerm_resource_group.team.location
}
`

// A service principal with a role of its own applies what the role lets it, and
// meets Azure's refusals for all else.
func TestLeastPrivilege(t *testing.T) {
	needTerraform(t)
	e := newEnv(t)
	e.run("up", write(t, map[string]string{"main.tf": ""}))
	file := filepath.Join(t.TempDir(), "deployer.json")
	if err := os.WriteFile(file, []byte(e.run("identity", "create", "sp", "deployer")), 0o600); err != nil {
		t.Fatal(err)
	}
	var sp struct{ ObjectID string }
	e.json(&sp, "identity", "show", "deployer")
	platform := write(t, map[string]string{"main.tf": admins})
	set := func(delegate string) {
		t.Helper()
		vars := "deployer = \"" + sp.ObjectID + "\"\ndelegate = " + delegate + "\n"
		if err := os.WriteFile(filepath.Join(platform, "terraform.tfvars"), []byte(vars), 0o600); err != nil {
			t.Fatal(err)
		}
		e.run("up", platform)
	}
	set("false")

	stack := write(t, map[string]string{"main.tf": theirs})
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(stack, "more.tf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string, words ...string) {
		t.Helper()
		r := e.try("up", "--as", file, stack)
		text := strings.Join(strings.Fields(strings.NewReplacer("│", " ", "╷", " ", "╵", " ").Replace(r.stderr)), " ")
		for _, w := range append(words, "AuthorizationFailed", "with object id '"+sp.ObjectID+"'") {
			if r.code == 0 || !strings.Contains(text, w) {
				t.Errorf("%s: no %q in %s", what, w, r)
			}
		}
	}
	e.run("up", "--as", file, stack)

	role := func(name string) string {
		return `
resource "azurerm_role_assignment" "app" {
  scope                = azurerm_storage_account.data.id
  role_definition_name = "` + name + `"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
}
`
	}
	put(role("Storage Blob Data Reader"))
	const assigning = "does not have authorization or an ABAC condition not fulfilled to perform action 'Microsoft.Authorization/roleAssignments/write' over scope '/subscriptions/"
	refused("assign a role", assigning, "/storageAccounts/stteamdata01/providers/Microsoft.Authorization/roleAssignments/")
	set("true") // the platform team lets it hand out that one
	e.run("up", "--as", file, stack)
	put(role("Owner"))
	refused("assign another role", assigning)

	put(`
resource "azurerm_resource_group" "own" {
  name     = "rg-own"
  location = "westeurope"
}
`)
	refused("make a group", "does not have authorization to perform action 'Microsoft.Resources/subscriptions/resourceGroups/", "/resourceGroups/rg-own'")
	put(`
resource "azurerm_virtual_network" "own" {
  name                = "vnet-own"
  resource_group_name = data.azurerm_resource_group.team.name
  location            = data.azurerm_resource_group.team.location
  address_space       = ["10.0.0.0/16"]
}
`)
	refused("use another service", "does not have authorization to perform action 'Microsoft.Network/virtualNetworks/", "/resourceGroups/rg-team/providers/Microsoft.Network/virtualNetworks/vnet-own'")

	put("")
	r := e.try("down", "--as", file, stack)
	if want := "Microsoft.Storage/storageAccounts/delete"; r.code == 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("delete what notActions keep: no %q in %s", want, r)
	}
	e.run("down", stack)
	e.run("down", platform)
}
