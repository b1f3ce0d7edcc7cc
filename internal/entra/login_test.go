package entra_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// do sends a request to a handler and returns the answer's status and document.
func do(t testing.TB, h http.Handler, r *http.Request) (int, map[string]any, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	doc := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("%s %s: %d, %v in %q", r.Method, r.URL, w.Code, err, w.Body)
	}
	return w.Code, doc, w.Header()
}

func form(path string, values url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://login.microsoftonline.com"+path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (h *home) post(t testing.TB, path string, values url.Values) (int, map[string]any) {
	t.Helper()
	status, doc, _ := do(t, h.LoginHandler(), form(path, values))
	return status, doc
}

func (h *home) get(t testing.TB, path string) (int, map[string]any) {
	t.Helper()
	status, doc, _ := do(t, h.LoginHandler(), httptest.NewRequest(http.MethodGet, "https://login.microsoftonline.com"+path, http.NoBody))
	return status, doc
}

func signIn(c entra.Credentials) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret},
		"scope": {"https://management.azure.com/.default"},
	}
}

func mustSignIn(t testing.TB, h *home, c entra.Credentials) {
	t.Helper()
	status, doc := h.post(t, "/"+c.TenantID+"/oauth2/v2.0/token", signIn(c))
	token, _ := doc["access_token"].(string)
	if status != 200 || token == "" {
		t.Fatalf("sign in: %d %v", status, doc)
	}
	p, err := h.Authenticate(context.Background(), request("Bearer "+token), armAudience)
	if err != nil || p.ObjectID != c.ObjectID || p.AppID != c.ClientID || p.DisplayName != entra.OwnerName {
		t.Fatalf("signed in as %v, %v", p, err)
	}
}

func TestClientCredentials(t *testing.T) {
	h := newHome(t)
	c, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{c.TenantID, strings.ToUpper(c.TenantID), entra.DefaultDomain, "common", "organizations"} {
		status, doc := h.post(t, "/"+tenant+"/oauth2/v2.0/token", signIn(c))
		if status != 200 || doc["token_type"] != "Bearer" || doc["expires_in"] != 3599.0 || doc["ext_expires_in"] != 3599.0 {
			t.Errorf("%s: %d %v", tenant, status, doc)
		}
	}
	// Version 1 writes numbers as strings, and names the resource.
	v1 := signIn(c)
	v1.Del("scope")
	v1.Set("resource", "https://management.core.windows.net/")
	status, doc := h.post(t, "/"+c.TenantID+"/oauth2/token", v1)
	now := h.clock.Now().Unix()
	if status != 200 || doc["expires_in"] != "3599" || doc["expires_on"] != fmt.Sprint(now+3600) || doc["not_before"] != fmt.Sprint(now-300) ||
		doc["resource"] != "https://management.core.windows.net/" {
		t.Errorf("version 1: %d %v", status, doc)
	}
	// MSAL doubles the slash for a resource that ends with one, and for Go adds scopes
	// of OpenID Connect.
	double := signIn(c)
	double.Set("scope", "https://management.core.windows.net//.default openid offline_access profile")
	status, doc = h.post(t, "/"+c.TenantID+"/oauth2/v2.0/token", double)
	if status != 200 || claimsOf(t, doc["access_token"].(string))["aud"] != "https://management.core.windows.net/" {
		t.Errorf("double slash: %d %v", status, doc)
	}
	// The secret in the header.
	basic := signIn(c)
	basic.Del("client_id")
	basic.Del("client_secret")
	r := form("/"+c.TenantID+"/oauth2/v2.0/token", basic)
	r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	if status, doc, _ := do(t, h.LoginHandler(), r); status != 200 {
		t.Errorf("Basic: %d %v", status, doc)
	}
}

