package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// world is registries, and who may do what with them.
type world struct {
	mu         sync.Mutex
	registries map[string]*Registry
	// roles are the actions of principals, which are also their tokens, and the IDs
	// and secrets of service principals.
	roles map[string][]string
}

func (w *world) Registry(_ context.Context, name string) (*Registry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.registries[name]; r != nil {
		out := *r
		return &out, nil
	}
	return nil, fmt.Errorf("%s: %w", name, ErrNoRegistry)
}

func (w *world) Principal(ctx context.Context, token string, management bool) (string, error) {
	token, arm := strings.CutPrefix(token, "arm:")
	return w.Client(ctx, token, map[bool]string{true: token, false: ""}[!arm || management])
}

func (w *world) Client(_ context.Context, id, secret string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.roles[id]; !ok || id != secret {
		return "", ErrBadCredential
	}
	return id, nil
}

func (w *world) Allowed(_ context.Context, id, action, _ string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, have := range w.roles[id] {
		if permission+have == action {
			return true, nil
		}
	}
	return false, nil
}

func (w *world) grant(id string, actions ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.roles[id] = actions
}

// plant is a service with two registries, and its clock.
type plant struct {
	*Service
	*world
	clock *clock.Manual
	store store.Store
	url   string
	t     testing.TB
}

const (
	one = "one" + Suffix
	two = "two" + Suffix
)

func start(t testing.TB) *plant {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(t.Context(), filepath.Join(dir, "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	p := &plant{store: st, t: t, clock: clock.NewManual(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)), world: &world{
		registries: map[string]*Registry{
			"one": {Name: "One", ID: "/one", UID: "uid-1", Admin: "One", Passwords: []string{"pw1", "pw2"}, ManagementTokens: true},
			"two": {Name: "Two", ID: "/two", UID: "uid-2"},
		},
		roles: map[string][]string{"owner": {"pull/read", "push/write", "artifacts/delete"}, "puller": {"pull/read"}, "nobody": nil},
	}}
	p.open(dir)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Service.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

// open starts the service on the directory, again if it was.
func (p *plant) open(dir string) {
	p.t.Helper()
	sealer, err := seal.New(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		p.t.Fatal(err)
	}
	p.Service, err = Open(p.t.Context(), Config{Store: p.store, Registries: p.world, Access: p.world, Sealer: sealer, Clock: p.clock,
		Dir: filepath.Join(dir, "registries"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		p.t.Fatal(err)
	}
	s := p.Service
	p.t.Cleanup(func() { s.Close() })
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) code() string {
	var doc struct{ Errors []struct{ Code string } }
	if json.Unmarshal([]byte(a.body), &doc) != nil || len(doc.Errors) == 0 {
		return ""
	}
	return doc.Errors[0].Code
}

// do sends a request. auth is an Authorization header, or user:password.
func (p *plant) do(auth, method, host, path string, body []byte, headers ...string) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Host = host
	if user, password, ok := strings.Cut(auth, ":"); ok {
		req.SetBasicAuth(user, password)
	} else if auth != "" {
		req.Header.Set("Authorization", "Bearer "+auth)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// want is do of the owner of registry one, who expects a status.
func (p *plant) want(status int, method, path string, body []byte, headers ...string) answer {
	p.t.Helper()
	a := p.do("owner:owner", method, one, path, body, headers...)
	if a.status != status {
		p.t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}

// form posts a form.
func (p *plant) form(host, path string, pairs ...string) answer {
	p.t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return p.do("", "POST", host, path, []byte(v.Encode()), "Content-Type", "application/x-www-form-urlencoded")
}

// token gets an access token for scopes by the whole way that az goes.
func (p *plant) token(who, host string, scopes ...string) string {
	p.t.Helper()
	a := p.form(host, "/oauth2/exchange", "grant_type", "access_token", "service", host, "access_token", who)
	if a.status != http.StatusOK {
		p.t.Fatalf("exchange: %d %s", a.status, a.body)
	}
	var got struct {
		Refresh string `json:"refresh_token"`
		Access  string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		p.t.Fatal(err)
	}
	a = p.form(host, "/oauth2/token", "grant_type", "refresh_token", "service", host, "refresh_token", got.Refresh, "scope", strings.Join(scopes, " "))
	if a.status != http.StatusOK {
		p.t.Fatalf("token: %d %s", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		p.t.Fatal(err)
	}
	return got.Access
}

// blob pushes a blob in one request.
func (p *plant) blob(repo, text string) v1.Descriptor {
	p.t.Helper()
	d := digest.FromString(text)
	p.want(http.StatusCreated, "POST", "/v2/"+repo+"/blobs/uploads/?digest="+string(d), []byte(text))
	return v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: d, Size: int64(len(text))}
}

// image is the manifest of an image whose blobs are pushed.
func (p *plant) image(repo, text string, layers ...string) []byte {
	p.t.Helper()
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: p.blob(repo, text), Layers: []v1.Descriptor{}}
	m.SchemaVersion = 2
	m.Config.MediaType = v1.MediaTypeImageConfig
	for _, l := range layers {
		m.Layers = append(m.Layers, p.blob(repo, l))
	}
	return encode(p.t, m)
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// push pushes a manifest under a tag or its digest ("").
func (p *plant) push(repo, tag string, manifest []byte) digest.Digest {
	p.t.Helper()
	d := digest.FromBytes(manifest)
	if tag == "" {
		tag = string(d)
	}
	var doc struct{ MediaType string }
	if err := json.Unmarshal(manifest, &doc); err != nil {
		p.t.Fatal(err)
	}
	p.want(http.StatusCreated, "PUT", "/v2/"+repo+"/manifests/"+tag, manifest, "Content-Type", doc.MediaType)
	return d
}

// collectNow does what is due.
func (p *plant) collectNow() {
	p.t.Helper()
	if err := p.collectDue(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// healthy fails the test when anything is damaged, and returns what there is.
func (p *plant) healthy() *Report {
	p.t.Helper()
	r, err := p.Check(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if len(r.Problems) > 0 {
		p.t.Errorf("check: %s", strings.Join(r.Problems, " "))
	}
	return r
}
