package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/gateway"
)

// echo answers with what a handler sees of a request.
func echo() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := gateway.ProxyCredential(r.Context())
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s cred=%s:%s:%v id=%v proxyauth=%q abs=%v body=%s", r.Proto, r.Host, r.URL.RequestURI(), user, password, ok,
			gateway.RequestID(r.Context()) == w.Header().Get("X-Ms-Request-Id"), r.Header.Get("Proxy-Authorization"), r.URL.IsAbs(), body)
	})
}

type server struct {
	addr string
	ca   *gateway.CA
	stop func() error // ends Serve and returns what it returned
}

func start(t testing.TB, cfg gateway.Config) *server {
	t.Helper()
	if cfg.CA == nil {
		cfg.CA = openCA(t, t.TempDir())
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l) }()
	s := &server{addr: l.Addr().String(), ca: cfg.CA}
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Log(err)
		}
	})
	return s
}

// client is a proxy client that trusts the CA.
func (s *server) client(t testing.TB, http2 bool, user *url.Userinfo) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.ca.CertificatePEM())
	tr := &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: s.addr, User: user}),
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: http2,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// direct is a client without a proxy.
func (s *server) direct(t testing.TB) *http.Client {
	c := s.client(t, false, nil)
	c.Transport.(*http.Transport).Proxy = nil
	return c
}

func get(t testing.TB, c *http.Client, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
}

func TestRoutes(t *testing.T) {
	s := start(t, gateway.Config{Routes: []gateway.Route{
		{Pattern: "management.azure.com", Handler: named("arm")},
		{Pattern: "*.blob.core.windows.net", Handler: named("blob")},
		{Pattern: "special.blob.core.windows.net", Handler: named("special")},
		{Pattern: "*.azureml.ms", Handler: named("ml")},
		{Pattern: "*.api.azureml.ms", Handler: named("api")},
		{Pattern: "169.254.169.254", Handler: named("imds")},
	}})
	c := s.client(t, false, nil)
	for url, want := range map[string]string{
		"https://management.azure.com/":                "arm",
		"https://MANAGEMENT.azure.com:443/":            "arm",
		"https://management.azure.com:8443/":           "arm",
		"http://management.azure.com/":                 "arm",
		"https://a.blob.core.windows.net/":             "blob",
		"https://a.z1.blob.core.windows.net/":          "blob",
		"https://special.blob.core.windows.net/":       "special",
		"https://eastus.api.azureml.ms/":               "api",
		"https://eastus.experiments.azureml.ms/":       "ml",
		"http://169.254.169.254/metadata/instance":     "imds",
		"http://" + s.addr + "/healthz":                `{"status":"ok"}` + "\n",
		"https://ab.cd.special.blob.core.windows.net/": "blob",
	} {
		if status, body, _ := get(t, c, url); status != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", url, status, body, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	ca := openCA(t, t.TempDir())
	h := echo()
	for name, cfg := range map[string]gateway.Config{
		"no CA":       {},
		"no handler":  {CA: ca, Routes: []gateway.Route{{Pattern: "management.azure.com"}}},
		"outside":     {CA: ca, Routes: []gateway.Route{{Pattern: "example.com", Handler: h}}},
		"a parent":    {CA: ca, Routes: []gateway.Route{{Pattern: "*.windows.net", Handler: h}}},
		"upper case":  {CA: ca, Routes: []gateway.Route{{Pattern: "Management.azure.com", Handler: h}}},
		"two at once": {CA: ca, Routes: []gateway.Route{{Pattern: "ml.azure.com", Handler: h}, {Pattern: "ml.azure.com", Handler: h}}},
	} {
		if _, err := gateway.New(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestWhatAHandlerSees(t *testing.T) {
	s := start(t, gateway.Config{Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: echo()}}})
	user := url.UserPassword("node-1", "s3:cret")
	for name, c := range map[string]struct {
		client *http.Client
		url    string
		want   string
	}{
		"CONNECT, HTTP/1.1":  {s.client(t, false, nil), "https://management.azure.com/a?b=c", "HTTP/1.1 management.azure.com /a?b=c cred=::false"},
		"CONNECT, HTTP/2":    {s.client(t, true, nil), "https://management.azure.com/a?b=c", "HTTP/2.0 management.azure.com /a?b=c cred=::false"},
		"CONNECT, identity":  {s.client(t, false, user), "https://management.azure.com/", "HTTP/1.1 management.azure.com / cred=node-1:s3:cret:true"},
		"absolute, identity": {s.client(t, false, user), "http://management.azure.com/a%2Fb", "HTTP/1.1 management.azure.com /a%2Fb cred=node-1:s3:cret:true"},
	} {
		status, body, _ := get(t, c.client, c.url)
		if want := c.want + ` id=true proxyauth="" abs=false body=`; status != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", name, status, body, want)
		}
	}
}

// HTTP without TLS inside a CONNECT, as some clients do for port 80.
func TestPlainHTTPThroughConnect(t *testing.T) {
	s := start(t, gateway.Config{Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: echo()}}})
	c := dial(t, s.addr)
	fmt.Fprint(c, "CONNECT management.azure.com:80 HTTP/1.1\r\nHost: management.azure.com:80\r\n\r\n"+
		"GET /early HTTP/1.1\r\nHost: management.azure.com\r\n\r\n") // in one piece: nothing of it may be lost
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp, err = http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.HasPrefix(string(body), "HTTP/1.1 management.azure.com /early") {
		t.Errorf("%s", body)
	}
	// Another host in the same tunnel is not served.
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
	if resp, err = http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("%v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

func TestDirectTLS(t *testing.T) {
	s := start(t, gateway.Config{
		Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: named("arm")}},
		Local:  named("local"),
	})
	c := s.direct(t)
	if status, body, _ := get(t, c, "https://"+s.addr+"/metadata/endpoints"); status != 200 || body != "local" {
		t.Errorf("by address: %d %q", status, body)
	}
	_, port, _ := net.SplitHostPort(s.addr)
	if status, body, _ := get(t, c, "https://localhost:"+port+"/"); status != 200 || body != "local" {
		t.Errorf("by localhost: %d %q", status, body)
	}
	// As a client does whose DNS says that Azure is here.
	tr := c.Transport.(*http.Transport)
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.addr)
	}
	if status, body, _ := get(t, c, "https://management.azure.com/"); status != 200 || body != "arm" {
		t.Errorf("by name: %d %q", status, body)
	}
	if status, body, _ := get(t, c, "https://ml.azure.com/"); status != 0 {
		t.Errorf("a name that is not routed: %d %q", status, body)
	}
}

