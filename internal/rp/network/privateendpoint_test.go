package network_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/authorization"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

const (
	account   = rptest.Group + "/providers/Microsoft.Storage/storageAccounts/stlab"
	keys      = rptest.Group + "/providers/Microsoft.KeyVault/vaults/kv-Lab"
	images    = rptest.Group + "/providers/Microsoft.ContainerRegistry/registries/crlab"
	workspace = rptest.Group + "/providers/Microsoft.MachineLearningServices/workspaces/mlw"
	endpoint  = rptest.Group + "/providers/Microsoft.Network/privateEndpoints/pe-1"
	subnet    = vnet + "/subnets/endpoints"
)

// targets are types of which no more is needed than that they are there.
func targets() []*arm.Provider {
	var out []*arm.Provider
	for _, typ := range []string{"Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults", "Microsoft.ContainerRegistry/registries", "Microsoft.MachineLearningServices/workspaces"} {
		ns, _, _ := strings.Cut(typ, "/")
		out = append(out, &arm.Provider{Namespace: ns, Types: []*arm.ResourceType{{Type: typ, Tracked: true}}})
	}
	return append(out, network.PrivateLinks(nil)...)
}

func newEndpointEnv(t *testing.T, options rptest.Options) *rptest.Env {
	var e *rptest.Env
	all := append(providers(nil), authorization.Provider(authorization.Deps{
		Directory: &rptest.Directory{}, Roles: func() authorization.Roles { return e.RBAC },
	}))
	e = rptest.New(t, options, append(all, targets()...)...)
	e.NewGroup()
	e.Want(http.StatusCreated, "PUT", vnet, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.1.0.0/16"]}}}`)
	e.Want(http.StatusCreated, "PUT", subnet, `{"properties":{"addressPrefix":"10.1.1.0/28"}}`)
	e.Want(http.StatusCreated, "PUT", account, `{"location":"eastus","properties":{"primaryEndpoints":{"blob":"https://stlab.blob.core.windows.net/","file":"https://stlab.file.core.windows.net/"},"secondaryEndpoints":{"blob":"https://stlab-secondary.blob.core.windows.net/"}}}`)
	e.Want(http.StatusCreated, "PUT", keys, `{"location":"westus"}`)
	e.Want(http.StatusCreated, "PUT", images, `{"location":"East US"}`)
	e.Want(http.StatusCreated, "PUT", workspace, `{"location":"eastus","properties":{"workspaceId":"0aaa"}}`)
	return e
}

// lead is the body of an endpoint; more is added to its properties.
func lead(target, group, more string) string {
	return fmt.Sprintf(`{"location":"eastus","properties":{"subnet":{"id":%q},"privateLinkServiceConnections":[{"name":"psc","properties":{"privateLinkServiceId":%q,"groupIds":[%q]}}]%s}}`,
		subnet, target, group, more)
}

func named(name string) string { return strings.Replace(endpoint, "pe-1", name, 1) }

func privateZone(name string) string {
	return rptest.Group + "/providers/Microsoft.Network/privateDnsZones/" + name
}

func zoneGroup(zones ...string) string {
	var configs []string
	for _, z := range zones {
		configs = append(configs, fmt.Sprintf(`{"name":%q,"properties":{"privateDnsZoneId":%q}}`, z, privateZone(z)))
	}
	return `{"properties":{"privateDnsZoneConfigs":[` + strings.Join(configs, ",") + `]}}`
}

func TestEndpoint(t *testing.T) {
	e := newEndpointEnv(t, rptest.Options{})
	r := e.Want(http.StatusCreated, "PUT", endpoint, lead(account, "blob", ""))
	state := "privateLinkServiceConnectionState.status"
	conn := arm.Doc(r.Body.List("properties.privateLinkServiceConnections")[0].(map[string]any))
	if conn.String("properties."+state) != "Approved" || conn.String("id") != endpoint+"/privateLinkServiceConnections/psc" {
		t.Errorf("connection: %s", r.Raw)
	}
	dns := r.Body.List("properties.customDnsConfigs")
	if len(dns) != 1 || fmt.Sprint(dns[0]) != "map[fqdn:stlab.blob.core.windows.net ipAddresses:[10.1.1.4]]" {
		t.Errorf("names: %v", dns)
	}
	nic := r.Body.List("properties.networkInterfaces")[0].(map[string]any)["id"].(string)
	n := e.Want(http.StatusOK, "GET", nic, nil)
	config := arm.Doc(n.Body.List("properties.ipConfigurations")[0].(map[string]any))
	if config.String("properties.privateIPAddress") != "10.1.1.4" || config.String("properties.subnet.id") != subnet || n.Body.String("properties.privateEndpoint.id") != endpoint || n.Body.String("location") != "eastus" {
		t.Errorf("interface: %s", n.Raw)
	}
	if s := e.Want(200, "GET", subnet, nil); len(s.Body.List("properties.privateEndpoints")) != 1 || len(s.Body.List("properties.ipConfigurations")) != 1 {
		t.Errorf("subnet: %s", s.Raw)
	}
	e.Refused(http.StatusBadRequest, "InUseSubnetCannotBeDeleted", nic, "DELETE", subnet, nil)
	e.Refused(http.StatusBadRequest, "InUsePrefixCannotBeDeleted", "", "PUT", subnet, `{"properties":{"addressPrefix":"10.1.9.0/24"}}`)
	list := e.Want(200, "GET", account+"/privateEndpointConnections", nil).Body.List("value")
	if len(list) != 1 || arm.Doc(list[0].(map[string]any)).String("properties.privateEndpoint.id") != endpoint {
		t.Errorf("connections: %v", list)
	}

	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "networkInterfaces", "DELETE", nic, nil)

	e.Want(http.StatusOK, "PATCH", nic, `{"tags":{"a":"b"}}`)
	conf := e.Want(http.StatusOK, "GET", nic+"/ipConfigurations", nil)
	if names := conf.Names(); len(names) != 1 {
		t.Errorf("configurations: %s", conf.Raw)
	} else if c := e.Want(http.StatusOK, "GET", nic+"/ipConfigurations/"+names[0], nil); c.Body.String("properties.privateIPAddress") != "10.1.1.4" {
		t.Errorf("configuration: %s", c.Raw)
	}
	for address, want := range map[string]string{
		"10.1.1.4": "map[available:false availableIPAddresses:[10.1.1.5 10.1.1.6 10.1.1.7 10.1.1.8 10.1.1.9] isPlatformReserved:false]",
		"10.1.1.2": "map[available:false availableIPAddresses:[10.1.1.5 10.1.1.6 10.1.1.7 10.1.1.8 10.1.1.9] isPlatformReserved:true]",
		"10.1.1.9": "map[available:true isPlatformReserved:false]",
		"10.1.9.9": "map[available:false isPlatformReserved:false]",
	} {
		if r := e.Want(200, "GET", vnet+"/CheckIPAddressAvailability?ipAddress="+address, nil); fmt.Sprint(map[string]any(r.Body)) != want {
			t.Errorf("%s: %v", address, r.Body)
		}
	}
	if r := e.Want(200, "GET", vnet+"/usages", nil); !strings.Contains(r.Raw, `"currentValue":1`) || !strings.Contains(r.Raw, `"limit":11`) {
		t.Errorf("usages: %s", r.Raw)
	}

	// a PUT again changes tags and keeps what was given out
	again := e.Want(http.StatusOK, "PUT", endpoint, strings.Replace(lead(account, "blob", ""), `{"location"`, `{"tags":{"a":"b"},"location"`, 1))
	if again.Body.List("properties.networkInterfaces")[0].(map[string]any)["id"] != nic || again.Body.String("tags.a") != "b" {
		t.Errorf("update: %s", again.Raw)
	}
	e.Want(http.StatusOK, "PATCH", endpoint, `{"tags":{}}`)
	e.Refused(http.StatusConflict, "PropertyChangeNotAllowed", "", "PUT", endpoint, lead(account, "file", ""))
	e.Want(http.StatusOK, "DELETE", endpoint, nil)
	e.Want(http.StatusNotFound, "GET", nic, nil)
	if list := e.Want(200, "GET", account+"/privateEndpointConnections", nil).Body.List("value"); len(list) != 0 {
		t.Errorf("connections are left: %v", list)
	}
	e.Want(http.StatusOK, "DELETE", subnet, nil)
}

