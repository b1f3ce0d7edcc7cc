package resources_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/authorization"
	"github.com/azimuth-ml/azimuth/internal/rp/managedidentity"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// cloud is a kernel that deploys templates of networks and identities.
type cloud struct {
	*rptest.Env
	t testing.TB
}

func newCloud(t testing.TB, opt rptest.Options) *cloud {
	t.Helper()
	c, stop := openCloud(t, opt)
	t.Cleanup(stop)
	return c
}

func openCloud(t testing.TB, opt rptest.Options) (*cloud, func()) {
	t.Helper()
	sealer, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := resources.New(t.Context(), resources.Deps{Sealer: sealer, History: resources.History{Limit: 30, High: 20, Low: 10}, Log: slog.New(slog.DiscardHandler)})
	dir := &rptest.Directory{}
	var e *rptest.Env
	e, stop := rptest.Open(t, opt,
		s.Provider(), managedidentity.Provider(dir),
		network.Provider(network.Deps{Users: func(_ store.Tx, _ string) ([]string, error) { return nil, nil }}),
		authorization.Provider(authorization.Deps{Directory: dir, Roles: func() authorization.Roles { return e.RBAC }}),
	)
	if err := s.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &cloud{e, t}, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		stop()
	}
}

const (
	schema      = `"$schema":"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#","contentVersion":"1.0.0.0"`
	deployments = rptest.Group + "/providers/Microsoft.Resources/deployments/"
)

// body is the body of a deployment of a template, which lacks its schema.
func body(template, parameters, more string) string {
	if parameters == "" {
		parameters = "{}"
	}
	return `{"properties":{"mode":"Incremental","template":{` + schema + "," + strings.TrimPrefix(strings.TrimSpace(template), "{") + `,"parameters":` + parameters + more + `}}`
}

// deploy puts a deployment and waits for its end.
func (c *cloud) deploy(name, b string) arm.Doc {
	c.t.Helper()
	r := c.Do("PUT", deployments+name, b)
	if r.Status != http.StatusCreated && r.Status != http.StatusOK {
		c.t.Fatalf("PUT %s: %d %s", name, r.Status, r.Raw)
	}
	if state := r.Body.String("properties.provisioningState"); state != "Running" {
		c.t.Errorf("it began as %s", state)
	}
	status := c.wait(r.Header.Get("Azure-AsyncOperation"))
	doc := c.Want(http.StatusOK, "GET", deployments+name, nil).Body
	if got := doc.String("properties.provisioningState"); got != status.String("status") {
		c.t.Errorf("the operation is %s and the deployment %s", status.String("status"), got)
	}
	// the other style of operations answers with the result, or with the error
	if l := c.Do("GET", r.Header.Get("Location"), nil); status.String("status") == "Succeeded" && (l.Status != http.StatusOK || l.Body.String("id") != doc.String("id")) ||
		status.String("status") == "Failed" && l.Code() != "DeploymentFailed" {
		c.t.Errorf("Location: %d %s", l.Status, l.Raw)
	}
	return doc
}

func (c *cloud) wait(operation string) arm.Doc {
	c.t.Helper()
	for range 20_000 {
		r := c.Want(http.StatusOK, "GET", operation, nil)
		if r.Body.String("status") != "InProgress" {
			return r.Body
		}
	}
	c.t.Fatal("the operation does not end")
	return nil
}

