package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// limiter keeps the tasks of a node within what a machine of its size has, with
// one control group per node below one of the runner's own. It works with
// cgroups of version 2 and of version 1, as far as this process may write them.
type limiter struct {
	// v2 is the runner's group of version 2, or "". v1 are those of version 1, by
	// controller.
	v2 string
	v1 map[string]string
}

// controllers are those that the limits need.
var controllers = [...]string{"memory", "cpu", "pids"}

// maxPIDs is the most processes and threads of a node. It is Azimuth's own: far
// more than training needs, and few enough for a machine to bear.
const maxPIDs = 8192

// openLimiter finds where groups can be made. proc is this process's directory
// in /proc. Its error says why there are none.
func openLimiter(proc, dir string) (*limiter, error) {
	name := groupName(dir)
	mounts, err := cgroupMounts(proc)
	if err != nil {
		return nil, err
	}
	own, err := ownCgroups(proc)
	if err != nil {
		return nil, err
	}
	l := &limiter{v1: map[string]string{}}
	var problems []error
	for _, controller := range controllers {
		mount, ok := mounts[controller]
		if !ok {
			continue
		}
		group := filepath.Join(existing(mount, own[controller]), name)
		if err := tryGroup(group); err != nil {
			problems = append(problems, err)
			continue
		}
		l.v1[controller] = group
	}
	if len(l.v1) > 0 {
		return l, nil
	}
	mount, ok := mounts[""]
	if !ok {
		return nil, errors.Join(append(problems, errors.New("no control groups are mounted"))...)
	}
	// A group that has processes cannot pass controllers on to groups below it,
	// and this process's own has at least one. So look above it too, as far as
	// this user may write: where a session or service manager has passed them on.
	for at := existing(mount, own[""]); ; at = filepath.Dir(at) {
		group := filepath.Join(at, name)
		err := tryGroup2(group)
		if err == nil {
			l.v2 = group
			return l, nil
		}
		problems = append(problems, err)
		if at == mount || len(at) <= len(mount) {
			return nil, errors.Join(problems...)
		}
	}
}

// groupName is the name of the group of a runner's directory.
func groupName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "azimuth-" + hex.EncodeToString(sum[:6])
}

// tryGroup makes a group and removes it again, unless it was in use before.
func tryGroup(group string) error {
	if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	defer os.Remove(group)
	return unix.Access(group, unix.W_OK)
}

// tryGroup2 is tryGroup for version 2, where the parent must pass controllers on.
func tryGroup2(group string) error {
	parent := filepath.Dir(group)
	_ = passOn(parent) // it may do so already
	if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	defer os.Remove(group)
	return passOn(group)
}

// passOn lets the children of a group of version 2 be limited.
func passOn(group string) error {
	b, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var want []string
	for _, c := range strings.Fields(string(b)) {
		if slices.Contains(controllers[:], c) {
			want = append(want, "+"+c)
		}
	}
	if len(want) == 0 {
		return fmt.Errorf("%s has none of the controllers memory, cpu and pids", group)
	}
	return os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte(strings.Join(want, " ")), 0)
}

// existing is where a process's own group is below a mount. In a container the
// mount may be that group already.
func existing(mount, path string) string {
	if _, err := os.Stat(filepath.Join(mount, path)); err == nil {
		return filepath.Join(mount, path)
	}
	return mount
}

// cgroupMounts is where each controller of version 1 is mounted; version 2 is "".
func cgroupMounts(proc string) (map[string]string, error) {
	f, err := os.Open(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		switch right[0] {
		case "cgroup2":
			out[""] = left[4]
		case "cgroup":
			for o := range strings.SplitSeq(right[2], ",") {
				out[o] = left[4]
			}
		}
	}
	return out, nil
}

// ownCgroups is the path of this process's group, by controller.
func ownCgroups(proc string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			out[c] = f[2]
		}
	}
	return out, nil
}

// groups are the directories of a node's groups.
func (l *limiter) groups(node string) []string {
	if l == nil {
		return nil
	}
	if l.v2 != "" {
		return []string{filepath.Join(l.v2, node)}
	}
	var out []string
	for _, controller := range controllers {
		if dir := l.v1[controller]; dir != "" {
			out = append(out, filepath.Join(dir, node))
		}
	}
	return out
}

// limits is what a node's groups are to say.
func (l *limiter) limits(spec compute.NodeSpec) nodeLimits {
	if l == nil {
		return nodeLimits{}
	}
	n := nodeLimits{Groups: l.groups(spec.ID)}
	add := func(file, value string) { n.Settings = append(n.Settings, setting{file, value}) }
	const period = 100_000 // microseconds
	add("pids.max", strconv.Itoa(maxPIDs))
	if spec.MemoryGiB > 0 {
		memory := strconv.FormatInt(int64(spec.MemoryGiB*(1<<30)), 10)
		add("memory.limit_in_bytes", memory)
		add("memory.max", memory)
		// Azure's sizes have no swap. In version 1 it counts with the memory.
		add("memory.memsw.limit_in_bytes", memory)
		add("memory.swap.max", "0")
	}
	if spec.VCPUs > 0 {
		quota := strconv.Itoa(spec.VCPUs * period)
		add("cpu.cfs_quota_us", quota)
		add("cpu.max", quota+" "+strconv.Itoa(period))
	}
	return n
}

