package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/gateway"
)

// network is a server with a network, and what is behind it.
type networkTest struct {
	tb    testing.TB
	s     *Server
	token string
	group string
}

// newNetwork makes a virtual network with a subnet that has a security group, a
// storage account, a vault, a registry and a workspace.
func newNetwork(tb testing.TB) *networkTest {
	s := open(tb)
	n := &networkTest{tb: tb, s: s, token: s.token(tb, s.owner.ObjectID, audienceManagement)}
	n.group = "/subscriptions/" + s.kernel.Subscription() + "/resourceGroups/rg"
	n.put("", `{"location":"eastus"}`)
	n.put("Microsoft.Network/networkSecurityGroups/nsg", `{"location":"eastus"}`)
	n.put("Microsoft.Network/virtualNetworks/net", `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},
		"subnets":[{"name":"sub","properties":{"addressPrefix":"10.0.1.0/24","networkSecurityGroup":{"id":"`+n.id("Microsoft.Network/networkSecurityGroups/nsg")+`"}}}]}}`)
	n.account("Allow")
	n.put("Microsoft.KeyVault/vaults/kv-walk", `{"location":"eastus","properties":{"tenantId":"`+s.dir.TenantID()+`","sku":{"family":"A","name":"standard"},"enableRbacAuthorization":true,"accessPolicies":[],
		"publicNetworkAccess":"Disabled"}}`)
	n.put("Microsoft.ContainerRegistry/registries/crwalk", `{"location":"eastus","sku":{"name":"Premium"},"properties":{"networkRuleSet":{"defaultAction":"Deny","ipRules":[]}}}`)
	n.put("Microsoft.Insights/components/ai", `{"location":"eastus","kind":"web","properties":{"Application_Type":"web"}}`)
	n.put("Microsoft.MachineLearningServices/workspaces/mlw", `{"location":"eastus","identity":{"type":"SystemAssigned"},"properties":{"publicNetworkAccess":"Disabled",
		"storageAccount":"`+n.id("Microsoft.Storage/storageAccounts/stwalk")+`","keyVault":"`+n.id("Microsoft.KeyVault/vaults/kv-walk")+`","applicationInsights":"`+n.id("Microsoft.Insights/components/ai")+`"}}`)
	return n
}

func (n *networkTest) id(path string) string { return n.group + "/providers/" + path }

func (n *networkTest) put(path, body string) {
	n.tb.Helper()
	at := n.group
	if path != "" {
		at = n.id(path)
	}
	version := "2023-09-01"
	switch {
	case path == "":
		version = "2021-04-01"
	case strings.Contains(path, "Insights"):
		version = "2020-02-02"
	case strings.Contains(path, "MachineLearning"):
		version = "2024-04-01"
	case strings.Contains(path, "roleAssignments"):
		version = "2022-04-01"
	case strings.Contains(path, "Storage"):
		version = "2023-01-01"
	case strings.Contains(path, "KeyVault"), strings.Contains(path, "ContainerRegistry"):
		version = "2023-07-01"
	}
	r := httptest.NewRequest(http.MethodPut, "https://management.azure.com"+at+"?api-version="+version, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+n.token)
	w := httptest.NewRecorder()
	n.s.kernel.ServeHTTP(w, r)
	if w.Code >= 300 {
		n.tb.Fatalf("PUT %s: %d %s", path, w.Code, w.Body)
	}
}

func (n *networkTest) account(action string) {
	n.tb.Helper()
	n.put("Microsoft.Storage/storageAccounts/stwalk", `{"location":"eastus","kind":"StorageV2","sku":{"name":"Standard_LRS"},"properties":{"networkAcls":{"defaultAction":"`+action+`"}}}`)
}

func (n *networkTest) rule(name, priority, access, to string) {
	n.tb.Helper()
	n.put("Microsoft.Network/networkSecurityGroups/nsg/securityRules/"+name, `{"properties":{"priority":`+priority+`,"direction":"Outbound","access":"`+access+`","protocol":"*",
		"sourceAddressPrefix":"*","sourcePortRange":"*","destinationAddressPrefix":"`+to+`","destinationPortRange":"*"}}`)
}

