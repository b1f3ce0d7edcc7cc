package network_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/authorization"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

const (
	group = rptest.Group + "/providers/Microsoft.Network/networkSecurityGroups/nsg-1"
	table = rptest.Group + "/providers/Microsoft.Network/routeTables/rt-1"
	ip    = rptest.Group + "/providers/Microsoft.Network/publicIPAddresses/pip-1"
	nat   = rptest.Group + "/providers/Microsoft.Network/natGateways/nat-1"
)

// rule is a body with changes to a good rule, as "name":value pairs.
func rule(changes string) string {
	body := `{"properties":{"access":"Allow","direction":"Inbound","protocol":"Tcp","priority":200,` +
		`"sourceAddressPrefix":"*","sourcePortRange":"*","destinationAddressPrefix":"VirtualNetwork","destinationPortRange":"443"`
	if changes != "" {
		body += "," + changes // of two members of one name the last counts
	}
	return body + "}}"
}

func TestSecurityRules(t *testing.T) {
	e := newEnv(t, nil)
	r := e.Want(http.StatusCreated, "PUT", group, `{"location":"eastus","properties":{"securityRules":[{"name":"ssh",`+rule(`"priority":100`)[1:]+`]}}`)
	if n := len(r.Body.List("properties.defaultSecurityRules")); n != 6 || r.Body.String("properties.resourceGuid") == "" {
		t.Errorf("a new group: %s", r.Raw)
	}
	was := r.Body.String("etag")
	e.Want(http.StatusCreated, "PUT", group+"/securityRules/https", rule(""))
	for _, tc := range []struct{ change, code, text string }{
		{`"priority":99`, "SecurityRuleInvalidPriority", "Value provided: 99 Allowed range 100-4096."},
		{`"priority":4097`, "SecurityRuleInvalidPriority", ""},
		{`"priority":100`, "SecurityRuleConflict", "Security rule ssh conflicts with rule x. Rules cannot have the same Priority and Direction."},
		{`"destinationPortRange":"70000"`, "SecurityRuleInvalidPortRange", "Value provided: 70000."},
		{`"destinationPortRange":"443-80"`, "SecurityRuleInvalidPortRange", ""},
		{`"destinationPortRange":"80,443"`, "SecurityRuleInvalidPortRange", ""},
		{`"sourcePortRange":""`, "InvalidRequestFormat", "sourcePortRange"},
		{`"sourceAddressPrefix":"10.0.0.1/8"`, "SecurityRuleInvalidAddressPrefix", "Value provided: 10.0.0.1/8"},
		{`"access":"Maybe"`, "InvalidRequestFormat", "access"},
		{`"protocol":"Sctp"`, "InvalidRequestFormat", "protocol"},
	} {
		e.Refused(http.StatusBadRequest, tc.code, tc.text, "PUT", group+"/securityRules/x", rule(tc.change))
	}
	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "", "PUT", group+"/securityRules/x", rule(`"sourceApplicationSecurityGroups":[{"id":"/x"}]`))
	// the same priority in the other direction is another
	e.Want(http.StatusCreated, "PUT", group+"/securityRules/out", rule(`"direction":"outbound","sourceAddressPrefix":"","sourceAddressPrefixes":["10.0.0.0/8","10.9.9.9"]`))

	r = e.Want(http.StatusOK, "GET", group, nil)
	if n := len(r.Body.List("properties.securityRules")); n != 3 || r.Body.String("etag") == was {
		t.Errorf("the group after its rules: %s", r.Raw)
	}
	if got := strings.Join(e.Want(200, "GET", group+"/securityRules", nil).Names(), ","); got != "https,out,ssh" {
		t.Errorf("rules: %s", got)
	}
	if got := e.Want(200, "GET", group+"/defaultSecurityRules", nil).Names(); len(got) != 6 {
		t.Errorf("default rules: %v", got)
	}
	e.Want(http.StatusOK, "GET", group+"/defaultSecurityRules/DenyAllInBound", nil)
	e.Want(http.StatusNotFound, "GET", group+"/defaultSecurityRules/none", nil)

	// tags alone leave the rules as they are; a PUT says which there are
	e.Want(http.StatusOK, "PATCH", group, `{"tags":{"a":"b"}}`)
	if r := e.Want(http.StatusOK, "GET", group, nil); len(r.Body.List("properties.securityRules")) != 3 || r.Body.String("tags.a") != "b" {
		t.Errorf("after tags: %s", r.Raw)
	}
	r = e.Want(http.StatusOK, "PUT", group, `{"location":"eastus","properties":{"securityRules":[{"name":"https",`+rule("")[1:]+`]}}`)
	if n := len(r.Body.List("properties.securityRules")); n != 1 {
		t.Errorf("after a PUT with one rule: %s", r.Raw)
	}
	res := e.Do("PUT", group, `{"location":"eastus","properties":{}}`, "If-Match", was)
	if res.Status != http.StatusPreconditionFailed {
		t.Errorf("an old etag is taken: %d", res.Status)
	}
	e.Want(http.StatusOK, "DELETE", group+"/securityRules/https", nil)
	e.Want(http.StatusNoContent, "DELETE", group+"/securityRules/https", nil)
	e.Refused(http.StatusNotFound, "ParentResourceNotFound", "", "PUT", group+"0/securityRules/x", rule(""))
}

