package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
	"github.com/azimuth-ml/azimuth/internal/telemetry/kql"
	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const (
	keyOne = "11111111-1111-1111-1111-111111111111" // has its own rows
	keyTwo = "22222222-2222-2222-2222-222222222222" // shares a workspace with the next
	keyTri = "33333333-3333-3333-3333-333333333333"
	appOne = "a1111111-1111-1111-1111-111111111111"
	appTwo = "a2222222-2222-2222-2222-222222222222"
	appTri = "a3333333-3333-3333-3333-333333333333"
	wsID   = "c0000000-0000-0000-0000-000000000000"
	mlID   = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/mlw"
)

// fake is the resources and the access of a test.
type fake struct {
	mu         sync.Mutex
	components []*Component
	workspaces []*Workspace
	// tokens are good tokens, by who they speak for; may is what these may do:
	// "WHO ACTION".
	tokens map[string]string
	may    map[string]bool
}

func (f *fake) component(match func(*Component) bool) (*Component, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.components {
		if match(c) {
			out := *c
			return &out, nil
		}
	}
	return nil, fmt.Errorf("component: %w", ErrNotFound)
}

func (f *fake) ComponentByKey(_ context.Context, key string) (*Component, error) {
	return f.component(func(c *Component) bool { return strings.EqualFold(c.InstrumentationKey, key) })
}

func (f *fake) ComponentByApp(_ context.Context, app string) (*Component, error) {
	return f.component(func(c *Component) bool { return c.AppID == app })
}

func (f *fake) Component(_ context.Context, id string) (*Component, error) {
	return f.component(func(c *Component) bool { return strings.EqualFold(c.ID, id) })
}

func (f *fake) ComponentOf(_ context.Context, id string) (*Component, error) {
	return f.component(func(c *Component) bool { return strings.EqualFold(id, mlID) && c.InstrumentationKey == keyTwo })
}

func (f *fake) workspace(match func(*Workspace) bool) (*Workspace, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workspaces {
		if match(w) {
			out := *w
			return &out, nil
		}
	}
	return nil, fmt.Errorf("workspace: %w", ErrNotFound)
}

func (f *fake) WorkspaceByCustomer(_ context.Context, id string) (*Workspace, error) {
	return f.workspace(func(w *Workspace) bool { return w.CustomerID == id })
}

func (f *fake) Workspace(_ context.Context, id string) (*Workspace, error) {
	return f.workspace(func(w *Workspace) bool { return strings.EqualFold(w.ID, id) })
}

func (f *fake) Retentions(context.Context) (map[string]int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]int{}
	for _, c := range f.components {
		out[c.UID] = c.RetentionDays
	}
	for _, w := range f.workspaces {
		out[w.UID] = w.RetentionDays
	}
	return out, nil
}

func (f *fake) Authenticate(_ context.Context, r *http.Request, audiences ...string) (string, error) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	who, audience, _ := strings.Cut(token, "@")
	if f.tokens[who] == "" || !slices.Contains(audiences, audience) {
		return "", fmt.Errorf("%w: it is not good", ErrBadToken)
	}
	return f.tokens[who], nil
}

func (f *fake) Allowed(_ context.Context, who, action string, data bool, scope string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.may[who+" "+action] || f.may[who+" "+action+" "+scope], nil
}

// env is a service over HTTP.
type env struct {
	*Service
	t     testing.TB
	fake  *fake
	clock *clock.Manual
	store store.Store
	dir   string
	url   string
	log   *bytes.Buffer
}

func newFake() *fake {
	ws := &Workspace{ID: "/subscriptions/s/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/log", UID: "ws-uid", CustomerID: wsID,
		Keys: [2][]byte{[]byte("first key"), []byte("second key")}, RetentionDays: 30, DailyCap: -1, IngestionOpen: true, QueryOpen: true}
	component := func(name, key, app string, ws *Workspace) *Component {
		return &Component{ID: "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Insights/components/" + name, Name: name, UID: "uid-" + name,
			InstrumentationKey: key, AppID: app, Workspace: ws, RetentionDays: 90, DailyCap: 1e9, SamplingPercentage: 100, IngestionOpen: true, QueryOpen: true}
	}
	return &fake{
		components: []*Component{component("one", keyOne, appOne, nil), component("two", keyTwo, appTwo, ws), component("three", keyTri, appTri, ws)},
		workspaces: []*Workspace{ws},
		tokens:     map[string]string{"reader": "reader", "sender": "sender", "nobody": "nobody"},
		may: map[string]bool{"reader " + actionQueryApp: true, "reader " + actionQueryWorkspace: true, "reader " + actionQueryTable + "AppRequests/read": true,
			"sender " + actionSend: true},
	}
}

