package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
	"github.com/azimuth-ml/azimuth/internal/vault"
)

type vaults map[string]*vault.Vault

func (v vaults) Vault(_ context.Context, name string) (*vault.Vault, error) {
	if got := v[name]; got != nil {
		return got, nil
	}
	return nil, fmt.Errorf("%s: %w", name, vault.ErrNoVault)
}

type access struct{}

func (access) Authorize(_ context.Context, r *http.Request) (vault.Principal, error) {
	id, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if id == "bad" {
		return vault.Principal{}, vault.ErrBadToken
	}
	return vault.Principal{ObjectID: id, Groups: map[string][]string{"member": {"others", "READER"}}[id]}, nil
}

func (access) Allowed(_ context.Context, id, action, scope string) (bool, error) {
	return id == "officer" || id == "reader" && strings.HasSuffix(action, "/read"), nil
}

// plant is a service with a few vaults, and its clock.
type plant struct {
	*vault.Service
	store store.Store
	clock *clock.Manual
	url   string
}

func start(t *testing.T) *plant {
	t.Helper()
	return startWith(t, 0)
}

func startWith(t *testing.T, bodyTimeout time.Duration) *plant {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	sealer, err := seal.New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	s := vault.New(vault.Config{
		Store: st, Access: access{}, TenantID: "tenant", Log: slog.New(slog.DiscardHandler), Sealer: sealer, Clock: c, BodyTimeout: bodyTimeout,
		Vaults: vaults{
			"kv":     {Name: "kv", ID: "/subscriptions/s/kv", UID: "1", RBAC: true, RetentionDays: 7},
			"old":    {Name: "old", UID: "2", RetentionDays: 90, Policies: []vault.Policy{{ObjectID: "reader", Certificates: []string{"managecontacts"}, Secrets: []string{"all"}, Keys: []string{"get", "sign"}}}},
			"closed": {Name: "closed", UID: "3", RBAC: true, Door: vault.DoorClosed},
			"kept":   {Name: "kept", ID: "/subscriptions/s/kept", UID: "4", RBAC: true, RetentionDays: 90, PurgeProtection: true, Premium: true},
		},
	})
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return &plant{s, st, c, srv.URL}
}

// do sends one request.
func (p *plant) do(t *testing.T, host, token, method, path, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host + ".vault.azure.net"
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestContacts(t *testing.T) {
	p := start(t)
	const path = "/certificates/contacts?api-version=7.4"
	contacts := `{"contacts":[{"email":"a@b.example","name":"A"}]}`
	for _, tc := range []struct {
		host, token, method, path, body string
		status                          int
		code                            string
	}{
		{"kv", "", "GET", "/", "", 401, "Unauthorized"},
		{"kv", "bad", "GET", path, "", 401, "Unauthorized"},
		{"kv", "officer", "GET", "/", "", 404, "NotFound"},
		{"none", "officer", "GET", path, "", 404, "VaultNotFound"},
		{"kv", "officer", "GET", "/certificates/contacts", "", 400, "BadParameter"},
		{"kv", "officer", "GET", path, "", 404, "ContactsNotFound"},
		{"kv", "nobody", "GET", path, "", 403, "Forbidden"},
		{"kv", "reader", "GET", path, "", 404, "ContactsNotFound"},
		{"kv", "reader", "PUT", path, contacts, 403, "Forbidden"},
		{"kv", "officer", "PUT", path, `{"contacts":[{"email":"nonsense"}]}`, 400, "BadParameter"},
		{"kv", "officer", "PUT", path, `{"contacts":[]}`, 400, "BadParameter"},
		{"kv", "officer", "PUT", path, `{`, 400, "BadParameter"},
		{"kv", "officer", "PUT", path, contacts, 200, ""},
		{"kv", "officer", "GET", path, "", 200, ""},
		{"old", "reader", "GET", path, "", 404, "ContactsNotFound"},
		{"old", "officer", "GET", path, "", 403, "Forbidden"},
		{"closed", "officer", "GET", path, "", 403, "Forbidden"},
		{"kv", "officer", "GET", "/certificates/mine/other/things?api-version=7.4", "", 501, "NotImplementedByAzimuth"},
		{"kv", "officer", "DELETE", path, "", 200, ""},
		{"kv", "officer", "DELETE", path, "", 404, "ContactsNotFound"},
		{"kv", "officer", "POST", path, "", 405, "MethodNotAllowed"},
	} {
		resp, body := p.do(t, tc.host, tc.token, tc.method, tc.path, tc.body)
		var e struct{ Error struct{ Code string } }
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%v: %v in %s", tc, err, body)
		}
		if resp.StatusCode != tc.status || e.Error.Code != tc.code {
			t.Errorf("%s %s %s as %q = %d %s, want %d %s", tc.method, tc.host, tc.path, tc.token, resp.StatusCode, body, tc.status, tc.code)
		}
		challenge := resp.Header.Get("WWW-Authenticate")
		if (challenge == `Bearer authorization="https://login.microsoftonline.com/tenant", resource="https://vault.azure.net"`) != (tc.status == 401) {
			t.Errorf("challenge %q with %d", challenge, resp.StatusCode)
		}
		if strings.Contains(body, "mine") {
			t.Errorf("the answer names a certificate: %s", body)
		}
	}
	p.do(t, "kv", "officer", "PUT", path, contacts)
	if err := p.store.Update(t.Context(), func(tx store.Tx) error { return p.DeleteVault(tx, "1") }); err != nil {
		t.Fatal(err)
	}
	if resp, body := p.do(t, "kv", "officer", "GET", path, ""); resp.StatusCode != 404 {
		t.Errorf("after DeleteVault: %s", body)
	}
}

// TestHostileRequests: paths that lead elsewhere, bodies that are too large or never
// come.
func TestHostileRequests(t *testing.T) {
	p := start(t)
	p.do(t, "kv", "officer", "PUT", "/secrets/mine?api-version=7.4", `{"value":"hidden"}`)
	for _, path := range []string{
		"/secrets/../secrets/mine", "/secrets/%2e%2e/secrets/mine", "/secrets/mine%2F..", "/secrets/mine%00", "/secrets/..", "/secrets/mine/..%2f..",
		"//secrets/other", "/secrets/mi%0d%0ane", "/secrets/mine/" + strings.Repeat("a", 5000), "/" + strings.Repeat("a/", 500),
	} {
		resp, body := p.do(t, "kv", "officer", "GET", path+"?api-version=7.4", "")
		if resp.StatusCode < 400 || resp.StatusCode == 500 || strings.Contains(body, "hidden") {
			t.Errorf("%.40s: %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, body := p.do(t, "kv", "officer", "PUT", "/secrets/large?api-version=7.4", `{"value":"`+strings.Repeat("x", 2<<20)+`"}`); resp.StatusCode != 413 {
		t.Errorf("a large body: %d %s", resp.StatusCode, body)
	}
	// A body that is promised and never comes.
	conn, err := net.Dial("tcp", strings.TrimPrefix(startWith(t, 50*time.Millisecond).url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PUT /secrets/slow?api-version=7.4 HTTP/1.1\r\nHost: kv.vault.azure.net\r\nAuthorization: Bearer officer\r\nContent-Length: 100\r\n\r\n{")
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408") {
		t.Errorf("a body that does not come: %q, %v", answer, err)
	}
}