func TestEndpointAddresses(t *testing.T) {
	e := newEndpointEnv(t, rptest.Options{})
	static := func(member, address string) string {
		return `,"ipConfigurations":[{"name":"ip","properties":{"groupId":"blob","memberName":"` + member + `","privateIPAddress":"` + address + `"}}]`
	}
	for _, tc := range []struct{ member, address, code, text string }{
		{"blob", "10.1.2.9", "PrivateIPAddressNotInSubnet", "10.1.2.9 does not belong to the range of subnet prefix 10.1.1.0/28"},
		{"blob", "10.1.1.3", "PrivateIPAddressInReservedRange", "10.1.1.3 falls within reserved IP range of subnet prefix 10.1.1.0/28"},
		{"blob", "10.1.1.15", "PrivateIPAddressInReservedRange", ""},
		{"blob", "ten", "InvalidIPAddressFormat", ""},
		{"default", "10.1.1.9", "InvalidRequestFormat", "member 'default'"},
	} {
		e.Refused(http.StatusBadRequest, tc.code, tc.text, "PUT", endpoint, lead(account, "blob", static(tc.member, tc.address)))
	}
	e.Refused(http.StatusBadRequest, "InvalidRequestFormat", "default, notebook, inference", "PUT", endpoint, lead(workspace, "amlworkspace",
		`,"ipConfigurations":[{"name":"ip","properties":{"groupId":"amlworkspace","memberName":"default","privateIPAddress":"10.1.1.9"}}]`))
	e.Want(http.StatusCreated, "PUT", endpoint, lead(account, "blob", static("blob", "10.1.1.5")))
	e.Refused(http.StatusBadRequest, "PrivateIPAddressIsAllocated", "is using the private IP address 10.1.1.5", "PUT", named("pe-2"), lead(account, "blob", static("blob", "10.1.1.5")))
	// 16 addresses, of which Azure keeps 5: 10 are left for three workspaces of three
	for i := range 3 {
		r := e.Want(http.StatusCreated, "PUT", named(fmt.Sprintf("pe-w%d", i)), lead(workspace, "amlworkspace", ""))
		if i == 0 && !strings.Contains(r.Raw, `["10.1.1.4"]`) || strings.Contains(r.Raw, "10.1.1.5") {
			t.Errorf("addresses: %s", r.Raw)
		}
	}
	e.Refused(http.StatusBadRequest, "SubnetIsFull", "Subnet endpoints with address prefix 10.1.1.0/28 does not have enough capacity for 3 IP addresses.", "PUT", named("pe-w3"), lead(workspace, "amlworkspace", ""))
	e.Want(http.StatusOK, "DELETE", named("pe-w1"), nil)
	e.Want(http.StatusCreated, "PUT", named("pe-w3"), lead(workspace, "amlworkspace", `,"customNetworkInterfaceName":"nic-w3"`))
	e.Want(http.StatusOK, "GET", rptest.Group+"/providers/Microsoft.Network/networkInterfaces/nic-w3", nil)
	// nothing is in the way of the whole group's end
	e.Want(http.StatusAccepted, "DELETE", rptest.Group, nil)
	e.Want(http.StatusNotFound, "GET", rptest.Group, nil)
}

