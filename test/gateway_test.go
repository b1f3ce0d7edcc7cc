package test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestMetadataHost follows a client that knows nothing but the server's address:
// it reads the cloud's description there, signs in where that says, for a token
// of the management address that it says, and manages resources.
func TestMetadataHost(t *testing.T) {
	e := newEnv(t)
	e.serve()
	w := e.wire()
	w.http.Transport.(*http.Transport).Proxy = nil
	get := func(token, target string) (int, string) {
		t.Helper()
		a, err := w.do(t.Context(), token, http.MethodGet, target, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		return a.status, string(a.body)
	}
	for _, base := range []string{"https://" + e.addr, "https://localhost:" + strings.Split(e.addr, ":")[1]} {
		var cloud struct {
			ResourceManager string `json:"resourceManager"`
			Authentication  struct {
				LoginEndpoint string `json:"loginEndpoint"`
			} `json:"authentication"`
		}
		status, text := get("", base+"/metadata/endpoints?api-version=2022-09-01")
		if err := json.Unmarshal([]byte(text), &cloud); err != nil || status != 200 {
			t.Fatalf("%d %v %s", status, err, text)
		}
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_id": {w.owner.ClientID}, "client_secret": {w.owner.ClientSecret},
			"scope": {cloud.ResourceManager + "/.default"},
		}
		a, err := w.do(t.Context(), "", http.MethodPost, cloud.Authentication.LoginEndpoint+"/"+w.owner.TenantID+"/oauth2/v2.0/token",
			map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, form.Encode())
		var token struct {
			AccessToken string `json:"access_token"`
		}
		if err != nil || json.Unmarshal(a.body, &token) != nil || token.AccessToken == "" {
			t.Fatalf("sign in at %s: %v %s", cloud.Authentication.LoginEndpoint, err, a.body)
		}
		for _, path := range []string{"/subscriptions", "//subscriptions"} {
			if status, text := get(token.AccessToken, cloud.ResourceManager+path+"?api-version=2022-12-01"); status != 200 || !strings.Contains(text, subscription) {
				t.Errorf("%s%s: %d %s", cloud.ResourceManager, path, status, text)
			}
		}
		// the address is one of Resource Manager, of nothing else
		a, err = w.do(t.Context(), token.AccessToken, http.MethodGet, "https://graph.microsoft.com/v1.0/servicePrincipals", nil, "")
		if err == nil && a.status == 200 {
			t.Errorf("a token for %s opens the Graph: %s", base, a.body)
		}
	}
}
