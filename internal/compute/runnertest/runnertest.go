// Package runnertest is the contract of compute.Runner as tests. Every
// implementation runs it.
package runnertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// Open opens a Runner. Each call in one test opens the same state again, as a
// restarted server does; the Runner before it has been closed by then.
type Open func(t *testing.T) (r compute.Runner, closeRunner func())

// Run runs the contract. newOpen is called once per test and gives a Runner
// without nodes. Tasks need a POSIX shell.
func Run(t *testing.T, newOpen func(t *testing.T) Open) {
	for _, tt := range []struct {
		name string
		run  func(*fixture)
	}{
		{"capacity", capacity},
		{"nodes start and stop, again and again", nodes},
		{"a task's directory, environment and log", surroundings},
		{"how tasks end", ends},
		{"output stays in order", order},
		{"a task ID starts once", once},
		{"tasks need a node", needNode},
		{"stop is polite, then not", stop},
		{"timeout", timeout},
		{"remove", remove},
		{"stopping a node ends its tasks", stopNode},
		{"watchers see a snapshot and every change", watchers},
		{"tasks outlive the runner", restart},
		{"tasks that end meanwhile are found", restartAfterEnd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fixture{T: t, openRunner: newOpen(t), dir: t.TempDir()}
			f.open()
			t.Cleanup(f.cleanUp)
			tt.run(f)
		})
	}
}

// fixture is a Runner, and a watcher of it.
type fixture struct {
	*testing.T
	openRunner Open
	dir        string
	nodeIDs    []string

	compute.Runner
	closeRunner func()
	watch       *watch
}

// within bounds every wait. It is never the measure of anything.
const within = 30 * time.Second

func (f *fixture) open() {
	f.Helper()
	f.Runner, f.closeRunner = f.openRunner(f.T)
	f.watch = startWatch(f.T, f.Runner)
}

func (f *fixture) close() {
	f.watch.stop()
	f.closeRunner()
	f.Runner = nil
}

func (f *fixture) cleanUp() {
	if f.Runner == nil {
		f.open()
	}
	for _, id := range f.nodeIDs {
		if err := f.StopNode(context.Background(), id); err != nil {
			f.Errorf("stop node: %v", err)
		}
	}
	f.close()
}

func (f *fixture) startNode(id string) compute.NodeInfo {
	f.Helper()
	f.nodeIDs = append(f.nodeIDs, id)
	info, err := f.StartNode(f.Context(), compute.NodeSpec{ID: id, PoolID: "/pools/p", VMSize: "Standard_DS3_v2", VCPUs: 4})
	if err != nil {
		f.Fatalf("start node: %v", err)
	}
	return info
}

// task is a shell script as a task.
func (f *fixture) task(id, node, script string) compute.TaskSpec {
	return compute.TaskSpec{
		TaskRef: compute.TaskRef{ID: id, ItemID: "/items/" + id, Attempt: 1, Count: 1, NodeID: node},
		Argv:    []string{"/bin/sh", "-c", script},
		Env:     []string{"PATH=" + os.Getenv("PATH"), "GREETING=hello"},
		Dir:     f.dir,
		LogPath: filepath.Join(f.dir, id+".log"),
		Grace:   5 * time.Second,
	}
}

func (f *fixture) start(spec compute.TaskSpec) {
	f.Helper()
	if err := f.StartTask(f.Context(), spec); err != nil {
		f.Fatalf("start task: %v", err)
	}
}

// end waits for a task's end.
func (f *fixture) end(id string) compute.TaskResult {
	f.Helper()
	return f.watch.until(f.T, func(s *seen) (compute.TaskResult, bool) {
		r, ok := s.tasks[id]
		return r.Result, ok && r.Ended
	})
}

func (f *fixture) read(name string) string {
	f.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.Fatal(err)
	}
	return string(b)
}

func (f *fixture) touch(name string) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), nil, 0o600); err != nil {
		f.Fatal(err)
	}
}

// await is shell for waiting until a file exists; the test's side is awaitFile.
func await(name string) string { return "until [ -e " + name + " ]; do sleep 0.02; done; " }

