package entra_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// graph calls Microsoft Graph as one principal.
type graph struct {
	t     *testing.T
	h     *home
	token string
}

func (g graph) do(method, path string, body any) (int, map[string]any) {
	g.t.Helper()
	var payload bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&payload).Encode(body); err != nil {
			g.t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, "https://"+entra.GraphHost+"/v1.0/"+path, &payload)
	r.Header.Set("Authorization", "Bearer "+g.token)
	w := httptest.NewRecorder()
	g.h.GraphHandler().ServeHTTP(w, r)
	var doc map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			g.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return w.Code, doc
}

func (g graph) want(status int, method, path string, body any) map[string]any {
	g.t.Helper()
	got, doc := g.do(method, path, body)
	if got != status {
		g.t.Fatalf("%s %s: %d %v, want %d", method, path, got, doc, status)
	}
	return doc
}

// names are the display names of a list, through all its pages.
func (g graph) names(path string) []string {
	g.t.Helper()
	out := []string{}
	for path != "" {
		doc := g.want(http.StatusOK, http.MethodGet, path, nil)
		for _, v := range doc["value"].([]any) {
			out = append(out, fmt.Sprint(v.(map[string]any)["displayName"]))
		}
		next, _ := doc["@odata.nextLink"].(string)
		path = strings.TrimPrefix(next, "https://"+entra.GraphHost+"/v1.0/")
	}
	return out
}

type obj = map[string]any

func newGraph(t *testing.T) (graph, entra.Credentials) {
	h := newHome(t)
	c, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return graph{t, h, h.token(t, c.ObjectID, "https://graph.microsoft.com")}, c
}

func user(name string) obj {
	return obj{"displayName": name, "userPrincipalName": name + "@" + entra.DefaultDomain, "mailNickname": name, "accountEnabled": true,
		"passwordProfile": obj{"password": "correct horse", "forceChangePasswordNextSignIn": false}}
}

func TestGraphUsers(t *testing.T) {
	g, c := newGraph(t)
	ada := g.want(http.StatusCreated, "POST", "users", user("ada"))
	g.want(http.StatusCreated, "POST", "users", user("adam"))
	g.want(http.StatusCreated, "POST", "users", user("bob"))
	for name, bad := range map[string]obj{
		"twice":            user("ada"),
		"another domain":   {"displayName": "x", "userPrincipalName": "x@example.com", "mailNickname": "x", "accountEnabled": true, "passwordProfile": obj{"password": "12345678"}},
		"short password":   {"displayName": "x", "userPrincipalName": "x@" + entra.DefaultDomain, "mailNickname": "x", "accountEnabled": true, "passwordProfile": obj{"password": "1234567"}},
		"without a name":   {"userPrincipalName": "x@" + entra.DefaultDomain, "mailNickname": "x", "accountEnabled": true, "passwordProfile": obj{"password": "12345678"}},
		"without a secret": {"displayName": "x", "userPrincipalName": "x@" + entra.DefaultDomain, "mailNickname": "x", "accountEnabled": true},
	} {
		if status, doc := g.do("POST", "users", bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", name, status, doc)
		}
	}
	for filter, want := range map[string][]string{
		"": {"ada", "adam", "bob"}, "startswith(displayName,'AD')": {"ada", "adam"}, "displayName eq 'ada'": {"ada"},
		"userPrincipalName eq 'bob@" + entra.DefaultDomain + "'": {"bob"}, "startswith(userPrincipalName,'adam')": {"adam"}, "displayName eq 'x'": {},
	} {
		for _, top := range []string{"", "&$top=1"} {
			if got := g.names("users?$filter=" + url.QueryEscape(filter) + top); !slices.Equal(got, want) {
				t.Errorf("%s%s: %v, want %v", filter, top, got, want)
			}
		}
	}
	signIn := func(password string) (int, obj) {
		return g.h.post(t, "/"+c.TenantID+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"password"}, "client_id": {"04b07795-8ddb-461a-bbee-02f9e1bf7b46"}, "username": {"ada@" + entra.DefaultDomain},
			"password": {password}, "scope": {armAudience + "/.default openid profile offline_access"},
		})
	}
	status, doc := signIn("correct horse")
	if status != 200 || doc["id_token"] == nil || doc["client_info"] == nil || doc["refresh_token"] == nil {
		t.Errorf("sign in: %d %v", status, doc)
	}
	// clients hold the ID token against the time of day, not against the cloud's
	idToken, err := jwt.ParseSigned(fmt.Sprint(doc["id_token"]), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := idToken.UnsafeClaimsWithoutVerification(&claims); err != nil || claims.Validate(jwt.Expected{Time: time.Now()}) != nil {
		t.Errorf("ID token: %v %+v", err, claims)
	}
	if status, doc := signIn("wrong horse"); status != 400 || !strings.HasPrefix(fmt.Sprint(doc["error_description"]), "AADSTS50126") {
		t.Errorf("wrong password: %d %v", status, doc)
	}
	me := graph{t, g.h, g.h.token(t, fmt.Sprint(ada["id"]), "https://graph.microsoft.com")}
	if doc := me.want(http.StatusOK, "GET", "me", nil); doc["userPrincipalName"] != "ada@"+entra.DefaultDomain {
		t.Errorf("me: %v", doc)
	}
	me.want(http.StatusForbidden, "POST", "users", user("eve"))
	me.want(http.StatusForbidden, "DELETE", "users/bob@"+entra.DefaultDomain, nil)
	g.want(http.StatusNoContent, "PATCH", "users/ada@"+entra.DefaultDomain, obj{"accountEnabled": false, "displayName": "Ada L."})
	if status, doc := signIn("correct horse"); status != 400 || !strings.HasPrefix(fmt.Sprint(doc["error_description"]), "AADSTS50057") {
		t.Errorf("disabled: %d %v", status, doc)
	}
	g.want(http.StatusNotImplemented, "PATCH", "users/ada@"+entra.DefaultDomain, obj{"jobTitle": "x"})
	g.want(http.StatusNoContent, "DELETE", "users/"+fmt.Sprint(ada["id"]), nil)
	g.want(http.StatusNotFound, "GET", "users/"+fmt.Sprint(ada["id"]), nil)
	if got := g.names("users"); !slices.Equal(got, []string{"adam", "bob"}) {
		t.Errorf("after: %v", got)
	}
}

