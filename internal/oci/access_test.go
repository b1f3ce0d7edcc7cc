package oci

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTokens(t *testing.T) {
	p := start(t)
	p.push("a/b", "1", p.image("a/b", "{}"))
	manifest := "/v2/a/b/manifests/1"

	challenge := p.do("", "GET", one, manifest, nil)
	if got, want := challenge.header.Get("WWW-Authenticate"), `Bearer realm="https://one.azurecr.io/oauth2/token",service="one.azurecr.io",scope="repository:a/b:pull"`; challenge.status != 401 || got != want {
		t.Errorf("challenge: %d %s", challenge.status, got)
	}
	pull := p.token("puller", one, "repository:a/b:pull,push")
	for _, c := range []struct {
		name, auth, method, host, path string
		status                         int
	}{
		{"pull", pull, "GET", one, manifest, 200},
		{"ping", pull, "GET", one, "/v2/", 200},
		{"tags", pull, "GET", one, "/v2/a/b/tags/list", 200},
		{"a push that was not granted", pull, "POST", one, "/v2/a/b/blobs/uploads/", 401},
		{"another repository", pull, "GET", one, "/v2/c/manifests/1", 401},
		{"the catalogue", pull, "GET", one, "/v2/_catalog", 401},
		{"another registry", pull, "GET", two, "/v2/a/b/manifests/1", 401},
		{"no registry", pull, "GET", "three" + Suffix, "/v2/", 404},
		{"tampered with", pull[:len(pull)-3] + "AAA", "GET", one, manifest, 401},
		{"no token", "x.y.z", "GET", one, manifest, 401},
		{"the catalogue with its scope", p.token("puller", one, "registry:catalog:*"), "GET", one, "/v2/_catalog", 200},
		{"the admin user", "One:pw2", "GET", one, manifest, 200},
		{"the admin user's wrong password", "One:pw3", "GET", one, manifest, 401},
		{"the admin user of a registry without", "Two:", "GET", two, "/v2/", 401},
		{"a service principal", "puller:puller", "GET", one, manifest, 200},
		{"a service principal that may not", "nobody:nobody", "GET", one, manifest, 401},
		{"a service principal that may not delete", "puller:puller", "DELETE", one, "/acr/v1/a/b", 401},
		{"nobody", "", "GET", one, "/nothing", 401},
		{"a path that is none", pull, "GET", one, "/nothing", 404},
		{"what is not implemented", pull, "GET", one, "/acr/v1/_deleted/_catalog", 501},
	} {
		if a := p.do(c.auth, c.method, c.host, c.path, nil); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, a.status, a.body, c.status)
		}
	}
	p.push("gone", "1", p.image("gone", "{}"))
	if a := p.do(p.token("owner", one, "repository:gone:*"), "DELETE", one, "/acr/v1/gone", nil); a.status != 202 {
		t.Errorf("with a token for whatever may be had: %d %s", a.status, a.body)
	}
	// what speaks for a role ends with it
	p.grant("puller")
	if a := p.do(pull, "GET", one, manifest, nil); a.status != 401 {
		t.Errorf("after the role was removed: %d", a.status)
	}
	p.grant("puller", "pull/read")
	admin := p.do("One:pw1", "GET", one, "/oauth2/token?service=one.azurecr.io&scope=repository:a/b:pull", nil)
	_, rest, _ := strings.Cut(admin.body, `access_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	if a := p.do(token, "GET", one, manifest, nil); a.status != 200 {
		t.Errorf("the admin user's token: %d %s", a.status, a.body)
	}
	p.registries["one"].Passwords[0] = "new"
	if a := p.do(token, "GET", one, manifest, nil); a.status != 401 {
		t.Errorf("the token of a password that was changed: %d", a.status)
	}
	p.clock.Step(accessLife + time.Second)
	if a := p.do(pull, "GET", one, manifest, nil); a.status != 401 {
		t.Errorf("an expired token: %d", a.status)
	}
	// a registry that is made again has another UID
	fresh := p.token("puller", one, "repository:a/b:pull")
	p.registries["one"].UID = "uid-9"
	if a := p.do(fresh, "GET", one, manifest, nil); a.status != 401 {
		t.Errorf("a token of the registry before: %d", a.status)
	}
}

func TestExchange(t *testing.T) {
	p := start(t)
	for name, c := range map[string]struct {
		path   string
		pairs  []string
		status int
	}{
		"who may do nothing":            {"/oauth2/exchange", []string{"grant_type", "access_token", "service", one, "access_token", "nobody"}, 401},
		"no such token":                 {"/oauth2/exchange", []string{"grant_type", "access_token", "service", one, "access_token", "thief"}, 401},
		"another grant":                 {"/oauth2/exchange", []string{"grant_type", "device_code", "service", one}, 400},
		"a refresh token of Entra":      {"/oauth2/exchange", []string{"grant_type", "refresh_token", "service", one}, 501},
		"another registry":              {"/oauth2/exchange", []string{"grant_type", "access_token", "service", two, "access_token", "owner"}, 400},
		"a token for Resource Manager":  {"/oauth2/exchange", []string{"grant_type", "access_token", "service", one, "access_token", "arm:owner"}, 200},
		"a scope that is none":          {"/oauth2/token", []string{"grant_type", "password", "username", "owner", "password", "owner", "scope", "what"}, 400},
		"a scope that may not be had":   {"/oauth2/token", []string{"grant_type", "password", "username", "puller", "password", "puller", "scope", "repository:a:push"}, 401},
		"an action that is none":        {"/oauth2/token", []string{"grant_type", "password", "username", "owner", "password", "owner", "scope", "repository:a:what"}, 401},
		"all that may be had":           {"/oauth2/token", []string{"grant_type", "password", "username", "puller", "password", "puller", "scope", "repository:a:*"}, 200},
		"a wrong password":              {"/oauth2/token", []string{"grant_type", "password", "username", "owner", "password", "no"}, 401},
		"an access token for a refresh": {"/oauth2/token", []string{"grant_type", "refresh_token", "refresh_token", p.token("owner", one, "repository:a:pull"), "scope", "repository:a:pull"}, 401},
		"another grant for a token":     {"/oauth2/token", []string{"grant_type", "client_credentials"}, 400},
	} {
		if a := p.form(one, c.path, c.pairs...); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
		}
	}
	if a := p.form(two, "/oauth2/exchange", "grant_type", "access_token", "service", two, "access_token", "arm:owner"); a.status != 401 {
		t.Errorf("a token for Resource Manager where only those of the registry service are taken: %d", a.status)
	}
}

func TestAnonymousPull(t *testing.T) {
	p := start(t)
	p.push("a", "1", p.image("a", "{}"))
	const ask = "/oauth2/token?service=one.azurecr.io&scope=repository:a:pull,push"
	if a := p.do("", "GET", one, ask, nil); a.status != 401 {
		t.Errorf("while it is off: %d", a.status)
	}
	p.registries["one"].AnonymousPull = true
	a := p.do("", "GET", one, ask, nil)
	_, rest, _ := strings.Cut(a.body, `access_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	if a := p.do(token, "GET", one, "/v2/a/manifests/1", nil); a.status != http.StatusOK {
		t.Errorf("pull: %d %s", a.status, a.body)
	}
	if a := p.do(token, "POST", one, "/v2/a/blobs/uploads/", nil); a.status != 401 {
		t.Errorf("push: %d", a.status)
	}
	p.registries["one"].AnonymousPull = false
	if a := p.do(token, "GET", one, "/v2/a/manifests/1", nil); a.status != 401 {
		t.Errorf("once it is off again: %d", a.status)
	}
}

func TestScopes(t *testing.T) {
	for text, want := range map[string]bool{
		"repository:a/b:pull,push": true, "registry:catalog:*": true, "repository(plugin):a:pull": true,
		"": false, "a": false, "a:b": false, "::": false, "repository::pull": false, "a:b:c:d": false,
		"repository:" + strings.Repeat("a", 300) + ":pull": false,
	} {
		if _, ok := parseScope(text); ok != want {
			t.Errorf("parseScope(%q) is %v", text, ok)
		}
	}
}
