package machinelearning_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
)

const (
	mlw   = rg + "Microsoft.MachineLearningServices/workspaces/"
	other = rg + "Microsoft.Storage/storageAccounts/stother"
)

func isolated(mode, more string) string {
	return workspace(`,"managedNetwork":{"isolationMode":"` + mode + `"` + more + `}`)
}

func fqdn(destination string) string {
	return `{"name":"ignored","type":"FQDN","properties":{"type":"FQDN","category":"UserDefined","destination":"` + destination + `"}}`
}

func tagRule(tag, protocol, ports string) string {
	return `{"properties":{"type":"ServiceTag","destination":{"serviceTag":"` + tag + `","protocol":"` + protocol + `","portRanges":"` + ports + `"}}}`
}

func endpointRule(id, group string) string {
	return `{"properties":{"type":"PrivateEndpoint","category":"UserDefined","destination":{"serviceResourceId":"` + id + `","subresourceTarget":"` + group + `","sparkEnabled":false}}}`
}

func TestManagedNetwork(t *testing.T) {
	e, _ := newEnv(t, false)
	one, rule := mlw+"mlw-two", func(name string) string { return mlw + "mlw-two/outboundRules/" + name }
	e.Want(200, "PUT", other, `{"kind":"StorageV2","location":"eastus","sku":{"name":"Standard_LRS"},"properties":{}}`)
	r := e.Want(200, "PUT", one, isolated("allowonlyapprovedoutbound", `,"outboundRules":{"pypi":{"type":"FQDN","category":"UserDefined","destination":"pypi.org"}}`))
	if r.Body.String("properties.managedNetwork.isolationMode") != "AllowOnlyApprovedOutbound" || r.Body.String("properties.managedNetwork.networkId") == "" ||
		r.Body.String("properties.managedNetwork.status.status") != "Inactive" || r.Body.Get("properties.managedNetwork.status.sparkReady") != false {
		t.Errorf("network: %s", r.Raw)
	}
	network := r.Body.String("properties.managedNetwork.networkId")
	list := e.Want(200, "GET", one+"/outboundRules", nil)
	kinds := map[string]int{}
	for _, v := range list.Body.List("value") {
		d := arm.Doc(v.(map[string]any))
		if d.Has("properties.provisioningState") || d.String("type") != "Microsoft.MachineLearningServices/workspaces/outboundRules" || d.String("properties.status") != "Inactive" {
			t.Errorf("rule: %v", d)
		}
		kinds[d.String("properties.type")+" "+d.String("properties.category")]++
	}
	// of the workspace: blob, file, vault and itself; its registry takes none
	if kinds["PrivateEndpoint Required"] != 4 || kinds["ServiceTag Required"] != 9 || kinds["FQDN UserDefined"] != 1 {
		t.Errorf("rules: %v", kinds)
	}
	if got := r.Body.String("properties.managedNetwork.outboundRules.pypi.destination"); got != "pypi.org" {
		t.Errorf("the workspace shows its rule to %q", got)
	}

	// what azurerm sends: a category and a type at the top to create, neither to update
	if r := e.Want(200, "PUT", rule("conda"), fqdn("*.anaconda.org, anaconda.org")); r.Body.String("name") != "conda" || r.Body.String("properties.status") != "Inactive" {
		t.Errorf("rule: %s", r.Raw)
	}
	if r := e.Want(200, "PUT", rule("conda"), `{"properties":{"type":"FQDN","destination":"conda.io"}}`); r.Body.String("properties.category") != "UserDefined" || r.Body.String("properties.destination") != "conda.io" {
		t.Errorf("changed rule: %s", r.Raw)
	}
	e.Want(200, "PUT", rule("config"), tagRule("AppConfiguration", "tcp", "443, 8080-8089"))
	e.Want(200, "PUT", rule("data"), endpointRule(other, "blob"))
	if r := e.Want(200, "GET", other+"/privateEndpointConnections", nil); len(r.Body.List("value")) != 0 {
		t.Errorf("connected before the network is there: %s", r.Raw)
	}
	e.Refused(501, "NotImplementedByAzimuth", "Spark", "POST", one+"/provisionManagedNetwork", `{"includeSpark":true}`)
	if r := e.Want(200, "POST", one+"/provisionManagedNetwork", nil); r.Body.String("status") != "Active" || r.Body.Get("sparkReady") != false {
		t.Errorf("provisioned: %s", r.Raw)
	}
	e.Want(200, "POST", one+"/provisionManagedNetwork", `{}`)
	for _, v := range e.Want(200, "GET", one+"/outboundRules", nil).Body.List("value") {
		if d := arm.Doc(v.(map[string]any)); d.String("properties.status") != "Active" {
			t.Errorf("after provisioning: %v", d)
		}
	}
	// the account is in the group of the workspace, whose identity is a contributor there
	conns := e.Want(200, "GET", other+"/privateEndpointConnections", nil).Body.List("value")
	if len(conns) != 1 || arm.Doc(conns[0].(map[string]any)).String("properties.privateLinkServiceConnectionState.status") != "Approved" {
		t.Fatalf("connections: %v", conns)
	}
	if n := len(e.Want(200, "GET", account+"/privateEndpointConnections", nil).Body.List("value")); n != 2 {
		t.Errorf("%d connections to the workspace's own account, want blob and file", n)
	}
	if r := e.Want(200, "GET", one, nil); r.Body.Int("properties.privateLinkCount", 0) != 1 || r.Body.String("properties.managedNetwork.networkId") != network {
		t.Errorf("workspace: %s", r.Raw)
	}
	// rejected by the account's owner, the rule is out of effect; approved, in it
	conn := arm.Doc(conns[0].(map[string]any)).String("id")
	for _, step := range [][2]string{{"Rejected", "Inactive"}, {"Approved", "Active"}} {
		e.Want(200, "PUT", conn, `{"properties":{"privateLinkServiceConnectionState":{"status":"`+step[0]+`"}}}`)
		if got := e.Want(200, "GET", rule("data"), nil).Body.String("properties.status"); got != step[1] {
			t.Errorf("%s connection: rule is %s, want %s", step[0], got, step[1])
		}
	}
	// one that is added now is in effect at once
	if r := e.Want(200, "PUT", rule("queues"), endpointRule(other, "queue")); r.Body.String("properties.status") != "Active" {
		t.Errorf("added: %s", r.Raw)
	}
	e.Want(200, "DELETE", rule("data"), nil)
	e.Want(204, "DELETE", rule("data"), nil)
	e.Refused(404, "ResourceNotFound", "data", "GET", rule("data"), nil)
	if n := len(e.Want(200, "GET", other+"/privateEndpointConnections", nil).Body.List("value")); n != 1 {
		t.Errorf("%d connections after a rule is gone, want 1", n)
	}

	// sending back what was read changes nothing, as azurerm_ai_foundry does
	was := e.Want(200, "GET", one, nil)
	is := e.Want(200, "PUT", one, was.Raw)
	was.Body.Delete("systemData")
	is.Body.Delete("systemData")
	for _, d := range []arm.Doc{was.Body, is.Body} {
		for _, c := range d.List("properties.privateEndpointConnections") {
			delete(c.(map[string]any), "systemData")
		}
	}
	if a, b := was.Body.Object("properties.managedNetwork"), is.Body.Object("properties.managedNetwork"); len(a.Object("outboundRules")) != len(b.Object("outboundRules")) || b.String("status.status") != "Active" {
		t.Errorf("sent back:\n%v\n%v", a, b)
	}
	// and leaving the network out, as azurerm 3 does, leaves it alone
	if r := e.Want(200, "PUT", one, workspace("")); r.Body.String("properties.managedNetwork.isolationMode") != "AllowOnlyApprovedOutbound" {
		t.Errorf("left out: %s", r.Raw)
	}
	e.Want(200, "DELETE", one, nil)
	for _, at := range []string{other, account, kv} {
		if r := e.Want(200, "GET", at+"/privateEndpointConnections", nil); len(r.Body.List("value")) != 0 {
			t.Errorf("connections left at %s: %s", at, r.Raw)
		}
	}
}