func TestRoutes(t *testing.T) {
	e := newEnv(t, nil)
	route := func(prefix, hop, address string) string {
		return `{"properties":{"addressPrefix":"` + prefix + `","nextHopType":"` + hop + `","nextHopIpAddress":"` + address + `"}}`
	}
	e.Want(http.StatusCreated, "PUT", table, `{"location":"eastus","properties":{"routes":[{"name":"all",`+route("0.0.0.0/0", "VirtualAppliance", "10.1.0.4")[1:]+`]}}`)
	e.Want(http.StatusCreated, "PUT", table+"/routes/tag", route("AzureMachineLearning", "Internet", ""))
	for _, tc := range []struct{ body, code, text string }{
		{route("0.0.0.0/0", "Internet", ""), "RouteConflict", "Route: x conflicts with Route: all. Routes cannot have the same AddressPrefix."},
		{route("10.0.0.0", "Internet", ""), "InvalidAddressPrefixFormat", ""},
		{route("10.0.0.1/8", "Internet", ""), "InvalidCIDRNotation", ""},
		{route("10.0.0.0/8", "Somewhere", ""), "InvalidRequestFormat", "nextHopType"},
		{route("10.0.0.0/8", "VirtualAppliance", ""), "InvalidRequestFormat", "needs its address"},
		{route("10.0.0.0/8", "Internet", "10.1.0.4"), "InvalidRequestFormat", "virtual appliances alone"},
	} {
		e.Refused(http.StatusBadRequest, tc.code, tc.text, "PUT", table+"/routes/x", tc.body)
	}
	e.Want(http.StatusOK, "DELETE", table+"/routes/all", nil)
	if r := e.Want(200, "GET", table, nil); len(r.Body.List("properties.routes")) != 1 || r.Body.Get("properties.disableBgpRoutePropagation") != false {
		t.Errorf("table: %s", r.Raw)
	}
}

