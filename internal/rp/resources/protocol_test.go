package resources_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

// TestProtocol holds what Azure Resource Manager answers whatever the service.
func TestProtocol(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	const net = rptest.Group + "/providers/Microsoft.Network/"
	c.Want(http.StatusCreated, "PUT", net+"networkSecurityGroups/nsg-One", `{"location":"eastus","tags":{"team":"ml"}}`)
	c.Want(http.StatusCreated, "PUT", net+"networkSecurityGroups/nsg-two", `{"location":"eastus"}`)
	// the test's client adds a version of its own where a path has none
	const v = "?api-version=2023-09-01"
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, text               string
	}{
		{"no version", "GET", net + "networkSecurityGroups/nsg-One?api-version=", "", nil, 400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."},
		{"a bad version", "GET", net + "networkSecurityGroups/nsg-One?api-version=latest", "", nil, 400, "InvalidApiVersionParameter", "The api-version 'latest' is invalid. The supported versions are '"},
		{"the version in capitals", "GET", net + "networkSecurityGroups/nsg-One?API-VERSION=2023-09-01", "", nil, 200, "", ""},
		{"names in capitals", "GET", strings.ToUpper(net) + "NETWORKSECURITYGROUPS/NSG-ONE" + v, "", nil, 200, "", ""},
		{"no such namespace", "GET", rptest.Group + "/providers/Contoso.Toys/boxes/b" + v, "", nil, 404, "InvalidResourceNamespace", "The resource namespace 'Contoso.Toys' is invalid."},
		{"a namespace of Azure's", "GET", rptest.Group + "/providers/Microsoft.Web/sites/s" + v, "", nil, 501, "NotImplementedByAzimuth", "Microsoft.Web/sites"},
		{"no such subscription", "GET", "/subscriptions/99999999-0000-0000-0000-000000000000/resourceGroups/x" + v, "", nil, 404, "SubscriptionNotFound", "The subscription '99999999-0000-0000-0000-000000000000' could not be found."},
		{"no such group", "GET", rptest.Sub + "/resourceGroups/none" + v, "", nil, 404, "ResourceGroupNotFound", "Resource group 'none' could not be found."},
		{"a resource in no group", "PUT", rptest.Sub + "/resourceGroups/none/providers/Microsoft.Network/networkSecurityGroups/nsg" + v, `{"location":"eastus"}`, nil, 404, "ResourceGroupNotFound", "'none'"},
		{"no such resource", "GET", net + "networkSecurityGroups/none" + v, "", nil, 404, "ResourceNotFound",
			"The Resource 'Microsoft.Network/networkSecurityGroups/none' under resource group 'rg-One' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"},
		{"no parent", "PUT", net + "virtualNetworks/none/subnets/s" + v, `{"properties":{"addressPrefix":"10.0.0.0/24"}}`, nil, 404, "ParentResourceNotFound", "Parent resource 'none' not found"},
		{"no location", "PUT", net + "networkSecurityGroups/new" + v, `{}`, nil, 400, "LocationRequired", "The location property is required for this definition."},
		{"no such location", "PUT", net + "networkSecurityGroups/new" + v, `{"location":"moon"}`, nil, 400, "LocationNotAvailableForResourceType", "The provided location 'moon' is not available for resource type 'Microsoft.Network/networkSecurityGroups'."},
		{"another location", "PUT", net + "networkSecurityGroups/nsg-One" + v, `{"location":"westus"}`, nil, 409, "InvalidResourceLocation", "already exists in location 'eastus'"},
		{"no body", "PUT", net + "networkSecurityGroups/new" + v, "", nil, 400, "InvalidRequestContent", "could not be deserialized"},
		{"no JSON", "PUT", net + "networkSecurityGroups/new" + v, `{"location":`, nil, 400, "InvalidRequestContent", "could not be deserialized"},
		{"tags that are none", "PUT", net + "networkSecurityGroups/new" + v, `{"location":"eastus","tags":{"a":1}}`, nil, 400, "InvalidTagNameOrValue", "'a'"},
		{"a condition that holds", "PUT", net + "networkSecurityGroups/nsg-two" + v, `{"location":"eastus"}`, []string{"If-Match", "*"}, 200, "", ""},
		{"a condition that does not", "PUT", net + "networkSecurityGroups/nsg-two" + v, `{"location":"eastus"}`, []string{"If-Match", `W/"old"`}, 412, "PreconditionFailed", "If-Match"},
		{"only if it is not there", "PUT", net + "networkSecurityGroups/nsg-two" + v, `{"location":"eastus"}`, []string{"If-None-Match", "*"}, 412, "PreconditionFailed", "If-None-Match"},
		{"deleting nothing", "DELETE", net + "networkSecurityGroups/none" + v, "", nil, 204, "", ""},
		{"HEAD of something", "HEAD", net + "networkSecurityGroups/nsg-One" + v, "", nil, 204, "", ""},
		{"HEAD of nothing", "HEAD", net + "networkSecurityGroups/none" + v, "", nil, 404, "", ""},
		{"HEAD of a group", "HEAD", rptest.Group + v, "", nil, 204, "", ""},
		{"a bad filter", "GET", rptest.Sub + "/resources" + v + "&$filter=nonsense", "", nil, 400, "InvalidFilterInQueryString", "Invalid $filter 'nonsense' specified in the query string."},
		{"a bad $top", "GET", rptest.Sub + "/resources" + v + "&$top=-1", "", nil, 400, "InvalidTopParameter", "-1"},
		{"a bad token", "GET", rptest.Sub + "/resources" + v + "&$skipToken=%25", "", nil, 400, "InvalidSkipToken", ""},
		{"no such operation", "GET", rptest.Sub + "/providers/Microsoft.Resources/locations/global/operationStatuses/x" + v, "", nil, 404, "OperationNotFound", "'x'"},
		{"a comment in the body", "PUT", net + "networkSecurityGroups/nsg-two" + v, `{"location":"eastus", // here
			tags: {'a': 'b',}}`, nil, 200, "", ""},
	} {
		var body any
		if tc.body != "" {
			body = tc.body
		}
		r := c.Do(tc.method, tc.path, body, tc.header...)
		if r.Status != tc.status || tc.method != "HEAD" && (r.Code() != tc.code || !strings.Contains(r.Message(), tc.text)) {
			t.Errorf("%s: %s %s: %d %s", tc.name, tc.method, tc.path, r.Status, r.Raw)
		}
		kind := map[string]string{"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}[tc.method]
		if kind == "" {
			kind = "writes"
		}
		if r.Header.Get("x-ms-ratelimit-remaining-subscription-"+kind) == "" {
			t.Errorf("%s: %v says nothing of what remains", tc.name, r.Header)
		}
	}
}

func TestResourceFilters(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	for _, n := range []string{"nsg-abc", "nsg-abd", "other"} {
		c.Want(http.StatusCreated, "PUT", rptest.Group+"/providers/Microsoft.Network/networkSecurityGroups/"+n, `{"location":"eastus","tags":{"n":"`+n+`"}}`)
	}
	c.Want(http.StatusCreated, "PUT", rptest.Group+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/idy", `{"location":"eastus"}`)
	for filter, want := range map[string][]string{
		"substringof('ab', name)":                                                                                         {"nsg-abc", "nsg-abd"},
		"startswith(tagName, 'n') and tagValue eq 'other'":                                                                {"other"},
		"resourceType eq 'Microsoft.ManagedIdentity/userAssignedIdentities' or name eq 'other'":                           {"idy", "other"},
		"resourceType eq 'microsoft.network/networksecuritygroups' and substringof('abd', name) and location eq 'EastUS'": {"nsg-abd"},
		"name eq 'or and '' x'": {},
	} {
		got := c.Want(http.StatusOK, "GET", rptest.Sub+"/resources?$filter="+strings.ReplaceAll(filter, " ", "%20"), nil).Names()
		slices.Sort(got)
		if !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s: %v", filter, got)
		}
	}
	doc := arm.Doc(c.Want(http.StatusOK, "GET", rptest.Sub+"/resources?$expand=createdTime,changedTime&$top=1", nil).Body.List("value")[0].(map[string]any))
	if doc.String("createdTime") == "" || doc.String("changedTime") == "" || doc.Has("provisioningState") {
		t.Errorf("expanded: %v", doc)
	}
}

func TestTags(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	const nsg = rptest.Group + "/providers/Microsoft.Network/networkSecurityGroups/nsg"
	c.Want(http.StatusCreated, "PUT", nsg, `{"location":"eastus","tags":{"a":"1"}}`)
	for _, scope := range []string{nsg, rptest.Group, rptest.Sub} {
		tags := scope + "/providers/Microsoft.Resources/tags/default"
		want := func(method, body, want string) {
			t.Helper()
			var b any
			if body != "" {
				b = body
			}
			r := c.Want(http.StatusOK, method, tags, b)
			if method == http.MethodDelete {
				r = c.Want(http.StatusOK, "GET", tags, nil)
			}
			got, err := json.Marshal(r.Body.Get("properties.tags"))
			if err != nil || string(got) != want {
				t.Errorf("%s %s = %s, want %s", method, tags, got, want)
			}
			on, err := json.Marshal(c.Want(http.StatusOK, "GET", scope, nil).Body.Get("tags"))
			if err != nil || string(on) != want && (want != "{}" || string(on) != "null") {
				t.Errorf("%s itself has %s, want %s", scope, on, want)
			}
		}
		want("PUT", `{"properties":{"tags":{"a":"1","b":"2"}}}`, `{"a":"1","b":"2"}`)
		want("GET", "", `{"a":"1","b":"2"}`)
		want("PATCH", `{"operation":"Merge","properties":{"tags":{"B":"3","c":"4"}}}`, `{"a":"1","b":"3","c":"4"}`)
		want("PATCH", `{"operation":"Delete","properties":{"tags":{"a":"1","c":"other"}}}`, `{"b":"3","c":"4"}`)
		want("PATCH", `{"operation":"Replace","properties":{"tags":{"z":"26"}}}`, `{"z":"26"}`)
		c.Refused(400, "InvalidTagPatchOperation", "'Add'", "PATCH", tags, `{"operation":"Add","properties":{"tags":{}}}`)
		c.Refused(400, "InvalidTagNameOrValue", "'x'", "PUT", tags, `{"properties":{"tags":{"x":1}}}`)
		want("DELETE", "", `{}`)
	}
	c.Refused(404, "ResourceNotFound", "none", "GET", nsg+"none/providers/Microsoft.Resources/tags/default", nil)
	c.Want(http.StatusCreated, "PUT", rptest.Group+"/providers/Microsoft.Network/virtualNetworks/net", `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[{"name":"s","properties":{"addressPrefix":"10.0.0.0/24"}}]}}`)
	c.Refused(400, "ResourceTypeDoesNotSupportTags", "subnets", "PUT", rptest.Group+"/providers/Microsoft.Network/virtualNetworks/net/subnets/s/providers/Microsoft.Resources/tags/default", `{"properties":{"tags":{"a":"b"}}}`)
}

func TestRegistration(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	state := func(namespace string) string {
		t.Helper()
		return c.Want(http.StatusOK, "GET", rptest.Sub+"/providers/"+namespace, nil).Body.String("registrationState")
	}
	if s := state("microsoft.quantum"); s != "NotRegistered" {
		t.Errorf("what nobody registered is %s", s)
	}
	c.Want(http.StatusOK, "POST", rptest.Sub+"/providers/Microsoft.Quantum/register", nil)
	if s := state("Microsoft.Quantum"); s != "Registered" {
		t.Errorf("what was registered is %s", s)
	}
	c.Want(http.StatusOK, "POST", rptest.Sub+"/providers/Microsoft.Network/unregister", nil)
	const nsg = rptest.Group + "/providers/Microsoft.Network/networkSecurityGroups/nsg"
	c.Refused(409, "MissingSubscriptionRegistration", "'Microsoft.Network'", "PUT", nsg, `{"location":"eastus"}`)
	c.Want(http.StatusOK, "POST", rptest.Sub+"/providers/Microsoft.Network/register", nil)
	c.Want(http.StatusCreated, "PUT", nsg, `{"location":"eastus"}`)
	if n := len(c.Want(http.StatusOK, "GET", rptest.Sub+"/providers/Microsoft.Network/resourceTypes", nil).Body.List("value")); n < 10 {
		t.Errorf("%d types", n)
	}
	if r := c.Want(http.StatusOK, "GET", rptest.Sub+"/providers/Microsoft.Features/providers/Microsoft.Network/features", nil); len(r.Body.List("value")) != 0 {
		t.Errorf("features: %s", r.Raw)
	}
	for name, want := range map[string]string{"fine": "Allowed", "OneDrive": "Reserved", "myWindowsBox": "Reserved", "login-page": "Reserved"} {
		r := c.Want(http.StatusOK, "POST", "/providers/Microsoft.Resources/checkResourceName", `{"name":"`+name+`","type":"Microsoft.Web/sites"}`)
		if r.Body.String("status") != want {
			t.Errorf("%s is %s", name, r.Body.String("status"))
		}
	}
}

// TestExport exports a group, deletes it, and has the template make it again.
func TestExport(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	c.deploy("d", body(networks, "", ""))
	const group = rptest.Group + "/exportTemplate"
	before := map[string]string{}
	record := func(into map[string]string) {
		for _, v := range c.Want(http.StatusOK, "GET", rptest.Group+"/resources", nil).Body.List("value") {
			id := arm.Doc(v.(map[string]any)).String("id")
			doc := c.Want(http.StatusOK, "GET", id, nil).Body
			for _, changes := range []string{"etag", "properties.resourceGuid", "properties.principalId", "properties.clientId", "tags.guid"} {
				doc.Delete(changes)
			}
			for _, s := range doc.List("properties.subnets") {
				arm.Doc(s.(map[string]any)).Delete("etag")
			}
			b, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			into[id] = string(b)
		}
	}
	record(before)
	r := c.Want(http.StatusOK, "POST", group, `{"resources":["*"],"options":"IncludeParameterDefaultValue,IncludeComments"}`)
	tpl, err := json.Marshal(r.Body.Get("template"))
	if err != nil {
		t.Fatal(err)
	}
	c.Want(http.StatusAccepted, "DELETE", rptest.Group, nil)
	c.NewGroup()
	doc := c.deploy("again", `{"properties":{"mode":"Incremental","template":`+string(tpl)+`}}`)
	if s := doc.String("properties.provisioningState"); s != "Succeeded" {
		t.Fatalf("the template ended as %s: %v\n%s", s, doc.Get("properties.error"), tpl)
	}
	after := map[string]string{}
	record(after)
	for id, was := range before {
		if after[id] != was {
			t.Errorf("%s was\n%s and is\n%s", id, was, after[id])
		}
	}
	if len(after) != len(before) || len(after) != 3 {
		t.Errorf("%d resources became %d", len(before), len(after))
	}
	// names as they are, and only some
	r = c.Want(http.StatusOK, "POST", group, `{"resources":["`+rptest.Group+`/providers/Microsoft.Network/networkSecurityGroups/nsg"],"options":"SkipResourceNameParameterization"}`)
	if l := r.Body.List("template.resources"); len(l) != 1 || arm.Doc(l[0].(map[string]any)).String("name") != "nsg" {
		t.Errorf("one: %s", r.Raw)
	}
	c.Refused(400, "InvalidExportTemplateOptions", "", "POST", group, `{"resources":["*"],"options":"Everything"}`)
}

// TestHistoryIsGroomed fills the history of a group until the oldest go.
func TestHistoryIsGroomed(t *testing.T) {
	c := newCloud(t, rptest.Options{})
	c.NewGroup()
	empty := body(`{"resources":[]}`, "", "")
	for i := range 21 {
		c.Want(http.StatusCreated, "PUT", deployments+"d"+string(rune('a'+i)), empty)
		c.Clock.Step(1e9)
	}
	for {
		n := len(c.Want(http.StatusOK, "GET", strings.TrimSuffix(deployments, "/"), nil).Names())
		if n == 10 {
			break
		}
		if n < 10 {
			t.Fatalf("%d are left", n)
		}
	}
	c.Want(http.StatusOK, "GET", deployments+"du", nil) // the last
	c.Refused(404, "DeploymentNotFound", "", "GET", deployments+"da", nil)
	// what is locked stays, until there is room for no more
	c.Want(http.StatusCreated, "PUT", rptest.Group+"/providers/Microsoft.Authorization/locks/keep", `{"properties":{"level":"CanNotDelete"}}`)
	for i := range 20 {
		c.Want(http.StatusCreated, "PUT", deployments+"e"+string(rune('a'+i)), empty)
	}
	c.Refused(409, "DeploymentQuotaExceeded", "The current deployment count is '30'", "PUT", deployments+"f", empty)
	c.Want(http.StatusOK, "PUT", deployments+"ea", empty) // one that is there already
}
