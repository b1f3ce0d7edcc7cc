package gateway_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/gateway"
)

// openTunnel asks the proxy for a tunnel to target.
func openTunnel(t *testing.T, proxy, target string, header ...string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	c := dial(t, proxy)
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, target, strings.Join(header, ""))
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return c, r, resp
}

// listen runs serve for every connection to a port of its own.
func listen(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String()
}

// A tunnel passes bytes of any kind, and each side's end by itself.
func TestTunnelHalfClose(t *testing.T) {
	target := listen(t, func(c *net.TCPConn) {
		all, err := io.ReadAll(c) // until the client's end comes through
		if err != nil {
			return
		}
		fmt.Fprintf(c, "got %d", len(all))
	})
	s := start(t, gateway.Config{})
	c, r, resp := openTunnel(t, s.addr, target)
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(r); err != nil || string(answer) != "got 1048576" {
		t.Errorf("%q, %v", answer, err)
	}
}

// The other way round: the server ends first, and the client can still send.
func TestTunnelServerEndsFirst(t *testing.T) {
	got := make(chan string, 1)
	target := listen(t, func(c *net.TCPConn) {
		io.WriteString(c, "hello")
		c.CloseWrite()
		all, _ := io.ReadAll(c)
		got <- string(all)
	})
	s := start(t, gateway.Config{})
	c, r, _ := openTunnel(t, s.addr, target)
	if hello, err := io.ReadAll(r); err != nil || string(hello) != "hello" {
		t.Errorf("%q, %v", hello, err)
	}
	io.WriteString(c, "late")
	c.Close()
	if late := <-got; late != "late" {
		t.Errorf("the server got %q", late)
	}
}

func TestTunnelEndsWithTheServer(t *testing.T) {
	target := listen(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	s := start(t, gateway.Config{})
	_, r, _ := openTunnel(t, s.addr, target)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the tunnel outlived the server")
	}
}

func TestConnectRefusals(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	brokenProxy := listen(t, func(c *net.TCPConn) {
		bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	through := func(u string) func(*url.URL) (*url.URL, error) {
		return func(*url.URL) (*url.URL, error) { return url.Parse(u) }
	}
	for name, c := range map[string]struct {
		cfg    gateway.Config
		target string
		status int
		reason string
	}{
		"nobody listens":      {gateway.Config{}, nobody, 502, "connection refused"},
		"no such host":        {gateway.Config{}, "nobody.invalid:443", 502, "nobody.invalid"},
		"no port":             {gateway.Config{}, "example.com", 400, "host:port"},
		"the proxy refuses":   {gateway.Config{Upstream: through("http://u:secret@" + brokenProxy)}, "example.com:443", 502, "407"},
		"the proxy is not up": {gateway.Config{Upstream: through("http://" + nobody)}, "example.com:443", 502, "connection refused"},
		"an odd proxy":        {gateway.Config{Upstream: through("gopher://" + brokenProxy)}, "example.com:443", 502, "gopher"},
		"a proxy error": {gateway.Config{Upstream: func(*url.URL) (*url.URL, error) { return nil, errors.New("no idea") }},
			"example.com:443", 502, "no idea"},
		"not for strangers": {gateway.Config{AllowRelay: func(*http.Request) bool { return false }}, nobody, 403, "other machines"},
	} {
		s := start(t, c.cfg)
		_, _, resp := openTunnel(t, s.addr, c.target)
		reason := resp.Header.Get("X-Azimuth-Error")
		if resp.StatusCode != c.status || !strings.Contains(reason, c.reason) || strings.Contains(reason, "secret") {
			t.Errorf("%s: %s, %q, want %d with %q", name, resp.Status, reason, c.status, c.reason)
		}
	}
}

// connectProxy is a forward proxy that knows CONNECT alone, asks for a password,
// and sends the first bytes of the tunnel in one piece with its answer.
func connectProxy(t *testing.T, used *atomic.Int32) string {
	return listen(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Method != http.MethodConnect || req.Header.Get("Proxy-Authorization") != "Basic dTpwOnc=" { // u:p:w
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return
		}
		used.Add(1)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n\r\nvia %s;", req.Host)
		io.Copy(c, r)
	})
}

func TestUpstreamHTTPProxy(t *testing.T) {
	var used atomic.Int32
	proxy := connectProxy(t, &used)
	env := map[string]string{"https_proxy": "http://u:p%3Aw@" + proxy, "NO_PROXY": "direct.test"}
	s := start(t, gateway.Config{Upstream: gateway.UpstreamFromEnv(func(name string) string { return env[name] })})
	c, r, resp := openTunnel(t, s.addr, "example.com:443")
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status, resp.Header)
	}
	io.WriteString(c, "ping")
	c.(*net.TCPConn).CloseWrite()
	if all, err := io.ReadAll(r); err != nil || string(all) != "via example.com:443;ping" {
		t.Errorf("%q, %v", all, err)
	}
	// NO_PROXY names are not for the proxy, nor is loopback.
	echoed := listen(t, func(c *net.TCPConn) { io.Copy(c, c) })
	if _, _, resp := openTunnel(t, s.addr, echoed); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if _, _, resp := openTunnel(t, s.addr, "direct.test:1"); resp.StatusCode != 502 {
		t.Error(resp.Status)
	}
	if n := used.Load(); n != 1 {
		t.Errorf("the proxy was used %d times", n)
	}
}

