// Package gateway is Azimuth's one TCP port. The first byte of a connection
// decides what it is: a TLS handshake is terminated with a certificate of the
// home's own CA; anything else is HTTP/1.1, where CONNECT and absolute-form
// requests are a proxy client's. Requests for Azure's host names go to the
// handlers in the routing table, whichever way they came; all else that a proxy
// client asks for is passed through untouched; and what is asked of the port
// itself is the local origin's (health, token endpoint, portal).
package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Defaults of Config.
const (
	DefaultGrace             = 10 * time.Second
	DefaultReadHeaderTimeout = 20 * time.Second
)

const (
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	firstTLSByte   = 0x16 // a handshake record
)

// Route sends requests for one host, or one suffix of hosts, to a handler.
type Route struct {
	// Pattern is a host in lower case, "*.suffix" for every host below suffix at
	// any depth, or an IP address that is served over plain HTTP only. The most
	// specific pattern wins.
	Pattern string
	// Handler serves the requests. It sees the Azure host name in Request.Host.
	Handler http.Handler
	// Correlate echoes the client's correlation headers as Azure Resource
	// Manager does.
	Correlate bool
}

// Config says what a Gateway serves.
type Config struct {
	// CA signs for the routed hosts.
	CA *CA
	// Routes is the routing table.
	Routes []Route
	// Local serves what is asked of the port itself, other than /healthz. Nil
	// serves nothing.
	Local http.Handler
	// LocalHosts are names, beside loopback's and the address a client connected
	// to, that may be in the Host header of requests to Local.
	LocalHosts []string
	// Health reports why the server is not healthy, for /healthz. Nil means
	// always healthy.
	Health func(context.Context) error
	// Upstream returns the proxy to reach a URL through, or nil for none. It is
	// asked for connections to hosts that are not routed. Nil means none.
	Upstream func(*url.URL) (*url.URL, error)
	// AllowRelay decides who may use the port as a proxy to hosts that are not
	// routed. The default is clients on this machine: anything else would make
	// the port an open relay.
	AllowRelay func(*http.Request) bool
	// Admit decides about a proxy client's call to a host, for connections (CONNECT)
	// and for requests over plain HTTP: a *Denial is what the client is answered. user
	// and password are its proxy credential, and given says that it has one. Nil
	// admits all.
	Admit func(ctx context.Context, user, password string, given bool, host string, port int) error
	// Logger receives one record per request at debug level. Nil discards.
	Logger *slog.Logger
	// Grace is how long requests in flight may take to finish once Serve's
	// context ends. Zero means DefaultGrace.
	Grace time.Duration
	// ReadHeaderTimeout is how long a client may take to say what it wants.
	// Zero means DefaultReadHeaderTimeout.
	ReadHeaderTimeout time.Duration
}

// Denial is why a proxy client may not call a host.
type Denial struct {
	// Status is 403, or 407 for a credential that is not accepted.
	Status int
	Reason string
}

// Error implements error.
func (d *Denial) Error() string { return d.Reason }

// Gateway serves one routing table. It is safe for concurrent use and may serve
// several listeners.
type Gateway struct {
	cfg     Config
	log     *slog.Logger
	exact   map[string]Route
	suffix  map[string]Route // by the pattern without "*."
	via     string           // this instance's name in Via headers
	forward *httputil.ReverseProxy
	dialer  net.Dialer
}

// New checks cfg and returns its Gateway. A route that the CA may not vouch for
// is an error, since every client would refuse it.
func New(cfg Config) (*Gateway, error) {
	if cfg.CA == nil {
		return nil, errors.New("gateway: no certificate authority")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.ReadHeaderTimeout == 0 {
		cfg.ReadHeaderTimeout = DefaultReadHeaderTimeout
	}
	if cfg.AllowRelay == nil {
		cfg.AllowRelay = fromLoopback
	}
	id := make([]byte, 8)
	rand.Read(id)
	g := &Gateway{
		cfg:    cfg,
		log:    cfg.Logger,
		exact:  map[string]Route{},
		suffix: map[string]Route{},
		via:    "azimuth-" + hex.EncodeToString(id),
		dialer: net.Dialer{Timeout: 30 * time.Second},
	}
	for _, r := range cfg.Routes {
		if err := g.addRoute(r); err != nil {
			return nil, err
		}
	}
	g.forward = g.newForwarder()
	return g, nil
}

func (g *Gateway) addRoute(r Route) error {
	name, wild := strings.CutPrefix(r.Pattern, "*.")
	table := g.exact
	if wild {
		table = g.suffix
	}
	_, ipErr := netip.ParseAddr(name)
	switch {
	case r.Handler == nil:
		return fmt.Errorf("gateway: route %q has no handler", r.Pattern)
	case name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, "*/ "):
		return fmt.Errorf("gateway: route %q: want a lower-case host or \"*.suffix\"", r.Pattern)
	case ipErr != nil && !g.cfg.CA.Permits(name):
		return fmt.Errorf("gateway: route %q is outside what the certificate authority may vouch for", r.Pattern)
	}
	if _, ok := table[name]; ok {
		return fmt.Errorf("gateway: route %q is there twice", r.Pattern)
	}
	table[name] = r
	return nil
}

