package test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

const (
	netGroup   = subscription + "/resourceGroups/rg-net"
	netBlobs   = "https://stnetdata001.blob.core.windows.net"
	netCluster = netGroup + "/providers/Microsoft.MachineLearningServices/workspaces/mlw-net/computes/cpu-cluster"
)

// at is the wire of a client that calls from a place in the cloud's networks, as
// `azimuth env --from` tells it.
func (e *env) at(w *wire, place string) *wire {
	e.t.Helper()
	m := regexp.MustCompile(`HTTPS_PROXY=['"]?(http://[^'"\s]+)`).FindStringSubmatch(e.run("env", "--from", place))
	if m == nil {
		e.t.Fatal("env names no proxy")
	}
	proxy, err := url.Parse(m[1])
	if err != nil || proxy.User == nil {
		e.t.Fatalf("proxy %q: %v", m[1], err)
	}
	tr := w.http.Transport.(*http.Transport).Clone()
	tr.Proxy = http.ProxyURL(proxy)
	out := *w
	out.http = &http.Client{Transport: tr}
	e.t.Cleanup(out.http.CloseIdleConnections)
	return &out
}

func (w *wire) blobs(t *testing.T) *azblob.Client {
	t.Helper()
	c, err := azblob.NewClient(netBlobs, fixedToken(w.tokens[forStorage]), &azblob.ClientOptions{ClientOptions: policy.ClientOptions{Transport: w.http, Retry: policy.RetryOptions{MaxRetries: -1}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refusedWith checks an error of an Azure SDK.
func refusedWith(t *testing.T, what string, err error, code string, texts ...string) {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != http.StatusForbidden || e.ErrorCode != code {
		t.Errorf("%s: %v, want 403 %s", what, err, code)
		return
	}
	for _, text := range texts {
		if !strings.Contains(e.Error(), text) {
			t.Errorf("%s does not say %q: %v", what, text, e)
		}
	}
}

const networkJob = `
import json, os, urllib.request, urllib.error
def get(url, **h):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=h)) as f:
            return f.read().decode()
    except (urllib.error.URLError, OSError) as e:
        return "failed: %s" % e
t = json.loads(get(os.environ["IDENTITY_ENDPOINT"] + "?api-version=2019-08-01&resource=https://storage.azure.com",
    **{"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]}))["access_token"]
auth = {"Authorization": "Bearer " + t, "x-ms-version": "2021-08-06"}
print("blob:", get("https://stnetdata001.blob.core.windows.net/data/hello.txt", **auth))
print("queue:", get("https://stnetdata001.queue.core.windows.net/?comp=list", **auth))
print("pypi:", get("https://pypi.org/simple/"))
`

// TestNetworks has a hub and a spoke decide who reaches what: a job in the spoke
// reads over the private endpoint in the hub, and the user's machine is refused in
// Azure's words on every data plane.
func TestNetworks(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	need(t, "python3")
	e := newEnv(t)
	dir := copyDir(t, "testdata/network", nil)
	e.run("up", dir)
	w := e.wire()

	t.Run("the internet is refused", func(t *testing.T) { refusedOutside(t, e, w) })

	inside := e.at(w, "spoke/training")
	if _, err := inside.blobs(t).UploadBuffer(t.Context(), "data", "hello.txt", []byte("hello from the hub"), nil); err != nil {
		t.Fatalf("from the spoke: %v", err)
	}
	run := func(name string) result {
		file := jobFile(t, "python3 net.py", "name: "+name+"\n", map[string]string{"net.py": networkJob})
		return e.try("ml", "job", "create", "-f", file, "--stream", "--from", "spoke/training")
	}
	r := run("inside")
	for _, want := range []string{
		"blob: hello from the hub", "queue: failed", "pypi: failed",
		"azimuth: a call to pypi.org did not get through: The rule no-internet (4000, Outbound, Deny) of the network security group training",
		"azimuth: a call to stnetdata001.queue.core.windows.net did not get through",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the job in the spoke does not say %q: %s", want, r)
		}
	}
	if out := e.run("network", "explain", "cpu-cluster", "stnetdata001"); !strings.Contains(out, "privateEndpoints/pe-blob") {
		t.Errorf("explain:\n%s", out)
	}

	e.run("up", dir, "--var", "linked=false")
	if r := run("unlinked"); r.code == 0 || !strings.Contains(r.stdout+r.stderr, "does not reach stnetdata001.blob.core.windows.net") {
		t.Errorf("without the link: %s", r)
	}
	var v struct {
		Allowed, Refused bool
		Reason, Change   string
	}
	r = e.try("network", "explain", "cpu-cluster", netBlobs+"/data/hello.txt", "--output", "json")
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.code != 3 || v.Allowed || v.Refused || v.Reason != "SecurityRule" ||
		!strings.HasPrefix(v.Change, "Link the private DNS zone privatelink.blob.core.windows.net to the virtual network spoke.") {
		t.Errorf("explain without the link: %v %+v %s", err, v, r)
	}

	t.Run("the subnet runs out", func(t *testing.T) {
		e.run("up", dir)
		e.run("ml", "job", "create", "-f", jobFile(t, "true", "name: wide\nresources: {instance_count: 4}\n", nil), "--from", "spoke/training")
		e.await("the cluster says that its subnet is full", func() bool {
			a, err := w.arm(t.Context(), http.MethodGet, netCluster, "2024-04-01", "")
			return err == nil && strings.Contains(string(a.body), "SubnetIsFull: Subnet training with address prefix 10.1.1.0/29 does not have enough capacity for 1 IP addresses")
		})
		if out := e.run("network", "subnets"); !regexp.MustCompile(`training +10\.1\.1\.0/29 +3 +3 `).MatchString(out) {
			t.Errorf("subnets:\n%s", out)
		}
		if out := e.run("ml", "compute", "list-nodes", "-n", "cpu-cluster"); !strings.Contains(out, "10.1.1.4") || !strings.Contains(out, "10.1.1.6") {
			t.Errorf("nodes:\n%s", out)
		}
		e.run("ml", "job", "cancel", "-n", "wide")
	})
}

func refusedOutside(t *testing.T, e *env, w *wire) {
	_, err := w.blobs(t).UploadBuffer(t.Context(), "data", "hello.txt", []byte("no"), nil)
	refusedWith(t, "azblob", err, "AuthorizationFailure", "This request is not authorized to perform this operation.")
	vault, err := azsecrets.NewClient("https://kv-net-001.vault.azure.net", fixedToken(w.tokens[forVault]), &azsecrets.ClientOptions{ClientOptions: policy.ClientOptions{Transport: w.http}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = vault.SetSecret(t.Context(), "one", azsecrets.SetSecretParameters{Value: to.Ptr("v")}, nil)
	refusedWith(t, "azsecrets", err, "Forbidden", `Client address is not authorized and caller is not a trusted service.\r\nClient address: 203.0.113.10\r\nCaller: appid=`,
		`\r\nVault: kv-net-001;location=eastus`, "ForbiddenByFirewall")
	for _, host := range []string{"stnetdata001.dfs", "stnetdata001.file", "stnetdata001.queue", "stnetdata001.table", "stnetdata001.z13.web"} {
		a, err := w.do(t.Context(), w.tokens[forStorage], http.MethodGet, "https://"+host+".core.windows.net/?comp=list", map[string]string{"x-ms-version": "2021-08-06"}, "")
		if err != nil || a.status != http.StatusForbidden || a.header.Get("x-ms-error-code") != "AuthorizationFailure" {
			t.Errorf("%s: %d %s %v", host, a.status, a.body, err)
		}
	}
	a, err := w.do(t.Context(), "", http.MethodGet, "https://crnet001.azurecr.io/v2/", nil, "")
	if want := `"message":"client with IP '203.0.113.10' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."`; err != nil ||
		a.status != http.StatusForbidden || !strings.Contains(string(a.body), `"code":"DENIED"`) || !strings.Contains(string(a.body), want) {
		t.Errorf("registry: %d %s %v", a.status, a.body, err)
	}

	// an address that stands in the account's rules
	e.run("network", "address", "198.51.100.7")
	if _, err := w.blobs(t).UploadBuffer(t.Context(), "data", "listed.txt", []byte("yes"), nil); err != nil {
		t.Errorf("from a listed address: %v", err)
	}
	e.fails(2, "takes one address", "network", "address", "a", "b")
	e.fails(1, "is not an IP address", "network", "address", "here")
	e.run("network", "address", "203.0.113.10")
	_, err = w.blobs(t).UploadBuffer(t.Context(), "data", "listed.txt", []byte("no"), nil)
	refusedWith(t, "azblob again", err, "AuthorizationFailure")

	// nobody makes up where they are
	tr := w.http.Transport.(*http.Transport).Clone()
	tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword("tvm-0000000001_1-20260101t000000z", "x"), Host: e.addr})
	forged := *w
	forged.http = &http.Client{Transport: tr}
	defer forged.http.CloseIdleConnections()
	if _, err := forged.do(t.Context(), "", http.MethodGet, netBlobs+"/data/hello.txt", nil, ""); err == nil || !strings.Contains(err.Error(), "Proxy Authentication Required") {
		t.Errorf("a forged credential: %v", err)
	}
	e.fails(1, "no node, compute or subnet", "env", "--from", "nowhere")
}
