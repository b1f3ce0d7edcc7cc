package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/gateway"
)

// TestAdmit asks for routed hosts and others, over CONNECT and over plain HTTP, as
// clients that may and may not.
func TestAdmit(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	s := start(t, gateway.Config{
		Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: echo()}},
		Admit: func(_ context.Context, user, password string, given bool, host string, port int) error {
			mu.Lock()
			asked = append(asked, fmt.Sprintf("%s %t %s:%d", user, given, host, port))
			mu.Unlock()
			switch {
			case user == "broken":
				return errors.New("out of order")
			case given && password != "right":
				return &gateway.Denial{Status: http.StatusProxyAuthRequired, Reason: "not you"}
			case user == "held":
				return &gateway.Denial{Status: http.StatusForbidden, Reason: "the rule none\r\ndenies it"}
			}
			return nil
		},
	})
	other := httptest.NewServer(named("other"))
	defer other.Close()
	at, err := url.Parse(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password, target string
		status                 int
		text                   string
	}{
		{"", "", "https://management.azure.com/x", 200, "cred=::false"},
		{"", "", "http://management.azure.com/x", 200, "cred=::false"},
		{"", "", other.URL, 200, "other"},
		{"node", "right", "https://management.azure.com/x", 200, "cred=node:right:true"},
		{"node", "right", "http://management.azure.com/x", 200, "cred=node:right:true"},
		{"node", "wrong", "https://management.azure.com/x", 0, "Proxy Authentication Required"},
		{"node", "wrong", "http://management.azure.com/x", 407, "not you"},
		{"held", "right", "https://management.azure.com/x", 0, "Forbidden"},
		{"held", "right", "http://management.azure.com/x", 403, "the rule none"},
		{"held", "right", other.URL, 403, "denies it"},
		{"broken", "right", "http://management.azure.com/x", 500, "failed to decide"},
	} {
		var user *url.Userinfo
		if c.user != "" {
			user = url.UserPassword(c.user, c.password)
		}
		tr := s.client(t, false, user)
		status, body, header := get(t, tr, c.target)
		if status != c.status || !strings.Contains(body, c.text) {
			t.Errorf("%s:%s %s: %d %s", c.user, c.password, c.target, status, body)
		}
		if status == http.StatusProxyAuthRequired && header.Get("Proxy-Authenticate") == "" {
			t.Error("a 407 does not say how to authenticate")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{" false management.azure.com:443", " false management.azure.com:80", " false " + at.Host, "node true management.azure.com:443"} {
		if !slices.Contains(asked, want) {
			t.Errorf("not asked: %q among %q", want, asked)
		}
	}
}