// serve runs the gateway and returns a client for a proxy credential.
func (n *networkTest) serve() func(*url.Userinfo) *http.Client {
	n.tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(n.tb.Context()))
	done := make(chan error, 1)
	go func() { done <- n.s.gateway.Serve(ctx, n.s.listener) }()
	n.tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.tb.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(n.s.ca)
	return func(user *url.Userinfo) *http.Client {
		tr := &http.Transport{
			Proxy:           http.ProxyURL(&url.URL{Scheme: "http", User: user, Host: n.s.listener.Addr().String()}),
			TLSClientConfig: &tls.Config{RootCAs: roots},
			OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
				if why := res.Header.Get("X-Azimuth-Error"); why != "" {
					return fmt.Errorf("%d %s", res.StatusCode, why)
				}
				return nil
			},
		}
		n.tb.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
}

func get(c *http.Client, target, token string) (int, string, error) {
	r, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("x-ms-version", "2021-08-06")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// TestEveryHostIsBehindTheNetworks walks all hosts that the server has: from a
// subnet whose security group lets nothing out, none answers, and only the API that
// manages the server itself is not asked for.
func TestEveryHostIsBehindTheNetworks(t *testing.T) {
	n := newNetwork(t)
	n.rule("none", "100", "Deny", "*")
	inside := n.serve()(n.s.networks.credential(placeUser(n.id("Microsoft.Network/virtualNetworks/net/subnets/sub"))))
	for _, route := range n.s.routes() {
		host := strings.Replace(route.Pattern, "*", "x1", 1)
		for _, scheme := range []string{"https", "http"} {
			code, body, err := get(inside, scheme+"://"+host+"/", "")
			said := body
			if err != nil {
				said = err.Error()
			}
			blocked := strings.Contains(said, "does not reach "+host) && strings.Contains(said, "The rule none (100, Outbound, Deny)") && code != http.StatusOK
			if blocked == (host == AdminHost) {
				t.Errorf("%s over %s: %d %s", host, scheme, code, said)
			}
		}
	}
	for _, host := range []string{"pypi.org", "127.0.0.2"} {
		if _, _, err := get(inside, "https://"+host, ""); err == nil || !strings.Contains(err.Error(), "does not reach "+host) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// TestDataPlanesRefuse looks at the words of each data plane to a caller whose
// network may not reach it, and that a decision is made anew when a resource changes.
func TestDataPlanesRefuse(t *testing.T) {
	n := newNetwork(t)
	clients := n.serve()
	outside := clients(nil)
	storage := n.s.token(t, n.s.owner.ObjectID, audienceStorage)
	const refused = "This request is not authorized to perform this operation."
	hosts := []string{"stwalk.blob", "stwalk.dfs", "stwalk.file", "stwalk.queue", "stwalk.table", "stwalk.z13.web"}
	for _, action := range []string{"Allow", "Deny", "Allow"} {
		n.account(action)
		for _, h := range hosts {
			code, body, err := get(outside, "https://"+h+".core.windows.net/?comp=list", storage)
			if err != nil || strings.Contains(body, refused) != (action == "Deny") || action == "Deny" && code != http.StatusForbidden {
				t.Errorf("%s with %s: %d %s %v", h, action, code, body, err)
			}
		}
	}
	for _, c := range []struct{ target, audience, want string }{
		{"https://kv-walk.vault.azure.net/secrets/one?api-version=7.4", audienceVault, `"Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\nCaller: appid=`},
		{"https://crwalk.azurecr.io/v2/", audienceManagement, "client with IP '203.0.113.10' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."},
		{"https://eastus.api.azureml.ms/history/v1.0" + n.id("Microsoft.MachineLearningServices/workspaces/mlw") + "/runs/x", audienceML, "Access to workspace was denied based on workspace private link configuration."},
		{"https://eastus.api.azureml.ms/mlflow/v1.0" + n.id("Microsoft.MachineLearningServices/workspaces/mlw") + "/api/2.0/mlflow/experiments/get?experiment_id=0", audienceML, "Access to workspace was denied based on workspace private link configuration."},
	} {
		code, body, err := get(outside, c.target, n.s.token(t, n.s.owner.ObjectID, c.audience))
		if err != nil || code != http.StatusForbidden || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s %v", c.target, code, body, err)
		}
	}

	// a connection that is there already is cut by a rule that comes later
	inside := clients(n.s.networks.credential(placeUser(n.id("Microsoft.Network/virtualNetworks/net/subnets/sub"))))
	if code, body, err := get(inside, "https://stwalk.blob.core.windows.net/?comp=list", storage); err != nil || code == 0 {
		t.Fatalf("before the rule: %d %s %v", code, body, err)
	}
	n.rule("none", "200", "Deny", "Internet")
	if code, body, err := get(inside, "https://stwalk.blob.core.windows.net/?comp=list", storage); err == nil {
		t.Errorf("after the rule: %d %s", code, body)
	}
	n.rule("storage", "100", "Allow", "Storage.EastUS")
	if code, body, err := get(inside, "https://stwalk.blob.core.windows.net/?comp=list", storage); err != nil || code == 0 {
		t.Errorf("with the tag allowed: %d %s %v", code, body, err)
	}
}

func TestProxyCredentials(t *testing.T) {
	n := newNetwork(t)
	ctx := t.Context()
	subnet := n.id("Microsoft.Network/virtualNetworks/net/subnets/sub")
	user := placeUser(subnet)
	at, err := n.s.siteOf(ctx, user, n.s.networks.password(user), true)
	if err != nil || at.Subnet != subnet {
		t.Errorf("a subnet: %+v, %v", at, err)
	}
	if at, err = n.s.siteOf(ctx, "", "", false); err != nil || at.Public != netip.MustParseAddr(DefaultUserAddress) {
		t.Errorf("nobody: %+v, %v", at, err)
	}
	for what, c := range map[string][2]string{
		"another's password": {placeUser(subnet + "2"), n.s.networks.password(user)},
		"no password":        {user, ""},
		"a node that is not": {"tvm-1", n.s.networks.password("tvm-1")},
		"a place that isnot": {placeUser(subnet + "2"), n.s.networks.password(placeUser(subnet + "2"))},
		"no place at all":    {"at-%%", n.s.networks.password("at-%%")},
	} {
		var denied *gateway.Denial
		if _, err := n.s.siteOf(ctx, c[0], c[1], true); !errors.As(err, &denied) || denied.Status != http.StatusProxyAuthRequired {
			t.Errorf("%s: %v", what, err)
		}
	}
	// the key and the address are the home's
	before := n.s.networks.password(user)
	if err := n.s.setUserAddress(ctx, netip.MustParseAddr("198.51.100.7")); err != nil {
		t.Fatal(err)
	}
	n.s.networks.key = nil
	if err := n.s.openNetworks(ctx, n.s.sealer); err != nil || n.s.networks.password(user) != before || n.s.networks.user.Load().Public.String() != "198.51.100.7" {
		t.Errorf("opened again: %v", err)
	}
}

// BenchmarkNetworks is what the networks cost a request: of the user's machine and
// of a node, when nothing has changed and when everything is decided anew.
func BenchmarkNetworks(b *testing.B) {
	n := newNetwork(b)
	user := placeUser(n.id("Microsoft.Network/virtualNetworks/net/subnets/sub"))
	password := n.s.networks.password(user)
	const host = "stwalk.blob.core.windows.net"
	for name, given := range map[string]bool{"internet": false, "subnet": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				at, err := n.s.siteOf(b.Context(), user, password, given)
				if err != nil {
					b.Fatal(err)
				}
				if v, err := n.s.decide(b.Context(), at, host, 443); err != nil || !v.Allowed {
					b.Fatal(v, err)
				}
			}
		})
		b.Run(name+"/anew", func(b *testing.B) {
			at, err := n.s.siteOf(b.Context(), user, password, given)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if v, err := n.s.decide(b.Context(), at, host, 444); err != nil || !v.Allowed { // of this port nothing is remembered
					b.Fatal(v, err)
				}
			}
		})
	}
}