func TestEndpointRefusals(t *testing.T) {
	e := newEndpointEnv(t, rptest.Options{})
	e.Want(http.StatusCreated, "PUT", vnet+"/subnets/delegated", `{"properties":{"addressPrefix":"10.1.2.0/24","delegations":[{"name":"d","properties":{"serviceName":"Microsoft.Web/serverFarms"}}]}}`)
	for name, tc := range map[string]struct {
		status           int
		code, text, body string
	}{
		"no such group":      {400, "InvalidRequestFormat", "Its groups are blob, file, blob_secondary.", lead(account, "queue", "")},
		"no such account":    {400, "InvalidResourceReference", "", lead(account+"0", "blob", "")},
		"another service":    {501, "NotImplementedByAzimuth", "Microsoft.Sql/servers", lead(rptest.Group+"/providers/Microsoft.Sql/servers/s", "sqlServer", "")},
		"a service of yours": {501, "NotImplementedByAzimuth", "private link service", lead("s.guid.eastus.azure.privatelinkservice", "x", "")},
		"two connections":    {400, "InvalidRequestFormat", "has 2 connections", lead(account, "blob", `,"manualPrivateLinkServiceConnections":[{"name":"m"}]`)},
		"no subnet":          {400, "InvalidResourceReference", "", strings.Replace(lead(account, "blob", ""), "subnets/endpoints", "subnets/none", 1)},
		"another region":     {400, "InvalidResourceReference", "both resources are in the same region", strings.Replace(lead(account, "blob", ""), "eastus", "westus", 1)},
		"a delegated subnet": {400, "PrivateEndpointCreationNotAllowedAsSubnetIsDelegated", "is delegated", strings.Replace(lead(account, "blob", ""), "subnets/endpoints", "subnets/delegated", 1)},
	} {
		if r := e.Do("PUT", endpoint, tc.body); r.Status != tc.status || r.Code() != tc.code || !strings.Contains(r.Message(), tc.text) {
			t.Errorf("%s: %d %s", name, r.Status, r.Raw)
		}
	}
	if r := e.Want(200, "GET", account+"/privateEndpointConnections", nil); len(r.Body.List("value")) != 0 {
		t.Errorf("a refused endpoint left %s", r.Raw)
	}
}