func TestUpstreamSOCKS(t *testing.T) {
	proxy := listen(t, func(c *net.TCPConn) {
		head := make([]byte, 2)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		io.ReadFull(c, make([]byte, head[1]))
		c.Write([]byte{5, 0})
		req := make([]byte, 5)
		if _, err := io.ReadFull(c, req); err != nil {
			return
		}
		rest := make([]byte, int(req[4])+2)
		io.ReadFull(c, rest)
		c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 1})
		fmt.Fprintf(c, "%s:%d;", rest[:req[4]], binary.BigEndian.Uint16(rest[req[4]:]))
		io.Copy(c, c)
	})
	s := start(t, gateway.Config{Upstream: func(*url.URL) (*url.URL, error) { return &url.URL{Scheme: "socks5", Host: proxy}, nil }})
	c, r, resp := openTunnel(t, s.addr, "example.com:8443")
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status, resp.Header)
	}
	io.WriteString(c, "ping")
	c.(*net.TCPConn).CloseWrite()
	if all, err := io.ReadAll(r); err != nil || string(all) != "example.com:8443;ping" {
		t.Errorf("%q, %v", all, err)
	}
}

// A server that was started from one of its own shells has itself as its proxy.
func TestUpstreamIsItself(t *testing.T) {
	var self atomic.Pointer[url.URL]
	s := start(t, gateway.Config{Upstream: func(*url.URL) (*url.URL, error) { return self.Load(), nil }})
	self.Store(&url.URL{Scheme: "http", Host: s.addr})
	target := listen(t, func(c *net.TCPConn) { io.Copy(c, c) })
	if _, _, resp := openTunnel(t, s.addr, target); resp.StatusCode != 200 {
		t.Error(resp.Status, resp.Header)
	}
	origin := httptest.NewServer(named("origin"))
	defer origin.Close()
	if status, body, _ := get(t, s.client(t, false, nil), origin.URL); status != 200 || body != "origin" {
		t.Errorf("%d %q", status, body)
	}
}

// Two servers, each with the other as its proxy.
func TestLoop(t *testing.T) {
	var a, b atomic.Pointer[url.URL]
	one := start(t, gateway.Config{Upstream: func(*url.URL) (*url.URL, error) { return b.Load(), nil }})
	two := start(t, gateway.Config{Upstream: func(*url.URL) (*url.URL, error) { return a.Load(), nil }})
	a.Store(&url.URL{Scheme: "http", Host: one.addr})
	b.Store(&url.URL{Scheme: "http", Host: two.addr})
	_, _, resp := openTunnel(t, one.addr, "example.com:443")
	if resp.StatusCode != 502 { // the other one's answer: 502, for the 508 that it got from this one
		t.Error(resp.Status, resp.Header)
	}
	if status, body, _ := get(t, one.client(t, false, nil), "http://example.com/"); status != http.StatusLoopDetected {
		t.Errorf("%d %q", status, body)
	}
}