// route finds the route of a host in lower case without a port.
func (g *Gateway) route(host string) (Route, bool) {
	if r, ok := g.exact[host]; ok {
		return r, true
	}
	for {
		_, rest, ok := strings.Cut(host, ".")
		if !ok {
			return Route{}, false
		}
		if r, ok := g.suffix[rest]; ok {
			return r, true
		}
		host = rest
	}
}

// serving is one Serve call.
type serving struct {
	g     *Gateway
	addr  net.Addr
	inner *connListener
	tls   *tls.Config
	track tracker
}

// Serve accepts connections on l until ctx ends. Then it closes l, lets the
// requests in flight finish within the grace period, cuts the tunnels, and
// returns nil, or an error if requests had to be cut off too. It closes l in
// any case.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	s := &serving{g: g, addr: l.Addr(), inner: newConnListener(l.Addr())}
	s.tls = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.certificate,
	}
	// Requests outlive ctx by the grace period, and end with it.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler:           http.HandlerFunc(g.serveHTTP),
		ReadHeaderTimeout: g.cfg.ReadHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// A client that goes away in the middle of HTTP/2 must not hold its
		// connection for ever.
		HTTP2:       &http.HTTP2Config{SendPingTimeout: time.Minute, WriteByteTimeout: time.Minute},
		ErrorLog:    slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			info, _ := infoOf(c)
			return context.WithValue(ctx, connInfoKey{}, info)
		},
	}
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(s.inner) }) // ends with ErrServerClosed alone: the inner listener does not fail
	accept := make(chan error, 1)
	wg.Go(func() { accept <- s.acceptLoop(ctx, l) })

	var failed error
	select {
	case <-ctx.Done():
		l.Close()
		<-accept
	case failed = <-accept:
	}
	l.Close()
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Grace)
	defer stop()
	err := server.Shutdown(grace)
	if err != nil {
		err = fmt.Errorf("gateway: requests were cut off after %s: %w", g.cfg.Grace, err)
		cancel()
		server.Close()
	}
	s.track.closeAll()
	g.forward.Transport.(*http.Transport).CloseIdleConnections()
	wg.Wait()
	return errors.Join(failed, err)
}

// acceptLoop accepts until l is closed. Want of file descriptors and the like
// pass: they are waited out.
func (s *serving) acceptLoop(ctx context.Context, l net.Listener) error {
	const most = time.Second
	delay := 5 * time.Millisecond
	for {
		c, err := l.Accept()
		if err == nil {
			delay = 5 * time.Millisecond
			s.admit(&conn{Conn: c, info: connInfo{serving: s}})
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		var netErr net.Error
		//lint:ignore SA1019 there is no other way to tell a passing error
		if errors.Is(err, net.ErrClosed) || !errors.As(err, &netErr) || !netErr.Temporary() {
			return fmt.Errorf("gateway: accept on %s: %w", l.Addr(), err)
		}
		s.g.log.Warn("cannot accept connections for now", keyError, err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil
		}
		delay = min(2*delay, most)
	}
}

// admit looks at a connection's first byte, in the background, and hands it to
// the HTTP server.
func (s *serving) admit(c *conn) {
	if !s.track.add(c) {
		c.Close()
		return
	}
	go func() {
		defer s.track.remove(c)
		first, err := c.peek(s.g.cfg.ReadHeaderTimeout)
		if err != nil {
			c.Close() // it said nothing, or is gone
			return
		}
		if first == firstTLSByte {
			c.info.tls = true
			s.inner.push(tls.Server(c, s.tls))
			return
		}
		s.inner.push(c)
	}()
}

// certificate picks the certificate of a TLS connection: for the name that the
// client asks for, else for the host that it asked the proxy for, else for the
// loopback address that it connected to.
func (s *serving) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	info, _ := infoOf(hello.Conn)
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if name == "" {
		name = info.connectHost
	}
	if name == "" {
		name = "127.0.0.1"
		if a, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok && a.IP.IsLoopback() {
			name = a.IP.String()
		}
	}
	if _, routed := s.g.route(name); !routed && !isLoopbackName(name) {
		return nil, fmt.Errorf("%q is not served here", name)
	}
	return s.g.cfg.CA.Leaf(name)
}

// hostOnly returns the host of a Host header or authority, in lower case,
// without port, brackets and final dot.
func hostOnly(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func isLoopbackName(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return host == "localhost" || host == "azimuth.internal"
}

func fromLoopback(r *http.Request) bool {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
