package instance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	s := spec("a")
	s.PrincipalID, s.SSH = "identity-1", true
	w.running(s)
	st := w.status("a")
	if st.Last.Name != "Create" || st.Last.Status != "Succeeded" || st.Last.Trigger != "User" ||
		st.Applications[0] != (Application{"JupyterLab", "https://ci-a.eastus.azureml.net/jupyter"}) || st.Problems[0].Code != "SshNotAvailable" {
		t.Errorf("made: %+v", st)
	}
	j := w.runner.jupyter()
	disk := filepath.Join(w.dir, "disks", "a")
	for name, want := range map[string]string{
		"PATH": "/bin", "HTTPS_PROXY": "http://proxy", "IDENTITY_HEADER": "identity-1", "HOME": disk + "/home", "JUPYTER_RUNTIME_DIR": disk + "/runtime",
	} {
		if got := j.env(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if j.config.Base != "/instances/a/" || j.spec.Dir != filepath.Join(w.dir, "files", userID) || j.spec.Argv[0] != "/bin/jupyter-lab" {
		t.Errorf("task: %+v", j.spec)
	}
	w.clock.Step(time.Hour)
	st = w.must("a", Stop, Stopped)
	if st.Last != (Operation{"Stop", w.clock.Now(), "Succeeded", "User"}) || len(st.Applications) != 0 {
		t.Errorf("stopped: %+v", st)
	}
	if len(w.runner.nodes)+len(w.runner.tasks) != 0 || strings.Join(w.revoked, " ") != "instance/a" {
		t.Errorf("left: %v, %v; revoked %v", w.runner.nodes, w.runner.tasks, w.revoked)
	}
	var not *NotNowError
	if err := w.do("a", Restart); !errors.As(err, &not) {
		t.Errorf("restart of a stopped one: %v", err)
	}
	if err := os.WriteFile(disk+"/home/kept", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.must("a", Start, Running)
	first := w.runner.jupyter()
	w.must("a", Start, Running) // is so already
	if w.runner.jupyter() != first || first == j {
		t.Error("a start of what runs started something")
	}
	w.must("a", Restart, Running)
	if again := w.runner.jupyter(); again == nil || again == first || again.config.Token == first.config.Token || len(w.runner.tasks) != 1 {
		t.Errorf("restart: %+v, %d tasks", again, len(w.runner.tasks))
	}
	if _, err := os.Stat(disk + "/home/kept"); err != nil {
		t.Errorf("the disk: %v", err)
	}
	if err := w.do("a", Delete); err != nil {
		t.Fatal(err)
	}
	// one of the same name may be made at once
	b := s
	b.UID = "b"
	w.running(b)
	if _, err := os.Stat(disk); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the disk is there: %v", err)
	}
	if err := w.do("a", Stop); !errors.Is(err, ErrNotFound) {
		t.Errorf("stop of a deleted one: %v", err)
	}
	if err := w.do("a", Delete); err != nil {
		t.Errorf("delete again: %v", err)
	}
}

func TestServerRestarts(t *testing.T) {
	w := newWorld(t)
	w.running(spec("a"))
	j := w.runner.jupyter()
	w.stop()
	w.start()
	w.settle()
	if st := w.status("a"); w.runner.jupyter() != j || st.State != Running || len(st.Problems) != 0 || w.runner.started != 1 {
		t.Errorf("after a restart: %+v, %d started", st, w.runner.started)
	}
	// it ended while no server was there
	w.stop()
	w.runner.end(j.spec.ID, compute.TaskResult{Lost: true})
	w.start()
	w.settle()
	w.clock.Step(retryFirst)
	w.settle()
	if w.runner.jupyter() == nil || w.runner.started != 2 {
		t.Errorf("%d started", w.runner.started)
	}
	// the machine went down, and the runner knows nothing
	w.stop()
	w.runner.StopNode(t.Context(), nodeID("a"))
	w.runner.nodes[nodeID("a")] = true // its directory is still there
	w.runner.nodes[nodeID("gone")] = true
	w.origin = "http://127.0.0.1:5555"
	w.start()
	w.settle()
	w.clock.Step(time.Minute)
	w.settle()
	if st := w.status("a"); w.runner.jupyter() == nil || len(st.Problems) != 1 || st.Problems[0].Code != "JupyterEnded" {
		t.Errorf("after a crash of the machine: %+v", st)
	}
	if w.runner.nodes[nodeID("gone")] {
		t.Error("a machine without a record was left")
	}
	// the server is elsewhere: what runs does not know
	w.stop()
	w.origin = "http://127.0.0.1:6666"
	w.start()
	if st := w.status("a"); st.Problems[len(st.Problems)-1].Code != "ServerMoved" {
		t.Errorf("moved: %+v", st)
	}
	w.must("a", Restart, Running)
	if st := w.status("a"); len(st.Problems) != 0 {
		t.Errorf("restarted: %+v", st)
	}
}

// TestStopWhileServerIsAway checks that what was asked for is done, whenever the
// server is killed.
func TestStopWhileServerIsAway(t *testing.T) {
	w := newWorld(t)
	w.running(spec("a"))
	w.runner.stubborn = true
	if err := w.do("a", Stop); err != nil {
		t.Fatal(err)
	}
	w.stop()
	if st := w.status("a"); st.State != Stopping {
		t.Errorf("state: %+v", st)
	}
	w.runner.stubborn = false
	w.start()
	w.settle()
	if st := w.status("a"); st.State != Stopped || w.runner.jupyter() != nil {
		t.Errorf("after: %+v", st)
	}
}

func TestJupyterEnds(t *testing.T) {
	w := newWorld(t)
	w.running(spec("a"))
	for i, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		j := w.runner.jupyter()
		if j == nil {
			t.Fatalf("try %d: nothing runs", i)
		}
		w.runner.end(j.spec.ID, compute.TaskResult{ExitCode: 1})
		w.settleUntil(func() bool { return len(w.status("a").Applications) == 0 })
		st := w.status("a")
		if st.State != Running || len(st.Problems) != 1 || !strings.Contains(st.Problems[0].Message, "exited with code 1") || !strings.Contains(st.Problems[0].Message, "jupyter.log") {
			t.Errorf("try %d: %+v", i, st)
		}
		w.clock.Step(wait*time.Second - time.Millisecond)
		w.settle()
		if w.runner.jupyter() != nil {
			t.Errorf("try %d: started too soon", i)
		}
		w.clock.Step(time.Millisecond)
		w.settle()
	}
	w.clock.Step(time.Hour) // it ran for long
	w.runner.end(w.runner.jupyter().spec.ID, compute.TaskResult{Signal: "SIGKILL"})
	w.settleUntil(func() bool { return len(w.status("a").Applications) == 0 })
	w.clock.Step(retryFirst)
	w.settle()
	if w.runner.jupyter() == nil {
		t.Error("it was not started at once")
	}
}