func TestForward(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Origin", "yes")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s ua=%q xff=%q pa=%q body=%s", r.Method, r.Host, r.RequestURI, r.UserAgent(),
			r.Header.Get("X-Forwarded-For"), r.Header.Get("Proxy-Authorization"), body)
	}))
	defer origin.Close()
	s := start(t, gateway.Config{})
	c := s.client(t, false, url.UserPassword("u", "p"))
	host := strings.TrimPrefix(origin.URL, "http://")
	status, body, h := get(t, c, origin.URL+"/a%2Fb?x=1;y=2", "User-Agent", "me", "X-Forwarded-For", "1.2.3.4")
	if want := "GET " + host + ` /a%2Fb?x=1;y=2 ua="me" xff="1.2.3.4" pa="" body=`; status != 418 || body != want || h.Get("X-Origin") != "yes" {
		t.Errorf("%d %q %v, want %q", status, body, h, want)
	}
	if h.Get("X-Ms-Request-Id") != "" {
		t.Errorf("a forwarded answer was dressed: %v", h)
	}
	if status, body, h := get(t, c, "http://nobody.invalid/"); status != 502 || !strings.Contains(body+h.Get("X-Azimuth-Error"), "nobody.invalid") {
		t.Errorf("%d %q", status, body)
	}
	closed := start(t, gateway.Config{AllowRelay: func(*http.Request) bool { return false }})
	if status, body, _ := get(t, closed.client(t, false, nil), origin.URL); status != 403 {
		t.Errorf("%d %q", status, body)
	}
}

func TestForwardUpgrade(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := buf.ReadString('\n')
		io.WriteString(c, line)
	}))
	defer origin.Close()
	s := start(t, gateway.Config{})
	c := dial(t, s.addr)
	fmt.Fprintf(c, "GET %s/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", origin.URL)
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	io.WriteString(c, "ping\n")
	if line, err := r.ReadString('\n'); err != nil || line != "ping\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// Whatever clients do, nothing is left running once Serve has returned.
func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	target := listen(t, func(c *net.TCPConn) { io.Copy(c, c) })
	s := start(t, gateway.Config{Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: named("arm")}}})
	for i := range 20 {
		c, _, _ := openTunnel(t, s.addr, target)
		dial(t, s.addr)
		openTunnel(t, s.addr, "management.azure.com:443")
		if i%2 == 0 {
			c.Close()
		}
	}
	client := s.client(t, true, nil)
	get(t, client, "https://management.azure.com/")
	client.CloseIdleConnections()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	// The far ends of the tunnels, and the server's closing of hijacked
	// connections, take a moment: wait for them to go.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for runtime.NumGoroutine() > before+2 { // the listener of target is still there
		if ctx.Err() != nil {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

func BenchmarkRequestsThroughConnect(b *testing.B) {
	s := start(b, gateway.Config{Routes: []gateway.Route{{Pattern: "management.azure.com", Correlate: true, Handler: named("arm")}}})
	for _, v := range []struct {
		name  string
		http2 bool
	}{{"http1", false}, {"http2", true}} {
		b.Run(v.name, func(b *testing.B) {
			c := s.client(b, v.http2, nil)
			b.ReportAllocs()
			for b.Loop() {
				if status, _, _ := get(b, c, "https://management.azure.com/"); status != 200 {
					b.Fatal(status)
				}
			}
		})
	}
	b.Run("new connection", func(b *testing.B) {
		c := s.client(b, false, nil)
		for b.Loop() {
			get(b, c, "https://management.azure.com/")
			c.CloseIdleConnections()
		}
	})
}
