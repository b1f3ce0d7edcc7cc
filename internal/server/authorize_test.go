package server

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// open opens a server of its own home.
func open(tb testing.TB) *Server {
	tb.Helper()
	d := home.Dir(filepath.Join(tb.TempDir(), "home"))
	if err := d.Make(); err != nil {
		tb.Fatal(err)
	}
	s, err := Open(tb.Context(), Config{Home: d, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// token is one of a principal for an audience.
func (s *Server) token(tb testing.TB, objectID, audience string) string {
	tb.Helper()
	t, err := s.dir.Token(tb.Context(), objectID, audience)
	if err != nil {
		tb.Fatal(err)
	}
	return t.AccessToken
}

// stranger is a principal that holds no role.
func (s *Server) stranger(tb testing.TB) string { return s.managed(tb, "/stranger") }

// managed is the principal of a resource.
func (s *Server) managed(tb testing.TB, resource string) string {
	tb.Helper()
	var id entra.ManagedIdentity
	if err := s.store.Update(tb.Context(), func(tx store.Tx) (err error) {
		id, err = s.dir.CreateManagedIdentity(tx, resource, resource[1:])
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return id.PrincipalID
}

// armRoute is one thing that Azure Resource Manager can be asked.
type armRoute struct{ method, path string }

// routesOf are the routes that the descriptors give.
func routesOf(s *Server) (all []armRoute) {
	sub := "/subscriptions/" + s.kernel.Subscription()
	group := sub + "/resourceGroups/rg-one"
	add := func(method, path string) { all = append(all, armRoute{method, path}) }
	for _, p := range s.providers() {
		for _, t := range p.Types {
			parts := strings.Split(t.Type, "/")
			base := map[arm.Scope]string{arm.InResourceGroup: group, arm.InSubscription: sub, arm.InTenant: "", arm.OnAnything: group, arm.InGroupOrSubscription: group}[topOf(s, t).Scope]
			collection := base + "/providers/" + parts[0]
			for i, part := range parts[1:] {
				collection += "/" + part
				if i < len(parts)-2 {
					collection += "/parent"
				}
			}
			if t.Type == arm.TypeResourceGroup {
				collection = sub + "/resourceGroups"
			}
			one := collection + "/one"
			if t.Scope == arm.OnAnything && len(parts) == 2 {
				one = collection + "/11111111-2222-4333-8444-555555555555"
			}
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete} {
				add(method, one)
			}
			add(http.MethodGet, collection)
			for _, a := range t.Actions {
				method := a.Method
				if method == "" {
					method = http.MethodPost
				}
				add(method, one+"/"+a.Name)
			}
		}
		for _, a := range p.Actions {
			if strings.HasPrefix(a.Name, "providerOperations") {
				continue // what roles can name, everybody in the tenant may read
			}
			method := a.Method
			if method == "" {
				method = http.MethodPost
			}
			add(method, sub+"/providers/"+p.Namespace+"/"+strings.ReplaceAll(a.Name, "{}", "westeurope"))
		}
	}
	for _, path := range []string{
		"", "/locations", "/resources", "/providers", "/resourceGroups/rg-one/resources", "/resourceGroups",
	} {
		add(http.MethodGet, sub+path)
	}
	return all
}

func topOf(s *Server, t *arm.ResourceType) *arm.ResourceType {
	parts := strings.SplitN(t.Type, "/", 3)
	for _, p := range s.providers() {
		for _, top := range p.Types {
			if len(parts) > 2 && top.Type == parts[0]+"/"+parts[1] {
				return top
			}
		}
	}
	return t
}

// ask makes one request of a handler.
func ask(h http.Handler, method, target, token string) *httptest.ResponseRecorder {
	body := ""
	if method == http.MethodPut || method == http.MethodPatch || method == http.MethodPost {
		body = `{"location":"westeurope","properties":{}}`
	}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func code(w *httptest.ResponseRecorder) string {
	var body struct{ Error struct{ Code string } }
	if json.Unmarshal(w.Body.Bytes(), &body) != nil {
		return ""
	}
	return body.Error.Code
}

// TestEveryRouteIsGuarded asks everything that the descriptors offer without a
// token, with tokens that do not count, and as a principal without roles.
func TestEveryRouteIsGuarded(t *testing.T) {
	s := open(t)
	all := routesOf(s)
	if len(all) < 200 {
		t.Fatalf("only %d routes", len(all))
	}
	stranger := s.stranger(t)
	mine := s.token(t, stranger, audienceManagement)
	foreign := s.token(t, stranger, audienceStorage)
	for _, r := range all {
		target := arm.Host + r.path + "?api-version=2024-04-01"
		target = "https://" + target
		for what, tc := range map[string]struct{ token, code string }{
			"no token":         {"", "AuthenticationFailed"},
			"garbage":          {"garbage", "InvalidAuthenticationToken"},
			"a forged token":   {mine[:len(mine)-8] + "AAAAAAAA", "InvalidAuthenticationToken"},
			"another audience": {foreign, "InvalidAuthenticationTokenAudience"},
		} {
			w := ask(s.kernel, r.method, target, tc.token)
			if w.Code != http.StatusUnauthorized || r.method != http.MethodHead && code(w) != tc.code {
				t.Errorf("%s %s with %s: %d %s", r.method, r.path, what, w.Code, w.Body)
			}
		}
		w := ask(s.kernel, r.method, target, mine)
		refused := w.Code == http.StatusForbidden && (r.method == http.MethodHead || code(w) == "AuthorizationFailed")
		// operations are for whoever began them, and not there for others
		hidden := w.Code == http.StatusNotFound && (strings.Contains(r.path, "/operationStatuses/") || strings.Contains(strings.ToLower(r.path), "operationresults/"))
		// what reads nothing but the request is for everyone
		open := strings.HasSuffix(r.path, "/calculateTemplateHash") || strings.HasSuffix(r.path, "/checkResourceName")
		if !refused && !hidden && !open {
			t.Errorf("%s %s without a role: %d %s", r.method, r.path, w.Code, w.Body)
		}
	}
	// time passes, and so do tokens
	s.clock.Advance(25 * time.Hour)
	for _, r := range all[:5] {
		w := ask(s.kernel, r.method, "https://"+arm.Host+r.path+"?api-version=2024-04-01", mine)
		if w.Code != http.StatusUnauthorized || r.method != http.MethodHead && code(w) != "ExpiredAuthenticationToken" {
			t.Errorf("%s %s with an expired token: %d %s", r.method, r.path, w.Code, w.Body)
		}
	}
}

// A group's role reaches its members, and those of the groups in it.
func TestRolesReachThroughGroups(t *testing.T) {
	s := open(t)
	s.own(t, "PUT", group+"?api-version=2021-04-01", `{"location":"westeurope"}`)
	who := s.stranger(t)
	groups := map[string]string{}
	update := func(f func(store.Tx) error) {
		t.Helper()
		if err := s.store.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx store.Tx) error {
		for _, name := range []string{"outer", "middle", "inner"} {
			g, err := s.dir.CreateGroup(tx, name)
			if err != nil {
				return err
			}
			groups[name] = g.ObjectID
		}
		for in, members := range map[string][]string{"outer": {groups["middle"]}, "middle": {groups["inner"]}, "inner": {who, groups["outer"]}} { // a circle
			for _, m := range members {
				if err := s.dir.AddMember(tx, groups[in], m); err != nil {
					return err
				}
			}
		}
		return nil
	})
	reads := func() int {
		return ask(s.kernel, "GET", "https://"+arm.Host+"/subscriptions/"+s.kernel.Subscription()+group+"?api-version=2021-04-01", s.token(t, who, audienceManagement)).Code
	}
	if got := reads(); got != http.StatusForbidden {
		t.Errorf("before: %d", got)
	}
	const at = group + blobRoles + "11111111-2222-4333-8444-000000000003?api-version=2022-04-01"
	s.own(t, "PUT", at, `{"properties":{"roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7","principalId":"`+groups["outer"]+`"}}`)
	if got := reads(); got != http.StatusOK {
		t.Errorf("through three groups: %d", got)
	}
	update(func(tx store.Tx) error {
		_, err := s.dir.RemoveMember(tx, groups["middle"], groups["inner"])
		return err
	})
	if got := reads(); got != http.StatusForbidden {
		t.Errorf("once the middle one left: %d", got)
	}
}