// settleUntil settles until the runner's report has come through.
func (w *world) settleUntil(done func() bool) {
	w.Helper()
	for !done() {
		w.settle()
		if w.Context().Err() != nil {
			w.Fatal("the test ended")
		}
	}
}

func TestNoJupyter(t *testing.T) {
	w := newWorld(t)
	w.jupyter = func() (Jupyter, error) { return Jupyter{}, ErrNoJupyter }
	if err := w.put(spec("a")); err != nil {
		t.Fatal(err)
	}
	w.settle()
	st := w.status("a")
	if st.State != Running || len(st.Applications) != 0 || len(st.Problems) != 1 || st.Problems[0].Code != "JupyterNotInstalled" ||
		!strings.Contains(st.Problems[0].Message, "apt-get install jupyter-notebook") || st.Last.Status != "Succeeded" {
		t.Errorf("without Jupyter: %+v", st)
	}
	w.jupyter = func() (Jupyter, error) { return Jupyter{"Jupyter", []string{"/bin/jupyter-notebook"}}, nil }
	st = w.must("a", Restart, Running)
	if len(st.Problems) != 0 || len(st.Applications) != 1 || st.Applications[0].Name != "Jupyter" {
		t.Errorf("installed: %+v", st)
	}
}

func TestTrouble(t *testing.T) {
	w := newWorld(t)
	w.runner.nodeErr = errors.New("no room")
	if err := w.put(spec("a")); err != nil {
		t.Fatal(err)
	}
	w.settle()
	st := w.status("a")
	if st.State != SetupFailed || st.Last.Status != "CreateFailed" || len(st.Problems) != 1 || !strings.Contains(st.Problems[0].Message, "no room") {
		t.Errorf("no node: %+v", st)
	}
	w.runner.nodeErr, w.runner.taskErr = nil, errors.New("no process")
	st = w.must("a", Start, Running)
	if len(st.Problems) != 1 || !strings.Contains(st.Problems[0].Message, "no process") {
		t.Errorf("no task: %+v", st)
	}
	w.runner.taskErr, w.filesErr = nil, errors.New("no share")
	w.clock.Step(retryFirst)
	w.settle()
	if st := w.status("a"); len(st.Problems) != 1 || !strings.Contains(st.Problems[0].Message, "no share") {
		t.Errorf("no share: %+v", st)
	}
	w.filesErr = nil
	w.clock.Step(retryMost)
	w.settle()
	if st := w.status("a"); len(st.Applications) != 1 {
		t.Errorf("in the end: %+v", st)
	}
	var bad *InvalidError
	s := spec("z")
	s.IdleAfter = time.Second
	if err := w.put(s); !errors.As(err, &bad) || bad.Field != "idleTimeBeforeShutdown" {
		t.Errorf("bad: %v", err)
	}
	if err := w.store.View(t.Context(), func(tx store.Tx) error {
		_, err := w.svc.Status(tx, "z")
		return err
	}); !errors.Is(err, ErrNotFound) {
		t.Errorf("status of none: %v", err)
	}
}

