//go:build unix

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/azimuth-ml/azimuth/internal/compute/container"
)

// openFiles is how many files a process of this machine's user may have open.
func openFiles() uint64 {
	const most = 1 << 20 // the kernel's own limit, unless it was raised
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return min(uint64(l.Max), most)
}

// readContained reads how the task runs in a container, if it does.
func (s *supervisor) readContained() error {
	var c contained
	if err := readJSON(s.dir.contained(), &c); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	s.contained = &c
	return nil
}

// startContained starts the engine's client. It is not in the node's control groups:
// the engine makes one for the container.
func (s *supervisor) startContained() (pid int, err error) {
	if st, err := os.Stat(s.spec.Dir); err != nil || !st.IsDir() {
		return 0, fmt.Errorf("the working directory %s is not there", s.spec.Dir)
	}
	log, err := os.OpenFile(s.spec.LogPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open the log: %w", err)
	}
	log.Close() // it is opened in the container
	if err := os.MkdirAll(s.dir.inside(), 0o700); err != nil {
		return 0, err
	}
	out, err := os.OpenFile(s.dir.engineLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open the engine's log: %w", err)
	}
	defer out.Close()
	cmd := s.contained.Engine.Command(s.contained.Container)
	cmd.Env = append(cmd.Env, s.contained.Container.Mark) // so that a lost supervisor's client is found
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = string(s.dir) // where podman's monitor leaves the file fileOOM
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	_ = cmd.Process.Release()
	return pid, nil
}

// signal sends a signal to the command's process group, and reports false when there
// is none yet: of a container, as long as the engine has not started the command.
func (s *supervisor) signal(pid int, sig syscall.Signal) bool {
	if s.contained != nil {
		b, err := os.ReadFile(s.contained.Container.PIDFile)
		line, _, whole := strings.Cut(string(b), "\n")
		pid, _ = strconv.Atoi(line)
		if err != nil || !whole || pid <= 1 {
			return false
		}
	}
	_ = unix.Kill(-pid, sig)
	return true
}

// fileOOM is the file that conmon 2.1 makes in its working directory when a container
// has no memory left. podman looks for it elsewhere.
const fileOOM = "oom"

// Patience with the engine.
const (
	// killPatience is how long it has to see that the command was killed, after
	// which it is killed itself.
	killPatience = 5 * time.Second
	// settlePatience is how long it has to put its records in order when the
	// command has ended, after which its processes are killed.
	settlePatience = 3 * time.Second
	// lookAgain is how often to look whether the command has started that is to be
	// asked to end.
	lookAgain = 20 * time.Millisecond
	// askPatience is how long it has to say how a container is, or to remove it.
	askPatience = 30 * time.Second
)

// settle waits a moment for the engine's own processes to end.
func (s *supervisor) settle() {
	select {
	case <-s.reaped:
	case <-time.After(settlePatience):
	}
}

// endContained completes the result with what the engine knows and removes the
// container. No child is left when it is called, so commands can be waited for.
func (s *supervisor) endContained() error {
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	r, code := &s.result, s.result.ExitCode
	killed := code > 128 && unix.SignalName(syscall.Signal(code-128)) != ""
	var problem error
	if container.EngineCode(code) || r.Stopped || code == 128+int(syscall.SIGKILL) {
		state, err := s.contained.Engine.State(ctx, s.contained.Container.Name)
		said := s.engineSaid()
		switch notStarted := strings.Contains(said, container.NotStarted); {
		case err != nil:
			problem = err
		case !state.Started && r.Stopped: // it was killed while the engine got ready
			r.ExitCode, r.Signal = 128+int(syscall.SIGTERM), unix.SignalName(syscall.SIGTERM)
			killed = false
		case state.Running: // the client was killed, and the rest is to follow
			r.ExitCode, r.Signal = 128+int(syscall.SIGKILL), unix.SignalName(syscall.SIGKILL)
			killed = false
		case !state.Started || notStarted && code == 127:
			_, why, _ := strings.Cut(said, container.NotStarted)
			if !notStarted {
				why = said
			}
			r.ExitCode, r.Error = -1, strings.TrimSpace(why)
			if r.Error == "" {
				r.Error = fmt.Sprintf("%s exited with code %d", s.contained.Engine, code)
			}
			killed = false
		}
		_, noFile := os.Stat(filepath.Join(string(s.dir), fileOOM))
		r.OutOfMemory = (state.OutOfMemory || noFile == nil) && r.ExitCode == 128+int(syscall.SIGKILL)
	}
	if killed && r.Signal == "" {
		r.Signal = unix.SignalName(syscall.Signal(code - 128))
	}
	return errors.Join(problem, s.contained.remove(ctx))
}

// engineSaid is the end of what the engine said.
func (s *supervisor) engineSaid() string {
	b, err := os.ReadFile(s.dir.engineLog())
	if err != nil {
		return ""
	}
	const most = resultRoom / 4
	return strings.ToValidUTF8(string(b[max(0, len(b)-most):]), "?")
}