// A zone group writes the records of an endpoint, and they go with it.
func TestZoneGroups(t *testing.T) {
	e := newEndpointEnv(t, rptest.Options{})
	for _, z := range []string{"privatelink.blob.core.windows.net", "privatelink.vaultcore.azure.net", "privatelink.azurecr.io", "privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"} {
		e.Want(http.StatusCreated, "PUT", privateZone(z), `{"location":"global"}`)
	}
	count := func(zone string) int {
		return e.Want(200, "GET", privateZone(zone), nil).Body.Int("properties.numberOfRecordSets", 0)
	}
	for _, tc := range []struct {
		target, group string
		records       map[string]string // zone/record → address
	}{
		{account, "blob", map[string]string{"privatelink.blob.core.windows.net/A/stlab": "10.1.1.4"}},
		{account, "blob_secondary", map[string]string{"privatelink.blob.core.windows.net/A/stlab-secondary": "10.1.1.4"}},
		{keys, "vault", map[string]string{"privatelink.vaultcore.azure.net/A/kv-lab": "10.1.1.4"}},
		{images, "registry", map[string]string{"privatelink.azurecr.io/A/crlab": "10.1.1.4", "privatelink.azurecr.io/A/crlab.eastus.data": "10.1.1.5"}},
		{workspace, "amlworkspace", map[string]string{
			"privatelink.api.azureml.ms/A/0aaa.workspace.eastus": "10.1.1.4", "privatelink.api.azureml.ms/A/0aaa.workspace.eastus.cert": "10.1.1.4",
			"privatelink.api.azureml.ms/A/*.0aaa.inference.eastus": "10.1.1.6", "privatelink.notebooks.azure.net/A/ml-mlw-eastus-0aaa.eastus": "10.1.1.5",
		}},
	} {
		e.Want(http.StatusCreated, "PUT", endpoint, lead(tc.target, tc.group, ""))
		zones := map[string]bool{}
		var names []string
		for at := range tc.records {
			z, _, _ := strings.Cut(at, "/")
			if !zones[z] {
				zones[z] = true
				names = append(names, z)
			}
		}
		g := e.Want(http.StatusCreated, "PUT", endpoint+"/privateDnsZoneGroups/default", zoneGroup(names...))
		if n := strings.Count(g.Raw, `"recordSetName"`); n != len(tc.records) {
			t.Errorf("%s: %d record sets: %s", tc.group, n, g.Raw)
		}
		for at, address := range tc.records {
			r := e.Want(200, "GET", privateZone(at), nil)
			if !strings.Contains(r.Raw, `[{"ipv4Address":"`+address+`"}]`) || r.Body.Int("properties.ttl", 0) != 10 || !strings.HasPrefix(r.Body.String("properties.metadata.creator"), "created by private endpoint pe-1 with resource guid ") {
				t.Errorf("%s: %s", at, r.Raw)
			}
		}
		if r := e.Want(200, "GET", endpoint, nil); len(r.Body.List("properties.customDnsConfigs")) != 0 {
			t.Errorf("%s: names in zones are shown: %s", tc.group, r.Raw)
		}
		e.Refused(http.StatusBadRequest, "InvalidRequestFormat", "one at most", "PUT", endpoint+"/privateDnsZoneGroups/second", zoneGroup(names...))
		e.Want(http.StatusOK, "DELETE", endpoint, nil)
		for at := range tc.records {
			e.Want(http.StatusNotFound, "GET", privateZone(at), nil)
			z, _, _ := strings.Cut(at, "/")
			if n := count(z); n != 1 {
				t.Errorf("%s has %d record sets", z, n)
			}
		}
	}
	e.Want(http.StatusCreated, "PUT", endpoint, lead(account, "blob", ""))
	e.Refused(http.StatusBadRequest, "InvalidResourceReference", "", "PUT", endpoint+"/privateDnsZoneGroups/default", zoneGroup("none.internal"))
	e.Want(http.StatusCreated, "PUT", endpoint+"/privateDnsZoneGroups/default", zoneGroup("privatelink.azurecr.io"))
	e.Want(http.StatusOK, "PUT", endpoint+"/privateDnsZoneGroups/default", zoneGroup("privatelink.blob.core.windows.net"))
	// a record that has become another's stays
	e.Want(http.StatusOK, "PUT", privateZone("privatelink.blob.core.windows.net/A/stlab"), `{"properties":{"ttl":60,"aRecords":[{"ipv4Address":"10.9.9.9"}]}}`)
	e.Want(http.StatusOK, "DELETE", endpoint+"/privateDnsZoneGroups/default", nil)
	e.Want(http.StatusOK, "GET", privateZone("privatelink.blob.core.windows.net/A/stlab"), nil)
}