func TestGraphGroups(t *testing.T) {
	g, c := newGraph(t)
	group := func(name string) string {
		return fmt.Sprint(g.want(http.StatusCreated, "POST", "groups", obj{"displayName": name, "mailEnabled": false, "mailNickname": "x", "securityEnabled": true})["id"])
	}
	outer, inner := group("outer"), group("inner")
	ada := fmt.Sprint(g.want(http.StatusCreated, "POST", "users", user("ada"))["id"])
	ref := func(id string) obj {
		return obj{"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/" + id}
	}
	g.want(http.StatusNoContent, "POST", "groups/"+inner+"/members/$ref", ref(ada))
	g.want(http.StatusNoContent, "POST", "groups/"+outer+"/members/$ref", ref(inner))
	g.want(http.StatusNoContent, "POST", "groups/"+outer+"/members/$ref", ref(c.ObjectID))
	g.want(http.StatusBadRequest, "POST", "groups/"+inner+"/members/$ref", ref(ada))
	g.want(http.StatusNotFound, "POST", "groups/"+inner+"/members/$ref", ref("nobody"))
	g.want(http.StatusNotFound, "POST", "groups/"+ada+"/members/$ref", ref(inner))
	if got := g.names("groups/" + outer + "/members"); len(got) != 2 || !slices.Contains(got, "inner") {
		t.Errorf("members: %v", got)
	}
	of := func(path string, body obj) []string {
		return stringsOf(g.want(http.StatusOK, "POST", path, body)["value"])
	}
	if got := of("users/ada@"+entra.DefaultDomain+"/getMemberGroups", obj{"securityEnabledOnly": false}); !slices.Equal(got, []string{inner, outer}) {
		t.Errorf("ada's groups: %v", got)
	}
	if got := of("directoryObjects/"+ada+"/checkMemberGroups", obj{"groupIds": []string{strings.ToUpper(outer), "x"}}); !slices.Equal(got, []string{outer}) {
		t.Errorf("checked: %v", got)
	}
	if got := of("directoryObjects/"+ada+"/checkMemberGroups", obj{"groupIds": []string{"x"}}); len(got) != 0 {
		t.Errorf("checked: %v", got)
	}
	if got := of("users/"+ada+"/getMemberGroups", obj{}); !slices.Equal(got, []string{inner, outer}) {
		t.Errorf("ada's groups, once they were asked for: %v", got)
	}
	if got := g.names("users/" + ada + "/memberOf"); !slices.Equal(got, []string{"inner"}) {
		t.Errorf("directly: %v", got)
	}
	g.want(http.StatusNoContent, "DELETE", "groups/"+inner+"/members/"+ada+"/$ref", nil)
	g.want(http.StatusNotFound, "DELETE", "groups/"+inner+"/members/"+ada+"/$ref", nil)
	if got := of("users/"+ada+"/getMemberGroups", obj{}); len(got) != 0 {
		t.Errorf("after: %v", got)
	}
	g.want(http.StatusNotImplemented, "POST", "groups", obj{"displayName": "m365", "mailEnabled": true, "mailNickname": "x", "securityEnabled": true})
	g.want(http.StatusNoContent, "PATCH", "groups/"+inner, obj{"description": "d"})
	if doc := g.want(http.StatusOK, "GET", "groups/"+inner, nil); doc["description"] != "d" {
		t.Errorf("group: %v", doc)
	}
	g.want(http.StatusNoContent, "DELETE", "groups/"+inner, nil)
	if got := g.names("groups?$filter=startswith(displayName,'')"); !slices.Equal(got, []string{"outer"}) {
		t.Errorf("groups: %v", got)
	}
}