const networks = `{
	"parameters": {
		"prefix": {"type": "string", "defaultValue": "10.0.0.0/16"},
		"subnets": {"type": "int", "defaultValue": 3},
		"password": {"type": "secureString", "defaultValue": "hunter2-and-more"}
	},
	"variables": {"net": "[concat('vnet-', uniqueString(resourceGroup().id))]"},
	"resources": [
		{"type": "Microsoft.Network/networkSecurityGroups", "apiVersion": "2023-09-01", "name": "nsg", "location": "[resourceGroup().location]"},
		{"type": "Microsoft.Network/virtualNetworks", "apiVersion": "2023-09-01", "name": "[variables('net')]", "location": "[resourceGroup().location]",
			"properties": {"addressSpace": {"addressPrefixes": ["[parameters('prefix')]"]}}},
		{"type": "Microsoft.Network/virtualNetworks/subnets", "apiVersion": "2023-09-01", "name": "[format('{0}/s{1}', variables('net'), copyIndex())]",
			"copy": {"name": "subnets", "count": "[parameters('subnets')]"}, "dependsOn": ["[variables('net')]", "nsg"],
			"properties": {"addressPrefix": "[cidrSubnet(parameters('prefix'), 24, copyIndex())]", "networkSecurityGroup": {"id": "[resourceId('Microsoft.Network/networkSecurityGroups', 'nsg')]"}}},
		{"type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2023-01-31", "name": "idy", "location": "[resourceGroup().location]",
			"tags": {"guid": "[reference(resourceId('Microsoft.Network/networkSecurityGroups', 'nsg')).resourceGuid]"}},
		{"type": "Microsoft.Network/publicIPAddresses", "apiVersion": "2023-09-01", "name": "no", "condition": "[equals(parameters('subnets'), 99)]", "location": "x"}
	],
	"outputs": {
		"net": {"type": "string", "value": "[resourceId('Microsoft.Network/virtualNetworks', variables('net'))]"},
		"principal": {"type": "string", "value": "[reference('idy').principalId]"},
		"hidden": {"type": "secureString", "value": "[parameters('password')]"}
	}}`

