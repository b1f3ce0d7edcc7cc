package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Keys of log records.
const (
	keyError     = "error"
	keyMethod    = "method"
	keyHost      = "host"
	keyPath      = "path"
	keyStatus    = "status"
	keyBytes     = "bytes"
	keyDuration  = "duration"
	keyRequestID = "request_id"
	keyClientID  = "client_request_id"
	keyStack     = "stack"
)

const (
	headerRequestID       = "X-Ms-Request-Id"
	headerCorrelationID   = "X-Ms-Correlation-Request-Id"
	headerClientRequestID = "X-Ms-Client-Request-Id"
	headerReturnClientID  = "X-Ms-Return-Client-Request-Id"
)

type requestIDKey struct{}
type credentialKey struct{}

// RequestID returns the ID under which the gateway answers and logs the
// request, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// ProxyCredential returns the user and password with which the request's client
// identified itself to the proxy, and false if it did not. They are not
// verified.
func ProxyCredential(ctx context.Context) (user, password string, ok bool) {
	c, _ := ctx.Value(credentialKey{}).(credential)
	return c.user, c.password, c.given
}

// serveHTTP is the one entry of every request on the port.
func (g *Gateway) serveHTTP(w http.ResponseWriter, r *http.Request) {
	info := infoFrom(r.Context())
	cred := parseProxyAuthorization(r.Header)
	if !cred.given {
		cred = info.credential
	}
	if r.Method == http.MethodConnect {
		g.connect(w, r, info, cred)
		return
	}
	id := newID()
	ctx := context.WithValue(r.Context(), requestIDKey{}, id)
	if cred.given {
		ctx = context.WithValue(ctx, credentialKey{}, cred)
	}
	handler, how := g.dispatch(r, info)
	if how.proxied {
		port := r.URL.Port()
		if port == "" {
			port = "80"
		}
		if !g.admitted(w, r, cred, hostOnly(r.Host), port) {
			return
		}
	}
	r = r.WithContext(ctx) // a copy: the server keeps its own
	toOrigin(r, how.forwarded)

	h := w.Header()
	if !how.forwarded {
		h.Set(headerRequestID, id) // a handler's own replaces it
	}
	if how.arm {
		correlation := r.Header.Get(headerCorrelationID)
		if !plausibleID(correlation) {
			correlation = id
		}
		h.Set(headerCorrelationID, correlation)
		if c := r.Header.Get(headerClientRequestID); plausibleID(c) && strings.EqualFold(r.Header.Get(headerReturnClientID), "true") {
			h.Set(headerClientRequestID, c)
		}
	}
	rec := &recorder{ResponseWriter: w}
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			g.log.Error("a request handler panicked", keyError, fmt.Sprint(p), keyMethod, r.Method, keyHost, r.Host,
				keyPath, r.URL.Path, keyRequestID, id, keyStack, string(debug.Stack()))
			if rec.status != 0 {
				panic(http.ErrAbortHandler) // the answer has begun: cut it, so that it is not taken for whole
			}
			writeError(rec, http.StatusInternalServerError, "InternalServerError",
				"The server failed on this request. Its log has the details under request ID "+id+".")
		}
		// Never the query: it carries shared access signatures.
		g.log.Debug("request", keyMethod, r.Method, keyHost, r.Host, keyPath, r.URL.Path, keyStatus, rec.status,
			keyBytes, rec.bytes, keyDuration, time.Since(start), keyRequestID, id, keyClientID, r.Header.Get(headerClientRequestID))
	}()
	handler.ServeHTTP(rec, r)
}

// treatment is how a dispatched request is dressed.
type treatment struct {
	arm       bool // echo correlation headers
	forwarded bool // goes to another server: leave it as it is
	proxied   bool // is a proxy client's, over plain HTTP
}