// A page of a stranger's, whose name was made to resolve to this address, gets
// nothing from the port.
func TestLocalChecksHost(t *testing.T) {
	s := start(t, gateway.Config{
		Routes:     []gateway.Route{{Pattern: "management.azure.com", Handler: named("arm")}},
		Local:      named("local"),
		LocalHosts: []string{"azimuth.lab"},
	})
	c := s.direct(t)
	_, port, _ := net.SplitHostPort(s.addr)
	for host, want := range map[string]int{
		s.addr: 200, "localhost:" + port: 200, "LOCALHOST": 200, "[::1]:" + port: 200, "azimuth.lab": 200, "azimuth.internal": 200,
		"evil.example": 421, "evil.example:" + port: 421, "management.azure.com": 421, "127.0.0.1.evil.example": 421, "10.1.2.3": 421,
	} {
		for _, path := range []string{"/", "/healthz"} {
			if status, body, _ := get(t, c, "http://"+s.addr+path, "Host", host); status != want {
				t.Errorf("Host %s%s: %d %q, want %d", host, path, status, body, want)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	s := start(t, gateway.Config{Health: func(context.Context) error { return errors.New("the disk is full") }})
	status, body, _ := get(t, s.direct(t), "http://"+s.addr+"/healthz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "the disk is full") {
		t.Errorf("%d %s", status, body)
	}
}

func TestHeaders(t *testing.T) {
	s := start(t, gateway.Config{Routes: []gateway.Route{
		{Pattern: "management.azure.com", Correlate: true, Handler: named("arm")},
		{Pattern: "*.blob.core.windows.net", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-ms-request-id", "its own")
		})},
	}})
	c := s.client(t, false, nil)
	_, _, h := get(t, c, "https://management.azure.com/", "x-ms-correlation-request-id", "corr", "x-ms-client-request-id", "mine")
	if h.Get("x-ms-request-id") == "" || h.Get("x-ms-correlation-request-id") != "corr" || h.Get("x-ms-client-request-id") != "" {
		t.Errorf("%v", h)
	}
	_, _, h = get(t, c, "https://management.azure.com/", "x-ms-client-request-id", "mine", "x-ms-return-client-request-id", "true")
	if h.Get("x-ms-correlation-request-id") != h.Get("x-ms-request-id") || h.Get("x-ms-client-request-id") != "mine" {
		t.Errorf("%v", h)
	}
	_, _, h = get(t, c, "https://a.blob.core.windows.net/", "x-ms-correlation-request-id", "corr")
	if fmt.Sprint(h.Values("x-ms-request-id"), h.Values("x-ms-correlation-request-id")) != "[its own] []" {
		t.Errorf("%v", h)
	}
}

// What the log says of a request, and what it must not.
func TestAccessLog(t *testing.T) {
	var buf lockedBuffer
	s := start(t, gateway.Config{
		Logger: slog.New(slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Routes: []gateway.Route{{Pattern: "*.blob.core.windows.net", Handler: named("hello")}},
	})
	_, _, h := get(t, s.client(t, false, url.UserPassword("node", "hunter2")), "https://a.blob.core.windows.net/c/b?sig=hunter2",
		"Authorization", "Bearer hunter2", "x-ms-client-request-id", "mine")
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	log := buf.String()
	for _, want := range []string{`"method":"GET"`, `"host":"a.blob.core.windows.net"`, `"path":"/c/b"`, `"status":200`, `"bytes":5`,
		`"client_request_id":"mine"`, `"request_id":"` + h.Get("x-ms-request-id") + `"`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in %s", want, log)
		}
	}
	if strings.Contains(log, "hunter2") {
		t.Errorf("a secret in %s", log)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestPanic(t *testing.T) {
	s := start(t, gateway.Config{Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "begun")
			http.NewResponseController(w).Flush()
		}
		w.Header().Set("Content-Length", "100")
		panic("boom")
	})}}})
	c := s.client(t, false, nil)
	status, body, h := get(t, c, "https://management.azure.com/")
	if status != 500 || !strings.Contains(body, `"code":"InternalServerError"`) || strings.Contains(body, "boom") ||
		!strings.HasPrefix(h.Get("Content-Type"), "application/json") || !strings.Contains(body, h.Get("x-ms-request-id")) {
		t.Errorf("%d %s %v", status, body, h)
	}
	resp, err := c.Get("https://management.azure.com/late")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("an answer that was cut looked whole")
	}
}

