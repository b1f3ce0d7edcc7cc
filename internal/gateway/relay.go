package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

const connectReply = "HTTP/1.1 200 Connection Established\r\n\r\n"

// UpstreamFromEnv returns Config.Upstream for the usual proxy variables
// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY, in either case), read with getenv.
func UpstreamFromEnv(getenv func(string) string) func(*url.URL) (*url.URL, error) {
	either := func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return getenv(strings.ToLower(name))
	}
	cfg := httpproxy.Config{HTTPSProxy: either("HTTPS_PROXY"), HTTPProxy: either("HTTP_PROXY"), NoProxy: either("NO_PROXY")}
	return cfg.ProxyFunc()
}

// connect serves CONNECT: a routed host is served right here, any other gets a
// tunnel.
func (g *Gateway) connect(w http.ResponseWriter, r *http.Request, info connInfo, cred credential) {
	if info.tls || info.connectHost != "" || r.ProtoMajor != 1 {
		relayError(w, http.StatusBadRequest, "CONNECT is for plain connections to the proxy port")
		return
	}
	if g.looped(r) {
		relayError(w, http.StatusLoopDetected, "the proxy leads back to itself: check HTTPS_PROXY in the server's environment")
		return
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || host == "" || port == "" {
		relayError(w, http.StatusBadRequest, fmt.Sprintf("CONNECT needs host:port, got %q", r.Host))
		return
	}
	name := hostOnly(r.Host)
	if !g.admitted(w, r, cred, name, port) {
		return
	}
	if _, routed := g.route(name); routed {
		c, err := g.hijack(w, info)
		if err != nil {
			g.log.Debug("CONNECT", keyHost, r.Host, keyError, err)
			return
		}
		c.info.connectHost, c.info.credential = name, cred
		if _, err := io.WriteString(c.Conn, connectReply); err != nil {
			c.Close()
			return
		}
		info.serving.admit(c)
		return
	}
	if !g.cfg.AllowRelay(r) {
		relayError(w, http.StatusForbidden, fmt.Sprintf("clients of other machines may not reach %s through this proxy", name))
		return
	}
	up, err := g.dialThrough(r.Context(), r.Host, r.Header.Values("Via"))
	if err != nil {
		g.log.Debug("CONNECT", keyHost, r.Host, keyError, err)
		relayError(w, http.StatusBadGateway, err.Error())
		return
	}
	c, err := g.hijack(w, info)
	if err != nil {
		up.Close()
		return
	}
	g.tunnel(info.serving, c, up)
}

// admitted reports whether the client may call a host, and answers it when not.
func (g *Gateway) admitted(w http.ResponseWriter, r *http.Request, cred credential, host, port string) bool {
	if g.cfg.Admit == nil {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		relayError(w, http.StatusBadRequest, fmt.Sprintf("%q is no port", port))
		return false
	}
	err = g.cfg.Admit(r.Context(), cred.user, cred.password, cred.given, host, int(n))
	var denied *Denial
	switch {
	case err == nil:
		return true
	case errors.As(err, &denied):
		if denied.Status == http.StatusProxyAuthRequired {
			w.Header().Set("Proxy-Authenticate", `Basic realm="azimuth"`)
		}
		relayError(w, denied.Status, denied.Reason)
	default:
		g.log.Error("decide about a call", keyHost, host, keyError, err)
		relayError(w, http.StatusInternalServerError, "the server failed to decide about this call")
	}
	return false
}

func (g *Gateway) tunnel(s *serving, c *conn, up net.Conn) {
	if !s.track.add(c) {
		c.Close()
		up.Close()
		return
	}
	defer s.track.remove(c)
	if !s.track.add(up) {
		c.Close()
		up.Close()
		return
	}
	defer s.track.remove(up)
	if _, err := io.WriteString(c.Conn, connectReply); err != nil {
		c.Close()
		up.Close()
		return
	}
	splice(c, up)
}

// hijack takes the connection from the HTTP server, with what the server had
// read ahead.
func (g *Gateway) hijack(w http.ResponseWriter, info connInfo) (*conn, error) {
	raw, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	var ahead []byte
	if n := buf.Reader.Buffered(); n > 0 {
		if ahead, err = buf.Reader.Peek(n); err != nil {
			raw.Close()
			return nil, err
		}
	}
	if own, ok := raw.(*conn); ok {
		return &conn{Conn: own.Conn, ahead: append(ahead[:len(ahead):len(ahead)], own.ahead...), info: info}, nil
	}
	return &conn{Conn: raw, ahead: ahead, info: info}, nil
}

// relayError answers a proxy client. Many show the header, few the body.
func relayError(w http.ResponseWriter, status int, reason string) {
	reason = strings.Map(func(c rune) rune {
		if c < ' ' {
			return ' '
		}
		return c
	}, reason)
	w.Header().Set("X-Azimuth-Error", reason)
	http.Error(w, "azimuth: "+reason, status)
}

func (g *Gateway) looped(r *http.Request) bool {
	for _, v := range r.Header.Values("Via") {
		if strings.Contains(v, g.via) {
			return true
		}
	}
	return false
}

// dialThrough connects to addr, by way of the upstream proxy if there is one.
// via is where the request has been, by which a loop is known.
func (g *Gateway) dialThrough(ctx context.Context, addr string, via []string) (net.Conn, error) {
	up, err := g.upstream(ctx, &url.URL{Scheme: "https", Host: addr})
	if err != nil {
		return nil, err
	}
	if up == nil {
		c, err := g.dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", addr, err)
		}
		return c, nil
	}
	c, err := g.dialProxy(ctx, up, addr, append(slices.Clone(via), "1.1 "+g.via))
	if err != nil {
		return nil, fmt.Errorf("connect to %s through the proxy %s: %w", addr, up.Redacted(), err)
	}
	return c, nil
}