// The target's owner approves, rejects and ends connections.
func TestApproval(t *testing.T) {
	e := newEndpointEnv(t, rptest.Options{RBAC: true})
	const contributor = "4d97b98b-1d4f-4787-a291-c67834d212e7" // Network Contributor
	e.Want(http.StatusCreated, "PUT", rptest.Group+"/providers/Microsoft.Authorization/roleAssignments/11111111-0000-0000-0000-000000000001",
		`{"properties":{"principalId":"`+rptest.ObjectID(rptest.Guest)+`","roleDefinitionId":"`+rptest.Sub+`/providers/Microsoft.Authorization/roleDefinitions/`+contributor+`"}}`)
	e.Want(http.StatusCreated, "PUT", privateZone("privatelink.vaultcore.azure.net"), `{"location":"global"}`)

	auto := lead(keys, "vault", "")
	r := e.As(rptest.Guest, "PUT", endpoint, auto)
	if r.Status != http.StatusForbidden || r.Code() != "LinkedAuthorizationFailed" || !strings.Contains(r.Message(), "PrivateEndpointConnectionsApproval/action") {
		t.Errorf("a vault of others is joined: %d %s", r.Status, r.Raw)
	}
	asked := strings.Replace(strings.Replace(auto, "privateLinkServiceConnections", "manualPrivateLinkServiceConnections", 1), `"groupIds"`, `"requestMessage":"please","groupIds"`, 1)
	r = e.As(rptest.Guest, "PUT", endpoint, asked)
	status := func() string {
		body := e.Want(200, "GET", endpoint, nil).Body
		return arm.Doc(body.List("properties.manualPrivateLinkServiceConnections")[0].(map[string]any)).String("properties.privateLinkServiceConnectionState.status")
	}
	if r.Status != http.StatusCreated || status() != "Pending" || len(r.Body.List("properties.customDnsConfigs")) != 0 {
		t.Fatalf("asked: %d %s", r.Status, r.Raw)
	}
	e.As(rptest.Guest, "PUT", endpoint+"/privateDnsZoneGroups/default", zoneGroup("privatelink.vaultcore.azure.net"))
	record := privateZone("privatelink.vaultcore.azure.net/A/kv-lab")
	e.Want(http.StatusNotFound, "GET", record, nil)

	list := e.Want(200, "GET", keys+"/privateEndpointConnections", nil).Body.List("value")
	conn := arm.Doc(list[0].(map[string]any))
	if conn.String("properties.privateLinkServiceConnectionState.description") != "please" {
		t.Errorf("connection: %v", conn)
	}
	decide := func(status string) string {
		return `{"properties":{"privateLinkServiceConnectionState":{"status":"` + status + `","description":"by me"}}}`
	}
	if r := e.As(rptest.Guest, "PUT", conn.String("id"), decide("Approved")); r.Status != http.StatusForbidden {
		t.Errorf("who asks approves: %d %s", r.Status, r.Raw)
	}
	r = e.Want(http.StatusOK, "PUT", conn.String("id"), decide("Approved"))
	if r.Body.String("properties.privateEndpoint.id") != endpoint || status() != "Approved" {
		t.Errorf("approved: %s", r.Raw)
	}
	e.Want(http.StatusOK, "GET", record, nil)
	e.Refused(http.StatusBadRequest, "InvalidPrivateEndpointConnectionState", "", "PUT", conn.String("id"), decide("Pending"))
	e.Want(http.StatusOK, "PUT", conn.String("id"), decide("Rejected"))
	if status() != "Rejected" {
		t.Errorf("the endpoint is %s", status())
	}
	e.Want(http.StatusOK, "DELETE", conn.String("id"), nil)
	if status() != "Disconnected" {
		t.Errorf("the endpoint is %s", status())
	}
	e.Want(http.StatusNotFound, "PUT", keys+"/privateEndpointConnections/none", decide("Approved"))
	e.Want(http.StatusOK, "DELETE", keys, nil)
	e.Want(http.StatusOK, "DELETE", endpoint, nil)
	e.Want(http.StatusNotFound, "GET", record, nil)
}

func TestPrivateLinkResources(t *testing.T) {
	e := newEndpointEnv(t, rptest.Options{})
	for target, want := range map[string]string{
		account: "blob file blob_secondary", keys: "vault", images: "registry", workspace: "amlworkspace",
	} {
		r := e.Want(200, "GET", target+"/privateLinkResources", nil)
		if got := strings.Join(r.Names(), " "); got != want {
			t.Errorf("%s: %s", target, r.Raw)
		}
	}
	r := e.Want(200, "GET", workspace+"/privateLinkResources/amlworkspace", nil)
	if fmt.Sprint(r.Body.Get("properties.requiredMembers")) != "[default notebook inference]" || fmt.Sprint(r.Body.Get("properties.requiredZoneNames")) != "[privatelink.api.azureml.ms privatelink.notebooks.azure.net]" {
		t.Errorf("resource: %s", r.Raw)
	}
	e.Want(http.StatusNotFound, "GET", workspace+"/privateLinkResources/none", nil)
	e.Want(http.StatusNotFound, "GET", workspace+"0/privateLinkResources", nil)
}