func TestDeployment(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.Refused(http.StatusNotFound, "ResourceGroupNotFound", "", "PUT", deployments+"d", body(networks, "", ""))
	c.NewGroup()
	if r := c.Do("HEAD", deployments+"d", nil); r.Status != http.StatusNotFound {
		t.Errorf("HEAD before: %d", r.Status)
	}
	doc := c.deploy("d", body(networks, `{"subnets":{"value":2}}`, ""))
	if got := doc.String("properties.provisioningState"); got != "Succeeded" {
		t.Fatalf("it ended as %s: %v", got, doc.Get("properties.error"))
	}
	if r := c.Do("HEAD", deployments+"d", nil); r.Status != http.StatusNoContent {
		t.Errorf("HEAD: %d", r.Status)
	}
	net := doc.String("properties.outputs.net.value")
	r := c.Want(http.StatusOK, "GET", net, nil)
	if n := len(r.Body.List("properties.subnets")); n != 2 {
		t.Errorf("%d subnets", n)
	}
	identity := c.Want(http.StatusOK, "GET", rptest.Group+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/idy", nil).Body
	if doc.String("properties.outputs.principal.value") != identity.String("properties.principalId") || identity.String("tags.guid") == "" {
		t.Errorf("outputs %v of %v", doc.Get("properties.outputs"), identity)
	}
	if n := len(doc.List("properties.outputResources")); n != 5 {
		t.Errorf("%d output resources", n)
	}
	for _, path := range []string{"", "/operations"} {
		if r := c.Want(http.StatusOK, "GET", deployments+"d"+path, nil); strings.Contains(string(r.Raw), "hunter2") {
			t.Errorf("%s shows the password: %s", path, r.Raw)
		}
	}
	if doc.String("properties.parameters.password.type") != "SecureString" || doc.String("properties.outputs.hidden.type") != "SecureString" || doc.String("properties.parameters.prefix.value") != "10.0.0.0/16" {
		t.Errorf("parameters %v", doc.Get("properties.parameters"))
	}

	// its operations, one at a time
	var ops []arm.Doc
	for next := deployments + "d/operations?$top=2"; next != ""; {
		r := c.Want(http.StatusOK, "GET", next, nil)
		for _, v := range r.Body.List("value") {
			ops = append(ops, v.(map[string]any))
		}
		next = r.Body.String("nextLink")
	}
	if len(ops) != 6 {
		t.Errorf("%d operations", len(ops))
	}
	for _, op := range ops {
		one := c.Want(http.StatusOK, "GET", op.String("id"), nil).Body
		if one.String("properties.provisioningState") != "Succeeded" || one.String("operationId") != op.String("operationId") {
			t.Errorf("operation %v", one)
		}
	}
	c.Refused(http.StatusNotFound, "DeploymentOperationNotFound", "", "GET", deployments+"d/operations/none", nil)
	if r := c.Want(http.StatusOK, "POST", deployments+"d/exportTemplate", nil); r.Body.String("template.variables.net") == "" {
		t.Errorf("template %s", r.Raw)
	}
	// again: the same resources
	again := c.deploy("d", body(networks, `{"subnets":{"value":2}}`, ""))
	if again.String("properties.outputs.principal.value") != identity.String("properties.principalId") {
		t.Errorf("the second time made other resources")
	}
	c.deploy("e", body(`{"resources":[]}`, "", ""))
	if got := c.Want(http.StatusOK, "GET", strings.TrimSuffix(deployments, "/")+"?$filter=provisioningState eq 'Succeeded'&$top=1", nil); len(got.Names()) != 1 || got.Body.String("nextLink") == "" {
		t.Errorf("list: %s", got.Raw)
	}
	c.Refused(http.StatusConflict, "DeploymentCannotBeCancelled", "Succeeded", "POST", deployments+"d/cancel", nil)
	c.Want(http.StatusAccepted, "DELETE", deployments+"d", nil)
	c.Want(http.StatusNoContent, "DELETE", deployments+"d", nil)
	c.Refused(http.StatusNotFound, "DeploymentNotFound", "Deployment 'd' could not be found.", "GET", deployments+"d/operations", nil)
	c.Want(http.StatusOK, "GET", net, nil) // stays
}

func TestDeploymentComplete(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	c.deploy("d", body(networks, "", ""))
	only := body(`{"resources":[{"type":"Microsoft.ManagedIdentity/userAssignedIdentities","apiVersion":"2023-01-31","name":"idy","location":"eastus"}]}`, "", "")
	complete := strings.Replace(only, "Incremental", "Complete", 1)
	r := c.Want(http.StatusOK, "POST", deployments+"w/whatIf", complete)
	kinds := map[string]int{}
	for _, v := range r.Body.List("properties.changes") {
		kinds[arm.Doc(v.(map[string]any)).String("changeType")]++
	}
	if kinds["Delete"] != 2 || kinds["Modify"] != 1 || len(kinds) != 2 {
		t.Errorf("what if: %v in %s", kinds, r.Raw)
	}
	if doc := c.deploy("d", complete); doc.String("properties.provisioningState") != "Succeeded" {
		t.Fatalf("it failed: %v", doc.Get("properties.error"))
	}
	if got := c.Want(http.StatusOK, "GET", rptest.Group+"/resources", nil).Names(); len(got) != 1 || got[0] != "idy" {
		t.Errorf("left: %v", got)
	}
}

func TestDeploymentRefused(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	resource := func(more string) string {
		return body(`{"resources":[{"type":"Microsoft.Network/networkSecurityGroups","apiVersion":"2023-09-01","name":"nsg","location":"westeurope"}`+more+`]}`, "", "")
	}
	for _, tc := range []struct {
		body, code, text string
		status           int
	}{
		{`{}`, "InvalidRequestContent", "'properties'", 400},
		{`{"properties":{"mode":"Often","template":{}}}`, "InvalidRequestContent", "Incremental, Complete", 400},
		{`{"properties":{"mode":"Incremental","onErrorDeployment":{"type":"LastSuccessful"}}}`, "NotImplementedByAzimuth", "onErrorDeployment", 501},
		{`{"properties":{"mode":"Incremental"}}`, "InvalidTemplate", "missing", 400},
		{`{"properties":{"mode":"Incremental","template":{}}}`, "InvalidTemplate", "$schema", 400},
		{`{"properties":{"mode":"Incremental","templateLink":{"uri":"https://x"}}}`, "NotImplementedByAzimuth", "templateLink", 501},
		{`{"location":"westeurope",` + strings.TrimPrefix(resource(""), "{"), "InvalidDeployment", "not allowed", 400},
		{resource(`,{"type":"Microsoft.Web/sites","apiVersion":"2023-09-01","name":"x"}`), "NotImplementedByAzimuth", "Microsoft.Web/sites", 501},
		{resource(`,{"type":"Microsoft.Network/virtualNetworks","apiVersion":"2023-09-01","name":"_?"}`), "InvalidTemplateDeployment", "inner errors", 400},
		{resource(`,{"type":"Microsoft.Network/virtualNetworks","apiVersion":"2023-09-01","name":"[nope()]"}`), "InvalidTemplate", "'nope' is not valid", 400},
		{body(`{"resources":[]}`, `{"x":{"value":1}}`, ""), "InvalidTemplate", "not present in the original template", 400},
		{body(`{"resources":[],"parameters":{"p":{"type":"string"}}}`, `{"p":{"reference":{"keyVault":{"id":"x"},"secretName":"y"}}}`, ""), "NotImplementedByAzimuth", "key vaults", 501},
	} {
		for _, r := range []struct{ method, path string }{{"PUT", "d"}, {"POST", "d/validate"}, {"POST", "d/whatIf"}} {
			c.Refused(tc.status, tc.code, tc.text, r.method, deployments+r.path, tc.body)
		}
	}
	c.Refused(http.StatusBadRequest, "InvalidDeploymentName", "", "PUT", deployments+strings.Repeat("x", 65), resource(""))
	// what only the resource's service knows, validation finds
	r := c.Do("POST", deployments+"d/validate", resource(`,{"type":"Microsoft.Network/virtualNetworks","apiVersion":"2023-09-01","name":"vnet","location":"moon"}`))
	if r.Status != 400 || r.Code() != "InvalidTemplateDeployment" || !strings.Contains(string(r.Raw), "LocationNotAvailableForResourceType") {
		t.Errorf("validate: %d %s", r.Status, r.Raw)
	}
	if r := c.Want(http.StatusOK, "POST", deployments+"d/validate", resource("")); r.Body.String("properties.provisioningState") != "Succeeded" {
		t.Errorf("validate: %s", r.Raw)
	}
	if got := c.Want(http.StatusOK, "GET", rptest.Group+"/resources", nil).Names(); len(got) != 0 {
		t.Errorf("validation made %v", got)
	}
	for _, scope := range []string{"", "/providers/Microsoft.Management/managementGroups/mg"} {
		c.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "", "PUT", scope+"/providers/Microsoft.Resources/deployments/d", resource(""))
	}
}