func TestPublicAddresses(t *testing.T) {
	e := newEnv(t, nil)
	put := func(name, more string) *rptest.Result {
		return e.Do("PUT", strings.Replace(ip, "pip-1", name, 1), `{"location":"eastus","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Static"`+more+`}}`)
	}
	one := put("pip-1", `,"dnsSettings":{"domainNameLabel":"lab"}`)
	two := put("pip-2", "")
	six := put("pip-6", `,"publicIPAddressVersion":"IPv6"`)
	a, b := one.Body.String("properties.ipAddress"), two.Body.String("properties.ipAddress")
	if a != "203.0.113.1" || b != "203.0.113.2" || six.Body.String("properties.ipAddress") != "2001:db8::1" {
		t.Errorf("addresses %q, %q, %s", a, b, six.Raw)
	}
	if one.Body.String("properties.dnsSettings.fqdn") != "lab.eastus.cloudapp.azure.com" {
		t.Errorf("fqdn: %s", one.Raw)
	}
	if again := put("pip-1", ""); again.Body.String("properties.ipAddress") != a || again.Body.Has("properties.dnsSettings.fqdn") {
		t.Errorf("an update: %s", again.Raw)
	}
	put("pip-1", `,"dnsSettings":{"domainNameLabel":"lab"}`)
	if r := put("pip-3", `,"dnsSettings":{"domainNameLabel":"lab"}`); r.Code() != "DnsRecordInUse" {
		t.Errorf("a label twice: %s", r.Raw)
	}
	if r := put("pip-3", `,"dnsSettings":{"domainNameLabel":"Lab_"}`); r.Code() != "InvalidDomainNameLabel" {
		t.Errorf("a bad label: %s", r.Raw)
	}
	e.Refused(http.StatusBadRequest, "StandardSkuPublicIPAddressesCannotHaveDynamicAllocation", "", "PUT", ip+"0", `{"location":"eastus","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Dynamic"}}`)
	r := e.Want(http.StatusCreated, "PUT", ip+"0", `{"location":"eastus","properties":{}}`)
	if r.Body.Has("properties.ipAddress") || r.Body.String("sku.name") != "Basic" {
		t.Errorf("a dynamic address has one before it is used: %s", r.Raw)
	}
	e.Refused(http.StatusConflict, "PropertyChangeNotAllowed", "", "PUT", ip+"0", `{"location":"eastus","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Static"}}`)

	e.Want(http.StatusCreated, "PUT", nat, `{"location":"eastus","properties":{"publicIpAddresses":[{"id":"`+ip+`"}]}}`)
	if r := e.Want(200, "GET", ip, nil); r.Body.String("properties.natGateway.id") != nat {
		t.Errorf("the address does not say who has it: %s", r.Raw)
	}
	e.Refused(http.StatusBadRequest, "PublicIPAddressCannotBeDeleted", "still allocated to resource "+nat, "DELETE", ip, nil)
	other := strings.Replace(nat, "nat-1", "nat-2", 1)
	for _, tc := range []struct{ id, code string }{
		{ip, "PublicIPAddressInUse"}, {ip + "0", "NatGatewayCannotUseBasicPublicIp"}, {ip + "9", "InvalidResourceReference"},
		{strings.Replace(ip, "pip-1", "pip-6", 1), "InvalidRequestFormat"},
	} {
		e.Refused(http.StatusBadRequest, tc.code, "", "PUT", other, `{"location":"eastus","properties":{"publicIpAddresses":[{"id":"`+tc.id+`"}]}}`)
	}
	e.Refused(http.StatusBadRequest, "InvalidResourceReference", "same region", "PUT", other, `{"location":"westus","properties":{"publicIpAddresses":[{"id":"`+strings.Replace(ip, "pip-1", "pip-2", 1)+`"}]}}`)
	e.Want(http.StatusOK, "PUT", nat, `{"location":"eastus","properties":{"idleTimeoutInMinutes":10}}`)
	e.Want(http.StatusOK, "DELETE", ip, nil)
	// an address is given out again once all have been
	if r := put("pip-1", ""); r.Body.String("properties.ipAddress") == a {
		t.Errorf("%s is given out again at once", a)
	}
}