func TestManagedNetworkRefusals(t *testing.T) {
	e, _ := newEnv(t, false)
	strict, lax := mlw+"mlw-strict", mlw+"mlw-lax"
	e.Want(200, "PUT", strict, isolated("AllowOnlyApprovedOutbound", ""))
	e.Want(200, "PUT", lax, isolated("AllowInternetOutbound", ""))
	e.Want(200, "PUT", lax+"/outboundRules/blobs", endpointRule(account, "blob"))
	const size = `"vmSize":"Standard_D4s_v3",`
	e.Want(201, "PUT", ws+"/computes/cpu-cluster", cluster(size+scale))
	var required string
	for name := range e.Want(200, "GET", strict, nil).Body.Object("properties.managedNetwork.outboundRules") {
		if strings.HasPrefix(name, "__SYS_PE_stone_blob") {
			required = name
		}
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
		code, text         string
	}{
		{"PUT", strict, isolated("AllowInternetOutbound", ""), 400, "ValidationError", "cannot be changed to AllowInternetOutbound"},
		{"PUT", strict, isolated("Disabled", ""), 400, "ValidationError", "cannot be changed to Disabled"},
		{"PUT", lax, isolated("Disabled", ""), 400, "ValidationError", "cannot be changed to Disabled"},
		{"PUT", lax, isolated("Open", ""), 400, "ValidationError", "Open"},
		{"PATCH", ws, `{"properties":{"managedNetwork":{"isolationMode":"AllowInternetOutbound"}}}`, 400, "ValidationError", "cpu-cluster"},
		{"PUT", ws, workspace(`,"managedNetwork":{"outboundRules":{"pypi":{"type":"FQDN","destination":"pypi.org"}}}`), 400, "ValidationError", "no outbound rules"},
		{"PUT", mlw + "mlw-new", workspace(`,"provisionNetworkNow":true`), 400, "ValidationError", "no network"},
		{"PUT", mlw + "mlw-new", isolated("AllowInternetOutbound", `,"outboundRules":{"x":{"type":"FQDN","destination":"pypi.org"}}`), 400, "ValidationError", "name 'x'"},
		{"PUT", mlw + "mlw-new", isolated("AllowInternetOutbound", `,"outboundRules":{"pypi":null}`), 400, "ValidationError", "not an object"},
		{"PUT", mlw + "mlw-new", isolated("AllowInternetOutbound", `,"firewallSku":"Gold"`), 400, "ValidationError", "Gold"},
		{"PUT", mlw + "mlw-new", workspace(`,"managedNetwork":{"isolationMode":"AllowInternetOutbound"},"serverlessComputeSettings":{"serverlessComputeCustomSubnet":"` + subnet + `"}`), 400, "ValidationError", "snet"},
		{"POST", ws + "/provisionManagedNetwork", "", 400, "ValidationError", "no network"},
		{"PUT", ws + "/outboundRules/pypi", fqdn("pypi.org"), 400, "ValidationError", "Disabled"},
		{"PUT", lax + "/outboundRules/pypi", fqdn("pypi.org"), 400, "ValidationError", "Only outbound rules of type PrivateEndpoint"},
		{"PUT", lax + "/outboundRules/more", endpointRule(account, "blob"), 400, "ValidationError", "'blobs' has this destination"},
		{"PUT", strict + "/outboundRules/more", endpointRule(account, "blob"), 400, "ValidationError", "has this destination"},
		{"PUT", strict + "/outboundRules/more", endpointRule(account, "vault"), 400, "ValidationError", "no sub-resource"},
		{"PUT", strict + "/outboundRules/more", endpointRule(account+"x", "blob"), 404, "ResourceNotFound", "stonex"},
		{"PUT", strict + "/outboundRules/more", endpointRule("stone", "blob"), 400, "ValidationError", "not the ID"},
		{"PUT", strict + "/outboundRules/more", endpointRule(rg+"Microsoft.Cache/redis/r", "redisCache"), 501, "NotImplementedByAzimuth", "Microsoft.Cache/redis"},
		{"PUT", strict + "/outboundRules/pypi", fqdn("not a name"), 400, "ValidationError", "not a domain name"},
		{"PUT", strict + "/outboundRules/pypi", fqdn(""), 400, "ValidationError", "domain name"},
		{"PUT", strict + "/outboundRules/tag", tagRule("", "TCP", "443"), 400, "ValidationError", "service tag"},
		{"PUT", strict + "/outboundRules/tag", tagRule("Storage", "SCTP", "443"), 400, "ValidationError", "SCTP"},
		{"PUT", strict + "/outboundRules/tag", tagRule("Storage", "TCP", "443-80"), 400, "ValidationError", "443-80"},
		{"PUT", strict + "/outboundRules/tag", tagRule("Storage", "TCP", ""), 400, "ValidationError", "port"},
		{"PUT", strict + "/outboundRules/tag", `{"properties":{"type":"Tag"}}`, 400, "ValidationError", "Tag"},
		{"PUT", strict + "/outboundRules/tag", `{}`, 400, "ValidationError", "missing"},
		{"PUT", strict + "/outboundRules/pypi", strings.Replace(fqdn("pypi.org"), "UserDefined", "Required", 1), 400, "ValidationError", "itself"},
		{"PUT", strict + "/outboundRules/-x", fqdn("pypi.org"), 400, "InvalidResourceName", ""},
		{"PUT", strict + "/outboundRules/__SYS_X", fqdn("pypi.org"), 400, "InvalidResourceName", ""},
		{"PUT", strict + "/outboundRules/" + required, endpointRule(account, "file"), 400, "ValidationError", "itself"},
		{"DELETE", strict + "/outboundRules/" + required, "", 400, "ValidationError", "cannot be deleted"},
		{"PATCH", strict + "/outboundRules/" + required, `{}`, 501, "NotImplementedByAzimuth", ""},
		{"PUT", mlw + "mlw-none/outboundRules/pypi", fqdn("pypi.org"), 404, "ParentResourceNotFound", "mlw-none"},
		{"PUT", strict + "/computes/c-net", cluster(size + scale + `,"subnet":{"id":"` + subnet + `"}`), 400, "ValidationError", "managed network"},
	} {
		var body any
		if tc.body != "" {
			body = tc.body
		}
		e.Refused(tc.status, tc.code, tc.text, tc.method, tc.path, body)
	}
	if r := e.Want(200, "GET", mlw[:len(mlw)-1], nil); slices.Contains(r.Names(), "mlw-new") {
		t.Errorf("a refused workspace is there: %v", r.Names())
	}
}