func TestGracefulShutdown(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, gateway.Config{Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "done")
	})}}})
	c := s.client(t, false, nil)
	silent := dial(t, s.addr) // says nothing, and must not hold the server up
	result := make(chan string, 1)
	go func() {
		_, body, _ := get(t, c, "https://management.azure.com/")
		result <- body
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	// The listener is closed before anything is waited for.
	for {
		c, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	if body := <-result; body != "done" {
		t.Errorf("the request in flight got %q", body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if n, err := silent.Read(make([]byte, 1)); err == nil {
		t.Errorf("the silent connection read %d", n)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	entered := make(chan struct{})
	s := start(t, gateway.Config{Grace: time.Millisecond, Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})}}})
	go s.client(t, false, nil).Get("https://management.azure.com/")
	<-entered
	if err := s.stop(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Serve: %v", err)
	}
}

func TestSilentClientIsDropped(t *testing.T) {
	s := start(t, gateway.Config{ReadHeaderTimeout: 20 * time.Millisecond})
	for name, begin := range map[string]string{"nothing": "", "part of a header": "GET / HTTP/1.1\r\nHost: loc", "part of a handshake": "\x16\x03\x01"} {
		c := dial(t, s.addr)
		io.WriteString(c, begin)
		// That it ends is all: whether by an answer, an end or a reset.
		n, err := io.Copy(io.Discard, c)
		t.Log(name, n, err)
	}
}

func TestHugeHeaderIsRefused(t *testing.T) {
	s := start(t, gateway.Config{})
	c := s.direct(t)
	if status, _, _ := get(t, c, "http://"+s.addr+"/", "X", strings.Repeat("x", 100<<10)); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", status)
	}
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
