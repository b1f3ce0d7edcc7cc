package machinelearning_test

import (
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

// TestRefusedChanges checks what cannot be changed, and what is missing, with the codes
// of the answers.
func TestRefusedChanges(t *testing.T) {
	e, _ := newEnv(t, false)
	const (
		account2 = rg + "Microsoft.Storage/storageAccounts/sttwo"
		kv2      = rg + "Microsoft.KeyVault/vaults/kv-two"
		user     = "11111111-2222-3333-4444-555555555555"
		size     = `"vmSize":"Standard_D4s_v3",`
		here     = ws + "/computes/"
	)
	instance := func(more string) string {
		return `{"location":"eastus","properties":{"computeType":"ComputeInstance","properties":{"vmSize":"Standard_DS3_v2","personalComputeInstanceSettings":{"assignedUser":{"objectId":"` + user + `","tenantId":"` + rptest.Tenant + `"}}` + more + `}}}`
	}
	e.Want(200, "PUT", account2, `{"kind":"StorageV2","location":"eastus","sku":{"name":"Standard_LRS"},"properties":{}}`)
	e.Want(200, "PUT", kv2, `{"location":"eastus","properties":{"tenantId":"`+rptest.Tenant+`","sku":{"name":"standard"},"enableRbacAuthorization":true}}`)
	e.Want(201, "PUT", vnet+"/subnets/other", `{"properties":{"addressPrefix":"10.1.3.0/24"}}`)
	e.Want(201, "PUT", here+"cpu-cluster", cluster(size+`"subnet":{"id":"`+subnet+`"},`+scale))
	e.Want(201, "PUT", here+"ci-one", instance(`,"sshSettings":{"sshPublicAccess":"Disabled"}`))
	schedules := `,"schedules":{"computeStartStop":[` + strings.Repeat(`{"action":"Stop","triggerType":"Cron","cron":{"expression":"0 18 * * *"}},`, 4) + `{"action":"Stop"}]}`
	for _, tc := range []struct {
		method, path, body string
		status             int
		code, text         string
	}{
		{"PUT", ws, strings.Replace(workspace(""), account, account2, 1), 409, "PropertyChangeNotAllowed", "storageAccount"},
		{"PUT", ws, strings.Replace(workspace(""), kv, kv2, 1), 409, "PropertyChangeNotAllowed", "keyVault"},
		{"PATCH", ws, `{"properties":{"keyVault":"` + kv2 + `"}}`, 409, "PropertyChangeNotAllowed", "keyVault"},
		{"PATCH", ws, `{"properties":{"hbiWorkspace":true}}`, 400, "ValidationError", "hbiWorkspace"},
		{"PUT", ws, strings.Replace(workspace(""), `"location":"eastus"`, `"location":"westus"`, 1), 409, "InvalidResourceLocation", "westus"},
		{"PUT", ws, strings.Replace(workspace(""), `"location":"eastus"`, `"kind":"Hub","location":"eastus"`, 1), 400, "ValidationError", "kind"},
		{"PATCH", mlw + "mlw-none", `{"tags":{}}`, 404, "ResourceNotFound", "mlw-none"},
		{"PUT", strings.Replace(ws, rptest.Group, rptest.Group+"x", 1), workspace(""), 404, "ResourceGroupNotFound", "rg-Onex"},
		{"PUT", mlw + "ab", workspace(""), 400, "InvalidResourceName", ""},
		{"PUT", mlw + strings.Repeat("a", 34), workspace(""), 400, "InvalidResourceName", ""},
		{"PUT", mlw + "mlw-two", strings.Replace(workspace(""), `"location":"eastus",`, "", 1), 400, "LocationRequired", ""},
		{"PUT", mlw + "mlw-two", strings.Replace(workspace(""), `"location":"eastus"`, `"location":"moon"`, 1), 400, "LocationNotAvailableForResourceType", "moon"},
		{"PUT", mlw + "mlw-two", strings.Replace(workspace(""), `"SystemAssigned"`, `"Assigned"`, 1), 400, "InvalidIdentityType", "Assigned"},
		{"PUT", mlw + "mlw-two", `{"location":"eastus","properties":{}}`, 400, "ValidationError", "Missing dependent resources in workspace json: storageAccount"},

		{"PUT", here + "cpu-cluster", cluster(`"vmSize":"Standard_D8s_v3","subnet":{"id":"` + subnet + `"},` + scale), 400, "BadRequest", "'vmSize' of compute 'cpu-cluster' cannot be changed"},
		{"PUT", here + "cpu-cluster", cluster(size + `"subnet":{"id":"` + vnet + `/subnets/other"},` + scale), 400, "BadRequest", "'subnet.id' of compute 'cpu-cluster' cannot be changed"},
		{"PUT", here + "cpu-cluster", cluster(size + `"vmPriority":"LowPriority","subnet":{"id":"` + subnet + `"},` + scale), 400, "BadRequest", "'vmPriority'"},
		{"PUT", here + "cpu-cluster", cluster(size + `"enableNodePublicIp":false,"subnet":{"id":"` + subnet + `"},` + scale), 400, "BadRequest", "'enableNodePublicIp'"},
		{"PUT", here + "cpu-cluster", strings.Replace(cluster(size+scale), `"location":"eastus"`, `"location":"westus"`, 1), 400, "BadRequest", "cannot be moved to 'westus'"},
		{"PUT", here + "cpu-cluster", instance(""), 400, "BadRequest", "cannot be changed to ComputeInstance"},
		{"PUT", here + "ci-one", strings.Replace(instance(""), "Standard_DS3_v2", "Standard_D4s_v3", 1), 400, "BadRequest", "'vmSize' of compute 'ci-one'"},
		{"PUT", here + "ci-one", instance(`,"sshSettings":{"sshPublicAccess":"Enabled"}`), 400, "BadRequest", "'sshSettings.sshPublicAccess'"},
		{"PUT", here + "ci-two", instance(schedules), 400, "BadRequest", "at most 4 schedules"},
		{"PUT", here + "ci-two", instance(`,"vmPriority":"LowPriority"`), 400, "BadRequest", "never of low priority"},
		{"PUT", mlw + "mlw-none/computes/cpu-cluster", cluster(size + scale), 404, "ParentResourceNotFound", "mlw-none"},
		{"PATCH", here + "c-none", `{"properties":{}}`, 404, "ResourceNotFound", "c-none"},
		{"POST", here + "c-none/start", "", 404, "ResourceNotFound", "c-none"},
		{"DELETE", subnet, "", 400, "InUseSubnetCannotBeDeleted", "cpu-cluster"},
	} {
		var body any
		if tc.body != "" {
			body = tc.body
		}
		e.Refused(tc.status, tc.code, tc.text, tc.method, tc.path, body)
	}
	// conditions
	for _, tc := range []struct{ header, value string }{{"If-Match", `"another"`}, {"If-None-Match", "*"}} {
		if r := e.Do("PUT", ws, workspace(""), tc.header, tc.value); r.Status != 412 {
			t.Errorf("%s: %d %s", tc.header, r.Status, r.Raw)
		}
	}
}
