package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// recordGroup: the session, which is the supervisor's own, is enough here.
const recordGroup = false

// becomeReaper has the orphans of the command become children of this process.
func becomeReaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// bootID changes whenever the machine starts.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// process is what /proc/PID/stat says of a process.
type process struct {
	pid, parent, session int
	zombie               bool
}

// processes lists what runs on this machine.
func processes() ([]process, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The command name, in brackets, may hold anything.
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 4 {
			continue
		}
		p := process{pid: pid, zombie: fields[0] == "Z" || fields[0] == "X"}
		p.parent, _ = strconv.Atoi(fields[1])
		p.session, _ = strconv.Atoi(fields[3])
		out = append(out, p)
	}
	return out, nil
}

// killDescendants kills all processes that came from this one. Orphans are
// among them, since it is their reaper.
func killDescendants() {
	all, err := processes()
	if err != nil {
		return
	}
	children := map[int][]int{}
	for _, p := range all {
		if !p.zombie {
			children[p.parent] = append(children[p.parent], p.pid)
		}
	}
	for queue := children[os.Getpid()]; len(queue) > 0; queue = queue[1:] {
		_ = unix.Kill(queue[0], unix.SIGKILL)
		queue = append(queue, children[queue[0]]...)
	}
}

// killLeftovers kills what a dead supervisor left of its command and returns
// when nothing of it is there.
func killLeftovers(ctx context.Context, info supervisorInfo, taskID string) error {
	if info.BootID != bootID() {
		return nil // the machine went down since, and everything with it
	}
	mark := []byte(taskVariable + "=" + taskID)
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		all, err := processes()
		if err != nil {
			return fmt.Errorf("find what the supervisor left: %w", err)
		}
		// Everything in the supervisor's session came from it, as long as the
		// session is still that one: its number is not given to another process
		// before all of its members are gone.
		reused := slices.ContainsFunc(all, func(p process) bool { return p.pid == info.PID && !p.zombie })
		left := 0
		for _, p := range all {
			ours := p.session == info.PID && !reused || hasMark(p.pid, mark)
			if ours && !p.zombie && p.pid != os.Getpid() {
				left++
				_ = unix.Kill(p.pid, unix.SIGKILL)
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hasMark says whether a process was started with the task's variable. That
// finds those that left the session.
func hasMark(pid int, mark []byte) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false // another user's, or it has ended
	}
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(kv, mark) {
			return true
		}
	}
	return false
}
