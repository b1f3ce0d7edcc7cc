package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A principal with few rights gets Azure's refusals, in whatever client it uses,
// and more rights through a group.
func TestIdentities(t *testing.T) {
	needTerraform(t)
	need(t, "az")
	e := newEnv(t)
	mine := write(t, map[string]string{"main.tf": `
provider "azurerm" {
  features {}
}
resource "azurerm_resource_group" "mine" {
  name     = "rg-mine"
  location = "westeurope"
}
data "azurerm_subscription" "this" {}
resource "azurerm_role_definition" "lister" {
  name  = "Group Lister"
  scope = data.azurerm_subscription.this.id
  permissions {
    actions = ["Microsoft.Resources/subscriptions/resourceGroups/read"]
  }
}
resource "azurerm_management_lock" "keep" {
  name       = "keep"
  scope      = azurerm_resource_group.mine.id
  lock_level = "CanNotDelete"
}
`})
	e.run("up", mine)
	file := filepath.Join(t.TempDir(), "sp.json")
	if err := os.WriteFile(file, []byte(e.run("identity", "create", "sp", "robot")), 0o600); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) []string {
		return append([]string{"exec", "--as", file, "--", "az"}, append(args, "--only-show-errors")...)
	}
	e.fails(1, "AuthorizationFailed", as("group", "list")...)
	e.fails(1, "AuthorizationFailed", "up", "--as", file, mine)

	e.run("identity", "create", "group", "listers", "--role", "Reader")
	e.run("identity", "add", "listers", "robot")
	if out := e.run(as("group", "list", "-o", "tsv", "--query", "[].name")...); strings.TrimSpace(out) != "rg-mine" {
		t.Errorf("a member of the group lists %q", out)
	}
	e.fails(1, "AuthorizationFailed", as("group", "create", "-n", "rg-other", "-l", "eastus")...)
	var list []struct {
		Kind, DisplayName string
		Members           []string
	}
	e.json(&list, "identity", "list")
	found := false
	for _, id := range list {
		found = found || id.Kind == "group" && id.DisplayName == "listers" && len(id.Members) == 1 && id.Members[0] == "robot"
	}
	if !found {
		t.Errorf("identities: %+v", list)
	}
	e.run("identity", "remove", "listers", "robot")
	e.fails(1, "AuthorizationFailed", as("group", "list")...)

	// az keeps the directory through Microsoft Graph, and users sign in to it
	e.az(nil, "ad", "user", "create", "--display-name", "Ada", "--user-principal-name", "ada@azimuth.onmicrosoft.com", "--password", "correct horse")
	e.run("identity", "add", "listers", "ada")
	config := "AZURE_CONFIG_DIR=" + t.TempDir()
	ada := func(args ...string) []string {
		return append([]string{"exec", "--", "env", config, "az"}, append(args, "--only-show-errors")...)
	}
	e.run(ada("login", "--allow-no-subscriptions", "-u", "ada@azimuth.onmicrosoft.com", "-p", "correct horse")...)
	if out := e.run(ada("ad", "signed-in-user", "show", "--query", "displayName", "-o", "tsv")...); strings.TrimSpace(out) != "Ada" {
		t.Errorf("signed in as %q", out)
	}
	if out := e.run(ada("group", "list", "-o", "tsv", "--query", "[].name")...); strings.TrimSpace(out) != "rg-mine" {
		t.Errorf("ada lists %q", out)
	}
	var made struct{ AppID, Password, Tenant string }
	e.az(&made, "ad", "sp", "create-for-rbac", "--name", "ci-bot")
	if made.AppID == "" || made.Password == "" {
		t.Errorf("service principal: %+v", made)
	}

	// nobody deletes what is locked, the owner neither
	e.azFails("ScopeLocked", "group", "delete", "-n", "rg-mine", "--yes")
	if locks := e.azNames("lock", "list", "-g", "rg-mine"); locks != "keep" {
		t.Errorf("locks: %s", locks)
	}
	e.run("down", mine)

	e.run("identity", "delete", "robot")
	e.fails(1, "token", as("group", "list")...)
	e.fails(1, "azimuth identity list", "identity", "delete", "nobody")
	e.fails(2, "takes user, group or sp", "identity", "create", "robot")
	e.fails(1, "there is no role", "identity", "create", "sp", "x", "--role", "Emperor")
	e.fails(1, "identity create sp", "exec", "--as", filepath.Join(t.TempDir(), "none"), "--", "true")
}
