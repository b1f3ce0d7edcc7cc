package clientenv_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clientenv"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/gateway"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// cloud is a server with a directory, and with as much of Azure Resource Manager
// as signing in takes.
type cloud struct {
	addr  string
	ca    *gateway.CA
	dir   *entra.Directory
	creds entra.Credentials
	clock *clock.Adjustable
	db    store.Store
}

func startCloud(t *testing.T) *cloud {
	t.Helper()
	home := t.TempDir()
	db, err := sqlite.Open(t.Context(), filepath.Join(home, "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{clock: clock.NewAdjustable(0), db: db}
	c.dir, err = entra.Open(entra.Config{
		Store: db, Clock: c.clock, KeyDir: filepath.Join(home, "ca"), OwnerFile: filepath.Join(home, "owner.json"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.creds, err = c.dir.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.ca, err = gateway.OpenCA(filepath.Join(home, "ca")); err != nil {
		t.Fatal(err)
	}
	routes := []gateway.Route{
		{Pattern: "management.azure.com", Handler: http.HandlerFunc(c.arm), Correlate: true},
		{Pattern: entra.GraphHost, Handler: c.dir.GraphHandler()},
		{Pattern: entra.IMDSHost, Handler: c.dir.IMDSHandler()},
	}
	for _, host := range entra.LoginHosts() {
		routes = append(routes, gateway.Route{Pattern: host, Handler: c.dir.LoginHandler()})
	}
	g, err := gateway.New(gateway.Config{CA: c.ca, Routes: routes, Local: c.dir.MSIHandler()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		db.Close()
	})
	return c
}

func (c *cloud) arm(w http.ResponseWriter, r *http.Request) {
	_, err := c.dir.Authenticate(r.Context(), r, "https://management.azure.com", "https://management.core.windows.net")
	var refusal *entra.AuthError
	if errors.As(err, &refusal) {
		w.Header().Set("WWW-Authenticate", refusal.ARMChallenge())
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": refusal.Code, "message": refusal.Message}})
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	subscription := map[string]any{
		"id": "/subscriptions/" + entra.DefaultSubscriptionID, "subscriptionId": entra.DefaultSubscriptionID,
		"tenantId": entra.DefaultTenantID, "displayName": "Azimuth", "state": "Enabled",
		"subscriptionPolicies": map[string]string{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
		"authorizationSource":  "RoleBased", "managedByTenants": []any{},
	}
	var body any
	switch strings.TrimSuffix(strings.ToLower(r.URL.Path), "/") {
	case "/subscriptions":
		body = map[string]any{"value": []any{subscription}}
	case "/tenants":
		body = map[string]any{"value": []any{map[string]string{"id": "/tenants/" + entra.DefaultTenantID, "tenantId": entra.DefaultTenantID}}}
	case "/subscriptions/" + entra.DefaultSubscriptionID:
		body = subscription
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body)
}

func (c *cloud) prepare(t *testing.T, dir string, getenv func(string) string) *clientenv.Env {
	t.Helper()
	env, err := clientenv.Prepare(clientenv.Config{
		Dir: dir, Address: c.addr, CACertificate: c.ca.CertificatePEM(), Credentials: c.creds, Now: c.clock.Now(), Getenv: getenv,
	})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// find returns the path of a real client, and skips the test where there is none
// unless this is CI, which is to have them all.
func find(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real client")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// run runs a client and returns its standard output, and its standard error
// beside if it fails.
func run(t *testing.T, env []string, path string, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), errors.New(err.Error() + ": " + errs.String())
	}
	return out.String(), nil
}

func TestAzureCLIIsSignedIn(t *testing.T) {
	t.Parallel()
	az := find(t, "az")
	c := startCloud(t)
	dir := t.TempDir()
	env := c.prepare(t, dir, os.Getenv).Apply(os.Environ())

	out, err := run(t, env, az, "account", "show", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var account struct {
		ID, TenantID, State string
		User                struct{ Name, Type string }
		IsDefault           bool
	}
	if err := json.Unmarshal([]byte(out), &account); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if account.ID != entra.DefaultSubscriptionID || account.TenantID != entra.DefaultTenantID || account.State != "Enabled" ||
		account.User.Name != c.creds.ClientID || account.User.Type != "servicePrincipal" || !account.IsDefault {
		t.Errorf("az account show: %s", out)
	}

	out, err = run(t, env, az, "account", "get-access-token", "--query", "accessToken", "-o", "tsv")
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(out)
	req := bearer(t, token)
	p, err := c.dir.Authenticate(t.Context(), req, "https://management.azure.com", "https://management.core.windows.net")
	if err != nil || p.ObjectID != c.creds.ObjectID {
		t.Errorf("the token of az is for %v, %v", p, err)
	}

	// As az role assignment list resolves names.
	out, err = run(t, env, az, "rest", "--method", "post", "--url", "https://graph.microsoft.com/v1.0/directoryObjects/getByIds",
		"--body", `{"ids":["`+c.creds.ObjectID+`"],"types":["user","group","servicePrincipal","directoryObjectPartnerReference"]}`,
		"--query", "value[0].displayName", "-o", "tsv")
	if err != nil || strings.TrimSpace(out) != entra.OwnerName {
		t.Errorf("getByIds: %q, %v", out, err)
	}

	// The CLI would go on using a token that the server's clock has outlived.
	c.clock.Advance(2 * time.Hour)
	c.prepare(t, dir, os.Getenv)
	out, err = run(t, env, az, "rest", "--method", "get", "--url", "https://management.azure.com/subscriptions?api-version=2022-12-01", "--query", "value[0].displayName", "-o", "tsv")
	if err != nil || strings.TrimSpace(out) != "Azimuth" {
		t.Errorf("after the clock was advanced: %q, %v", out, err)
	}
}

func TestAzureCLISignsIn(t *testing.T) {
	t.Parallel()
	az := find(t, "az")
	c := startCloud(t)
	env := c.prepare(t, t.TempDir(), os.Getenv)
	env.Vars["AZURE_CONFIG_DIR"] = t.TempDir() // one that knows nothing
	env.Vars["AZURE_CORE_COLLECT_TELEMETRY"] = "no"
	environ := env.Apply(os.Environ())

	login := []string{"login", "--service-principal", "-u", c.creds.ClientID, "--tenant", c.creds.TenantID, "-o", "json", "-p"}
	if _, err := run(t, environ, az, append(login, "wrong")...); err == nil || !strings.Contains(err.Error(), "AADSTS7000215") {
		t.Errorf("with a wrong secret: %v", err)
	}
	out, err := run(t, environ, az, append(login, c.creds.ClientSecret)...)
	if err != nil || !strings.Contains(out, entra.DefaultSubscriptionID) {
		t.Errorf("az login: %s, %v", out, err)
	}
}

// The Azure SDK gets a job's token, from either of the two endpoints that a job
// is told of.
func TestPythonManagedIdentity(t *testing.T) {
	t.Parallel()
	python := ""
	for _, name := range []string{"python3", "/usr/bin/python3"} { // a system's packages may be those of its own Python alone
		if _, err := run(t, os.Environ(), name, "-c", "import azure.identity"); err == nil {
			python = name
		}
	}
	if python == "" {
		t.Skip("no Python with azure-identity")
	}
	c := startCloud(t)
	var id entra.ManagedIdentity
	var secret string
	err := c.db.Update(t.Context(), func(tx store.Tx) (err error) {
		if id, err = c.dir.CreateManagedIdentity(tx, "/subscriptions/s/resourceGroups/rg/providers/p/computes/cpu-cluster", "cpu-cluster"); err != nil {
			return err
		}
		secret, err = c.dir.GrantIdentity(tx, "job-1", id.PrincipalID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + c.addr + entra.MSIPath
	const script = `
from azure.identity import ManagedIdentityCredential
print(ManagedIdentityCredential().get_token("https://storage.azure.com/.default").token)`
	for name, vars := range map[string][]string{
		"Azure ML":    {"MSI_ENDPOINT=" + endpoint, "MSI_SECRET=" + secret},
		"App Service": {"IDENTITY_ENDPOINT=" + endpoint, "IDENTITY_HEADER=" + secret},
		"both":        {"MSI_ENDPOINT=" + endpoint, "MSI_SECRET=" + secret, "IDENTITY_ENDPOINT=" + endpoint, "IDENTITY_HEADER=" + secret},
	} {
		env := append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NO_PROXY=127.0.0.1"}, vars...)
		out, err := run(t, env, python, "-c", script)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p, err := c.dir.Authenticate(t.Context(), bearer(t, strings.TrimSpace(out)), "https://storage.azure.com")
		if err != nil || p.ObjectID != id.PrincipalID {
			t.Errorf("%s: the token is for %v, %v", name, p, err)
		}
	}
}

func bearer(t *testing.T, token string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "https://management.azure.com/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

func TestCurlJavaPythonNode(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	env := c.prepare(t, t.TempDir(), os.Getenv).Apply(os.Environ())
	const url = "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"
	java := filepath.Join(t.TempDir(), "Get.java")
	if err := os.WriteFile(java, []byte(`
import java.io.*; import java.net.*;
public class Get { public static void main(String[] a) throws Exception {
  try (InputStream in = new URL(a[0]).openStream()) { in.transferTo(System.out); } } }`), 0o600); err != nil {
		t.Fatal(err)
	}
	clients := map[string][]string{
		"curl":    {"-sS", "--fail", url},
		"java":    {java, url},
		"python3": {"-c", "import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())", url},
		"node":    {"-e", "fetch(process.argv[1]).then(async r=>console.log(await r.text())).catch(e=>{console.error(e);process.exit(1)})", url},
	}
	for name, args := range clients {
		t.Run(name, func(t *testing.T) {
			path := find(t, name)
			if name == "node" {
				if _, err := run(t, env, path, "-e", "let [a,b]=process.versions.node.split('.').map(Number); process.exit(a>24||a==24||a==22&&b>=21?0:1)"); err != nil {
					t.Skip("this Node does not take the proxy from the environment")
				}
			}
			out, err := run(t, env, path, args...)
			if err != nil || !strings.Contains(out, "token_endpoint") {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}
