// Package rptest drives resource providers over HTTP, through a real kernel on
// a store in a temporary directory.
package rptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/rp/managedidentity"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// What every Env has.
const (
	Subscription = "00000000-0000-0000-0000-000000000001"
	Tenant       = "00000000-0000-0000-0000-0000000000aa"
	// Owner and Guest are bearer tokens and, with the prefix that ObjectID puts
	// before them, principals. Owner may do everything, Guest nothing.
	Owner = "owner"
	Guest = "guest"
	// Sub is the path of the subscription, Group that of the resource group
	// that NewGroup makes.
	Sub   = "/subscriptions/" + Subscription
	Group = Sub + "/resourceGroups/rg-One"
)

// ObjectID is the directory's ID of a fake principal.
func ObjectID(token string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("principal:"+token)).String()
}

// Start is where the clock of an Env begins.
func Start() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// Options change an Env from its defaults.
type Options struct {
	// RBAC decides from stored assignments; without it Owner may do everything
	// and others nothing. Either way Owner needs no assignment.
	RBAC bool
	// Realistic is passed to the kernel.
	Realistic bool
	// Path is the store's file; a new one when empty.
	Path string
	// Clock is the clock; a new one at Start when nil.
	Clock *clock.Manual
}

// Env is a kernel behind a real HTTP server.
type Env struct {
	Kernel    *arm.Kernel
	Store     store.Store
	Clock     *clock.Manual
	Directory *Directory
	RBAC      *rbac.Authorizer
	URL       string

	t testing.TB
}

// New starts an Env with the given providers. It ends with the test.
func New(t testing.TB, opt Options, providers ...*arm.Provider) *Env {
	t.Helper()
	e, stop := Open(t, opt, providers...)
	t.Cleanup(stop)
	return e
}

// Open is New for tests that restart: stop ends the Env.
func Open(t testing.TB, opt Options, providers ...*arm.Provider) (e *Env, stop func()) {
	t.Helper()
	if opt.Path == "" {
		opt.Path = filepath.Join(t.TempDir(), "azimuth.db")
	}
	st, err := sqlite.Open(t.Context(), opt.Path)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	e = &Env{Store: st, Clock: opt.Clock, Directory: &Directory{}, t: t}
	if e.Clock == nil {
		e.Clock = clock.NewManual(Start())
	}
	e.Kernel, err = arm.New(arm.Config{
		Store: st, Clock: e.Clock, Log: slog.New(slog.DiscardHandler), Authenticator: authenticator{},
		Authorizer: func(res *arm.Resources) arm.Authorizer {
			e.RBAC = rbac.New(st, res, cat, e.Directory)
			return authorizer{e.RBAC, opt.RBAC}
		},
		Identities: e.Directory, Sealer: sealer, Providers: append([]*arm.Provider{arm.Core()}, providers...),
		Subscription: Subscription, SubscriptionName: "Test", Tenant: Tenant, Realistic: opt.Realistic,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Kernel.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = arm.Host
		e.Kernel.ServeHTTP(w, r)
	}))
	e.URL = srv.URL
	return e, func() {
		srv.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

type authenticator struct{}

func (authenticator) AuthenticateARM(_ context.Context, r *http.Request) (arm.Caller, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return arm.Caller{}, arm.Errorf(http.StatusUnauthorized, "AuthenticationFailed",
			"Authentication failed. The 'Authorization' header is missing.")
	}
	if token == "bad" {
		return arm.Caller{}, arm.Errorf(http.StatusUnauthorized, "InvalidAuthenticationToken", "The access token is invalid.")
	}
	return arm.Caller{
		ObjectID: ObjectID(token), AppID: "app-" + token, TenantID: Tenant, Type: "ServicePrincipal", Name: "app-" + token,
	}, nil
}

type authorizer struct {
	*rbac.Authorizer
	stored bool
}

func (a authorizer) Allowed(ctx context.Context, principal, action string, data bool, scope string) (bool, error) {
	if !a.stored || principal == ObjectID(Owner) {
		return principal == ObjectID(Owner), nil
	}
	return a.Authorizer.Allowed(ctx, principal, action, data, scope)
}

func (a authorizer) AllowedInTx(tx store.Tx, principal, action string, data bool, scope string) (bool, error) {
	if !a.stored || principal == ObjectID(Owner) {
		return principal == ObjectID(Owner), nil
	}
	return a.Authorizer.AllowedInTx(tx, principal, action, data, scope)
}

func (a authorizer) AllowedWith(tx store.Tx, principal, action, scope string, facts *abac.Facts) (bool, error) {
	if !a.stored || principal == ObjectID(Owner) {
		return principal == ObjectID(Owner), nil
	}
	return a.Authorizer.AllowedWith(tx, principal, action, scope, facts)
}

func (a authorizer) MightInTx(tx store.Tx, principal, action, scope string) (bool, error) {
	if !a.stored || principal == ObjectID(Owner) {
		return principal == ObjectID(Owner), nil
	}
	return a.Authorizer.MightInTx(tx, principal, action, scope)
}

func (a authorizer) AssignedInTx(tx store.Tx, principal string, scope arm.ID) (bool, error) {
	if !a.stored || principal == ObjectID(Owner) {
		return principal == ObjectID(Owner), nil
	}
	return a.Authorizer.AssignedInTx(tx, principal, scope)
}

const identityBucket = "rptest.identity"

