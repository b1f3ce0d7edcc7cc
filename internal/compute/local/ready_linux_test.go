package local

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
)

// waitingSupervisors are the processes that wait for a task of a node below dir.
func waitingSupervisors(t *testing.T, dir string) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, file := range all {
		b, _ := os.ReadFile(file)
		if args := strings.Split(string(b), "\x00"); len(args) > 3 && args[2] == "--node" && strings.HasPrefix(args[3], dir) {
			pid, err := strconv.Atoi(strings.Split(file, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, pid)
		}
	}
	return out
}

func awaitWaiting(t *testing.T, dir string, want int) []int {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		pids := waitingSupervisors(t, dir)
		if len(pids) == want {
			return pids
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d supervisors wait, want %d", len(pids), want)
		}
	}
}

// TestReadySupervisor runs tasks in a supervisor that was started before them,
// and in another where that one was killed.
func TestReadySupervisor(t *testing.T) {
	home := t.TempDir()
	r, err := Open(Options{Dir: home, Clock: clock.NewManual(time.Unix(0, 0))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.StartNode(t.Context(), compute.NodeSpec{ID: "node", VCPUs: 1, MemoryGiB: 1}); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	task := func(id string) (supervisor int) {
		t.Helper()
		log := filepath.Join(work, id)
		spec := compute.TaskSpec{
			TaskRef: compute.TaskRef{ID: id, NodeID: "node", ItemID: id, Count: 1}, Argv: []string{"sh", "-c", "echo $PPID"},
			Env: os.Environ(), Dir: work, LogPath: log,
		}
		if err := r.StartTask(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		started := r.tasks[id]
		r.mu.Unlock()
		<-started.ended
		if !started.result.OK() {
			t.Fatalf("%s: %+v", id, started.result)
		}
		supervisor, err := strconv.Atoi(strings.TrimSpace(read(t, log)))
		if err != nil {
			t.Fatal(err)
		}
		return supervisor
	}
	first := awaitWaiting(t, home, 1)
	if got := task("a"); got != first[0] {
		t.Errorf("the task ran under %d, and %d was ready", got, first[0])
	}
	second := awaitWaiting(t, home, 1)
	if err := syscall.Kill(second[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Some of it may be there yet when the task comes.
	if got := task("b"); got == second[0] {
		t.Errorf("the task ran under a supervisor that was dead")
	}
	awaitWaiting(t, home, 1)
	r.Close()
	awaitWaiting(t, home, 0)

	if r, err = Open(Options{Dir: home, Clock: clock.NewManual(time.Unix(0, 0))}); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	awaitWaiting(t, home, 1)
	if err := r.StopNode(t.Context(), "node"); err != nil {
		t.Fatal(err)
	}
	awaitWaiting(t, home, 0)
}
