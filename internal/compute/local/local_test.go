//go:build unix

package local_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
	"github.com/azimuth-ml/azimuth/internal/compute/runnertest"
)

// TestMain lets this binary stand in for azimuth: as the supervisor, and as a
// server that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			os.Exit(local.SuperviseMain(context.Background(), os.Args[2:], os.Stderr))
		case "serve-until-killed":
			os.Exit(serveUntilKilled(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string) *local.Runner {
	t.Helper()
	r, err := local.Open(local.Options{Dir: dir, Clock: clock.NewManual(epoch)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestContract(t *testing.T) {
	runnertest.Run(t, func(t *testing.T) runnertest.Open {
		dir := t.TempDir()
		return func(t *testing.T) (compute.Runner, func()) {
			r := open(t, dir)
			return r, r.Close
		}
	})
}

// follow sends the ends of tasks.
func follow(t *testing.T, r *local.Runner) <-chan compute.TaskReport {
	ctx, cancel := context.WithCancel(context.Background())
	ends, done := make(chan compute.TaskReport, 100), make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Watch(ctx, func(rep compute.Report) {
			if rep.Task != nil && rep.Task.Ended {
				ends <- *rep.Task
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return ends
}

func endOf(t *testing.T, ends <-chan compute.TaskReport) compute.TaskResult {
	t.Helper()
	select {
	case r := <-ends:
		return r.Result
	case <-time.After(30 * time.Second):
		t.Fatal("the task does not end")
	}
	return compute.TaskResult{}
}

func script(dir, text string) compute.TaskSpec {
	return compute.TaskSpec{
		TaskRef: compute.TaskRef{ID: "task", ItemID: "/items/i", Attempt: 1, Count: 1, NodeID: "node"},
		Argv:    []string{"/bin/sh", "-c", text},
		Env:     []string{"PATH=" + os.Getenv("PATH")},
		Dir:     dir, LogPath: filepath.Join(dir, "log"), Grace: time.Second,
	}
}

func startNode(t *testing.T, r *local.Runner) {
	t.Helper()
	if _, err := r.StartNode(t.Context(), compute.NodeSpec{ID: "node"}); err != nil {
		t.Fatal(err)
	}
}

// fifo returns a FIFO whose read ends when no process has it open for writing:
// the tests' way to see that everything a command started is gone.
func fifo(t *testing.T, dir string) (path string, gone func()) {
	t.Helper()
	path = filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, func() {
		t.Helper()
		if err := f.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, f); err != nil {
			t.Fatalf("something holds the FIFO: %v", err)
		}
	}
}

func awaitFile(t *testing.T, path string) string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			return strings.TrimSpace(string(b))
		}
		select {
		case <-t.Context().Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not appear", path)
	return ""
}

// stray is shell for processes that outlive a command: in its group, in a group
// and session of their own, and without the environment.
func stray(fifo string) string {
	return fmt.Sprintf("exec 9>%s; sleep 300 & setsid sleep 301 & (env -i sleep 302 &) ; (setsid sh -c 'sleep 303 & sleep 304' &); ", fifo)
}

func TestNothingOutlivesTheCommand(t *testing.T) {
	r, dir := open(t, t.TempDir()), t.TempDir()
	defer r.Close()
	startNode(t, r)
	ends := follow(t, r)
	path, gone := fifo(t, dir)
	if err := r.StartTask(t.Context(), script(dir, stray(path)+"exit 3")); err != nil {
		t.Fatal(err)
	}
	if res := endOf(t, ends); res.ExitCode != 3 {
		t.Errorf("result = %+v", res)
	}
	gone()
}

func supervisorPID(t *testing.T, dir string) int {
	t.Helper()
	var pid int
	text := awaitFile(t, filepath.Join(dir, "tasks", "task", "supervisor.json"))
	if _, err := fmt.Sscanf(text, `{"PID":%d`, &pid); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return pid
}

func TestKilledSupervisor(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("seen by a restarted server: %v", restart), func(t *testing.T) {
			home, dir := t.TempDir(), t.TempDir()
			r := open(t, home)
			startNode(t, r)
			path, gone := fifo(t, dir)
			if err := r.StartTask(t.Context(), script(dir, stray(path)+"echo up >up; sleep 305")); err != nil {
				t.Fatal(err)
			}
			awaitFile(t, filepath.Join(dir, "up"))
			if restart {
				r.Close()
			}
			if err := syscall.Kill(supervisorPID(t, home), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if restart {
				r = open(t, home)
			}
			defer func() { r.Close() }()
			if res := endOf(t, follow(t, r)); !res.Lost || res.ExitCode != -1 || res.OK() {
				t.Errorf("result = %+v", res)
			}
			gone()
			// The same ID does not run again, now or later.
			for range 2 {
				if err := r.StartTask(t.Context(), script(dir, "echo again >again")); err != nil {
					t.Error(err)
				}
				r.Close()
				r = open(t, home)
			}
			if _, err := os.Stat(filepath.Join(dir, "again")); err == nil {
				t.Error("a lost task ran again")
			}
		})
	}
}

// serveUntilKilled is a server that starts a task and then does nothing.
func serveUntilKilled(home string) int {
	r, err := local.Open(local.Options{Dir: home, Clock: clock.NewAdjustable(0)})
	if err == nil {
		_, err = r.StartNode(context.Background(), compute.NodeSpec{ID: "node"})
	}
	if err == nil {
		err = r.StartTask(context.Background(), script(os.Getenv("WORK"), os.Getenv("SCRIPT")))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("started")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func TestKilledServer(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	server := exec.Command(os.Args[0], "serve-until-killed", home)
	server.Env = append(os.Environ(), "WORK="+dir, "SCRIPT=echo one; echo up >up; until [ -e go ]; do sleep 0.02; done; echo two; exit 5")
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("started"))); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, filepath.Join(dir, "up"))
	_ = server.Process.Kill()
	_ = server.Wait()

	r := open(t, home)
	defer r.Close()
	ends := follow(t, r)
	if err := r.StartTask(t.Context(), script(dir, "echo twice")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if res := endOf(t, ends); res.ExitCode != 5 {
		t.Errorf("result = %+v", res)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || string(b) != "one\ntwo\n" {
		t.Errorf("log = %q, %v", b, err)
	}
}

func TestServerKilledBeforeTheSupervisorLived(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	r := open(t, home)
	startNode(t, r)
	r.Close()
	for _, files := range [][]string{nil, {"lock"}, {"lock", "task.json"}, {"lock", "task.json", "alive"}} {
		task := filepath.Join(home, "tasks", "task")
		if err := os.MkdirAll(task, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(task, f), []byte(`{"ID":"task"}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := open(t, home)
		ends := follow(t, r)
		if err := r.StartTask(t.Context(), script(dir, "exit 0")); err != nil {
			t.Fatalf("after %v: %v", files, err)
		}
		if res := endOf(t, ends); !res.OK() {
			t.Errorf("after %v: %+v", files, res)
		}
		if err := r.RemoveTask(t.Context(), "task"); err != nil {
			t.Error(err)
		}
		r.Close()
	}
}

func TestSupervisorThatCannotStart(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	r, err := local.Open(local.Options{Dir: home, Clock: clock.NewManual(epoch), Supervisor: []string{filepath.Join(home, "none")}})
	if err != nil {
		t.Fatal(err)
	}
	startNode(t, r)
	if err := r.StartTask(t.Context(), script(dir, "true")); err == nil {
		t.Error("no error")
	}
	r.Close()
	r, err = local.Open(local.Options{Dir: home, Clock: clock.NewManual(epoch), Supervisor: []string{"/bin/false"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.StartTask(t.Context(), script(dir, "true")); err != nil {
		t.Fatal(err)
	}
	if res := endOf(t, follow(t, r)); res.OK() || !strings.Contains(res.Error, "before it started the command") {
		t.Errorf("result = %+v", res)
	}
}

func TestJobThatDeletesItsDirectory(t *testing.T) {
	r, dir := open(t, t.TempDir()), t.TempDir()
	defer r.Close()
	startNode(t, r)
	if err := r.StartTask(t.Context(), script(dir, `rm -rf "$PWD"; exit 9`)); err != nil {
		t.Fatal(err)
	}
	if res := endOf(t, follow(t, r)); res.ExitCode != 9 {
		t.Errorf("result = %+v", res)
	}
}

func TestBootDelayIsOnTheClockAndSurvivesARestart(t *testing.T) {
	home, c := t.TempDir(), clock.NewManual(epoch)
	options := local.Options{Dir: home, Clock: c, BootDelay: func(size string) time.Duration {
		if size != "Standard_DS3_v2" {
			t.Errorf("size = %q", size)
		}
		return 3 * time.Minute
	}}
	spec := compute.NodeSpec{ID: "node", VMSize: "Standard_DS3_v2", Index: 1}
	started := func(r *local.Runner, ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() { _, err := r.StartNode(ctx, spec); done <- err }()
		for deadline := time.Now().Add(30 * time.Second); ; {
			if _, waiting := c.Next(); waiting {
				return done
			}
			if time.Now().After(deadline) {
				t.Fatal("the node does not wait for its boot")
			}
		}
	}
	r, err := local.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := started(r, ctx)
	if err := r.StartTask(t.Context(), script(t.TempDir(), "true")); err == nil {
		t.Error("a task was started on a node that boots")
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("StartNode went on")
	}
	r.Close()
	c.Step(2 * time.Minute)
	if r, err = local.Open(options); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done = started(r, t.Context())
	c.Step(time.Minute)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if info, err := r.StartNode(t.Context(), spec); err != nil || info.PrivateIP != "10.0.0.5" || !strings.HasPrefix(info.Host, "127.") {
		t.Errorf("info = %+v, %v", info, err)
	}
}

func TestBadNamesStayInTheDirectory(t *testing.T) {
	r := open(t, t.TempDir())
	defer r.Close()
	for _, id := range []string{"", "..", "a/b", ".hidden"} {
		if _, err := r.StartNode(t.Context(), compute.NodeSpec{ID: id}); err == nil {
			t.Errorf("node %q was started", id)
		}
		if err := r.StopNode(t.Context(), id); err == nil {
			t.Errorf("node %q was stopped", id)
		}
		if err := r.StartTask(t.Context(), compute.TaskSpec{TaskRef: compute.TaskRef{ID: id}, Argv: []string{"true"}}); err == nil {
			t.Errorf("task %q was started", id)
		}
	}
}

func TestSuperviseIsForRunnersOnly(t *testing.T) {
	out, err := exec.Command(os.Args[0], "supervise", "--dir", t.TempDir()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "for azimuth's own use") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestManyTasksAtOnce(t *testing.T) {
	const n = 40
	r, dir := open(t, t.TempDir()), t.TempDir()
	defer r.Close()
	startNode(t, r)
	ends := follow(t, r)
	for i := range n {
		spec := script(dir, "echo $$; exit "+strconv.Itoa(i))
		spec.ID, spec.Index = fmt.Sprintf("t%d", i), i
		if err := r.StartTask(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		select {
		case rep := <-ends:
			if rep.Result.ExitCode != rep.Index {
				t.Errorf("%s: %+v", rep.ID, rep.Result)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("not all tasks end")
		}
	}
	if err := r.StopNode(t.Context(), "node"); err != nil {
		t.Error(err)
	}
}

func BenchmarkTask(b *testing.B) {
	r, err := local.Open(local.Options{Dir: b.TempDir(), Clock: clock.NewManual(epoch)})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	if _, err := r.StartNode(b.Context(), compute.NodeSpec{ID: "node"}); err != nil {
		b.Fatal(err)
	}
	ends := make(chan string, 1)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go r.Watch(ctx, func(rep compute.Report) {
		if rep.Task != nil && rep.Task.Ended {
			ends <- rep.Task.ID
		}
	})
	dir, i := b.TempDir(), 0
	for b.Loop() {
		i++
		spec := script(dir, "exit 0")
		spec.ID = fmt.Sprintf("t%d", i)
		if err := r.StartTask(b.Context(), spec); err != nil {
			b.Fatal(err)
		}
		<-ends
	}
}
