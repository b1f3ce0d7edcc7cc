package test

import (
	"strings"
	"testing"
)

// Clients meet the faults that were asked for, and get over them as they do in
// Azure.
func TestFaults(t *testing.T) {
	needTerraform(t)
	need(t, "az")
	e := newEnv(t)
	e.serve()
	e.run("fault", "add", "PUT", "Microsoft.Resources/resourceGroups", "--status", "429", "--count", "2", "--retry-after", "0")
	stack := write(t, map[string]string{"main.tf": `
provider "azurerm" {
  features {}
}
resource "azurerm_resource_group" "mine" {
  name     = "rg-mine"
  location = "westeurope"
}
`})
	e.run("up", stack)
	var left []struct{ ID string }
	if e.json(&left, "fault", "list"); len(left) != 0 {
		t.Errorf("terraform met the fault not twice: %v", left)
	}
	// carried out, and the client does not learn of it
	e.run("fault", "add", "PUT", "Microsoft.Resources/resourceGroups", "--lose", "after", "--count", "1")
	e.az(nil, "group", "create", "-n", "rg-lost", "-l", "eastus")
	e.run("fault", "add", "*", "*", "--status", "403", "--code", "Forbidden")
	e.azFails("This fault was added", "group", "list")
	e.run("fault", "clear") // although nobody else can even sign in
	if names := e.azNames("group", "list"); !strings.Contains(names, "rg-lost") {
		t.Errorf("groups: %s", names)
	}
	e.fails(1, "no HTTP method", "fault", "add", "FETCH", "x", "--status", "500")
	e.fails(1, "it does nothing", "fault", "add", "GET", "x")
	e.fails(1, "FaultNotFound", "fault", "clear", "nope")
	e.fails(2, "takes a method and a target", "fault", "add", "GET")
}
