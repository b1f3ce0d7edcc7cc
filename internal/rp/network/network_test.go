package network_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const vnet = rptest.Group + "/providers/Microsoft.Network/virtualNetworks/vnet-1"

func providers(users func(string) []string) []*arm.Provider {
	return []*arm.Provider{resources.Provider(), network.Provider(network.Deps{
		Users: func(_ store.Tx, id string) ([]string, error) {
			if users == nil {
				return nil, nil
			}
			return users(id), nil
		},
	})}
}

func newEnv(t *testing.T, users func(string) []string) *rptest.Env {
	e := rptest.New(t, rptest.Options{}, providers(users)...)
	e.NewGroup()
	e.Want(http.StatusCreated, "PUT", vnet, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.1.0.0/16"]},"dhcpOptions":{"dnsServers":[]},"subnets":[]},"tags":{}}`)
	return e
}

func subnetNames(r *rptest.Result) string {
	var out []string
	for _, v := range r.Body.List("properties.subnets") {
		out = append(out, v.(map[string]any)["name"].(string))
	}
	return strings.Join(out, ",")
}

func TestSubnetRanges(t *testing.T) {
	e := newEnv(t, nil)
	e.Want(http.StatusCreated, "PUT", vnet+"/subnets/taken", `{"properties":{"addressPrefixes":["10.1.1.0/24"]}}`)
	for _, tc := range []struct {
		name, body, code, text string
	}{
		{"outside", `{"addressPrefix":"10.2.0.0/24"}`, "NetcfgSubnetRangeOutsideVnet", "outside the IP address range of virtual network 'vnet-1'"},
		{"wider", `{"addressPrefix":"10.0.0.0/8"}`, "NetcfgSubnetRangeOutsideVnet", ""},
		{"overlap", `{"addressPrefix":"10.1.1.128/25"}`, "NetcfgSubnetRangesOverlap", "overlaps with that of an existing subnet"},
		{"small", `{"addressPrefix":"10.1.2.0/30"}`, "NetcfgInvalidSubnet", ""},
		{"unaligned", `{"addressPrefix":"10.1.2.1/24"}`, "InvalidCIDRNotation", "should be 10.1.2.0/24"},
		{"garbage", `{"addressPrefix":"ten"}`, "InvalidAddressPrefixFormat", "ten"},
		{"none", `{}`, "InvalidRequestFormat", ""},
		{"bad name!", `{"addressPrefix":"10.1.2.0/24"}`, "InvalidResourceName", ""},
	} {
		e.Refused(http.StatusBadRequest, tc.code, tc.text, "PUT", vnet+"/subnets/"+tc.name, `{"properties":`+tc.body+`}`)
	}
	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "serviceEndpointPolicies", "PUT", vnet+"/subnets/x",
		`{"properties":{"addressPrefix":"10.1.2.0/24","serviceEndpointPolicies":[{"id":"/x"}]}}`)
	e.Refused(http.StatusNotFound, "ParentResourceNotFound", "", "PUT", strings.Replace(vnet, "vnet-1", "none", 1)+"/subnets/x", `{"properties":{"addressPrefix":"10.1.2.0/24"}}`)

	r := e.Want(http.StatusCreated, "PUT", vnet+"/subnets/one", `{"name":"one","properties":{"addressPrefix":"10.1.2.0/24","delegations":[]}}`)
	if r.Body.String("properties.addressPrefix") != "10.1.2.0/24" || r.Body.Has("properties.addressPrefixes") ||
		r.Body.String("properties.privateEndpointNetworkPolicies") != "Disabled" || r.Body.String("etag") == "" {
		t.Errorf("subnet: %s", r.Raw)
	}
	r = e.Want(http.StatusOK, "GET", vnet, nil)
	if got := subnetNames(r); got != "one,taken" {
		t.Errorf("network lists %q", got)
	}
	e.Refused(http.StatusBadRequest, "NetcfgSubnetRangeOutsideVnet", "", "PUT", vnet, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.3.0.0/16"]}}}`)
}

func TestInlineSubnets(t *testing.T) {
	e := newEnv(t, nil)
	put := func(subnets string) string {
		return `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.1.0.0/16"]}` + subnets + `}}`
	}
	one := `{"name":"one","properties":{"addressPrefix":"10.1.1.0/24"}}`
	two := `{"name":"two","properties":{"addressPrefix":"10.1.2.0/24"}}`
	guid := e.Want(200, "GET", vnet, nil).Body.String("properties.resourceGuid")
	for _, tc := range []struct{ subnets, want string }{
		{`,"subnets":[` + one + `,` + two + `]`, "one,two"},
		{``, "one,two"},
		{`,"subnets":[` + two + `]`, "two"},
		{`,"subnets":[]`, ""},
	} {
		r := e.Want(http.StatusOK, "PUT", vnet, put(tc.subnets))
		if got := subnetNames(r); got != tc.want {
			t.Errorf("PUT with %q leaves %q, want %q", tc.subnets, got, tc.want)
		}
		if r.Body.String("properties.resourceGuid") != guid {
			t.Error("the resourceGuid changed")
		}
	}
	e.Refused(http.StatusBadRequest, "NetcfgSubnetRangesOverlap", "", "PUT", vnet, put(`,"subnets":[`+one+`,{"name":"three","properties":{"addressPrefix":"10.1.1.0/25"}}]`))
	if got := subnetNames(e.Want(200, "GET", vnet, nil)); got != "" {
		t.Errorf("a refused PUT left %q", got)
	}
}

func TestSubnetInUse(t *testing.T) {
	used := vnet + "/subnets/used"
	busy := true
	e := newEnv(t, func(id string) []string {
		if busy && strings.EqualFold(id, used) {
			return []string{"/subscriptions/x/cluster"}
		}
		return nil
	})
	e.Want(http.StatusCreated, "PUT", used, `{"properties":{"addressPrefix":"10.1.1.0/24"}}`)
	for _, path := range []string{used, vnet} {
		e.Refused(http.StatusBadRequest, "InUseSubnetCannotBeDeleted", "is in use by /subscriptions/x/cluster", "DELETE", path, nil)
	}
	e.Refused(http.StatusBadRequest, "InUseSubnetCannotBeDeleted", "", "PUT", vnet, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.1.0.0/16"]},"subnets":[]}}`)
	e.Refused(http.StatusBadRequest, "InUsePrefixCannotBeDeleted", "", "PUT", used, `{"properties":{"addressPrefix":"10.1.9.0/24"}}`)
	e.Want(http.StatusOK, "PUT", used, `{"properties":{"addressPrefix":"10.1.1.0/24"}}`)
	busy = false
	before := e.Want(200, "GET", vnet, nil).Body.String("etag")
	e.Want(http.StatusOK, "DELETE", used, nil)
	if e.Want(200, "GET", vnet, nil).Body.String("etag") == before {
		t.Error("the network's etag did not change with its subnets")
	}
	e.Want(http.StatusNoContent, "DELETE", used, nil)
	e.Want(http.StatusOK, "DELETE", vnet, nil)
}

func TestPeerings(t *testing.T) {
	e := newEnv(t, nil)
	other, near := strings.Replace(vnet, "vnet-1", "vnet-2", 1), strings.Replace(vnet, "vnet-1", "vnet-3", 1)
	e.Want(http.StatusCreated, "PUT", other, `{"location":"westus","properties":{"addressSpace":{"addressPrefixes":["10.2.0.0/16"]}}}`)
	e.Want(http.StatusCreated, "PUT", near, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.9.0.0/16","10.1.128.0/17"]}}}`)
	put := func(status int, from, to string) *rptest.Result {
		return e.Want(status, "PUT", from+"/virtualNetworkPeerings/p", `{"properties":{"remoteVirtualNetwork":{"id":"`+to+`"},"allowForwardedTraffic":true}}`)
	}
	r := put(http.StatusCreated, vnet, other)
	if r.Body.String("properties.peeringState") != "Initiated" || r.Body.Get("properties.allowVirtualNetworkAccess") != true || len(r.Body.List("properties.remoteAddressSpace.addressPrefixes")) != 1 {
		t.Errorf("peering: %s", r.Raw)
	}
	if r := put(http.StatusCreated, other, vnet); r.Body.String("properties.peeringState") != "Connected" {
		t.Errorf("the way back: %s", r.Raw)
	}
	n := e.Want(http.StatusOK, "GET", vnet, nil)
	if list := n.Body.List("properties.virtualNetworkPeerings"); len(list) != 1 || !strings.Contains(n.Raw, `"Connected"`) {
		t.Errorf("network: %s", n.Raw)
	}
	body := func(to, more string) string {
		return `{"properties":{"remoteVirtualNetwork":{"id":"` + to + `"}` + more + `}}`
	}
	e.Refused(http.StatusBadRequest, "VnetAddressSpacesOverlap", "Overlapping address prefixes: 10.1.0.0/16", "PUT", vnet+"/virtualNetworkPeerings/x", body(near, ""))
	e.Refused(http.StatusBadRequest, "InvalidResourceReference", "", "PUT", vnet+"/virtualNetworkPeerings/x", body(vnet+"0", ""))
	e.Refused(http.StatusBadRequest, "InvalidRequestFormat", "", "PUT", vnet+"/virtualNetworkPeerings/x", body(vnet, ""))
	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "gateways", "PUT", vnet+"/virtualNetworkPeerings/x", body(other, `,"useRemoteGateways":true`))
	e.Refused(http.StatusConflict, "PropertyChangeNotAllowed", "", "PUT", vnet+"/virtualNetworkPeerings/p", body(near, ""))
	e.Want(http.StatusOK, "DELETE", other, nil)
	if r := e.Want(200, "GET", vnet+"/virtualNetworkPeerings/p", nil); r.Body.String("properties.peeringState") != "Disconnected" {
		t.Errorf("the other network has gone: %s", r.Raw)
	}
	e.Want(http.StatusOK, "DELETE", vnet+"/virtualNetworkPeerings/p", nil)
	if n := e.Want(200, "GET", vnet, nil); len(n.Body.List("properties.virtualNetworkPeerings")) != 0 {
		t.Errorf("network: %s", n.Raw)
	}
}