func (f *fixture) awaitFile(name string) {
	f.Helper()
	for deadline := time.Now().Add(within); ; {
		if _, err := os.Stat(filepath.Join(f.dir, name)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			f.Fatalf("%s does not appear", name)
		}
		select {
		case <-f.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// watch follows a Runner.
type watch struct {
	cancel context.CancelFunc
	done   chan error
	mu     sync.Mutex
	seen   seen
	news   chan struct{}
}

type seen struct {
	synced bool
	nodes  map[string]compute.NodeReport
	tasks  map[string]compute.TaskReport
	log    []string
}

func startWatch(t *testing.T, r compute.Runner) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{cancel: cancel, done: make(chan error, 1), news: make(chan struct{}),
		seen: seen{nodes: map[string]compute.NodeReport{}, tasks: map[string]compute.TaskReport{}}}
	go func() { w.done <- r.Watch(ctx, w.report) }()
	w.until(t, func(s *seen) (r compute.TaskResult, ok bool) { return r, s.synced })
	return w
}

func (w *watch) stop() error {
	w.cancel()
	return <-w.done
}

func (w *watch) report(r compute.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case r.Node != nil:
		w.seen.nodes[r.Node.ID] = *r.Node
		w.seen.log = append(w.seen.log, fmt.Sprintf("node %s %s", r.Node.ID, r.Node.Condition))
	case r.Task != nil:
		w.seen.tasks[r.Task.ID] = *r.Task
		w.seen.log = append(w.seen.log, fmt.Sprintf("task %s ended=%v", r.Task.ID, r.Task.Ended))
	case r.Synced:
		w.seen.synced = true
		w.seen.log = append(w.seen.log, "synced")
	}
	close(w.news)
	w.news = make(chan struct{})
}

func (w *watch) until(t *testing.T, cond func(*seen) (compute.TaskResult, bool)) compute.TaskResult {
	t.Helper()
	deadline := time.After(within)
	for {
		w.mu.Lock()
		res, ok := cond(&w.seen)
		news, log := w.news, strings.Join(w.seen.log, "; ")
		w.mu.Unlock()
		if ok {
			return res
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("waited in vain; reported so far: %s", log)
		}
	}
}

func (w *watch) untilLogged(t *testing.T, line string) {
	t.Helper()
	w.until(t, func(s *seen) (r compute.TaskResult, ok bool) {
		return r, strings.Contains("; "+strings.Join(s.log, "; ")+"; ", "; "+line+"; ")
	})
}

func capacity(f *fixture) {
	c, err := f.Capacity(f.Context())
	if err != nil || c.CPUs < 1 || c.MemoryGiB <= 0 || c.GPUs < 0 {
		f.Errorf("Capacity = %+v, %v", c, err)
	}
}

func nodes(f *fixture) {
	first := f.startNode("n1")
	if again := f.startNode("n1"); again != first {
		f.Errorf("started twice: %+v, then %+v", first, again)
	}
	if first.PrivateIP == "" || first.Host == "" {
		f.Errorf("info = %+v", first)
	}
	if first.Dir != "" {
		if st, err := os.Stat(first.Dir); err != nil || !st.IsDir() {
			f.Errorf("the node's directory: %v", err)
		}
	}
	f.watch.untilLogged(f.T, "node n1 ready")
	for _, id := range []string{"n1", "n1", "unknown"} {
		if err := f.StopNode(f.Context(), id); err != nil {
			f.Errorf("stop %s: %v", id, err)
		}
	}
	f.watch.untilLogged(f.T, "node n1 gone")
	if first.Dir != "" {
		if _, err := os.Stat(first.Dir); !errors.Is(err, os.ErrNotExist) {
			f.Errorf("the node's directory is left: %v", err)
		}
	}
}

func surroundings(f *fixture) {
	f.startNode("n1")
	before := time.Now()
	f.start(f.task("t1", "n1", `pwd; echo $GREETING; echo "home=$HOME"; echo oops >&2`))
	r := f.end("t1")
	if !r.OK() || r.Started.Before(before.Add(-time.Second)) || r.Finished.Before(r.Started) {
		f.Errorf("result = %+v", r)
	}
	dir, err := filepath.EvalSymlinks(f.dir)
	if err != nil {
		f.Fatal(err)
	}
	if got, want := f.read("t1.log"), dir+"\nhello\nhome=\noops\n"; got != want {
		f.Errorf("log = %q, want %q", got, want)
	}
	f.start(f.task("t2", "n1", "cat; echo end of input"))
	f.end("t2")
	if got := f.read("t2.log"); got != "end of input\n" {
		f.Errorf("standard input is not empty: %q", got)
	}
}

func ends(f *fixture) {
	f.startNode("n1")
	for i, tt := range []struct {
		change func(*compute.TaskSpec)
		script string
		ok     func(compute.TaskResult) bool
	}{
		{script: "exit 0", ok: compute.TaskResult.OK},
		{script: "exit 3", ok: func(r compute.TaskResult) bool { return r.ExitCode == 3 && r.Signal == "" && r.Error == "" && !r.Lost }},
		{script: "kill -9 $$", ok: func(r compute.TaskResult) bool { return r.ExitCode == 137 && r.Signal == "SIGKILL" }},
		{change: func(s *compute.TaskSpec) { s.Argv = []string{"no-such-command"} },
			ok: func(r compute.TaskResult) bool {
				return r.ExitCode == -1 && strings.Contains(r.Error, "no-such-command")
			}},
		{change: func(s *compute.TaskSpec) { s.Dir = filepath.Join(f.dir, "nowhere") },
			ok: func(r compute.TaskResult) bool { return r.ExitCode == -1 && r.Error != "" }},
		{change: func(s *compute.TaskSpec) { s.Argv = []string{"sh", "-c", "exit 5"} },
			ok: func(r compute.TaskResult) bool { return r.ExitCode == 5 }},
	} {
		spec := f.task(fmt.Sprintf("t%d", i), "n1", tt.script)
		if tt.change != nil {
			tt.change(&spec)
		}
		f.start(spec)
		if r := f.end(spec.ID); !tt.ok(r) {
			f.Errorf("%v ended %+v", spec.Argv, r)
		}
	}
}

func order(f *fixture) {
	const lines = 3000
	f.startNode("n1")
	f.start(f.task("t1", "n1", fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo out $i; echo err $i >&2; i=$((i+1)); done", lines)))
	f.end("t1")
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "out %d\nerr %d\n", i, i)
	}
	if f.read("t1.log") != want.String() {
		f.Error("the log is not what the command wrote, in its order")
	}
}

func once(f *fixture) {
	f.startNode("n1")
	spec := f.task("t1", "n1", "echo ran; "+await("go"))
	f.start(spec)
	f.start(spec)
	f.touch("go")
	f.end("t1")
	f.start(spec)
	f.close()
	f.open()
	f.start(spec)
	if f.end("t1"); f.read("t1.log") != "ran\n" {
		f.Errorf("log = %q", f.read("t1.log"))
	}
}

func needNode(f *fixture) {
	if err := f.StartTask(f.Context(), f.task("t1", "nowhere", "echo ran")); err == nil {
		f.Error("a task was started on a node that is not there")
	}
	f.startNode("n1")
	f.start(f.task("t1", "n1", "echo ran"))
	f.end("t1")
}

func stop(f *fixture) {
	f.startNode("n1")
	f.start(f.task("polite", "n1", "trap 'exit 7' TERM; touch polite.up; while :; do sleep 0.02; done"))
	f.start(f.task("stubborn", "n1", "trap '' TERM; touch stubborn.up; while :; do sleep 0.02; done"))
	f.awaitFile("polite.up")
	f.awaitFile("stubborn.up")
	for id, grace := range map[string]time.Duration{"polite": within, "stubborn": 50 * time.Millisecond, "unknown": 0} {
		if err := f.StopTask(f.Context(), id, grace); err != nil {
			f.Errorf("stop %s: %v", id, err)
		}
	}
	if r := f.end("polite"); r.ExitCode != 7 {
		f.Errorf("polite: %+v", r)
	}
	if r := f.end("stubborn"); r.Signal != "SIGKILL" || r.TimedOut || r.Lost {
		f.Errorf("stubborn: %+v", r)
	}
	if err := f.StopTask(f.Context(), "polite", 0); err != nil {
		f.Errorf("stop of a task that ended: %v", err)
	}
	// A request that comes before the command runs must not be lost.
	f.start(f.task("early", "n1", "exec sleep 300"))
	if err := f.StopTask(f.Context(), "early", within); err != nil {
		f.Errorf("stop early: %v", err)
	}
	if r := f.end("early"); r.Signal != "SIGTERM" {
		f.Errorf("early: %+v", r)
	}
}

func timeout(f *fixture) {
	f.startNode("n1")
	spec := f.task("t1", "n1", "exec sleep 300")
	spec.Timeout = 50 * time.Millisecond
	f.start(spec)
	if r := f.end("t1"); !r.TimedOut || r.OK() || r.Signal != "SIGTERM" {
		f.Errorf("result = %+v", r)
	}
}

func remove(f *fixture) {
	f.startNode("n1")
	f.start(f.task("t1", "n1", await("go")))
	if err := f.RemoveTask(f.Context(), "t1"); err == nil {
		f.Error("a running task was removed")
	}
	f.touch("go")
	f.end("t1")
	for _, id := range []string{"t1", "t1", "unknown"} {
		if err := f.RemoveTask(f.Context(), id); err != nil {
			f.Errorf("remove %s: %v", id, err)
		}
	}
	f.read("t1.log") // the log stays
	f.close()
	f.open()
	if n := len(f.watch.seen.tasks); n != 0 {
		f.Errorf("%d tasks are reported", n)
	}
}

func stopNode(f *fixture) {
	f.startNode("n1")
	f.startNode("n2")
	f.start(f.task("t1", "n1", "trap '' TERM; while :; do sleep 0.02; done"))
	f.start(f.task("t2", "n2", await("go")))
	if err := f.StopNode(f.Context(), "n1"); err != nil {
		f.Fatal(err)
	}
	f.close()
	f.open()
	if _, ok := f.watch.seen.tasks["t1"]; ok {
		f.Error("the node's task is left")
	}
	if r := f.watch.seen.tasks["t2"]; r.Ended || r.NodeID != "n2" {
		f.Errorf("another node's task: %+v", r)
	}
	f.touch("go")
	f.end("t2")
}

func watchers(f *fixture) {
	f.startNode("n1")
	f.start(f.task("t1", "n1", await("go")))
	f.watch.untilLogged(f.T, "task t1 ended=false")
	second := startWatch(f.T, f.Runner)
	second.mu.Lock()
	if got := second.seen.log; len(got) != 3 || got[2] != "synced" {
		f.Errorf("snapshot = %q", got)
	}
	second.mu.Unlock()
	f.touch("go")
	for _, w := range []*watch{f.watch, second} {
		w.untilLogged(f.T, "task t1 ended=true")
		if r := w.seen.tasks["t1"]; r.TaskRef != f.task("t1", "n1", "").TaskRef {
			f.Errorf("report = %+v", r)
		}
	}
	if err := second.stop(); !errors.Is(err, context.Canceled) {
		f.Errorf("Watch returned %v", err)
	}
	third := startWatch(f.T, f.Runner) // an ended task is reported until removed
	if r := third.seen.tasks["t1"]; !r.Ended {
		f.Errorf("report = %+v", r)
	}
	third.stop()
}

func restart(f *fixture) {
	info := f.startNode("n1")
	f.start(f.task("t1", "n1", "echo begun; touch up; "+await("go")+"echo done; exit 4"))
	f.awaitFile("up")
	f.close()
	f.open()
	if r, ok := f.watch.seen.tasks["t1"]; !ok || r.Ended || r.ItemID != "/items/t1" {
		f.Errorf("after the restart: %+v", r)
	}
	if n := f.watch.seen.nodes["n1"]; n.Condition != compute.NodeConditionReady || n.Info != info {
		f.Errorf("after the restart: %+v", n)
	}
	f.touch("go")
	if r := f.end("t1"); r.ExitCode != 4 || f.read("t1.log") != "begun\ndone\n" {
		f.Errorf("result = %+v, log = %q", r, f.read("t1.log"))
	}
	f.start(f.task("t2", "n1", await("never")))
	f.close()
	f.open()
	if err := f.StopTask(f.Context(), "t2", within); err != nil {
		f.Error(err)
	}
	if r := f.end("t2"); r.Signal != "SIGTERM" {
		f.Errorf("stopped after a restart: %+v", r)
	}
}

func restartAfterEnd(f *fixture) {
	f.startNode("n1")
	f.start(f.task("t1", "n1", await("go")+"exit 6"))
	f.close()
	f.touch("go")
	f.open()
	if r := f.end("t1"); r.ExitCode != 6 {
		f.Errorf("result = %+v", r)
	}
}