func stringsOf(v any) (out []string) {
	for _, e := range v.([]any) {
		out = append(out, fmt.Sprint(e))
	}
	return out
}

func TestGraphApplications(t *testing.T) {
	g, c := newGraph(t)
	app := g.want(http.StatusCreated, "POST", "applications", obj{"displayName": "ci", "keyCredentials": []any{}, "web": obj{"redirectUris": []any{}}})
	id, appID := fmt.Sprint(app["id"]), fmt.Sprint(app["appId"])
	secret := g.want(http.StatusOK, "POST", "applications/"+id+"/addPassword", obj{"passwordCredential": obj{"displayName": "rbac"}})
	signIn := func() (int, obj) {
		return g.h.post(t, "/"+c.TenantID+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {appID}, "client_secret": {fmt.Sprint(secret["secretText"])}, "scope": {armAudience + "/.default"},
		})
	}
	if status, doc := signIn(); status != 400 {
		t.Errorf("before there is a service principal: %d %v", status, doc)
	}
	sp := g.want(http.StatusCreated, "POST", "servicePrincipals", obj{"appId": appID, "accountEnabled": true})
	g.want(http.StatusConflict, "POST", "servicePrincipals", obj{"appId": appID})
	if status, doc := g.do("POST", "servicePrincipals", obj{"appId": "x"}); status != 400 || !strings.Contains(fmt.Sprint(doc), " does not reference ") {
		t.Errorf("of no application: %d %v", status, doc)
	}
	if status, doc := signIn(); status != 200 {
		t.Errorf("sign in: %d %v", status, doc)
	}
	for filter, want := range map[string][]string{
		"appId eq '" + appID + "'": {"ci"}, "displayName eq 'ci'": {"ci"}, "startswith(displayName,'C')": {"ci"},
		"identifierUris/any(s:s eq 'api://ci')": {}, "appId eq '" + appID + "' and displayName eq 'x'": {},
	} {
		if got := g.names("applications?$filter=" + url.QueryEscape(filter)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	g.want(http.StatusNoContent, "PATCH", "applications/"+id, obj{"identifierUris": []string{"api://ci"}})
	if got := g.names("applications?$filter=" + url.QueryEscape("identifierUris/any(s:s eq 'api://ci')")); !slices.Equal(got, []string{"ci"}) {
		t.Errorf("by URI: %v", got)
	}
	stranger := graph{t, g.h, g.h.token(t, fmt.Sprint(sp["id"]), "https://graph.microsoft.com")}
	stranger.want(http.StatusForbidden, "GET", "applications", nil)
	stranger.want(http.StatusForbidden, "POST", "applications", obj{"displayName": "evil"})
	g.want(http.StatusNoContent, "POST", "applications/"+id+"/removePassword", obj{"keyId": secret["keyId"]})
	g.want(http.StatusBadRequest, "POST", "applications/"+id+"/removePassword", obj{"keyId": secret["keyId"]})
	if status, doc := signIn(); status != 401 {
		t.Errorf("with a removed secret: %d %v", status, doc)
	}
	g.want(http.StatusNoContent, "DELETE", "servicePrincipals/"+fmt.Sprint(sp["id"]), nil)
	g.want(http.StatusOK, "GET", "applications/"+id, nil)
	g.want(http.StatusNoContent, "DELETE", "applications/"+id, nil)
	g.want(http.StatusNotFound, "GET", "applications/"+id, nil)
}

// A directory written before there were lists is in the lists after a start.
func TestEarlierDirectory(t *testing.T) {
	g, _ := newGraph(t)
	g.h.update(t, func(tx store.Tx) error {
		var keys []string
		for e, err := range tx.Scan("entra/principal/name", store.Range{}) {
			if err != nil {
				return err
			}
			keys = append(keys, e.Key)
		}
		for _, k := range keys {
			if err := tx.Delete("entra/principal/name", k); err != nil {
				return err
			}
		}
		return tx.Delete("entra/setting", "layout")
	})
	if got := g.names("servicePrincipals"); len(got) != 0 {
		t.Fatal(got)
	}
	g.h.reopen(t)
	if _, err := g.h.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.names("servicePrincipals"); !slices.Equal(got, []string{entra.OwnerName}) {
		t.Errorf("service principals: %v", got)
	}
}