func TestDeploymentFails(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	doc := c.deploy("d", body(`{"resources":[
		{"type":"Microsoft.Network/networkSecurityGroups","apiVersion":"2023-09-01","name":"fine","location":"westeurope"},
		{"type":"Microsoft.Network/virtualNetworks","apiVersion":"2023-09-01","name":"bad","location":"westeurope","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/99"]}}},
		{"type":"Microsoft.Network/virtualNetworks/subnets","apiVersion":"2023-09-01","name":"bad/s","dependsOn":["bad"],"properties":{"addressPrefix":"10.0.0.0/24"}}]}`, "", ""))
	if doc.String("properties.error.code") != "DeploymentFailed" || len(doc.Get("properties.error.details").([]any)) != 1 {
		t.Errorf("error: %v", doc.Get("properties.error"))
	}
	c.Want(http.StatusOK, "GET", rptest.Group+"/providers/Microsoft.Network/networkSecurityGroups/fine", nil)
	var failed, all int
	for _, v := range c.Want(http.StatusOK, "GET", deployments+"d/operations", nil).Body.List("value") {
		op := arm.Doc(v.(map[string]any))
		if all++; op.String("properties.provisioningState") == "Failed" {
			failed++
			if op.String("properties.statusCode") != "BadRequest" || op.String("properties.statusMessage.error.code") == "" {
				t.Errorf("operation: %v", op)
			}
		}
	}
	if failed != 1 || all != 2 {
		t.Errorf("%d of %d operations failed", failed, all)
	}
}

