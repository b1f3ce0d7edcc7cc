package entra_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

const (
	armAudience = "https://management.azure.com"
	clusterID   = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws/computes/cpu-cluster"
)

type home struct {
	dir   string
	db    *sqlite.Store
	clock *clock.Manual
	http  *http.Client // to other issuers
	*entra.Directory
}

// signingKey is made once: making one takes longer than most tests.
var signingKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
})

// newHome makes a home with a directory. Opening it again finds what was there.
// All homes of this kind have the same signing key.
func newHome(t testing.TB) *home {
	t.Helper()
	h := newStranger(t, func(dir string) {
		if err := os.Mkdir(filepath.Join(dir, "ca"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ca", "entra-signing-0001.key"), signingKey(), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	return h
}

// newStranger makes a home with a signing key of its own, unless before puts one
// there.
func newStranger(t testing.TB, before func(dir string)) *home {
	t.Helper()
	h := &home{dir: t.TempDir(), clock: clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	if before != nil {
		before(h.dir)
	}
	h.open(t)
	t.Cleanup(func() { h.db.Close() })
	return h
}

func (h *home) open(t testing.TB) {
	t.Helper()
	db, err := sqlite.Open(context.Background(), filepath.Join(h.dir, "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	h.db = db
	h.Directory, err = entra.Open(entra.Config{
		Store: db, Clock: h.clock, KeyDir: filepath.Join(h.dir, "ca"), OwnerFile: filepath.Join(h.dir, "owner.json"), HTTP: h.http,
		NodeGrant: func(ctx context.Context) (string, bool) {
			secret, ok := ctx.Value(nodeKey{}).(string)
			return secret, ok
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (h *home) reopen(t testing.TB) {
	t.Helper()
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h.open(t)
}

type nodeKey struct{}

func (h *home) update(t testing.TB, fn func(store.Tx) error) {
	t.Helper()
	if err := h.db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func (h *home) identity(t testing.TB, resourceID string) (id entra.ManagedIdentity) {
	t.Helper()
	h.update(t, func(tx store.Tx) (err error) {
		id, err = h.CreateManagedIdentity(tx, resourceID, "cpu-cluster")
		return err
	})
	return id
}

func (h *home) token(t testing.TB, objectID, audience string) string {
	t.Helper()
	token, err := h.Token(context.Background(), objectID, audience)
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

func request(authorization string) *http.Request {
	r := &http.Request{Method: http.MethodGet, Header: http.Header{}}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

// claimsOf reads a token's payload.
func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a token: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestManagedIdentity(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	if again := h.identity(t, strings.ToUpper(clusterID)); again != id {
		t.Errorf("the same resource has %v and %v", id, again)
	}
	if other := h.identity(t, clusterID+"2"); other.PrincipalID == id.PrincipalID || other.ClientID == id.ClientID {
		t.Errorf("two resources share %v", id)
	}
	token := h.token(t, id.PrincipalID, armAudience)
	p, err := h.Authenticate(t.Context(), request("Bearer "+token), armAudience)
	want := entra.Principal{ObjectID: id.PrincipalID, AppID: id.ClientID, TenantID: entra.DefaultTenantID, Type: entra.TypeServicePrincipal, DisplayName: "cpu-cluster"}
	if err != nil || *p != want {
		t.Errorf("%v, %v, want %v", p, err, want)
	}
	now := float64(h.clock.Now().Unix())
	c := claimsOf(t, token)
	for name, want := range map[string]any{
		"aud": armAudience, "iss": "https://sts.windows.net/" + entra.DefaultTenantID + "/", "idp": "https://sts.windows.net/" + entra.DefaultTenantID + "/",
		"oid": id.PrincipalID, "sub": id.PrincipalID, "appid": id.ClientID, "appidacr": "2", "tid": entra.DefaultTenantID,
		"idtyp": "app", "ver": "1.0", "xms_mirid": clusterID, "iat": now - 300, "nbf": now - 300, "exp": now + 24*3600,
	} {
		if c[name] != want {
			t.Errorf("%s = %v, want %v", name, c[name], want)
		}
	}

	h.update(t, func(tx store.Tx) error { return h.DeleteManagedIdentity(tx, strings.ToLower(clusterID)) })
	h.update(t, func(tx store.Tx) error { return h.DeleteManagedIdentity(tx, clusterID) })
	if _, err := h.Authenticate(t.Context(), request("Bearer "+token), armAudience); reason(err) != entra.ReasonPrincipal {
		t.Errorf("a deleted identity's token: %v", err)
	}
	if _, err := h.Token(t.Context(), id.PrincipalID, armAudience); !errors.Is(err, entra.ErrNoPrincipal) {
		t.Errorf("a token for a deleted identity: %v", err)
	}
	if again := h.identity(t, clusterID); again.PrincipalID == id.PrincipalID {
		t.Error("a deleted identity came back")
	}
}

func reason(err error) entra.Reason {
	var refusal *entra.AuthError
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return 0
}

func TestAuthenticateRefuses(t *testing.T) {
	h, stranger := newHome(t), newStranger(t, nil)
	id := h.identity(t, clusterID)
	good := h.token(t, id.PrincipalID, armAudience)
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	forge := func(header string) string { return b64([]byte(header)) + "." + parts[1] + "." + parts[2] }
	var head struct {
		KeyID string `json:"kid"`
	}
	raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
	if err := json.Unmarshal(raw, &head); err != nil {
		t.Fatal(err)
	}
	// The public key as an HMAC secret: the classic confusion of algorithms.
	confused := b64([]byte(`{"typ":"JWT","alg":"HS256","kid":"`+head.KeyID+`"}`)) + "." + parts[1]
	mac := hmac.New(sha256.New, []byte(head.KeyID))
	mac.Write([]byte(confused))
	confused += "." + b64(mac.Sum(nil))
	other := claimsOf(t, good)
	other["oid"] = "00000000-0000-0000-0000-000000000bad"
	payload, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	signature[10] ^= 1

	cases := map[string]struct {
		header string
		reason entra.Reason
		code   string
	}{
		"nothing":           {"", entra.ReasonMissing, "AuthenticationFailed"},
		"another scheme":    {"Basic dTpw", entra.ReasonHeader, "AuthenticationFailedInvalidHeader"},
		"no token":          {"Bearer ", entra.ReasonHeader, "AuthenticationFailedInvalidHeader"},
		"not a token":       {"Bearer hello", entra.ReasonMalformed, "InvalidAuthenticationToken"},
		"too long":          {"Bearer " + strings.Repeat("a.", 20_000), entra.ReasonMalformed, "InvalidAuthenticationToken"},
		"no algorithm":      {"Bearer " + forge(`{"alg":"none","kid":"`+head.KeyID+`"}`), entra.ReasonMalformed, "InvalidAuthenticationToken"},
		"no signature":      {"Bearer " + parts[0] + "." + parts[1] + ".", entra.ReasonSignature, "InvalidAuthenticationToken"},
		"HMAC":              {"Bearer " + confused, entra.ReasonMalformed, "InvalidAuthenticationToken"},
		"unknown key":       {"Bearer " + forge(`{"alg":"RS256","kid":"x"}`), entra.ReasonSignature, "InvalidAuthenticationToken"},
		"changed payload":   {"Bearer " + parts[0] + "." + b64(payload) + "." + parts[2], entra.ReasonSignature, "InvalidAuthenticationToken"},
		"changed signature": {"Bearer " + parts[0] + "." + parts[1] + "." + b64(signature), entra.ReasonSignature, "InvalidAuthenticationToken"},
		"of another home":   {"Bearer " + stranger.token(t, stranger.identity(t, clusterID).PrincipalID, armAudience), entra.ReasonSignature, "InvalidAuthenticationToken"},
		"for another service": {"Bearer " + h.token(t, id.PrincipalID, "https://vault.azure.net"), entra.ReasonAudience,
			"InvalidAuthenticationTokenAudience"},
	}
	for name, c := range cases {
		for range 2 { // the second time from the cache, if at all
			_, err := h.Authenticate(t.Context(), request(c.header), armAudience, "https://management.core.windows.net")
			var refusal *entra.AuthError
			if !errors.As(err, &refusal) || refusal.Reason != c.reason || refusal.Code != c.code {
				t.Errorf("%s: %v, want reason %d, %s", name, err, c.reason, c.code)
			}
		}
	}
	if _, err := h.Authenticate(t.Context(), request("bearer  "+good), armAudience); err != nil {
		t.Errorf("a good token: %v", err)
	}
	if _, err := h.Authenticate(t.Context(), request("Bearer "+good)); reason(err) != entra.ReasonAudience {
		t.Errorf("no audience: %v", err)
	}
}

func TestAudienceSlash(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	for _, have := range []string{armAudience, armAudience + "/", "https://management.core.windows.net/", "797f4846-ba00-4fd7-ba43-dac1f8f63013"} {
		token := h.token(t, id.PrincipalID, have)
		if aud := claimsOf(t, token)["aud"]; aud != have {
			t.Errorf("aud = %v, asked for %s", aud, have)
		}
		for _, want := range []string{strings.TrimSuffix(have, "/"), strings.TrimSuffix(have, "/") + "/"} {
			if _, err := h.Authenticate(t.Context(), request("Bearer "+token), want); err != nil {
				t.Errorf("%s for %s: %v", have, want, err)
			}
		}
	}
	for audience, known := range map[string]bool{
		"https://acct.blob.core.windows.net": true, "https://acct.blob.core.windows.net/": true,
		"https://blob.core.windows.net": false, "https://a/b.blob.core.windows.net": false,
		"https://management.azure.com//": false, "https://example.com": false, "": false, "api://nothing": false,
	} {
		if _, err := h.Token(t.Context(), id.PrincipalID, audience); (err == nil) != known || !known && !errors.Is(err, entra.ErrUnknownAudience) {
			t.Errorf("%q: %v, want known=%v", audience, err, known)
		}
	}
}

func TestTokenTime(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	r := request("Bearer " + h.token(t, id.PrincipalID, armAudience))
	auth := func() error {
		_, err := h.Authenticate(t.Context(), r, armAudience)
		return err
	}
	for _, step := range []struct {
		d    time.Duration
		want entra.Reason
	}{{0, 0}, {24 * time.Hour, 0}, {59 * time.Second, 0}, {time.Second, entra.ReasonTime}} {
		h.clock.Step(step.d)
		err := auth()
		if reason(err) != step.want || step.want == 0 && err != nil {
			t.Errorf("after %v: %v", step.d, err)
		}
	}
	var refusal *entra.AuthError
	if err := auth(); !errors.As(err, &refusal) || refusal.Code != "ExpiredAuthenticationToken" ||
		refusal.Message != "The access token expiry UTC time '1/3/2026 3:04:05 AM' is earlier than current UTC time '1/3/2026 3:05:05 AM'." {
		t.Errorf("%v", err)
	}
	if got, want := refusal.ARMChallenge(), `Bearer authorization_uri="https://login.windows.net/`+entra.DefaultTenantID+`", error="invalid_token", error_description="`; !strings.HasPrefix(got, want) {
		t.Errorf("challenge %s", got)
	}
	if got, want := refusal.Challenge("https://vault.azure.net"), `Bearer authorization="https://login.microsoftonline.com/`+entra.DefaultTenantID+`", resource="https://vault.azure.net"`; got != want {
		t.Errorf("challenge %s", got)
	}
}

func TestRotation(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	var tokens []string
	for range 4 {
		tokens = append(tokens, h.token(t, id.PrincipalID, armAudience))
		if err := h.RotateSigningKey(); err != nil {
			t.Fatal(err)
		}
	}
	tokens = append(tokens, h.token(t, id.PrincipalID, armAudience))
	check := func(when string) {
		t.Helper()
		for i, token := range tokens {
			_, err := h.Authenticate(t.Context(), request("Bearer "+token), armAudience)
			if ok := i >= 2; (err == nil) != ok {
				t.Errorf("%s: token %d: %v, want ok=%v", when, i, err, ok)
			}
		}
	}
	check("at once")
	h.reopen(t)
	check("after a restart")
	files, err := filepath.Glob(filepath.Join(h.dir, "ca", "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("key files: %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
}

func TestUsers(t *testing.T) {
	h := newHome(t)
	var ada, again *entra.Principal
	h.update(t, func(tx store.Tx) (err error) {
		if ada, err = h.CreateUser(tx, "ada", "Ada"); err != nil {
			return err
		}
		again, err = h.CreateUser(tx, "ADA@"+entra.DefaultDomain, "")
		return err
	})
	if ada.UPN != "ada@"+entra.DefaultDomain || ada.Type != entra.TypeUser || *again != *ada {
		t.Errorf("%v, %v", ada, again)
	}
	c := claimsOf(t, h.token(t, ada.ObjectID, armAudience))
	if c["idtyp"] != "user" || c["upn"] != ada.UPN || c["scp"] != "user_impersonation" || c["appid"] != nil {
		t.Errorf("%v", c)
	}
	h.update(t, func(tx store.Tx) error { return h.DeletePrincipal(tx, ada.ObjectID) })
	err := h.db.View(t.Context(), func(tx store.Tx) error { _, err := h.Lookup(tx, ada.ObjectID); return err })
	if !errors.Is(err, entra.ErrNoPrincipal) {
		t.Errorf("a deleted user: %v", err)
	}
}

func TestBootstrap(t *testing.T) {
	h := newHome(t)
	file := filepath.Join(h.dir, "owner.json")
	first, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("owner file: %v, %v", info.Mode(), err)
	}
	if loaded, err := entra.LoadCredentials(file); err != nil || loaded != first {
		t.Errorf("loaded %v, %v", loaded, err)
	}
	h.reopen(t)
	again, err := h.Bootstrap(t.Context())
	if err != nil || again != first {
		t.Errorf("again: %v, %v", again, err)
	}
	mustSignIn(t, h, first)

	// The file is lost: the same principal, so that its roles stay, with another
	// secret.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	other, err := h.Bootstrap(t.Context())
	if err != nil || other.ObjectID != first.ObjectID || other.ClientID != first.ClientID || other.ClientSecret == first.ClientSecret {
		t.Errorf("without the file: %v, %v", other, err)
	}
	mustSignIn(t, h, other)
	if status, body := h.post(t, "/common/oauth2/v2.0/token", signIn(first)); status != 401 {
		t.Errorf("the old secret: %d %v", status, body)
	}

	// The crash came between file and store.
	fresh := newHome(t)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(fresh.dir, "owner.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := fresh.Bootstrap(t.Context()); err != nil || got != other {
		t.Errorf("from the file: %v, %v", got, err)
	}
	mustSignIn(t, fresh, other)

	for name, content := range map[string]string{"broken": "{", "incomplete": "{}", "of another tenant": `{"tenantId":"t","clientId":"c","clientSecret":"s","objectId":"o"}`} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Bootstrap(t.Context()); err == nil || !strings.Contains(err.Error(), "owner.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	h := newHome(b)
	id := h.identity(b, clusterID)
	r := request("Bearer " + h.token(b, id.PrincipalID, armAudience))
	for b.Loop() {
		if _, err := h.Authenticate(b.Context(), r, armAudience); err != nil {
			b.Fatal(err)
		}
	}
}