func newEnv(t testing.TB) *env {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(t.Context(), dir+"/store.db")
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, fake: newFake(), clock: clock.NewManual(start), store: st, dir: dir, log: &bytes.Buffer{}}
	e.open()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.ServeHTTP(w, r) }))
	e.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := errors.Join(e.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return e
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (e *env) open() {
	e.t.Helper()
	s, err := Open(Config{
		Dir: e.dir + "/telemetry", Clock: e.clock, Store: e.store, Resources: e.fake, Access: e.fake, TenantID: "t", Subscription: "s",
		Wall: e.clock.Now, Log: slog.New(slog.NewTextHandler(&lockedWriter{w: e.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		e.t.Fatal(err)
	}
	s.Start()
	e.Service = s
}

// answer is what a request was answered.
type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.text) }

func (e *env) do(method, host, path string, body []byte, header ...string) answer {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, bytes.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

const ingestionHost = "westeurope-0.in.applicationinsights.azure.com"

func (e *env) track(body string, header ...string) (int, trackAnswer) {
	e.t.Helper()
	a := e.do("POST", ingestionHost, "/v2.1/track", []byte(body), header...)
	var out trackAnswer
	if err := json.Unmarshal([]byte(a.text), &out); err != nil {
		e.t.Fatalf("%s: %v", a, err)
	}
	return a.status, out
}

// rows returns the rows of a table as a query of an application sees them.
func (e *env) rows(key, table string) []map[string]string {
	e.t.Helper()
	c, err := e.fake.ComponentByKey(e.t.Context(), key)
	if err != nil {
		e.t.Fatal(err)
	}
	days := c.RetentionDays
	if c.Workspace != nil {
		days = c.Workspace.RetentionDays
	}
	return e.scan(&source{s: e.Service, space: c.space(), workspace: c.Workspace, component: c, retention: days}, table)
}

// workspaceRows returns the rows of a table as a query of the workspace sees
// them.
func (e *env) workspaceRows(table string) []map[string]string {
	e.t.Helper()
	ws := e.fake.workspaces[0]
	return e.scan(&source{s: e.Service, space: ws.UID, workspace: ws, retention: ws.RetentionDays}, table)
}

func (e *env) scan(src *source, name string) []map[string]string {
	e.t.Helper()
	t, err := src.Table(e.t.Context(), name)
	if err != nil {
		e.t.Fatal(err)
	}
	columns := t.Columns()
	hint := kql.Hint{}
	for i := range columns {
		hint.Columns = append(hint.Columns, i)
	}
	var out []map[string]string
	err = t.Scan(e.t.Context(), hint, func(row []kql.Value) bool {
		m := map[string]string{}
		for i, v := range row {
			if !v.IsNull() && v.String() != "" {
				m[columns[i].Name] = v.String()
			}
		}
		out = append(out, m)
		return true
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// item is an envelope.
func item(key, baseType, data string) string {
	return fmt.Sprintf(`{"name":"Microsoft.ApplicationInsights.X","time":"%s","iKey":"%s","tags":{"ai.operation.id":"op","ai.operation.parentId":"pa","ai.cloud.role":"role","ai.internal.sdkVersion":"test:1"},"data":{"baseType":"%s","baseData":%s}}`,
		start.Format(time.RFC3339Nano), key, baseType, data)
}

// batchSet is batches by their tables.
type batchSet map[string]*logstore.Batch

func (s batchSet) get(table string) *logstore.Batch {
	if s[table] == nil {
		s[table] = logstore.NewBatch(logstore.Key{Space: "s", Table: table}, start)
	}
	return s[table]
}