// TestDeploymentRights deploys as someone who may do part of it.
func TestDeploymentRights(t *testing.T) {
	c := newCloud(t, rptest.Options{RBAC: true})
	c.NewGroup()
	const networkContributor = "4d97b98b-1d4f-4787-a291-c67834d212e7"
	c.Want(http.StatusCreated, "PUT", rptest.Group+"/providers/Microsoft.Authorization/roleAssignments/11111111-1111-4111-8111-111111111111",
		fmt.Sprintf(`{"properties":{"roleDefinitionId":"%s/providers/Microsoft.Authorization/roleDefinitions/%s","principalId":"%s","principalType":"ServicePrincipal"}}`, rptest.Sub, networkContributor, rptest.ObjectID(rptest.Guest)))
	one := `{"type":"Microsoft.Network/networkSecurityGroups","apiVersion":"2023-09-01","name":"nsg","location":"westeurope"}`
	r := c.As(rptest.Guest, "PUT", deployments+"d", body(`{"resources":[`+one+`]}`, "", ""))
	if r.Status != http.StatusCreated { // the role has Microsoft.Resources/deployments/*
		t.Fatalf("deploy: %d %s", r.Status, r.Raw)
	}
	two := `{"type":"Microsoft.ManagedIdentity/userAssignedIdentities","apiVersion":"2023-01-31","name":"idy","location":"westeurope"}`
	r = c.As(rptest.Guest, "PUT", deployments+"e", body(`{"resources":[`+two+`]}`, "", ""))
	if r.Status != http.StatusForbidden || r.Code() != "InvalidTemplateDeployment" || !strings.Contains(r.Message(), "'Microsoft.ManagedIdentity/userAssignedIdentities/write'") {
		t.Errorf("what the caller may not write: %d %s", r.Status, r.Raw)
	}
	// nor through a nested deployment, which is written with the same rights
	nested := `{"type":"Microsoft.Resources/deployments","apiVersion":"2022-09-01","name":"in","properties":{"mode":"Incremental","template":{` + schema + `,"resources":[` + two + `]}}}`
	r = c.As(rptest.Guest, "PUT", deployments+"f", body(`{"resources":[`+nested+`]}`, "", ""))
	if r.Status != http.StatusCreated {
		t.Fatalf("deploy: %d %s", r.Status, r.Raw)
	}
	for {
		op := c.As(rptest.Guest, "GET", r.Header.Get("Azure-AsyncOperation"), nil)
		if s := op.Body.String("status"); s == "Failed" && strings.Contains(string(op.Raw), "userAssignedIdentities/write") {
			break
		} else if s != "InProgress" {
			t.Fatalf("ended as %s", op.Raw)
		}
	}
}

// TestDeploymentUnderCondition deploys role assignments as someone who may assign one
// role alone.
func TestDeploymentUnderCondition(t *testing.T) {
	c := newCloud(t, rptest.Options{RBAC: true})
	c.NewGroup()
	const reader, owner = "acdd72a7-3385-48ef-bd42-f606fba81ae7", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
	guest := rptest.ObjectID(rptest.Guest)
	const assignments = "/providers/Microsoft.Authorization/roleAssignments/"
	role := func(id string) string { return rptest.Sub + "/providers/Microsoft.Authorization/roleDefinitions/" + id }
	give := func(name, id, condition string) {
		c.Want(http.StatusCreated, "PUT", rptest.Group+assignments+name, map[string]any{"properties": map[string]any{
			"roleDefinitionId": role(id), "principalId": guest, "condition": condition}})
	}
	give("11111111-1111-4111-8111-111111111111", "4d97b98b-1d4f-4787-a291-c67834d212e7", "") // deploys
	give("11111111-1111-4111-8111-111111111112", "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
		"!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'}) OR @Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {"+reader+"}")
	for id, want := range map[string]string{reader: "Succeeded", owner: "Failed"} {
		name := strings.Replace("11111111-1111-4111-8111-1111111111xx", "xx", id[:2], 1)
		one := fmt.Sprintf(`{"type":"Microsoft.Authorization/roleAssignments","apiVersion":"2022-04-01","name":%q,"properties":{"roleDefinitionId":%q,"principalId":%q}}`, name, role(id), guest)
		r := c.As(rptest.Guest, "PUT", deployments+"d"+id[:2], body(`{"resources":[`+one+`]}`, "", ""))
		if r.Status != http.StatusCreated {
			t.Fatalf("deploy: %d %s", r.Status, r.Raw)
		}
		for {
			op := c.As(rptest.Guest, "GET", r.Header.Get("Azure-AsyncOperation"), nil)
			if s := op.Body.String("status"); s == want && (want == "Succeeded" || strings.Contains(op.Raw, "or an ABAC condition not fulfilled")) {
				break
			} else if s != "InProgress" && s != "Running" {
				t.Fatalf("%s ended as %s", id, op.Raw)
			}
		}
	}
}