func TestTokenErrors(t *testing.T) {
	h := newHome(t)
	c, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := "/" + c.TenantID + "/oauth2/v2.0/token"
	with := func(kv ...string) url.Values {
		v := signIn(c)
		for i := 0; i < len(kv); i += 2 {
			if kv[i+1] == "" {
				v.Del(kv[i])
			} else {
				v.Set(kv[i], kv[i+1])
			}
		}
		return v
	}
	cases := map[string]struct {
		path   string
		form   url.Values
		status int
		code   string
		number float64
	}{
		"wrong secret":        {path, with("client_secret", "nope"), 401, "invalid_client", 7000215},
		"no secret":           {path, with("client_secret", ""), 401, "invalid_client", 7000216},
		"unknown application": {path, with("client_id", "00000000-0000-0000-0000-00000000dead"), 400, "unauthorized_client", 700016},
		"no client":           {path, with("client_id", ""), 400, "invalid_request", 900144},
		"no grant type":       {path, with("grant_type", ""), 400, "invalid_request", 900144},
		"no scope":            {path, with("scope", ""), 400, "invalid_request", 900144},
		"unknown grant type":  {path, with("grant_type", "magic"), 400, "unsupported_grant_type", 70003},
		"unknown tenant":      {"/11111111-0000-0000-0000-000000000000/oauth2/v2.0/token", with(), 400, "invalid_request", 90002},
		"unknown resource":    {path, with("scope", "https://example.com/.default"), 400, "invalid_resource", 500011},
		"not .default":        {path, with("scope", "https://management.azure.com/user_impersonation"), 400, "invalid_scope", 1002012},
		"two resources":       {path, with("scope", "https://management.azure.com/.default https://vault.azure.net/.default"), 400, "invalid_scope", 1002012},
		"no resource":         {"/" + c.TenantID + "/oauth2/token", with(), 400, "invalid_request", 900144},
		"no refresh token":    {path, with("grant_type", "refresh_token"), 400, "invalid_request", 900144},
		"bad refresh token":   {path, with("grant_type", "refresh_token", "refresh_token", "x"), 400, "invalid_grant", 70000},
		"device code":         {path, with("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), 501, "NotImplementedByAzimuth", 0},
		"authorization code":  {path, with("grant_type", "authorization_code"), 501, "NotImplementedByAzimuth", 0},
		"no assertion type":   {path, with("client_secret", "", "client_assertion", "x"), 400, "invalid_request", 900144},
		"no assertion":        {path, with("client_secret", "", "client_assertion", "x", "client_assertion_type", assertionType), 400, "invalid_request", 50027},
		"no such user":        {path, with("grant_type", "password", "username", "x@y", "password", "z"), 400, "invalid_grant", 50034},
		"no password":         {path, with("grant_type", "password", "username", "x@y"), 400, "invalid_request", 900144},
		"another endpoint":    {"/common/oauth2/v2.0/devicecode", with(), 501, "NotImplementedByAzimuth", 0},
	}
	description := regexp.MustCompile(`^(AADSTS(\d+): )?.+ Trace ID: [0-9a-f-]{36} Correlation ID: 11112222-3333-4444-5555-666677778888 Timestamp: 2026-01-02 03:04:05Z$`)
	for name, c := range cases {
		r := form(c.path, c.form)
		r.Header.Set("client-request-id", "11112222-3333-4444-5555-666677778888")
		r.Header.Set("return-client-request-id", "true")
		status, doc, header := do(t, h.LoginHandler(), r)
		if status != c.status || doc["error"] != c.code {
			t.Errorf("%s: %d %v", name, status, doc)
		}
		m := description.FindStringSubmatch(fmt.Sprint(doc["error_description"]))
		if m == nil || doc["timestamp"] != "2026-01-02 03:04:05Z" || doc["correlation_id"] != "11112222-3333-4444-5555-666677778888" ||
			header.Get("x-ms-request-id") != doc["trace_id"] || header.Get("client-request-id") == "" || header.Get("Cache-Control") != "no-store, no-cache" {
			t.Errorf("%s: %v %v", name, doc, header)
			continue
		}
		if c.number != 0 && (m[2] != fmt.Sprintf("%.0f", c.number) || fmt.Sprint(doc["error_codes"]) != fmt.Sprint([]any{c.number}) ||
			doc["error_uri"] != fmt.Sprintf("https://login.microsoftonline.com/error?code=%.0f", c.number)) {
			t.Errorf("%s: %v", name, doc)
		}
	}
	if status, doc := h.get(t, path); status != 400 || !strings.Contains(fmt.Sprint(doc["error_description"]), "AADSTS900561") {
		t.Errorf("GET: %d %v", status, doc)
	}
	big := form(path, url.Values{"grant_type": {strings.Repeat("x", 1<<20)}})
	if status, doc, _ := do(t, h.LoginHandler(), big); status != 400 {
		t.Errorf("a huge form: %d %v", status, doc)
	}
}

// Who has the discovery documents can verify a token without knowing us.
func TestDiscovery(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	token := h.token(t, id.PrincipalID, armAudience)
	for _, c := range []struct{ path, issuer, tokens string }{
		{"/" + entra.DefaultTenantID + "/.well-known/openid-configuration", "https://sts.windows.net/" + entra.DefaultTenantID + "/", "/" + entra.DefaultTenantID + "/oauth2/token"},
		{"/" + entra.DefaultTenantID + "/v2.0/.well-known/openid-configuration", "https://login.microsoftonline.com/" + entra.DefaultTenantID + "/v2.0", "/" + entra.DefaultTenantID + "/oauth2/v2.0/token"},
		{"/common/v2.0/.well-known/openid-configuration", "https://login.microsoftonline.com/{tenantid}/v2.0", "/common/oauth2/v2.0/token"},
	} {
		status, doc := h.get(t, c.path)
		if status != 200 || doc["issuer"] != c.issuer || doc["token_endpoint"] != "https://login.microsoftonline.com"+c.tokens {
			t.Errorf("%s: %d %v", c.path, status, doc)
		}
		keys, err := url.Parse(fmt.Sprint(doc["jwks_uri"]))
		if err != nil {
			t.Fatal(err)
		}
		status, jwks := h.get(t, keys.Path)
		if status != 200 || !verifies(t, token, jwks) {
			t.Errorf("%s: %d %v does not verify", keys, status, jwks)
		}
	}
	status, doc := h.get(t, "/common/discovery/instance?api-version=1.1&authorization_endpoint=https%3A%2F%2Flogin.microsoftonline.com%2Fcommon%2Foauth2%2Fauthorize")
	if status != 200 || doc["tenant_discovery_endpoint"] != "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration" || doc["metadata"] == nil {
		t.Errorf("instance: %d %v", status, doc)
	}
	for _, bad := range []string{"", "?authorization_endpoint=https://evil.example/common/oauth2/authorize", "?authorization_endpoint=http://login.microsoftonline.com/common"} {
		if status, doc := h.get(t, "/common/discovery/instance"+bad); status != 400 {
			t.Errorf("%q: %d %v", bad, status, doc)
		}
	}
	if status, doc := h.get(t, "/nobody/v2.0/.well-known/openid-configuration"); status != 400 || !strings.Contains(fmt.Sprint(doc["error_description"]), "AADSTS90002") {
		t.Errorf("unknown tenant: %d %v", status, doc)
	}
}

func verifies(t *testing.T, token string, jwks map[string]any) bool {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
	var head struct{ Kid string }
	if err := json.Unmarshal(raw, &head); err != nil {
		t.Fatal(err)
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	for _, k := range jwks["keys"].([]any) {
		k := k.(map[string]any)
		if k["kid"] != head.Kid {
			continue
		}
		n, _ := base64.RawURLEncoding.DecodeString(k["n"].(string))
		e, _ := base64.RawURLEncoding.DecodeString(k["e"].(string))
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

func TestRefreshToken(t *testing.T) {
	h := newHome(t)
	const cli = "04b07795-8ddb-461a-bbee-02f9e1bf7b46" // a public client
	var ada *entra.Principal
	h.update(t, func(tx store.Tx) (err error) { ada, err = h.CreateUser(tx, "ada", "Ada"); return err })
	refresh, err := h.IssueRefreshToken(t.Context(), ada.ObjectID, cli)
	if err != nil {
		t.Fatal(err)
	}
	redeem := func(token, client string) (int, map[string]any) {
		return h.post(t, "/common/oauth2/v2.0/token", url.Values{
			"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {token},
			"scope": {"openid profile offline_access https://management.core.windows.net//.default"},
		})
	}
	status, doc := redeem(refresh, cli)
	next, _ := doc["refresh_token"].(string)
	if status != 200 || next == "" || next == refresh || claimsOf(t, doc["access_token"].(string))["oid"] != ada.ObjectID {
		t.Fatalf("%d %v", status, doc)
	}
	h.reopen(t)
	for _, good := range []string{next, refresh} { // Entra does not end a token by its use
		if status, doc := redeem(good, cli); status != 200 {
			t.Errorf("%d %v", status, doc)
		}
	}
	if status, doc := redeem(refresh, "another"); status != 400 || doc["error"] != "invalid_grant" {
		t.Errorf("another client: %d %v", status, doc)
	}
	h.clock.Step(90 * 24 * time.Hour)
	if status, doc := redeem(refresh, cli); status != 400 || !strings.Contains(fmt.Sprint(doc["error_description"]), "AADSTS700082") {
		t.Errorf("expired: %d %v", status, doc)
	}
	late, err := h.IssueRefreshToken(t.Context(), ada.ObjectID, cli) // and purges the expired
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	err = h.db.View(t.Context(), func(tx store.Tx) error {
		for _, err := range tx.Scan("entra/refresh", store.Range{}) {
			if err != nil {
				return err
			}
			left++
		}
		return nil
	})
	if err != nil || left != 1 {
		t.Errorf("%d refresh tokens are left, %v", left, err)
	}
	h.update(t, func(tx store.Tx) error { return h.DeletePrincipal(tx, ada.ObjectID) })
	if status, doc := redeem(late, cli); status != 400 || doc["error"] != "invalid_grant" {
		t.Errorf("a deleted user's: %d %v", status, doc)
	}
}

func TestConfidentialClientRefreshes(t *testing.T) {
	h := newHome(t)
	c, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := h.IssueRefreshToken(t.Context(), c.ObjectID, c.ClientID)
	if err != nil {
		t.Fatal(err)
	}
	v := signIn(c)
	v.Set("grant_type", "refresh_token")
	v.Set("refresh_token", refresh)
	if status, doc := h.post(t, "/common/oauth2/v2.0/token", v); status != 200 {
		t.Errorf("%d %v", status, doc)
	}
	v.Set("client_secret", "wrong")
	if status, doc := h.post(t, "/common/oauth2/v2.0/token", v); status != 401 {
		t.Errorf("a wrong secret: %d %v", status, doc)
	}
}

func TestExpiredSecret(t *testing.T) {
	h := newHome(t)
	var app *entra.Principal
	var secret string
	h.update(t, func(tx store.Tx) (err error) {
		app, secret, err = h.CreateApplication(tx, entra.Application{DisplayName: "app"})
		return err
	})
	c := entra.Credentials{TenantID: entra.DefaultTenantID, ClientID: app.AppID, ClientSecret: secret}
	for range 2 {
		if status, doc := h.post(t, "/common/oauth2/v2.0/token", signIn(c)); status != 200 {
			t.Errorf("%d %v", status, doc)
		}
	}
	h.clock.Step(3 * 365 * 24 * time.Hour)
	if status, doc := h.post(t, "/common/oauth2/v2.0/token", signIn(c)); status != 401 || !strings.Contains(fmt.Sprint(doc["error_description"]), "AADSTS7000222") {
		t.Errorf("%d %v", status, doc)
	}
	h.update(t, func(tx store.Tx) error { return h.DeletePrincipal(tx, app.ObjectID) })
	if status, doc := h.post(t, "/common/oauth2/v2.0/token", signIn(c)); status != 400 || doc["error"] != "unauthorized_client" {
		t.Errorf("a deleted application: %d %v", status, doc)
	}
}

// An application of the tenant can be an audience too, by its ID or its URI, and
// says which version of tokens it takes.
func TestApplicationAsAudience(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	for version, issuer := range map[int]string{
		0: "https://sts.windows.net/" + entra.DefaultTenantID + "/",
		2: "https://login.microsoftonline.com/" + entra.DefaultTenantID + "/v2.0",
	} {
		var app *entra.Principal
		h.update(t, func(tx store.Tx) (err error) {
			app, _, err = h.CreateApplication(tx, entra.Application{DisplayName: "api", TokenVersion: version})
			return err
		})
		for _, audience := range []string{app.AppID, "api://" + app.AppID} {
			token := h.token(t, id.PrincipalID, audience)
			c := claimsOf(t, token)
			want := map[string]any{"iss": issuer, "aud": audience, "appid": id.ClientID, "azp": nil, "ver": "1.0"}
			if version == 2 {
				want = map[string]any{"iss": issuer, "aud": app.AppID, "appid": nil, "azp": id.ClientID, "ver": "2.0"}
			}
			for name, value := range want {
				if c[name] != value {
					t.Errorf("version %d for %s: %s = %v, want %v", version, audience, name, c[name], value)
				}
			}
			if p, err := h.Authenticate(t.Context(), request("Bearer "+token), app.AppID, "api://"+app.AppID); err != nil || p.ObjectID != id.PrincipalID {
				t.Errorf("version %d for %s: %v, %v", version, audience, p, err)
			}
		}
	}
}

// The database must not help whoever has a copy of it to sign in.
func TestNoSecretIsStored(t *testing.T) {
	h := newHome(t)
	c, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := h.identity(t, clusterID)
	refresh, err := h.IssueRefreshToken(t.Context(), id.PrincipalID, "x")
	if err != nil {
		t.Fatal(err)
	}
	var grant string
	h.update(t, func(tx store.Tx) (err error) { grant, err = h.GrantIdentity(tx, "job", id.PrincipalID); return err })
	err = h.db.View(t.Context(), func(tx store.Tx) error {
		for _, bucket := range []string{"entra/principal", "entra/application", "entra/grant", "entra/refresh", "entra/setting", "entra/grant/secret"} {
			for e, err := range tx.Scan(bucket, store.Range{}) {
				if err != nil {
					return err
				}
				for _, secret := range []string{c.ClientSecret, refresh, grant} {
					if strings.Contains(e.Key+string(e.Value), secret) {
						t.Errorf("%s has a secret: %s", bucket, e.Value)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func BenchmarkClientCredentials(b *testing.B) {
	h := newHome(b)
	c, err := h.Bootstrap(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	handler := h.LoginHandler()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, form("/common/oauth2/v2.0/token", signIn(c)))
		if w.Code != 200 {
			body, _ := io.ReadAll(w.Body)
			b.Fatal(string(body))
		}
	}
}

// TestAuthenticateClient holds that a client ID and secret speak for a service
// principal, and nothing else does.
func TestAuthenticateClient(t *testing.T) {
	h := newHome(t)
	owner, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.AuthenticateClient(t.Context(), strings.ToUpper(owner.ClientID), owner.ClientSecret)
	if err != nil || p.ObjectID != owner.ObjectID {
		t.Errorf("the owner is %+v, %v", p, err)
	}
	for _, c := range [][2]string{{owner.ClientID, "no"}, {owner.ClientID, ""}, {owner.ObjectID, owner.ClientSecret}, {"nobody", owner.ClientSecret}, {"", ""}} {
		refused := (*entra.AuthError)(nil)
		if p, err := h.AuthenticateClient(t.Context(), c[0], c[1]); !errors.As(err, &refused) {
			t.Errorf("%q: %+v, %v", c, p, err)
		}
	}
}
