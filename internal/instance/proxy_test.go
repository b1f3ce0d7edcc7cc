package instance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// front serves both origins of an engine.
func (w *world) front() *httptest.Server {
	local := w.svc.Local()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "127.0.0.1") {
			local.ServeHTTP(rw, r)
			return
		}
		w.svc.ServeHTTP(rw, r)
	}))
	w.Cleanup(s.Close)
	return s
}

type answer struct {
	status int
	text   string
	header http.Header
	// what Jupyter saw
	Path, Query, Method, Host string
	Header                    http.Header
}

func send(t *testing.T, c *http.Client, method, target, host string, header map[string]string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := answer{status: resp.StatusCode, text: string(b), header: resp.Header}
	json.Unmarshal(b, &out)
	return out
}

const azureHost = "ci-a.eastus.azureml.net"

func TestBearer(t *testing.T) {
	w := newWorld(t)
	w.running(spec("a"))
	s := w.front()
	bearer := func(id string) map[string]string { return map[string]string{"Authorization": "Bearer " + id} }
	for _, tc := range []struct {
		who, host, path string
		status          int
		want            string
	}{
		{userID, azureHost, "/jupyter/api/contents/x%2Fy?a=b", 200, "api/contents/x%2Fy"},
		{strings.ToUpper(userID), azureHost, "/jupyter", 200, ""},
		{ownerID, azureHost, "/api/contents", 200, "api/contents"},
		{userID, "CI-A.eastus.instances.azureml.ms:443", "/instances/a/tree", 200, "tree"},
		{userID, "", "/instances/a/tree", 200, "tree"},
		{otherID, azureHost, "/jupyter/api/contents", 403, "assigned to another user"},
		{otherID, "", "/instances/a/tree", 403, "assigned to another user"},
		{"", azureHost, "/jupyter/api/contents", 401, "neither"},
		{userID, "ci-b.eastus.azureml.net", "/", 404, "no compute instance"},
		{userID, "ci-a.westus.azureml.net", "/", 404, "no compute instance"},
		{userID, "", "/instances/b/", 404, "no compute instance"},
		{userID, "studio.azureml.net", "/", 501, "NotImplementedByAzimuth"},
	} {
		h := map[string]string{"Cookie": "mine=1", "Origin": "https://evil.example", "X-Xsrftoken": "x"}
		if tc.who != "" {
			h["Authorization"] = "Bearer " + tc.who
		}
		got := send(t, s.Client(), "POST", s.URL+tc.path, tc.host, h)
		if got.status != tc.status || (got.status == 200 && got.Path != tc.want) || (got.status != 200 && !strings.Contains(got.text, tc.want)) {
			t.Errorf("%s%s as %q: %d %s", tc.host, tc.path, tc.who, got.status, got.text)
		}
		if got.status != 200 {
			continue
		}
		if got.Header.Get("Cookie") != "" || got.Header.Get("Origin") != "" || strings.Contains(got.Header.Get("Authorization"), tc.who) ||
			!strings.HasPrefix(got.Host, "127.0.0.1:") || got.header.Get("Set-Cookie") != "" || strings.Contains(got.text, "X-Forwarded") {
			t.Errorf("%s: Jupyter saw %s; the caller %v", tc.path, got.text, got.header)
		}
	}
	w.must("a", Stop, Stopped)
	if got := send(t, s.Client(), "GET", s.URL+"/", azureHost, bearer(userID)); got.status != 409 || !strings.Contains(got.text, "is Stopped") {
		t.Errorf("stopped: %d %s", got.status, got.text)
	}
}