func (g *Gateway) dialProxy(ctx context.Context, up *url.URL, addr string, via []string) (net.Conn, error) {
	port := up.Port()
	if port == "" {
		defaults := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
		port = defaults[up.Scheme]
	}
	c, err := g.dialer.DialContext(ctx, "tcp", net.JoinHostPort(up.Hostname(), port))
	if err != nil {
		return nil, err
	}
	// The handshakes below know no context: its end closes the connection.
	stop := context.AfterFunc(ctx, func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(g.dialer.Timeout)); err != nil {
		c.Close()
		return nil, err
	}
	out, err := proxyHandshake(ctx, c, up, addr, via)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return out, nil
}

func proxyHandshake(ctx context.Context, c net.Conn, up *url.URL, addr string, via []string) (net.Conn, error) {
	switch up.Scheme {
	case "socks5", "socks5h":
		return c, socksHandshake(ctx, c, up, addr)
	case "https":
		t := tls.Client(c, &tls.Config{ServerName: up.Hostname(), MinVersion: tls.VersionTLS12})
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = t
	case "http":
	default:
		return nil, fmt.Errorf("a proxy of scheme %q is not supported", up.Scheme)
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	req.Header["Via"] = via
	if up.User != nil {
		password, _ := up.User.Password()
		req.Header.Set("Proxy-Authorization",
			"Basic "+base64.StdEncoding.EncodeToString([]byte(up.User.Username()+":"+password)))
	}
	if err := req.Write(c); err != nil {
		return nil, err
	}
	buf := bufio.NewReader(c)
	resp, err := http.ReadResponse(buf, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	ahead, err := buf.Peek(buf.Buffered())
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, ahead: ahead}, nil
}

func socksHandshake(ctx context.Context, c net.Conn, up *url.URL, addr string) error {
	var auth *proxy.Auth
	if up.User != nil {
		password, _ := up.User.Password()
		auth = &proxy.Auth{User: up.User.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", up.Host, auth, nil)
	if err != nil {
		return err
	}
	h, ok := d.(interface {
		DialWithConn(context.Context, net.Conn, string, string) (net.Addr, error)
	})
	if !ok {
		return errors.New("the SOCKS library cannot use a given connection")
	}
	_, err = h.DialWithConn(ctx, c, "tcp", addr)
	return err
}

// newForwarder makes the handler of absolute-form requests for hosts that are
// not routed.
func (g *Gateway) newForwarder() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.Host = p.In.Host
			p.Out.URL.RawQuery = p.In.URL.RawQuery
			for name, values := range p.In.Header {
				if name == "Forwarded" || strings.HasPrefix(name, "X-Forwarded-") {
					p.Out.Header[name] = values // the client's business
				}
			}
			p.Out.Header["Via"] = append(p.In.Header.Values("Via"), "1.1 "+g.via)
		},
		Transport: &http.Transport{
			Proxy:              func(r *http.Request) (*url.URL, error) { return g.upstream(r.Context(), r.URL) },
			DialContext:        g.dialer.DialContext,
			DisableCompression: true,
			IdleConnTimeout:    time.Minute,
			MaxIdleConns:       64,
		},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			g.log.Debug("forward", keyMethod, r.Method, keyHost, r.Host, keyError, err)
			relayError(w, http.StatusBadGateway, err.Error())
		},
	}
}

// serveForward passes an absolute-form request on.
func (g *Gateway) serveForward(w http.ResponseWriter, r *http.Request) {
	switch {
	case g.looped(r):
		relayError(w, http.StatusLoopDetected, "the proxy leads back to itself: check HTTP_PROXY in the server's environment")
	case !g.cfg.AllowRelay(r):
		relayError(w, http.StatusForbidden, fmt.Sprintf("clients of other machines may not reach %s through this proxy", r.Host))
	default:
		g.forward.ServeHTTP(w, r)
	}
}

// upstream returns the proxy to reach target through, or nil. A proxy that is
// this port itself, as in the environment of a server that was started from one
// of its own shells, is none.
func (g *Gateway) upstream(ctx context.Context, target *url.URL) (*url.URL, error) {
	if g.cfg.Upstream == nil {
		return nil, nil
	}
	up, err := g.cfg.Upstream(target)
	if err != nil {
		return nil, fmt.Errorf("upstream proxy for %s: %w", target.Host, err)
	}
	if s := infoFrom(ctx).serving; up == nil || s != nil && isSelf(up, s.addr) {
		return nil, nil
	}
	return up, nil
}

// isSelf reports whether a proxy URL names the address that is listened on.
func isSelf(up *url.URL, own net.Addr) bool {
	ap, err := netip.ParseAddrPort(own.String())
	if err != nil || up.Port() != strconv.Itoa(int(ap.Port())) {
		return false
	}
	host := hostOnly(up.Host)
	return isLoopbackName(host) || host == ap.Addr().Unmap().String()
}
