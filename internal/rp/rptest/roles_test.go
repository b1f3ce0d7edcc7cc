package rptest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

// TestRolesDecide gives a principal one role after another and looks at what it
// may do to real resource types.
func TestRolesDecide(t *testing.T) {
	e := newAll(t)
	e.NewGroup()
	const (
		contributor = "b24988ac-6180-42a0-ab88-20f7382dd24c"
		vnet        = rptest.Group + "/providers/Microsoft.Network/virtualNetworks/vnet"
		subnet      = vnet + "/subnets/snet"
		account     = rptest.Group + "/providers/Microsoft.Storage/storageAccounts/stone"
		kv          = rptest.Group + "/providers/Microsoft.KeyVault/vaults/kv-one"
		ws          = rptest.Group + "/providers/Microsoft.MachineLearningServices/workspaces/mlw"
	)
	e.Want(201, "PUT", vnet, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[{"name":"snet","properties":{"addressPrefix":"10.0.0.0/24"}}]}}`)
	e.Want(200, "PUT", account, `{"kind":"StorageV2","location":"eastus","sku":{"name":"Standard_LRS"}}`)
	e.Want(200, "PUT", kv, `{"location":"eastus","properties":{"tenantId":"`+rptest.Tenant+`","sku":{"name":"standard"},"enableRbacAuthorization":true}}`)
	e.Want(200, "PUT", ws, `{"location":"eastus","identity":{"type":"SystemAssigned"},"properties":{"storageAccount":"`+account+`","keyVault":"`+kv+`"}}`)
	cluster := `{"location":"eastus","properties":{"computeType":"AmlCompute","properties":{"vmSize":"Standard_D4s_v3","subnet":{"id":"` + subnet + `"},"scaleSettings":{"maxNodeCount":1}}}}`
	as := func(status int, code, text, method, path, body string) {
		t.Helper()
		r := e.As(rptest.Guest, method, path, body)
		if r.Status != status || r.Code() != code || !strings.Contains(r.Message(), text) {
			t.Errorf("%s %s = %d %s, want %d %s", method, path, r.Status, r.Raw, status, code)
		}
	}
	assign := func(scope, name, role string) {
		t.Helper()
		e.Want(201, "PUT", scope+"/providers/Microsoft.Authorization/roleAssignments/00000000-0000-0000-0000-00000000000"+name,
			`{"properties":{"principalId":"`+rptest.ObjectID(rptest.Guest)+`","roleDefinitionId":"`+rptest.Sub+`/providers/Microsoft.Authorization/roleDefinitions/`+role+`"}}`)
	}
	path := ws + "/computes/cpu-cluster"
	as(403, "AuthorizationFailed", "computes/write", "PUT", path, cluster)
	assign(ws, "1", contributor)
	as(403, "LinkedAuthorizationFailed", "Microsoft.Network/virtualNetworks/subnets/join/action", "PUT", path, cluster)
	assign(vnet, "2", contributor)
	as(http.StatusCreated, "", "", "PUT", path, cluster)
	as(403, "AuthorizationFailed", "Microsoft.Authorization/roleAssignments/write", "PUT", ws+"/providers/Microsoft.Authorization/roleAssignments/00000000-0000-0000-0000-000000000009", `{"properties":{}}`)
	as(403, "AuthorizationFailed", "storageAccounts/listkeys", "POST", account+"/listKeys", "")
	as(403, "AuthorizationFailed", "vaults/write", "PUT", kv, `{}`)
	e.Want(200, "DELETE", ws+"/providers/Microsoft.Authorization/roleAssignments/00000000-0000-0000-0000-000000000001", nil)
	as(403, "AuthorizationFailed", "computes/read", "GET", path, "")
}