func TestLink(t *testing.T) {
	w := newWorld(t)
	w.running(spec("a"))
	w.running(spec("b"))
	s := w.front()
	w.svc.cfg.Origin = s.URL
	for _, tc := range []struct {
		method, who string
		status      int
	}{{"POST", otherID, 403}, {"POST", "", 401}, {"GET", userID, 405}} {
		h := map[string]string{}
		if tc.who != "" {
			h["Authorization"] = "Bearer " + tc.who
		}
		if got := send(t, s.Client(), tc.method, s.URL+LinkPath, azureHost, h); got.status != tc.status {
			t.Errorf("%s as %q: %d %s", tc.method, tc.who, got.status, got.text)
		}
	}
	link := func() string {
		t.Helper()
		got := send(t, s.Client(), "POST", s.URL+LinkPath, azureHost, map[string]string{"Authorization": "Bearer " + userID})
		var l Link
		if err := json.Unmarshal([]byte(got.text), &l); err != nil || got.status != 200 || !strings.HasPrefix(l.URL, s.URL+"/instances/a/") || l.ExpiresOn != w.clock.Now().Add(linkLifetime) {
			t.Fatalf("link: %d %s (%v)", got.status, got.text, err)
		}
		return l.URL
	}
	browser := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Client{Jar: jar, Transport: s.Client().Transport}
	}
	one, me := link(), browser()
	if got := send(t, me, "GET", strings.Replace(one, "/instances/a/", "/instances/b/", 1), "", nil); got.status != 403 {
		t.Errorf("a link to another instance: %d", got.status)
	}
	if got := send(t, me, "GET", one, "", nil); got.status != 200 || got.Path != "" || got.Method != "GET" {
		t.Fatalf("link: %d %s", got.status, got.text)
	}
	u, _ := url.Parse(s.URL + "/instances/a/")
	cookies := me.Jar.Cookies(u)
	if len(cookies) != 1 || cookies[0].Name != "azimuth-instance-a" {
		t.Fatalf("cookies: %v", cookies)
	}
	if got := send(t, browser(), "GET", one, "", nil); got.status != 403 || !strings.Contains(got.text, "azimuth ml compute connect -n CI-a") {
		t.Errorf("the same link again: %d %s", got.status, got.text)
	}
	// a link that is too old
	old := link()
	w.clock.Step(linkLifetime)
	if got := send(t, browser(), "GET", old, "", nil); got.status != 403 {
		t.Errorf("an old link: %d", got.status)
	}
	api := s.URL + "/instances/a/api/contents"
	for name, tc := range map[string]struct {
		method string
		header map[string]string
		status int
	}{
		"own page":       {"POST", map[string]string{"Origin": s.URL}, 200},
		"other page":     {"POST", map[string]string{"Origin": "http://evil.example"}, 403},
		"no origin":      {"POST", nil, 403},
		"null":           {"POST", map[string]string{"Origin": "null"}, 403},
		"other scheme":   {"POST", map[string]string{"Origin": strings.Replace(s.URL, "http:", "https:", 1)}, 403},
		"other port":     {"POST", map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		"read":           {"GET", nil, 200},
		"read from afar": {"GET", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		"followed link":  {"GET", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200},
		"in a frame":     {"GET", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403},
		"websocket":      {"GET", map[string]string{"Upgrade": "websocket", "Connection": "Upgrade"}, 403},
		"their socket":   {"GET", map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Origin": "http://evil.example"}, 403},
	} {
		if got := send(t, me, tc.method, api, "", tc.header); got.status != tc.status {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.text, tc.status)
		}
	}
	// the session is of one instance, and a link's secret is none
	secret := cookies[0].Value
	cookie := func(name, value string) map[string]string { return map[string]string{"Cookie": name + "=" + value} }
	if got := send(t, s.Client(), "GET", s.URL+"/instances/b/", "", cookie("azimuth-instance-b", secret)); got.status != 401 {
		t.Errorf("the session at another instance: %d", got.status)
	}
	code := link()
	code = code[strings.LastIndex(code, "=")+1:]
	if got := send(t, s.Client(), "GET", s.URL+"/instances/a/", "", cookie("azimuth-instance-a", code)); got.status != 401 {
		t.Errorf("a link as a session: %d", got.status)
	}
	if got := send(t, s.Client(), "POST", s.URL+LinkPath, azureHost, cookie("azimuth-instance-a", secret)); got.status != 401 {
		t.Errorf("a link for a session: %d", got.status)
	}
	// it outlives the server, and ends
	w.stop()
	w.start()
	w.settle()
	s2 := w.front()
	if got := send(t, s2.Client(), "GET", s2.URL+"/instances/a/", "", cookie("azimuth-instance-a", secret)); got.status != 200 {
		t.Errorf("after a restart: %d %s", got.status, got.text)
	}
	w.clock.Step(sessionLifetime)
	got := send(t, s2.Client(), "GET", s2.URL+"/instances/a/", "", map[string]string{"Cookie": "azimuth-instance-a=" + secret, "Accept": "text/html"})
	if got.status != 401 || !strings.Contains(got.text, "azimuth ml compute connect") {
		t.Errorf("an old session: %d %s", got.status, got.text)
	}
}

func TestSecureCookie(t *testing.T) {
	w := newWorld(t)
	w.running(spec("a"))
	s := httptest.NewTLSServer(w.svc.Local())
	defer s.Close()
	w.svc.cfg.Origin = s.URL
	rec := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "https://"+azureHost+LinkPath, nil)
	r.Header.Set("Authorization", "Bearer "+userID)
	w.svc.ServeHTTP(rec, r)
	var l Link
	if err := json.Unmarshal(rec.Body.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	c := s.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got := send(t, c, "GET", l.URL, "", nil)
	if set := got.header.Get("Set-Cookie"); !strings.Contains(set, "; Secure") || !strings.Contains(set, "; HttpOnly") || !strings.Contains(set, "; SameSite=Lax") || !strings.Contains(set, "Path=/instances/a/") {
		t.Errorf("cookie: %s", set)
	}
	if got.header.Get("Referrer-Policy") != "no-referrer" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", got.header)
	}
}

func TestJupyterNotThere(t *testing.T) {
	w := newWorld(t)
	w.jupyter = func() (Jupyter, error) { return Jupyter{}, ErrNoJupyter }
	if err := w.put(spec("a")); err != nil {
		t.Fatal(err)
	}
	w.settle()
	s := w.front()
	if got := send(t, s.Client(), "GET", s.URL+"/", azureHost, map[string]string{"Authorization": "Bearer " + userID}); got.status != 503 || !strings.Contains(got.text, "apt-get install") {
		t.Errorf("%d %s", got.status, got.text)
	}
}
