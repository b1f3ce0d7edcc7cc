package blob

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
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// world is a service with a real server before it and its accounts.
type world struct {
	tb    testing.TB
	store store.Store
	clock *clock.Adjustable
	dir   string
	svc   *Service
	http  *http.Client // reaches every account's hosts
	srv   *httptest.Server

	mu       sync.Mutex
	accounts map[string]*Account
	grants   map[string]bool // "principal action scope"
}

const testTenant = "00000000-0000-0000-0000-0000000000aa"

func newWorld(tb testing.TB) *world {
	tb.Helper()
	dir := tb.TempDir()
	st, err := sqlite.Open(tb.Context(), filepath.Join(dir, "azimuth.db"))
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{tb: tb, store: st, clock: clock.NewAdjustable(0), dir: filepath.Join(dir, "blobs"),
		accounts: map[string]*Account{}, grants: map[string]bool{}}
	w.addAccount("acct", "uid-1")
	w.start()
	w.srv = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.svc.ServeHTTP(rw, r) }))
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.srv.Listener.Addr().String())
		},
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		MaxIdleConnsPerHost: 32,
	}
	w.http = &http.Client{Transport: tr}
	tb.Cleanup(func() {
		tr.CloseIdleConnections()
		w.srv.Close()
		w.svc.Close()
		st.Close()
	})
	return w
}

func (w *world) start() {
	w.tb.Helper()
	svc, err := Open(w.tb.Context(), Config{Store: w.store, Clock: w.clock, Accounts: w, Access: w, Dir: w.dir,
		TenantID: testTenant, Wall: time.Now, Logger: slog.New(slog.NewTextHandler(w.tb.Output(), nil))})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.svc = svc
}

func (w *world) addAccount(name, uid string) *Account {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &Account{Name: name, UID: uid, ID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/" + name,
		Kind: "StorageV2", SKU: "Standard_LRS", Keys: [2][]byte{[]byte("key-one-of-" + uid), []byte("key-two-of-" + uid)},
		AllowSharedKey: true, AllowPublicAccess: true, PublicNetwork: true}
	w.accounts[name] = a
	return a
}

func (w *world) Account(_ context.Context, name string) (*Account, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.accounts[name]
	if a == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoAccount, name)
	}
	c := *a
	return &c, nil
}

// Authorize takes tokens of the form "good-<principal>".
func (w *world) Authorize(_ context.Context, r *http.Request) (string, error) {
	p, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer good-")
	if !ok {
		return "", fmt.Errorf("%w: Lifetime validation failed. The token is expired.", ErrBadToken)
	}
	return p, nil
}

func (w *world) Allowed(_ context.Context, principal, action string, data bool, scope string) (bool, error) {
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

// grant lets a principal do an action, "data x" or "action x", at a scope.
func (w *world) grant(principal, action, scope string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grants[principal+" "+action+"@"+scope] = true
}

func (w *world) options() *azblob.ClientOptions {
	return &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: w.http, Retry: policy.RetryOptions{MaxRetries: -1}}}
}

func (w *world) key() *azblob.SharedKeyCredential {
	cred, err := azblob.NewSharedKeyCredential("acct", base64.StdEncoding.EncodeToString(w.accounts["acct"].Keys[0]))
	if err != nil {
		w.tb.Fatal(err)
	}
	return cred
}

const acctURL = "https://acct.blob.core.windows.net/"

// client is an SDK client with the account's key.
func (w *world) client() *azblob.Client {
	w.tb.Helper()
	c, err := azblob.NewClientWithSharedKeyCredential(acctURL, w.key(), w.options())
	if err != nil {
		w.tb.Fatal(err)
	}
	return c
}

type fixedToken string

func (t fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// serviceAs is an SDK service client with the token of a principal.
func (w *world) serviceAs(principal string) *service.Client {
	w.tb.Helper()
	c, err := service.NewClient(acctURL, fixedToken("good-"+principal), (*service.ClientOptions)(w.options()))
	if err != nil {
		w.tb.Fatal(err)
	}
	return c
}

// do sends a plain request with the account's key.
func (w *world) do(method, path, body string, headers ...string) *http.Response {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), method, acctURL+strings.TrimPrefix(path, "/"), strings.NewReader(body))
	if err != nil {
		w.tb.Fatal(err)
	}
	req.Header.Set("x-ms-version", "2024-08-04")
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	w.signRequest(req)
	return w.send(req)
}

// signRequest signs as a client does, with the code under test: what the SDK
// signs is tested with the SDK.
func (w *world) signRequest(req *http.Request) {
	req.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
	c := &call{r: req, q: req.URL.Query(), acct: w.accounts["acct"], service: "blob", version: req.Header.Get("x-ms-version")}
	text := storage.StringToSign(c.request(), false, strings.Compare)
	req.Header.Set("Authorization", "SharedKey acct:"+storage.Sign(w.accounts["acct"].Keys[1], text))
}

func (w *world) send(req *http.Request) *http.Response {
	w.tb.Helper()
	resp, err := w.http.Do(req)
	if err != nil {
		w.tb.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

func text(resp *http.Response) string {
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// want fails unless the response has the status and, if it is not "", the error
// code.
func want(tb testing.TB, resp *http.Response, status int, code string) {
	tb.Helper()
	if got := resp.Header.Get("x-ms-error-code"); resp.StatusCode != status || got != code {
		tb.Errorf("%s %s: status %d %q, want %d %q: %s", resp.Request.Method, resp.Request.URL.RequestURI(), resp.StatusCode, got, status, code, text(resp))
	}
}

func wantCode(tb testing.TB, err error, code bloberror.Code) {
	tb.Helper()
	if !bloberror.HasCode(err, code) {
		tb.Errorf("error %v, want %s", err, code)
	}
}

func must[T any](tb testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}