// apply makes the groups, unless they are there, and has them say what they are to.
func (n nodeLimits) apply() error {
	for _, group := range n.Groups {
		parent := filepath.Dir(group)
		if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if isVersion2(parent) {
			if err := passOn(parent); err != nil {
				return err
			}
		}
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		for _, s := range n.Settings {
			file := filepath.Join(group, s.File)
			if _, err := os.Stat(file); err != nil {
				continue // of the other version, of another controller, or without swap
			}
			if err := os.WriteFile(file, []byte(s.Value), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func isVersion2(group string) bool {
	_, err := os.Stat(filepath.Join(group, "cgroup.controllers"))
	return err == nil
}

// release removes a node's groups, and the runner's with the last. A process that has just been killed may be in
// one for a moment.
func (l *limiter) release(ctx context.Context, node string) error {
	var errs []error
	for _, group := range l.groups(node) {
		err := os.Remove(group)
		for wait := time.Millisecond; errors.Is(err, unix.EBUSY) && wait < time.Second; wait *= 2 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
			err = os.Remove(group)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, own := range l.groups("") {
		_ = os.Remove(own) // fails as long as there are nodes in it
	}
	return errors.Join(errs...)
}

// sweep removes the groups that no process is in: those of nodes that are gone,
// and those that limit makes anew.
func (l *limiter) sweep() {
	for _, own := range l.groups("") {
		entries, _ := os.ReadDir(own)
		for _, e := range entries {
			if e.IsDir() {
				_ = os.Remove(filepath.Join(own, e.Name()))
			}
		}
		_ = os.Remove(own)
	}
}

// startWithin starts a command as a member of a node's groups. A server that ends
// removes the groups that nobody is in, which may be at this very moment: then
// they are made again. An errLimits says that the command was not started because
// of its groups.
func startWithin(n nodeLimits, command func() *exec.Cmd) (cmd *exec.Cmd, err error) {
	for range 10 {
		if err = n.apply(); err != nil {
			err = errLimits{err}
		} else if cmd, err = startIn(n.Groups, command()); err == nil {
			return cmd, nil
		}
		var why errLimits
		if !errors.As(err, &why) || !errors.Is(why.error, fs.ErrNotExist) && !errors.Is(why.error, unix.ENODEV) {
			break
		}
	}
	return nil, err
}

func startIn(groups []string, cmd *exec.Cmd) (*exec.Cmd, error) {
	if len(groups) == 0 {
		return cmd, cmd.Start()
	}
	if isVersion2(groups[0]) {
		f, err := os.Open(groups[0])
		if err != nil {
			return nil, errLimits{err}
		}
		defer f.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
		if err = cmd.Start(); errors.Is(err, unix.ENODEV) { // the group is gone
			err = errLimits{err}
		}
		return cmd, err
	}
	// A group of version 1 is entered by the thread that starts the command, which
	// inherits it. The thread ends with its goroutine, since it stays locked.
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := enterGroups(groups); err != nil {
			result <- errLimits{err}
			return
		}
		result <- cmd.Start()
	}()
	return cmd, <-result
}

// enterGroups makes this thread a member of groups of version 1.
func enterGroups(groups []string) error {
	for _, group := range groups {
		if err := os.WriteFile(filepath.Join(group, "tasks"), []byte(strconv.Itoa(unix.Gettid())), 0); err != nil {
			return err
		}
	}
	return nil
}

// enter enters a node's groups ahead of the command that is to start there, and
// returns what starts it. That takes the kernel some hundredths of a second with
// version 1. It returns nil where it is not so, or did not succeed.
func enter(n nodeLimits) func(*exec.Cmd) error {
	if len(n.Groups) == 0 || n.apply() != nil || isVersion2(n.Groups[0]) {
		return nil
	}
	entered, start, started := make(chan error, 1), make(chan *exec.Cmd), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		err := enterGroups(n.Groups)
		entered <- err
		if err == nil {
			started <- (<-start).Start()
		}
	}()
	if <-entered != nil {
		return nil
	}
	return func(cmd *exec.Cmd) error {
		start <- cmd
		return <-started
	}
}

// memoryKills counts the processes of a node that were killed because it had no
// memory left.
func memoryKills(groups []string) int {
	for _, group := range groups {
		for _, name := range []string{"memory.events", "memory.oom_control"} {
			b, err := os.ReadFile(filepath.Join(group, name))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(b)) {
				var n int
				if _, err := fmt.Sscanf(line, "oom_kill %d", &n); err == nil {
					return n
				}
			}
		}
	}
	return 0
}
