package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// fakeRunner keeps nodes and tasks in memory. It outlives Services, as a real
// runner's state does. A task is a fakeJupyter.
type fakeRunner struct {
	t        *testing.T
	mu       sync.Mutex
	nodes    map[string]bool
	tasks    map[string]*fakeJupyter
	subs     map[chan compute.Report]bool
	started  int
	nodeErr  error
	taskErr  error
	stubborn bool // tasks end only with endAll
}

func newFakeRunner(t *testing.T) *fakeRunner {
	f := &fakeRunner{t: t, nodes: map[string]bool{}, tasks: map[string]*fakeJupyter{}, subs: map[chan compute.Report]bool{}}
	t.Cleanup(func() {
		for _, j := range f.tasks {
			j.server.Close()
		}
	})
	return f
}

func (f *fakeRunner) tell(rep compute.Report) {
	for c := range f.subs {
		c <- rep
	}
}

func (f *fakeRunner) Capacity(context.Context) (compute.Capacity, error) {
	return compute.Capacity{}, nil
}

func (f *fakeRunner) StartNode(_ context.Context, spec compute.NodeSpec) (compute.NodeInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nodeErr != nil {
		return compute.NodeInfo{}, f.nodeErr
	}
	f.nodes[spec.ID] = true
	f.tell(compute.Report{Node: &compute.NodeReport{ID: spec.ID, Condition: compute.NodeConditionReady}})
	return compute.NodeInfo{}, nil
}

func (f *fakeRunner) StopNode(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, j := range f.tasks {
		if j.spec.NodeID == id {
			j.server.Close()
			delete(f.tasks, name)
		}
	}
	delete(f.nodes, id)
	f.tell(compute.Report{Node: &compute.NodeReport{ID: id, Condition: compute.NodeConditionGone}})
	return nil
}

func (f *fakeRunner) StartTask(_ context.Context, spec compute.TaskSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taskErr != nil {
		return f.taskErr
	}
	if f.tasks[spec.ID] != nil {
		return nil
	}
	if !f.nodes[spec.NodeID] {
		return errors.New("the node is not up")
	}
	f.started++
	f.tasks[spec.ID] = startFakeJupyter(f.t, spec)
	f.tell(compute.Report{Task: &compute.TaskReport{TaskRef: spec.TaskRef}})
	return nil
}

// end ends a task as if by itself.
func (f *fakeRunner) end(id string, res compute.TaskResult) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.tasks[id]
	if j == nil || j.ended {
		return
	}
	j.ended = true
	j.server.Close()
	f.tell(compute.Report{Task: &compute.TaskReport{TaskRef: j.spec.TaskRef, Ended: true, Result: res}})
}

func (f *fakeRunner) StopTask(_ context.Context, id string, _ time.Duration) error {
	if !f.stubborn {
		f.end(id, compute.TaskResult{ExitCode: 143, Signal: "SIGTERM"})
	}
	return nil
}

func (f *fakeRunner) RemoveTask(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if j := f.tasks[id]; j != nil && !j.ended {
		return errors.New("the task runs")
	}
	delete(f.tasks, id)
	return nil
}