// TestFirstCompute checks that a first compute makes the network, and that a compute
// in it needs no subnet to go without public addresses.
func TestFirstCompute(t *testing.T) {
	e, _ := newEnv(t, false)
	one := mlw + "mlw-two"
	e.Want(200, "PUT", one, isolated("AllowInternetOutbound", ""))
	e.Want(200, "PUT", one+"/outboundRules/table", endpointRule(account, "table"))
	e.Want(201, "PUT", one+"/computes/cpu-cluster", cluster(`"vmSize":"Standard_D4s_v3","enableNodePublicIp":false,`+scale))
	if r := e.Want(200, "GET", one, nil); r.Body.String("properties.managedNetwork.status.status") != "Active" || r.Body.String("properties.managedNetwork.outboundRules.table.status") != "Active" {
		t.Errorf("workspace: %s", r.Raw)
	}
	// stricter: what that needs is there at once, but for the endpoint that a user made
	r := e.Want(200, "PATCH", one, `{"properties":{"managedNetwork":{"isolationMode":"AllowOnlyApprovedOutbound"}}}`)
	rules := r.Body.Object("properties.managedNetwork.outboundRules")
	if len(rules) != 1+4+9 {
		t.Errorf("%d rules: %v", len(rules), rules)
	}
	for name := range rules {
		if rules.String(name+".status") != "Active" && !strings.Contains(name, ".") {
			t.Errorf("rule %s: %v", name, rules[name])
		}
	}
	// a workspace that is made with its network
	r = e.Want(200, "PUT", mlw+"mlw-now", isolated("AllowInternetOutbound", `},"provisionNetworkNow":true,"x":{`))
	if r.Body.String("properties.managedNetwork.status.status") != "Active" {
		t.Errorf("provisioned: %s", r.Raw)
	}
}