// TestCopySources has a client copy out of an account that it may not reach.
func TestCopySources(t *testing.T) {
	n := newNetwork(t)
	outside := n.serve()(nil)
	n.put("Microsoft.Storage/storageAccounts/sttarget", `{"location":"eastus","kind":"StorageV2","sku":{"name":"Standard_LRS"},"properties":{}}`)
	n.put("Microsoft.Authorization/roleAssignments/11111111-2222-4333-8444-555555555555", `{"properties":{"principalId":"`+n.s.owner.ObjectID+`",
		"roleDefinitionId":"/subscriptions/`+n.s.kernel.Subscription()+`/providers/Microsoft.Authorization/roleDefinitions/b7e6dc6d-f1e8-4753-8033-0f276bb0955b"}}`)
	token := "Bearer " + n.s.token(t, n.s.owner.ObjectID, audienceStorage)
	put := func(target, body string, header ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPut, target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {token}, "X-Ms-Version": {"2021-08-06"}}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := outside.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	for _, account := range []string{"stwalk", "sttarget"} {
		if code, body := put("https://"+account+".blob.core.windows.net/data?restype=container", ""); code != http.StatusCreated {
			t.Fatalf("%s: %d %s", account, code, body)
		}
	}
	if code, body := put("https://stwalk.blob.core.windows.net/data/source", "text", "x-ms-blob-type", "BlockBlob"); code != http.StatusCreated {
		t.Fatalf("source: %d %s", code, body)
	}
	for action, want := range map[string]string{"Allow": "", "Deny": "CannotVerifyCopySource"} {
		n.account(action)
		code, body := put("https://sttarget.blob.core.windows.net/data/copy", "", "x-ms-requires-sync", "true",
			"x-ms-copy-source", "https://stwalk.blob.core.windows.net/data/source", "x-ms-copy-source-authorization", token)
		if !strings.Contains(body, want) || (code < 300) != (want == "") {
			t.Errorf("%s: %d %s", action, code, body)
		}
	}
}

