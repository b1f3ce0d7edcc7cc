package vault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

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
	return vault.Principal{ObjectID: id}, nil
}

func (access) Allowed(_ context.Context, id, action, scope string) (bool, error) {
	return id == "officer" || id == "reader" && strings.HasSuffix(action, "/read"), nil
}

func TestContacts(t *testing.T) {
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := vault.New(vault.Config{Store: st, Access: access{}, TenantID: "tenant", Log: slog.New(slog.DiscardHandler), Vaults: vaults{
		"kv":     {Name: "kv", ID: "/subscriptions/s/kv", UID: "1", RBAC: true, PublicNetwork: true},
		"old":    {Name: "old", UID: "2", PublicNetwork: true, Policies: []vault.Policy{{ObjectID: "reader", Certificates: []string{"managecontacts"}}}},
		"closed": {Name: "closed", UID: "3", RBAC: true},
	}})
	srv := httptest.NewServer(s)
	defer srv.Close()
	const path = "/certificates/contacts?api-version=7.4"
	do := func(host, token, method, path, body string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
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
		{"kv", "officer", "GET", "/secrets/mine?api-version=7.4", "", 501, "NotImplementedByAzimuth"},
		{"kv", "officer", "DELETE", path, "", 200, ""},
		{"kv", "officer", "DELETE", path, "", 404, "ContactsNotFound"},
		{"kv", "officer", "POST", path, "", 405, "MethodNotAllowed"},
	} {
		resp, body := do(tc.host, tc.token, tc.method, tc.path, tc.body)
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
			t.Errorf("the answer names a secret: %s", body)
		}
	}
	do("kv", "officer", "PUT", path, contacts)
	if err := st.Update(t.Context(), func(tx store.Tx) error { return s.DeleteVault(tx, "1") }); err != nil {
		t.Fatal(err)
	}
	if resp, body := do("kv", "officer", "GET", path, ""); resp.StatusCode != 404 {
		t.Errorf("after DeleteVault: %s", body)
	}
}
