package entra_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// issuer is an identity provider as GitHub's is: a discovery document, keys, and
// tokens for workloads.
type issuer struct {
	*httptest.Server
	key     *rsa.PrivateKey
	keyID   string
	fetched int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key, keyID: "k1"}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.fetched++
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: i.keyID, Algorithm: "RS256", Use: "sig"}}})
	})
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) token(t *testing.T, key *rsa.PrivateKey, c jwt.Claims) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", i.keyID))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFederatedCredentials(t *testing.T) {
	h := newHome(t)
	idp := newIssuer(t)
	h.http = idp.Client()
	h.reopen(t)
	id := h.identity(t, clusterID)
	const subject, audience = "repo:org/repo:ref:refs/heads/main", "api://AzureADTokenExchange"
	exchange := func(assertion string) (int, string) {
		status, doc := h.post(t, "/"+id.TenantID+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {id.ClientID}, "scope": {armAudience + "/.default"},
			"client_assertion_type": {assertionType}, "client_assertion": {assertion},
		})
		if status == http.StatusOK {
			r := httptest.NewRequest(http.MethodGet, "https://management.azure.com/", http.NoBody)
			r.Header.Set("Authorization", fmt.Sprint("Bearer ", doc["access_token"]))
			p, err := h.Authenticate(t.Context(), r, armAudience)
			if err != nil || p.ObjectID != id.PrincipalID {
				t.Errorf("the token is of %v, %v", p, err)
			}
		}
		description, _, _ := strings.Cut(fmt.Sprint(doc["error_description"]), ":")
		return status, description
	}
	now := time.Now()
	good := jwt.Claims{Issuer: idp.URL, Subject: subject, Audience: jwt.Audience{audience}, Expiry: jwt.NewNumericDate(now.Add(time.Minute)), IssuedAt: jwt.NewNumericDate(now)}
	if status, code := exchange(idp.token(t, idp.key, good)); status != 401 || code != "AADSTS70025" {
		t.Errorf("without a credential: %d %s", status, code)
	}
	credential := entra.FederatedCredential{AppID: id.ClientID, Name: "main", Issuer: idp.URL, Subject: subject, Audiences: []string{audience}}
	h.update(t, func(tx store.Tx) error { return h.PutFederatedCredential(tx, credential) })
	for range 2 {
		if status, code := exchange(idp.token(t, idp.key, good)); status != 200 {
			t.Errorf("a good token: %d %s", status, code)
		}
	}
	if idp.fetched != 1 {
		t.Errorf("the issuer's keys were fetched %d times", idp.fetched)
	}
	forger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(f func(*jwt.Claims)) string {
		c := good
		f(&c)
		return idp.token(t, idp.key, c)
	}
	for name, c := range map[string]struct{ assertion, code string }{
		"another key":      {idp.token(t, forger, good), "AADSTS700027"},
		"another subject":  {changed(func(c *jwt.Claims) { c.Subject = "repo:org/fork" }), "AADSTS700213"},
		"another audience": {changed(func(c *jwt.Claims) { c.Audience = jwt.Audience{"https://example.com"} }), "AADSTS700212"},
		"another issuer":   {changed(func(c *jwt.Claims) { c.Issuer = "https://example.com" }), "AADSTS700211"},
		"expired":          {changed(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now.Add(-time.Hour)) }), "AADSTS700024"},
		"without end":      {changed(func(c *jwt.Claims) { c.Expiry = nil }), "AADSTS700024"},
		"not yet":          {changed(func(c *jwt.Claims) { c.NotBefore = jwt.NewNumericDate(now.Add(time.Hour)) }), "AADSTS700024"},
		"no token":         {"x.y.z", "AADSTS50027"},
	} {
		if status, code := exchange(c.assertion); status == 200 || code != c.code {
			t.Errorf("%s: %d %s, want %s", name, status, code, c.code)
		}
	}
	for name, f := range map[string]entra.FederatedCredential{
		"http":             {AppID: id.ClientID, Name: "x", Issuer: "http://example.com", Subject: "s", Audiences: []string{audience}},
		"no subject":       {AppID: id.ClientID, Name: "x", Issuer: idp.URL, Audiences: []string{audience}},
		"two audiences":    {AppID: id.ClientID, Name: "x", Issuer: idp.URL, Subject: "s", Audiences: []string{audience, "b"}},
		"the same subject": {AppID: id.ClientID, Name: "x", Issuer: idp.URL, Subject: subject, Audiences: []string{audience}},
	} {
		err := h.db.Update(t.Context(), func(tx store.Tx) error { return h.PutFederatedCredential(tx, f) })
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	h.update(t, func(tx store.Tx) error { return h.DeleteFederatedCredential(tx, id.ClientID, "MAIN") })
	if status, _ := exchange(idp.token(t, idp.key, good)); status != 401 {
		t.Errorf("after its removal: %d", status)
	}
}

// A managed identity's own token can be exchanged for one of an application, as
// Entra lets them.
func TestIdentityAsCredential(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	var app *entra.Principal
	h.update(t, func(tx store.Tx) (err error) {
		if app, _, err = h.CreateApplication(tx, entra.Application{DisplayName: "app"}); err != nil {
			return err
		}
		return h.PutFederatedCredential(tx, entra.FederatedCredential{
			AppID: app.AppID, Name: "cluster", Issuer: "https://sts.windows.net/" + id.TenantID + "/", Subject: id.PrincipalID,
			Audiences: []string{"api://AzureADTokenExchange"},
		})
	})
	status, doc := h.post(t, "/"+id.TenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {app.AppID}, "scope": {armAudience + "/.default"},
		"client_assertion_type": {assertionType}, "client_assertion": {h.token(t, id.PrincipalID, "api://AzureADTokenExchange")},
	})
	if status != 200 {
		t.Errorf("%d %v", status, doc)
	}
}

func TestGroups(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	var outer, inner, ada *entra.Principal
	h.update(t, func(tx store.Tx) (err error) {
		if outer, err = h.CreateGroup(tx, "outer"); err != nil {
			return err
		}
		if inner, err = h.CreateGroup(tx, "inner"); err != nil {
			return err
		}
		if ada, err = h.CreateUser(tx, "ada", "Ada"); err != nil {
			return err
		}
		for group, member := range map[string]string{outer.ObjectID: inner.ObjectID, inner.ObjectID: ada.ObjectID} {
			if err := h.AddMember(tx, group, member); err != nil {
				return err
			}
		}
		return h.AddMember(tx, inner.ObjectID, outer.ObjectID) // a circle
	})
	groups := func(of string) (n int) {
		if err := h.db.View(t.Context(), func(tx store.Tx) error {
			all, err := h.Groups(tx, of)
			n = len(all)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for of, want := range map[string]int{ada.ObjectID: 2, inner.ObjectID: 1, outer.ObjectID: 1, id.PrincipalID: 0, "nobody": 0} {
		if got := groups(of); got != want {
			t.Errorf("%s is in %d groups, want %d", of, got, want)
		}
	}
	if err := h.db.Update(t.Context(), func(tx store.Tx) error { return h.AddMember(tx, ada.ObjectID, inner.ObjectID) }); err == nil {
		t.Error("a user took a member")
	}
	h.update(t, func(tx store.Tx) error { return h.DeletePrincipal(tx, inner.ObjectID) })
	if got := groups(ada.ObjectID); got != 0 {
		t.Errorf("in %d groups after the group was deleted", got)
	}
}