// TestForeignEndpoint checks that the owner of what is in another group is asked.
func TestForeignEndpoint(t *testing.T) {
	e, _ := newEnv(t, false)
	const group = "/resourceGroups/rg-foreign"
	foreign := strings.Split(account, "/resourceGroups/")[0] + group + "/providers/Microsoft.Storage/storageAccounts/stforeign"
	e.Want(201, "PUT", strings.Split(foreign, "/providers/")[0], `{"location":"eastus"}`)
	e.Want(200, "PUT", foreign, `{"kind":"StorageV2","location":"eastus","sku":{"name":"Standard_LRS"},"properties":{}}`)
	one := mlw + "mlw-two"
	e.Want(200, "PUT", one, isolated("AllowInternetOutbound", `},"provisionNetworkNow":true,"x":{`))
	if r := e.Want(200, "PUT", one+"/outboundRules/foreign", endpointRule(foreign, "blob")); r.Body.String("properties.status") != "Inactive" {
		t.Errorf("rule: %s", r.Raw)
	}
	conns := e.Want(200, "GET", foreign+"/privateEndpointConnections", nil).Body.List("value")
	if len(conns) != 1 {
		t.Fatalf("connections: %v", conns)
	}
	conn := arm.Doc(conns[0].(map[string]any))
	if conn.String("properties.privateLinkServiceConnectionState.status") != "Pending" {
		t.Errorf("connection: %v", conn)
	}
	e.Want(200, "PUT", conn.String("id"), `{"properties":{"privateLinkServiceConnectionState":{"status":"Approved"}}}`)
	if r := e.Want(200, "GET", one+"/outboundRules/foreign", nil); r.Body.String("properties.status") != "Active" {
		t.Errorf("approved: %s", r.Raw)
	}
	e.Want(200, "DELETE", foreign, nil)
	if r := e.Want(200, "GET", one+"/outboundRules/foreign", nil); r.Body.String("properties.status") != "Inactive" {
		t.Errorf("the account is gone: %s", r.Raw)
	}
	e.Want(200, "DELETE", one+"/outboundRules/foreign", nil)
}

func TestParsePorts(t *testing.T) {
	for s, want := range map[string][]machinelearning.Ports{
		"*": {{First: 0, Last: 65535}}, "443": {{First: 443, Last: 443}}, "80, 1024-65535": {{First: 80, Last: 80}, {First: 1024, Last: 65535}},
		"": nil, "80-": nil, "-80": nil, "9-8": nil, "65536": nil, "80,": nil, "http": nil, "1-2-3": nil,
	} {
		if got, ok := machinelearning.ParsePorts(s); ok != (want != nil) || !slices.Equal(got, want) {
			t.Errorf("ParsePorts(%q) = %v, %v", s, got, ok)
		}
	}
}

func FuzzParsePorts(f *testing.F) {
	for _, s := range []string{"*", "443", "80, 1024-65535", "", "9-8", "65536", ",", "1-2-3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := machinelearning.ParsePorts(s)
		if ok != (len(got) > 0) {
			t.Errorf("ParsePorts(%q) = %v, %v", s, got, ok)
		}
		for _, p := range got {
			if p.Last < p.First {
				t.Errorf("ParsePorts(%q) = %v", s, got)
			}
		}
	})
}