// dispatch picks the handler of a request by its host and the way it came.
func (g *Gateway) dispatch(r *http.Request, info connInfo) (http.Handler, treatment) {
	host := hostOnly(r.Host)
	local := func() http.Handler { return g.local(r, host) }
	proxied := r.URL.IsAbs() && !info.tls && info.connectHost == ""
	if proxied || info.tls || info.connectHost != "" {
		if route, ok := g.route(host); ok {
			return route.Handler, treatment{arm: route.Correlate, proxied: proxied}
		}
	}
	switch {
	case info.connectHost != "":
		return misdirected(host), treatment{}
	case proxied && isLoopbackName(host) && samePort(r, info):
		return local(), treatment{}
	case proxied:
		return http.HandlerFunc(g.serveForward), treatment{forwarded: true, proxied: true}
	default:
		return local(), treatment{}
	}
}

// samePort reports whether an absolute-form request names this very port.
func samePort(r *http.Request, info connInfo) bool {
	port := r.URL.Port()
	if port == "" {
		port = "80"
	}
	if info.serving == nil {
		return false
	}
	_, own, err := net.SplitHostPort(info.serving.addr.String())
	return err == nil && own == port
}

// toOrigin gives a request the form in which an origin server gets it.
func toOrigin(r *http.Request, forwarded bool) {
	r.Header = r.Header.Clone()
	r.Header.Del("Proxy-Authorization")
	r.Header.Del("Proxy-Connection")
	if forwarded || !r.URL.IsAbs() {
		return
	}
	u := *r.URL
	u.Scheme, u.Host, u.User = "", "", nil
	r.URL = &u
	r.RequestURI = u.RequestURI()
}

// local is the handler of requests to the port itself. A browser that was made
// to believe that a stranger's name is at this address says that name in Host:
// it gets nothing.
func (g *Gateway) local(r *http.Request, host string) http.Handler {
	if !isLoopbackName(host) && !isLocalAddr(r, host) && !slices.Contains(g.cfg.LocalHosts, host) {
		return misdirected(host)
	}
	if r.URL.Path == "/healthz" {
		return http.HandlerFunc(g.healthz)
	}
	if g.cfg.Local == nil {
		return http.NotFoundHandler()
	}
	return g.cfg.Local
}

// isLocalAddr reports whether host is, as a number, the address that the client
// connected to. A number cannot be rebound.
func isLocalAddr(r *http.Request, host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap() == ip.Unmap()
}

func (g *Gateway) healthz(w http.ResponseWriter, r *http.Request) {
	if g.cfg.Health != nil {
		if err := g.cfg.Health(r.Context()); err != nil {
			writeError(w, http.StatusServiceUnavailable, "Unhealthy", err.Error())
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"status":"ok"}`+"\n")
}

func misdirected(host string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusMisdirectedRequest, "HostNotServed", fmt.Sprintf("The host %q is not served here.", host))
	})
}

// writeError answers in the shape of Azure Resource Manager, which most clients
// can show.
func writeError(w http.ResponseWriter, status int, code, message string) {
	body, err := json.Marshal(map[string]any{"error": map[string]string{"code": code, "message": message}})
	if err != nil {
		body = []byte(`{"error":{"code":"InternalServerError","message":""}}`)
	}
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified"} {
		h.Del(name) // of the answer that a handler did not get to give
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body)
}

// parseProxyAuthorization reads Basic credentials.
func parseProxyAuthorization(h http.Header) credential {
	scheme, value, ok := strings.Cut(h.Get("Proxy-Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return credential{}
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil {
		return credential{}
	}
	user, password, ok := strings.Cut(string(raw), ":")
	return credential{user: user, password: password, given: ok}
}

// plausibleID accepts what may be echoed in a header.
func plausibleID(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// newID returns a random UUID, version 4.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status < 200 { // 1xx may come before the real one
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom keeps the server's own way of copying.
func (w *recorder) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}

// Flush implements http.Flusher for handlers that ask for it by type.
func (w *recorder) Flush() {
	w.begin()
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

func (w *recorder) begin() {
	if w.status < 200 {
		w.status = http.StatusOK
	}
}