// Directory is the principals that an Env knows: Owner, Guest, and the managed
// identities that the kernel made.
type Directory struct {
	// Memberships is the groups of principals, by object ID.
	Memberships map[string][]string
	// Federated is the credentials of user-assigned identities, by client ID and
	// name with a slash between.
	Federated map[string]managedidentity.Federated
}

// PutFederated implements managedidentity.Directory.
func (d *Directory) PutFederated(_ store.Tx, f managedidentity.Federated) error {
	if f.Subject == "" {
		return arm.BadRequest("BadRequest", "A federated credential needs a subject.")
	}
	if d.Federated == nil {
		d.Federated = map[string]managedidentity.Federated{}
	}
	d.Federated[f.ClientID+"/"+f.Name] = f
	return nil
}

// DeleteFederated implements managedidentity.Directory.
func (d *Directory) DeleteFederated(_ store.Tx, clientID, name string) error {
	delete(d.Federated, clientID+"/"+name)
	return nil
}

// Groups implements rbac.Groups.
func (d *Directory) Groups(_ store.Tx, objectID string) ([]string, error) {
	return d.Memberships[objectID], nil
}

// IdentityOf is the principal ID that a resource's identity gets.
func IdentityOf(resourceID string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(arm.Key(resourceID))).String()
}

// CreateIdentity implements arm.Identities.
func (d *Directory) CreateIdentity(tx store.Tx, resourceID, name string) (arm.Identity, error) {
	id := arm.Identity{PrincipalID: IdentityOf(resourceID), ClientID: IdentityOf(resourceID + "#client"), TenantID: Tenant}
	if _, err := tx.Get(identityBucket, id.PrincipalID); !errors.Is(err, store.ErrNotFound) {
		return id, err
	}
	return id, tx.Put(identityBucket, id.PrincipalID, []byte(name))
}

// DeleteIdentity implements arm.Identities.
func (d *Directory) DeleteIdentity(tx store.Tx, resourceID string) error {
	return tx.Delete(identityBucket, IdentityOf(resourceID))
}

// Lookup says whether a principal exists and of which type it is.
func (d *Directory) Lookup(tx store.Tx, objectID string) (string, bool, error) {
	switch objectID {
	case ObjectID(Owner), ObjectID(Guest):
		return "ServicePrincipal", true, nil
	}
	_, err := tx.Get(identityBucket, objectID)
	if errors.Is(err, store.ErrNotFound) {
		return "", false, nil
	}
	return "ServicePrincipal", err == nil, err
}

// Result is an answer.
type Result struct {
	Status int
	Header http.Header
	Body   arm.Doc
	Raw    string
}

// Code is the error code of the answer, or "".
func (r *Result) Code() string { return r.Body.String("error.code") }

// Message is the error message of the answer, or "".
func (r *Result) Message() string { return r.Body.String("error.message") }

// Names is the names in a list.
func (r *Result) Names() []string {
	out := []string{}
	for _, v := range r.Body.List("value") {
		m, _ := v.(map[string]any)
		out = append(out, arm.Doc(m).String("name"))
	}
	return out
}

// As makes a request as the principal behind token. An api-version is added to
// a path that has none. body is nil, a string of JSON, or a value to encode.
func (e *Env) As(token, method, path string, body any, header ...string) *Result {
	e.t.Helper()
	if !strings.Contains(path, "api-version=") && !strings.HasPrefix(path, "http") {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "api-version=2024-01-01"
	}
	if rest, ok := strings.CutPrefix(path, "https://"+arm.Host); ok {
		path = rest
	}
	var b []byte
	switch v := body.(type) {
	case nil:
	case string:
		b = []byte(v)
	default:
		var err error
		if b, err = json.Marshal(v); err != nil {
			e.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.URL+strings.ReplaceAll(path, " ", "%20"), bytes.NewReader(b))
	if err != nil {
		e.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	res := &Result{Status: resp.StatusCode, Header: resp.Header, Raw: string(raw)}
	if len(raw) > 0 && raw[0] == '{' {
		if err := json.Unmarshal(raw, &res.Body); err != nil {
			e.t.Fatalf("%s %s: %v in %s", method, path, err, raw)
		}
	}
	return res
}

// Do makes a request as Owner.
func (e *Env) Do(method, path string, body any, header ...string) *Result {
	e.t.Helper()
	return e.As(Owner, method, path, body, header...)
}

// Want makes a request as Owner and fails the test unless it is answered with
// status.
func (e *Env) Want(status int, method, path string, body any) *Result {
	e.t.Helper()
	r := e.Do(method, path, body)
	if r.Status != status {
		e.t.Fatalf("%s %s = %d %s, want %d", method, path, r.Status, r.Raw, status)
	}
	return r
}

// Refused makes a request as Owner and fails the test unless it is answered
// with this status, this code, and a message that contains text.
func (e *Env) Refused(status int, code, text, method, path string, body any) {
	e.t.Helper()
	r := e.Do(method, path, body)
	if r.Status != status || r.Code() != code || !strings.Contains(r.Message(), text) {
		e.t.Errorf("%s %s = %d %s, want %d %s with %q", method, path, r.Status, r.Raw, status, code, text)
	}
}

// NewGroup makes the resource group at Group.
func (e *Env) NewGroup() {
	e.t.Helper()
	e.Want(http.StatusCreated, http.MethodPut, Group, `{"location":"eastus"}`)
}
