package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
)

// fakeCgroups is a directory that looks like /proc/self of a process in the
// group /session, and a mount point that looks like one of version 2.
func fakeCgroups(t *testing.T, mounts, own string) (proc, mount string) {
	t.Helper()
	proc, mount = t.TempDir(), t.TempDir()
	write(t, filepath.Join(proc, "mountinfo"), "22 1 0:20 / / rw - ext4 /dev/root rw\n"+strings.ReplaceAll(mounts, "MOUNT", mount))
	write(t, filepath.Join(proc, "cgroup"), own)
	return proc, mount
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

const (
	unified  = "30 22 0:26 / MOUNT rw,nosuid - cgroup2 cgroup2 rw\n"
	ownGroup = "/home/az"
)

var spec = compute.NodeSpec{ID: "n1", VCPUs: 4, MemoryGiB: 1.5}

func TestLimitsOfVersion2(t *testing.T) {
	proc, mount := fakeCgroups(t, unified, "0::/user.slice/session-1.scope\n")
	// The session's group has processes, so nothing is passed on there. The slice
	// above passes on what a service manager lets it.
	if l, err := openLimiter(proc, ownGroup); err == nil {
		t.Fatalf("limits without controllers: %+v", l)
	}
	slice := filepath.Join(mount, "user.slice")
	write(t, filepath.Join(slice, "session-1.scope", "cgroup.controllers"), "")
	write(t, filepath.Join(slice, "cgroup.controllers"), "cpu memory pids io")
	// The kernel makes these files in a new group; here they must be there.
	group := filepath.Join(slice, groupName(ownGroup))
	write(t, filepath.Join(group, "cgroup.controllers"), "memory cpu pids io")
	for _, file := range []string{"memory.max", "memory.swap.max", "cpu.max", "pids.max"} {
		write(t, filepath.Join(group, "n1", file), "max")
	}
	l, err := openLimiter(proc, ownGroup)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.limits(spec).apply(); err != nil {
		t.Fatal(err)
	}
	if got := l.groups("n1"); !slices.Equal(got, []string{filepath.Join(group, "n1")}) {
		t.Errorf("groups = %q", got)
	}
	for file, want := range map[string]string{
		"cgroup.subtree_control": "+memory +cpu +pids", "../cgroup.subtree_control": "+cpu +memory +pids",
		"n1/memory.max": "1610612736", "n1/memory.swap.max": "0", "n1/cpu.max": "400000 100000", "n1/pids.max": "8192",
	} {
		if got := read(t, filepath.Join(group, file)); got != want {
			t.Errorf("%s = %q, want %q", file, got, want)
		}
	}
	write(t, filepath.Join(group, "n1", "memory.events"), "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
	if n := memoryKills(l.groups("n1")); n != 2 {
		t.Errorf("%d were killed", n)
	}
}

func TestLimitsOfVersion1(t *testing.T) {
	proc, mount := fakeCgroups(t, "31 22 0:27 / MOUNT/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"+
		"32 22 0:28 / MOUNT/memory rw - cgroup cgroup rw,memory\n33 22 0:29 / MOUNT/unified rw - cgroup2 cgroup2 rw\n",
		"5:memory:/box\n4:cpu,cpuacct:/not/seen/here\n0::/\n")
	name := groupName(ownGroup)
	memory, cpu := filepath.Join(mount, "memory", "box", name), filepath.Join(mount, "cpu,cpuacct", name)
	write(t, filepath.Join(memory, "n1", "memory.limit_in_bytes"), "")
	write(t, filepath.Join(cpu, "n1", "cpu.cfs_quota_us"), "-1")
	l, err := openLimiter(proc, ownGroup)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.limits(spec).apply(); err != nil {
		t.Fatal(err)
	}
	if got := l.groups("n1"); !slices.Equal(got, []string{filepath.Join(memory, "n1"), filepath.Join(cpu, "n1")}) {
		t.Errorf("groups = %q", got)
	}
	if got := read(t, filepath.Join(memory, "n1", "memory.limit_in_bytes")); got != "1610612736" {
		t.Errorf("memory = %q", got)
	}
	if got := read(t, filepath.Join(cpu, "n1", "cpu.cfs_quota_us")); got != "400000" {
		t.Errorf("quota = %q", got)
	}
	write(t, filepath.Join(memory, "n1", "memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
	if n := memoryKills(l.groups("n1")); n != 1 {
		t.Errorf("%d were killed", n)
	}
}

func TestNoControlGroups(t *testing.T) {
	proc, _ := fakeCgroups(t, "", "")
	if _, err := openLimiter(proc, ownGroup); err == nil || !strings.Contains(err.Error(), "no control groups are mounted") {
		t.Errorf("error = %v", err)
	}
	if _, err := openLimiter(t.TempDir(), ownGroup); err == nil {
		t.Error("limits without /proc")
	}
	var none *limiter
	if err := none.limits(spec).apply(); err != nil || none.groups("n1") != nil || none.release(t.Context(), "n1") != nil {
		t.Error("a limiter that is not there does something")
	}
}

func TestLimitsThatCannotBeSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	cmd, err := startWithin(nodeLimits{Groups: []string{filepath.Join(file, "own", "n1")}}, func() *exec.Cmd {
		t.Error("the command was made")
		return nil
	})
	var limits errLimits
	if cmd != nil || !errors.As(err, &limits) {
		t.Errorf("error = %v", err)
	}
}

// TestKernelLimits checks with this machine's own kernel, where it lets us.
func TestKernelLimits(t *testing.T) {
	l, err := openLimiter("/proc/self", t.TempDir())
	if err != nil {
		t.Skipf("this machine gives no limits: %v", err)
	}
	t.Cleanup(func() {
		l.sweep()
		for _, own := range l.groups("") {
			if _, err := os.Stat(own); err == nil {
				t.Errorf("%s is left", own)
			}
		}
	})
	if err := l.limits(spec).apply(); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, group := range l.groups("n1") {
		for file, want := range map[string]string{
			"memory.limit_in_bytes": "1610612736", "memory.max": "1610612736", "cpu.cfs_quota_us": "400000",
			"cpu.max": "400000 100000", "pids.max": fmt.Sprint(maxPIDs),
		} {
			if b, err := os.ReadFile(filepath.Join(group, file)); err == nil {
				found++
				if got := strings.TrimSpace(string(b)); got != want {
					t.Errorf("%s = %q, want %q", file, got, want)
				}
			}
		}
	}
	if found == 0 {
		t.Error("the kernel has none of the limits")
	}
}

// TestOutOfMemory has the kernel kill a command that wants more memory than its
// node has, and nothing else.
func TestOutOfMemory(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(Options{Dir: dir, Clock: clock.NewManual(time.Unix(0, 0))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, id := range []string{"small", "large"} {
			if err := r.StopNode(context.Background(), id); err != nil {
				t.Error(err)
			}
		}
		for _, own := range r.limits.groups("") {
			if _, err := os.Stat(own); err == nil {
				t.Errorf("%s is left", own)
			}
		}
		r.Close()
	})
	if !slices.ContainsFunc(r.limits.groups(""), limitsMemory) {
		t.Skip("this machine gives no limit on memory")
	}
	ends := make(chan compute.TaskReport, 2)
	go r.Watch(t.Context(), func(rep compute.Report) {
		if rep.Task != nil && rep.Task.Ended {
			ends <- *rep.Task
		}
	})
	// To print the last lines of an endless line is to keep all of it.
	for id, gib := range map[string]float64{"small": 1. / 32, "large": 1} {
		if _, err := r.StartNode(t.Context(), compute.NodeSpec{ID: id, MemoryGiB: gib, VCPUs: 1}); err != nil {
			t.Fatal(err)
		}
		err := r.StartTask(t.Context(), compute.TaskSpec{
			TaskRef: compute.TaskRef{ID: id, ItemID: "/items/i", Count: 1, NodeID: id}, Env: []string{"PATH=" + os.Getenv("PATH")},
			Argv: []string{"sh", "-c", "head -c 100000000 /dev/zero | tail >/dev/null"}, Dir: dir, LogPath: filepath.Join(dir, id+".log"),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if end := <-ends; end.ID == "small" != end.Result.OutOfMemory || end.ID == "large" != end.Result.OK() {
			t.Errorf("%s ended %+v", end.ID, end.Result)
		}
	}
}

// limitsMemory says whether a runner's group, or what it stands in, can limit
// memory.
func limitsMemory(group string) bool {
	b, _ := os.ReadFile(filepath.Join(filepath.Dir(group), "cgroup.controllers"))
	return strings.Contains(string(b), "memory") || strings.Contains(group, "/memory/")
}