func TestDeploymentToSubscription(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	const path = rptest.Sub + "/providers/Microsoft.Resources/deployments/d"
	tpl := `{"resources":[
		{"type":"Microsoft.Resources/resourceGroups","apiVersion":"2021-04-01","name":"made","location":"[deployment().location]"},
		{"type":"Microsoft.Resources/deployments","apiVersion":"2022-09-01","name":"in","resourceGroup":"made","dependsOn":["made"],
			"properties":{"mode":"Incremental","expressionEvaluationOptions":{"scope":"inner"},"parameters":{"n":{"value":"nsg"}},"template":{` + schema + `,
				"parameters":{"n":{"type":"string"}},
				"resources":[{"type":"Microsoft.Network/networkSecurityGroups","apiVersion":"2023-09-01","name":"[parameters('n')]","location":"[resourceGroup().location]"}],
				"outputs":{"id":{"type":"string","value":"[resourceId('Microsoft.Network/networkSecurityGroups', parameters('n'))]"}}}}}],
		"outputs":{"id":{"type":"string","value":"[reference('in').outputs.id.value]"}}}`
	b := body(tpl, "", "")
	c.Refused(http.StatusBadRequest, "InvalidDeployment", "must be specified", "PUT", path, b)
	b = `{"location":"westeurope",` + strings.TrimPrefix(b, "{")
	r := c.Want(http.StatusCreated, "PUT", path, b)
	if op := c.wait(r.Header.Get("Azure-AsyncOperation")); op.String("status") != "Succeeded" {
		t.Fatalf("it failed: %v", op)
	}
	doc := c.Want(http.StatusOK, "GET", path, nil).Body
	want := rptest.Sub + "/resourceGroups/made/providers/Microsoft.Network/networkSecurityGroups/nsg"
	if doc.String("properties.outputs.id.value") != want {
		t.Errorf("outputs %v", doc.Get("properties.outputs"))
	}
	c.Want(http.StatusOK, "GET", want, nil)
	c.Want(http.StatusOK, "GET", rptest.Sub+"/resourceGroups/made/providers/Microsoft.Resources/deployments/in", nil)
	if got := c.Want(http.StatusOK, "GET", rptest.Sub+"/providers/Microsoft.Resources/deployments", nil).Names(); len(got) != 1 {
		t.Errorf("list: %v", got)
	}
	w := c.Want(http.StatusOK, "POST", path+"/whatIf", b)
	var changes []string
	for _, v := range w.Body.List("properties.changes") {
		d := arm.Doc(v.(map[string]any))
		changes = append(changes, d.String("changeType")+" "+lastSegment(d.String("resourceId")))
	}
	if got := strings.Join(changes, ","); got != "NoChange made,NoChange nsg" {
		t.Errorf("what if: %s", w.Raw)
	}
}