func (f *fakeRunner) Watch(ctx context.Context, report func(compute.Report)) error {
	c := make(chan compute.Report, 1000)
	f.mu.Lock()
	for id := range f.nodes {
		c <- compute.Report{Node: &compute.NodeReport{ID: id, Condition: compute.NodeConditionReady}}
	}
	for _, j := range f.tasks {
		c <- compute.Report{Task: &compute.TaskReport{TaskRef: j.spec.TaskRef, Ended: j.ended}}
	}
	c <- compute.Report{Synced: true}
	f.subs[c] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.subs, c)
		f.mu.Unlock()
	}()
	for {
		select {
		case rep := <-c:
			report(rep)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// jupyter is the one that runs.
func (f *fakeRunner) jupyter() *fakeJupyter {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.tasks {
		if !j.ended {
			return j
		}
	}
	return nil
}

// fakeJupyter answers as Jupyter does where this package asks, and otherwise
// tells what it was sent.
type fakeJupyter struct {
	spec   compute.TaskSpec
	server *httptest.Server
	ended  bool
	config struct {
		Port        int
		Token, Base string
	}

	mu   sync.Mutex
	last time.Time
	busy bool
}

func startFakeJupyter(t *testing.T, spec compute.TaskSpec) *fakeJupyter {
	j := &fakeJupyter{spec: spec}
	b, err := os.ReadFile(filepath.Join(j.env("JUPYTER_CONFIG_DIR"), "jupyter_server_config.json"))
	if err != nil {
		t.Error(err)
	}
	var doc struct {
		ServerApp struct {
			IP         string `json:"ip"`
			Port       int    `json:"port"`
			Token      string `json:"token"`
			BaseURL    string `json:"base_url"`
			RootDir    string `json:"root_dir"`
			Password   string `json:"password"`
			PortRetrys int    `json:"port_retries"`
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Error(err)
	}
	c := doc.ServerApp
	if c.IP != "127.0.0.1" || len(c.Token) != 64 || c.RootDir != spec.Dir {
		t.Errorf("configuration: %s", b)
	}
	j.config.Port, j.config.Token, j.config.Base = c.Port, c.Token, c.BaseURL
	for _, text := range append(append([]string{}, spec.Argv...), spec.Env...) {
		if strings.Contains(text, c.Token) {
			t.Errorf("the token is in %s", text)
		}
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", c.Port))
	if err != nil {
		t.Error(err)
		l, _ = net.Listen("tcp", "127.0.0.1:0")
	}
	j.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: j}}
	j.server.Start()
	return j
}

func (j *fakeJupyter) env(name string) string {
	for _, kv := range j.spec.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (j *fakeJupyter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "token "+j.config.Token {
		http.Error(w, "who are you?", http.StatusForbidden)
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), j.config.Base)
	switch {
	case !ok:
		http.NotFound(w, r)
	case path == "api/status":
		json.NewEncoder(w).Encode(map[string]any{"last_activity": j.last})
	case path == "api/kernels":
		state := "idle"
		if j.busy {
			state = "busy"
		}
		json.NewEncoder(w).Encode([]any{map[string]any{"execution_state": state, "last_activity": j.last}})
	default:
		w.Header().Set("Set-Cookie", "jupyter=secret")
		json.NewEncoder(w).Encode(map[string]any{"path": path, "query": r.URL.RawQuery, "method": r.Method, "header": r.Header, "host": r.Host})
	}
}

// world is an engine with everything around it faked but the store.
type world struct {
	*testing.T
	store  store.Store
	clock  *clock.Manual
	runner *fakeRunner
	dir    string
	sealer *seal.Sealer
	granted,
	revoked []string
	jupyter  func() (Jupyter, error)
	origin   string
	filesErr error

	svc  *Service
	stop func()
}

const (
	userID  = "11111111-0000-0000-0000-000000000001"
	otherID = "11111111-0000-0000-0000-000000000002"
	ownerID = "11111111-0000-0000-0000-000000000003"
	wsID    = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
)

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	st, err := sqlite.Open(t.Context(), filepath.Join(dir, "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	sealer, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		T: t, store: st, clock: clock.NewManual(at("2026-06-01 12:00")), runner: newFakeRunner(t), dir: dir, sealer: sealer,
		jupyter: func() (Jupyter, error) { return Jupyter{"JupyterLab", []string{"/bin/jupyter-lab"}}, nil },
		origin:  "http://127.0.0.1:4443",
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// start makes a Service and runs it, as a server that starts does.
func (w *world) start() {
	w.Helper()
	svc, err := New(Config{
		Store: w.store, Clock: w.clock, Wall: w.clock.Now, Runner: w.runner, Dir: filepath.Join(w.dir, "disks"),
		Files: w, Identities: w, Access: w, Sealer: w.sealer, BaseEnv: []string{"PATH=/bin"},
		NodeEnv: func(string) []string { return []string{"HTTPS_PROXY=http://proxy"} }, Origin: w.origin, Jupyter: func() (Jupyter, error) { return w.jupyter() },
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := svc.Run(ctx); !errors.Is(err, context.Canceled) {
			w.Errorf("Run: %v", err)
		}
	}()
	w.svc = svc
	w.stop = func() { cancel(); <-done }
	// until it has taken stock
	for {
		svc.mu.Lock()
		ready := svc.running != nil
		svc.mu.Unlock()
		if ready {
			return
		}
		select {
		case <-done:
			w.Fatal("Run ended")
		default:
		}
	}
}

func (w *world) UserDir(_ context.Context, workspace, user string) (string, error) {
	if w.filesErr != nil {
		return "", w.filesErr
	}
	dir := filepath.Join(w.dir, "files", user)
	return dir, os.MkdirAll(dir, 0o700)
}

func (w *world) Grant(_ store.Tx, id, principal string) ([]string, error) {
	w.granted = append(w.granted, id+" "+principal)
	return []string{"IDENTITY_HEADER=" + principal}, nil
}

func (w *world) Revoke(_ store.Tx, id string) error {
	w.revoked = append(w.revoked, id)
	return nil
}

func (w *world) Authenticate(_ context.Context, r *http.Request) (string, error) {
	id, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", arm.Errorf(http.StatusUnauthorized, "AuthenticationFailed", "no token")
	}
	return id, nil
}

func (w *world) Owner(id string) bool { return id == ownerID }

func (w *world) put(spec Spec) error {
	return w.store.Update(w.Context(), func(tx store.Tx) error { return w.svc.Put(tx, spec) })
}

func (w *world) do(uid string, e Event) error {
	return w.store.Update(w.Context(), func(tx store.Tx) error { return w.svc.Do(tx, uid, e) })
}

func (w *world) settle() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	if err := w.svc.Settle(ctx); err != nil {
		w.Fatalf("settle: %v", err)
	}
}

func (w *world) status(uid string) Status {
	w.Helper()
	var st Status
	if err := w.store.View(w.Context(), func(tx store.Tx) (err error) {
		st, err = w.svc.Status(tx, uid)
		return err
	}); err != nil {
		w.Fatal(err)
	}
	return st
}

// must does something, lets it settle, and checks the state.
func (w *world) must(uid string, e Event, want State) Status {
	w.Helper()
	if err := w.do(uid, e); err != nil {
		w.Fatalf("%s: %v", e, err)
	}
	w.settle()
	st := w.status(uid)
	if st.State != want {
		w.Fatalf("after %s: %+v, want %s", e, st, want)
	}
	return st
}

func spec(uid string) Spec {
	return Spec{
		UID: uid, ID: wsID + "/computes/ci-" + uid, WorkspaceID: wsID, Name: "CI-" + uid, Location: "eastus",
		VMSize: "Standard_DS3_v2", VCPUs: 4, UserID: userID,
	}
}

// running makes an instance and waits until Jupyter runs.
func (w *world) running(s Spec) {
	w.Helper()
	if err := w.put(s); err != nil {
		w.Fatal(err)
	}
	w.settle()
	if st := w.status(s.UID); st.State != Running || len(st.Applications) != 1 {
		w.Fatalf("made: %+v", st)
	}
}