// A subnet names its group, table and gateway; they know it, and stay while it
// uses them.
func TestSubnetReferences(t *testing.T) {
	e := newEnv(t, nil)
	subnet := vnet + "/subnets/one"
	refs := map[string]string{"networkSecurityGroup": group, "routeTable": table, "natGateway": nat}
	codes := map[string]string{
		"networkSecurityGroup": "InUseNetworkSecurityGroupCannotBeDeleted", "routeTable": "InUseRouteTableCannotBeDeleted", "natGateway": "CannotDeleteNatGatewayAssociatedToSubnet",
	}
	all := ""
	for name, id := range refs {
		body := `{"properties":{"addressPrefix":"10.1.1.0/24","` + name + `":{"id":"` + id + `"}}}`
		e.Refused(http.StatusBadRequest, "InvalidResourceReference", id+" referenced by resource "+subnet, "PUT", subnet, body)
		e.Want(http.StatusCreated, "PUT", id, `{"location":"westus","properties":{}}`)
		e.Refused(http.StatusBadRequest, "InvalidResourceReference", "", "PUT", subnet, body)
		e.Want(http.StatusOK, "DELETE", id, nil)
		e.Want(http.StatusCreated, "PUT", id, `{"location":"eastus","properties":{}}`)
		all += `,"` + name + `":{"id":"` + id + `","properties":{"expanded":true}}`
	}
	r := e.Want(http.StatusCreated, "PUT", subnet, `{"properties":{"addressPrefix":"10.1.1.0/24"`+all+`}}`)
	if strings.Contains(r.Raw, "expanded") {
		t.Errorf("more than the ID is kept: %s", r.Raw)
	}
	for name, id := range refs {
		if used := e.Want(200, "GET", id, nil).Body.List("properties.subnets"); len(used) != 1 || used[0].(map[string]any)["id"] != subnet {
			t.Errorf("%s does not know its subnet: %v", name, used)
		}
		e.Refused(http.StatusBadRequest, codes[name], "", "DELETE", id, nil)
	}
	// the network's own PUT leaves them, as the subnets are not named
	e.Want(http.StatusOK, "PUT", vnet, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.1.0.0/16"]}}}`)
	if r := e.Want(200, "GET", subnet, nil); r.Body.String("properties.natGateway.id") != nat {
		t.Errorf("the subnet lost its gateway: %s", r.Raw)
	}
	e.Want(http.StatusOK, "PUT", subnet, `{"properties":{"addressPrefix":"10.1.1.0/24"}}`)
	e.Want(http.StatusOK, "DELETE", group, nil)
	// and a whole group goes whatever uses what in it
	e.Want(http.StatusOK, "PUT", subnet, `{"properties":{"addressPrefix":"10.1.1.0/24","routeTable":{"id":"`+table+`"}}}`)
	e.Want(http.StatusAccepted, "DELETE", rptest.Group, nil)
	e.Want(http.StatusNotFound, "GET", rptest.Group, nil)
}

// Joining needs a permission on what is joined.
func TestJoinIsAuthorized(t *testing.T) {
	var e *rptest.Env
	e = rptest.New(t, rptest.Options{RBAC: true}, append(providers(nil), authorization.Provider(authorization.Deps{
		Directory: &rptest.Directory{}, Roles: func() authorization.Roles { return e.RBAC },
	}))...)
	e.NewGroup()
	e.Want(http.StatusCreated, "PUT", rptest.Group+"2", `{"location":"eastus"}`)
	far := strings.Replace(group, rptest.Group, rptest.Group+"2", 1)
	e.Want(http.StatusCreated, "PUT", far, `{"location":"eastus","properties":{}}`)
	e.Want(http.StatusCreated, "PUT", vnet, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.1.0.0/16"]}}}`)
	const contributor = "4d97b98b-1d4f-4787-a291-c67834d212e7" // Network Contributor
	e.Want(http.StatusCreated, "PUT", rptest.Group+"/providers/Microsoft.Authorization/roleAssignments/11111111-0000-0000-0000-000000000001",
		`{"properties":{"principalId":"`+rptest.ObjectID(rptest.Guest)+`","roleDefinitionId":"`+rptest.Sub+`/providers/Microsoft.Authorization/roleDefinitions/`+contributor+`"}}`)
	r := e.As(rptest.Guest, "PUT", vnet+"/subnets/one", `{"properties":{"addressPrefix":"10.1.1.0/24","networkSecurityGroup":{"id":"`+far+`"}}}`)
	if r.Status != http.StatusForbidden || r.Code() != "LinkedAuthorizationFailed" || !strings.Contains(r.Message(), "networkSecurityGroups/join/action") {
		t.Errorf("a group of others is joined: %d %s", r.Status, r.Raw)
	}
	r = e.As(rptest.Guest, "PUT", vnet+"/subnets/one", `{"properties":{"addressPrefix":"10.1.1.0/24"}}`)
	if r.Status != http.StatusCreated {
		t.Errorf("a subnet: %d %s", r.Status, r.Raw)
	}
}