func lastSegment(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

func TestWhatIf(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	c.deploy("d", body(networks, "", ""))
	changes := func(b string) map[string]arm.Doc {
		t.Helper()
		out := map[string]arm.Doc{}
		for _, v := range c.Want(http.StatusOK, "POST", deployments+"w/whatIf", b).Body.List("properties.changes") {
			d := arm.Doc(v.(map[string]any))
			out[lastSegment(d.String("resourceId"))] = d
		}
		return out
	}
	for name, d := range changes(body(networks, "", "")) {
		if k := d.String("changeType"); k != "NoChange" && name != "idy" {
			t.Errorf("%s: %s %v", name, k, d.Get("delta"))
		}
	}
	got := changes(body(strings.Replace(networks, `"name": "nsg", "location"`, `"name": "nsg", "tags": {"a": "b"}, "location"`, 1), `{"subnets":{"value":4}}`, ""))
	if k := got["s3"].String("changeType"); k != "Create" {
		t.Errorf("the new subnet: %v", got["s3"])
	}
	b, _ := json.Marshal(got["nsg"].Get("delta"))
	if !strings.Contains(string(b), `"path":"tags"`) || got["nsg"].String("changeType") != "Modify" {
		t.Errorf("the tag: %s", b)
	}
	ids := changes(strings.Replace(body(networks, "", ""), `"mode"`, `"whatIfSettings":{"resultFormat":"ResourceIdOnly"},"mode"`, 1))
	if d := ids["nsg"]; d.String("changeType") != "Deploy" || d.Has("after") {
		t.Errorf("IDs only: %v", d)
	}
	if got := c.Want(http.StatusOK, "GET", rptest.Group+"/providers/Microsoft.Network/networkSecurityGroups/nsg", nil); got.Body.Has("tags") {
		t.Errorf("it was changed: %s", got.Raw)
	}
}

// TestDeploymentResumes ends the engine in the middle of a deployment; the next
// one goes on with it.
func TestDeploymentResumes(t *testing.T) {
	nested := `{"resources":[{"type":"Microsoft.Resources/deployments","apiVersion":"2022-09-01","name":"in","properties":{"mode":"Incremental",
		"expressionEvaluationOptions":{"scope":"inner"},"template":{` + schema + "," + strings.TrimPrefix(networks, "{") + `}}]}`
	for name, tpl := range map[string]string{"flat": networks, "nested": nested} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "azimuth.db")
			c, stop := openCloud(t, rptest.Options{Path: path, Realistic: true})
			c.NewGroup()
			// with --realistic the network takes its time, which does not pass here
			r := c.Want(http.StatusCreated, "PUT", deployments+"d", body(tpl, "", ""))
			operation := r.Header.Get("Azure-AsyncOperation")
			c.Refused(http.StatusConflict, "DeploymentActive", "still active", "PUT", deployments+"d", body(tpl, "", ""))
			c.Refused(http.StatusConflict, "DeploymentActive", "running", "DELETE", deployments+"d", nil)
			for name == "nested" { // until that one is under way, too
				if c.Do("GET", deployments+"in", nil).Status == http.StatusOK {
					break
				}
			}
			stop()
			c = newCloud(t, rptest.Options{Path: path})
			if op := c.wait(operation); op.String("status") != "Succeeded" {
				t.Errorf("it ended as %v", op)
			}
		})
	}
}

func TestDeploymentCanceled(t *testing.T) {
	c := newCloud(t, rptest.Options{Realistic: true})
	c.NewGroup()
	r := c.Want(http.StatusCreated, "PUT", deployments+"d", body(networks, "", ""))
	c.Want(http.StatusNoContent, "POST", deployments+"d/cancel", nil)
	if op := c.wait(r.Header.Get("Azure-AsyncOperation")); op.String("status") != "Canceled" {
		t.Errorf("operation: %v", op)
	}
	if doc := c.Want(http.StatusOK, "GET", deployments+"d", nil).Body; doc.String("properties.provisioningState") != "Canceled" {
		t.Errorf("deployment: %v", doc)
	}
	// a group goes with what is being deployed to it
	c.Want(http.StatusOK, "PUT", deployments+"d", body(networks, "", ""))
	c.Want(http.StatusAccepted, "DELETE", rptest.Group, nil)
	c.Clock.Step(3600e9)
	c.Refused(http.StatusNotFound, "ResourceGroupNotFound", "", "GET", deployments+"d", nil)
}