// TestSubnetsInNetworkRules: an account takes the subnets that a service endpoint
// leads from, and refuses others in Azure's words.
func TestSubnetsInNetworkRules(t *testing.T) {
	n := newNetwork(t)
	subnet := n.id("Microsoft.Network/virtualNetworks/net/subnets/sub")
	path := n.id("Microsoft.Storage/storageAccounts/stwalk") + "?api-version=2023-01-01"
	patch := func() (int, string) {
		r := httptest.NewRequest(http.MethodPatch, "https://management.azure.com"+path,
			strings.NewReader(`{"properties":{"networkAcls":{"defaultAction":"Deny","virtualNetworkRules":[{"id":"`+subnet+`"}]}}}`))
		r.Header.Set("Authorization", "Bearer "+n.token)
		w := httptest.NewRecorder()
		n.s.kernel.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	code, body := patch()
	if want := "SubnetsHaveNoServiceEndpointsConfigured:Subnets sub of virtual network " + n.id("Microsoft.Network/virtualNetworks/net") +
		" do not have ServiceEndpoints for Microsoft.Storage resources configured."; code != http.StatusBadRequest || !strings.Contains(body, "NetworkAclsValidationFailure") || !strings.Contains(body, want) {
		t.Errorf("without the endpoint: %d %s", code, body)
	}
	n.put("Microsoft.Network/virtualNetworks/net/subnets/sub", `{"properties":{"addressPrefix":"10.0.1.0/24","serviceEndpoints":[{"service":"Microsoft.Storage"}]}}`)
	if code, body := patch(); code != http.StatusOK {
		t.Errorf("with the endpoint: %d %s", code, body)
	}
	from := func(place string) bool {
		t.Helper()
		v, err := n.s.explain(t.Context(), NetworkQuestion{From: place, To: "stwalk"})
		if err != nil {
			t.Fatal(err)
		}
		return v.Allowed
	}
	if !from("sub") || !from("net/sub") || !from(subnet) || from("internet") || from("198.51.100.7") {
		t.Error("the account is open to others than the subnet")
	}
	for _, q := range []NetworkQuestion{{From: "nowhere", To: "stwalk"}, {From: "sub", To: "nothing"}, {From: "sub", To: "://"}, {From: "sub", To: "stwalk", Port: 70000}, {From: n.id("Microsoft.Storage/storageAccounts/stwalk"), To: "stwalk"}} {
		if v, err := n.s.explain(t.Context(), q); err == nil {
			t.Errorf("%+v: %+v", q, v)
		}
	}
}