func TestIdleShutdown(t *testing.T) {
	w := newWorld(t)
	s := spec("a")
	s.IdleAfter = 30 * time.Minute
	w.running(s)
	j := w.runner.jupyter()
	use := func(last time.Time, busy bool) {
		j.mu.Lock()
		j.last, j.busy = last, busy
		j.mu.Unlock()
	}
	use(w.clock.Now().Add(20*time.Minute), false)
	step := func(d time.Duration, want State) {
		t.Helper()
		w.clock.Step(d)
		w.settle()
		if st := w.status("a"); st.State != want {
			t.Fatalf("%s: %+v, want %s", w.clock.Now(), st, want)
		}
	}
	step(30*time.Minute, Running) // used ten minutes ago
	step(19*time.Minute, Running)
	use(w.clock.Now().Add(-time.Hour), true) // computing
	step(time.Minute, Running)
	step(29*time.Minute, Running)
	use(w.clock.Now().Add(-time.Hour), false)
	step(time.Minute, Stopped)
	if st := w.status("a"); st.Last.Trigger != "IdleShutdown" || st.Last.Name != "Stop" || st.Last.Status != "Succeeded" {
		t.Errorf("last operation: %+v", st.Last)
	}
	w.must("a", Start, Running)
	// what cannot be asked is not taken for idle
	w.runner.jupyter().server.Close()
	step(30*time.Minute, Running)
	s.IdleAfter = 0
	if err := w.put(s); err != nil {
		t.Fatal(err)
	}
	step(300*time.Hour, Running)
}

func TestSchedulesOfInstance(t *testing.T) {
	w := newWorld(t)
	s := spec("a")
	s.Schedules = []Schedule{
		{Enabled: true, Action: Stop, Cron: "0 18 * * *"}, {Enabled: true, Action: Start, Cron: "0 8 * * *"},
		{Enabled: false, Action: Stop, Cron: "* * * * *"},
	}
	w.running(s)
	for i, tc := range []struct {
		step time.Duration
		want State
		last string
	}{
		{5 * time.Hour, Running, "Create"}, // 17:00
		{time.Hour, Stopped, "Stop"},       // 18:00
		{13 * time.Hour, Stopped, "Stop"},  // 7:00
		{2 * time.Hour, Running, "Start"},  // 9:00
	} {
		w.clock.Step(tc.step)
		w.settle()
		if st := w.status("a"); st.State != tc.want || st.Last.Name != tc.last || (i > 0 && st.Last.Trigger != "Schedule") {
			t.Fatalf("at %s: %+v, want %s", w.clock.Now(), st, tc.want)
		}
	}
	// while the server was away for days: only the last counts
	w.stop()
	w.clock.Step(10*24*time.Hour + 10*time.Hour) // 19:00
	w.start()
	w.settle()
	if st := w.status("a"); st.State != Stopped {
		t.Errorf("after days: %+v", st)
	}
	s.Schedules = nil
	if err := w.put(s); err != nil {
		t.Fatal(err)
	}
	w.clock.Step(48 * time.Hour)
	w.settle()
	if st := w.status("a"); st.State != Stopped {
		t.Errorf("without schedules: %+v", st)
	}
}

func TestFindJupyter(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	env := []string{"PATH=relative:" + a + ":" + b}
	if _, err := FindJupyter(env); !errors.Is(err, ErrNoJupyter) {
		t.Errorf("none: %v", err)
	}
	for i, name := range []string{a + "/jupyter-notebook", b + "/jupyter-lab"} {
		if err := os.WriteFile(name, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		want := []string{"Jupyter", "JupyterLab"}[i]
		if j, err := FindJupyter(env); err != nil || j.Name != want || j.Argv[0] != name {
			t.Errorf("found %+v, %v; want %s", j, err, want)
		}
	}
}
