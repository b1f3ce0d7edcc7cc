// Package storagetest puts a service of storage accounts behind a real server,
// with accounts and principals as a test needs them.
package storagetest

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// Tenant is the tenant of all principals.
const Tenant = "00000000-0000-0000-0000-0000000000aa"

// World is a service with a server before it. It starts with one account, "acct"
// with the UID "uid-1".
type World struct {
	TB    testing.TB
	Store store.Store
	Clock *clock.Adjustable
	// Dir is empty, and gone after the test.
	Dir string
	// HTTP reaches every account's hosts.
	HTTP *http.Client

	mu       sync.Mutex
	handler  http.Handler
	accounts map[string]*storage.Account
	grants   map[string]bool
}

// New makes a world. Serve gives it a service.
func New(tb testing.TB) *World {
	tb.Helper()
	dir := tb.TempDir()
	st, err := sqlite.Open(tb.Context(), filepath.Join(dir, "azimuth.db"))
	if err != nil {
		tb.Fatal(err)
	}
	w := &World{TB: tb, Store: st, Clock: clock.NewAdjustable(0), Dir: filepath.Join(dir, "data"),
		accounts: map[string]*storage.Account{}, grants: map[string]bool{}}
	w.AddAccount("acct", "uid-1")
	srv := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		h := w.handler
		w.mu.Unlock()
		h.ServeHTTP(rw, r)
	}))
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
		},
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		MaxIdleConnsPerHost: 32,
	}
	w.HTTP = &http.Client{Transport: tr}
	tb.Cleanup(func() {
		tr.CloseIdleConnections()
		srv.Close()
		if c, ok := w.handler.(io.Closer); ok {
			_ = c.Close()
		}
		_ = st.Close()
	})
	return w
}

// Config is what a service of the world is opened with.
func (w *World) Config() storage.Config {
	return storage.Config{Store: w.Store, Clock: w.Clock, Accounts: w, Access: w, TenantID: Tenant, Wall: time.Now,
		Logger: slog.New(slog.NewTextHandler(w.TB.Output(), nil))}
}

// Serve makes h the service. The last one is closed with the world.
func (w *World) Serve(h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = h
}

// AddAccount makes an account. What it returns may be changed.
func (w *World) AddAccount(name, uid string) *storage.Account {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &storage.Account{Name: name, UID: uid, ID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/" + name,
		Kind: "StorageV2", SKU: "Standard_LRS", Keys: [2][]byte{[]byte("key-one-of-" + uid), []byte("key-two-of-" + uid)},
		AllowSharedKey: true, PublicNetwork: true}
	w.accounts[name] = a
	return a
}

// Key is the first key of an account, in base64.
func (w *World) Key(name string) string {
	a, err := w.Account(w.TB.Context(), name)
	if err != nil {
		w.TB.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(a.Keys[0])
}

// Account implements storage.Accounts.
func (w *World) Account(_ context.Context, name string) (*storage.Account, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.accounts[name]
	if a == nil {
		return nil, fmt.Errorf("%w: %s", storage.ErrNoAccount, name)
	}
	c := *a
	return &c, nil
}

// Authorize implements storage.Access. It takes tokens of the form
// "good-<principal>".
func (w *World) Authorize(_ context.Context, r *http.Request) (string, error) {
	p, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer good-")
	if !ok {
		return "", fmt.Errorf("%w: Lifetime validation failed. The token is expired", storage.ErrBadToken)
	}
	return p, nil
}

// Allowed implements storage.Access.
func (w *World) Allowed(_ context.Context, principal, action string, data bool, scope string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := "action "
	if data {
		kind = "data "
	}
	for g := range w.grants {
		p, rest, _ := strings.Cut(g, " ")
		act, at, _ := strings.Cut(rest, "@")
		if p == principal && act == kind+action && strings.HasPrefix(scope, at) {
			return true, nil
		}
	}
	return false, nil
}

// Grant lets a principal do an action, "data x" or "action x", at a scope. What
// is before the action's own name is left out.
func (w *World) Grant(principal, kind, action, scope string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grants[principal+" "+kind+" Microsoft.Storage/storageAccounts/"+action+"@"+scope] = true
}

// Token is the credential of a principal.
type Token string

// GetToken implements azcore.TokenCredential.
func (t Token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "good-" + string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// ClientOptions make a client of Azure's SDK speak to the world.
func (w *World) ClientOptions() policy.ClientOptions {
	return policy.ClientOptions{Transport: w.HTTP, Retry: policy.RetryOptions{MaxRetries: -1}}
}

// Do sends a request that is signed with the first key of the account of its
// host. Headers are in pairs.
func (w *World) Do(method, url, body string, headers ...string) *http.Response {
	w.TB.Helper()
	req := w.Request(method, url, body, headers...)
	name, service, err := storage.SplitHost(req.URL.Host)
	if err != nil {
		w.TB.Fatal(err)
	}
	name = strings.TrimSuffix(name, "-secondary")
	a, err := w.Account(w.TB.Context(), name)
	if err != nil {
		w.TB.Fatal(err)
	}
	req.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
	q := &storage.Request{HTTP: req, Query: req.URL.Query(), Version: req.Header.Get("x-ms-version"), Account: a, Service: service}
	req.Header.Set("Authorization", "SharedKey "+name+":"+storage.Sign(a.Keys[0], storage.StringToSign(q, false, strings.Compare)))
	return w.Send(req)
}

// Request makes a request of the version 2024-08-04, which nobody signs.
func (w *World) Request(method, url, body string, headers ...string) *http.Request {
	w.TB.Helper()
	req, err := http.NewRequestWithContext(w.TB.Context(), method, url, strings.NewReader(body))
	if err != nil {
		w.TB.Fatal(err)
	}
	req.Header.Set("x-ms-version", "2024-08-04")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

// Send sends a request and reads the answer whole. The body of what it returns
// can be read by Text.
func (w *World) Send(req *http.Request) *http.Response {
	w.TB.Helper()
	resp, err := w.HTTP.Do(req)
	if err != nil {
		w.TB.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.TB.Fatal(err)
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(strings.NewReader(string(b)))
	return resp
}

// Text is the body of a response, once.
func Text(resp *http.Response) string {
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// Want fails the test unless resp has the status and the storage error code.
func Want(tb testing.TB, resp *http.Response, status int, code string) {
	tb.Helper()
	if resp.StatusCode != status || resp.Header.Get("x-ms-error-code") != code {
		tb.Errorf("%s %s: status %d %s, want %d %s: %s", resp.Request.Method, resp.Request.URL, resp.StatusCode, resp.Header.Get("x-ms-error-code"), status, code, Text(resp))
	}
}
