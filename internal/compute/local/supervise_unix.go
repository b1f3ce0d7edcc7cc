//go:build unix

package local

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// SuperviseMain is the whole of the hidden command "azimuth supervise --dir DIR",
// which a Runner starts for each task; nobody else can. With --node it is started
// ahead of its task. It returns the exit code of the process. It must be called before anything else has started child
// processes, since it reaps all of them.
//
// The supervisor measures the task's timeout in real time. The server's clock
// can be advanced by its user and is out of reach from here; the server enforces
// the timeout on it. The supervisor's is for the time when no server runs.
func SuperviseMain(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("supervise", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "the task's directory")
	node := flags.String("node", "", "the directory of the node whose next task is waited for")
	limits := flags.String("limits", "{}", "the node's limits")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	run := func(s *supervisor, stderr io.Writer) int {
		if err := s.run(ctx); err != nil {
			fmt.Fprintln(stderr, "azimuth supervise:", err)
			return 1
		}
		return 0
	}
	if *node != "" {
		return superviseNext(*limits, run, stderr)
	}
	return run(&supervisor{dir: taskDir(*dir), lock: fdLock, alive: fdAlive}, stderr)
}

type supervisor struct {
	dir taskDir
	// lock and alive are the files that the Runner passed on.
	lock, alive int
	// within, unless nil, starts the command in the node's control groups.
	within func(*exec.Cmd) error
	// contained is how the command runs in a container, or nil.
	contained *contained

	spec   compute.TaskSpec
	limits nodeLimits
	killed int      // processes of the node that ran out of memory before
	room   *os.File // for the result
	result compute.TaskResult
	info   supervisorInfo

	signals chan os.Signal
	exited  chan unix.WaitStatus // the command's end
	reaped  chan struct{}        // closed when no child is left
}

func (s *supervisor) run(ctx context.Context) error {
	if err := s.inherit(); err != nil {
		return err
	}
	if err := readJSON(s.dir.spec(), &s.spec); err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	if err := readJSON(s.dir.limits(), &s.limits); err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	if err := s.readContained(); err != nil {
		return fmt.Errorf("read container: %w", err)
	}
	// The lock was free, so an earlier supervisor is dead. Had it come as far as
	// its supervisor.json, the command may have run, and must not run again.
	if _, err := os.Stat(s.dir.supervisor()); !errors.Is(err, fs.ErrNotExist) {
		return errors.New("the task was started before")
	}
	s.signals = make(chan os.Signal, 8)
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	if err := becomeReaper(); err != nil {
		return fmt.Errorf("become the reaper of orphans: %w", err)
	}
	var err error
	if s.room, err = reserveResult(s.dir); err != nil {
		return fmt.Errorf("reserve room for the result: %w", err)
	}
	s.info = supervisorInfo{PID: os.Getpid(), BootID: bootID()}
	if err := writeJSON(s.dir.supervisor(), s.info); err != nil {
		return fmt.Errorf("write supervisor: %w", err)
	}
	s.supervise(ctx)
	s.result.Finished = time.Now().UTC()
	if s.contained != nil {
		if err := s.endContained(); err != nil { // the runner removes it when it is opened again
			fmt.Fprintln(os.Stderr, "azimuth supervise:", err)
		}
	}
	return writeResult(s.dir, s.room, s.result)
}

// inherit checks that the lock and the FIFO are what a Runner passes on, and
// keeps them from the command: they must end with this process.
func (s *supervisor) inherit() error {
	for fd, path := range map[int]string{s.lock: s.dir.lock(), s.alive: s.dir.alive()} {
		var got, want unix.Stat_t
		if err := unix.Fstat(fd, &got); err != nil {
			return fmt.Errorf("this command is for azimuth's own use: file %d: %w", fd, err)
		}
		if err := unix.Stat(path, &want); err != nil {
			return fmt.Errorf("this command is for azimuth's own use: %s: %w", path, err)
		}
		if got.Dev != want.Dev || got.Ino != want.Ino {
			return fmt.Errorf("this command is for azimuth's own use: file %d is not %s", fd, path)
		}
		unix.CloseOnExec(fd)
	}
	return nil
}

// supervise runs the command until nothing of it is left, and fills in result.
func (s *supervisor) supervise(ctx context.Context) {
	s.result.ExitCode = -1
	if _, stop := s.stopRequest(); stop {
		s.result.Stopped = true
		s.result.ExitCode, s.result.Signal = 128+int(syscall.SIGTERM), unix.SignalName(syscall.SIGTERM)
		return
	}
	pid, err := s.start()
	if err != nil {
		s.result.Error = err.Error()
		return
	}
	s.result.Started = time.Now().UTC()
	if recordGroup {
		s.info.Group = pid
		_ = writeJSON(s.dir.supervisor(), s.info) // a help to the Runner, no more
	}
	s.exited, s.reaped = make(chan unix.WaitStatus, 1), make(chan struct{})
	go s.reap(pid)

	var timeout, kill, ask <-chan time.Time
	polite := func() {
		if ask = nil; !s.signal(pid, unix.SIGTERM) {
			ask = time.After(lookAgain)
		}
	}
	killed := false
	if s.spec.Timeout > 0 {
		timeout = time.After(s.spec.Timeout)
	}
	end := func(grace time.Duration) {
		if len(s.exited) > 0 {
			return // by itself
		}
		s.result.Stopped = true
		if kill == nil {
			polite()
			kill = time.After(grace)
		} else if grace <= 0 {
			kill = time.After(0) // a second, less patient request
		}
	}
	for {
		select {
		case status := <-s.exited:
			s.ended(status)
			if s.contained != nil {
				s.settle()
			}
			s.clear()
			return
		case <-s.signals:
			grace, _ := s.stopRequest()
			end(grace)
		case <-ctx.Done():
			end(s.spec.Grace)
			ctx = context.Background()
		case <-timeout:
			end(s.spec.Grace)
			s.result.TimedOut = s.result.Stopped
		case <-ask:
			polite()
		case <-kill:
			if s.contained != nil && !killed && s.signal(pid, unix.SIGKILL) {
				killed, ask, kill = true, nil, time.After(killPatience)
				continue
			}
			_ = unix.Kill(-pid, unix.SIGKILL)
			killDescendants()
		}
	}
}

func (s *supervisor) stopRequest() (grace time.Duration, stop bool) {
	var r stopRequest
	if err := readJSON(s.dir.stop(), &r); err != nil {
		return s.spec.Grace, !errors.Is(err, fs.ErrNotExist)
	}
	return r.Grace, true
}

// start starts the command in a process group of its own. Standard output and
// error are one file, opened for appending: the kernel keeps the order, nothing
// is copied, and nothing is lost with the supervisor.
func (s *supervisor) start() (pid int, err error) {
	if s.contained != nil {
		return s.startContained()
	}
	log, err := os.OpenFile(s.spec.LogPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	path, err := lookPath(s.spec.Argv[0], s.spec.Dir, s.spec.Env)
	if err != nil {
		return 0, err
	}
	command := func() *exec.Cmd {
		return &exec.Cmd{
			Path: path, Args: s.spec.Argv, Dir: s.spec.Dir,
			Env:    append(s.spec.Env[:len(s.spec.Env):len(s.spec.Env)], taskVariable+"="+s.spec.ID),
			Stdout: log, Stderr: log,
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		}
	}
	s.killed = memoryKills(s.limits.Groups)
	var cmd *exec.Cmd
	if s.within != nil {
		cmd = command()
		err = s.within(cmd)
	} else {
		cmd, err = startWithin(s.limits, command)
	}
	var without errLimits
	if errors.As(err, &without) {
		fmt.Fprintf(log, "The command runs without limits on memory, CPU and processes: %v\n", without)
		cmd, err = startWithin(nodeLimits{}, command)
	}
	if err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	_ = cmd.Process.Release() // reap waits for it, with all others
	return pid, nil
}

// reap collects every child: the command, and orphans that it left.
func (s *supervisor) reap(command int) {
	defer close(s.reaped)
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return // ECHILD: none is left
		case pid == command && (status.Exited() || status.Signaled()):
			s.exited <- status
		}
	}
}

func (s *supervisor) ended(status unix.WaitStatus) {
	if status.Signaled() {
		s.result.ExitCode = 128 + int(status.Signal())
		s.result.Signal = unix.SignalName(status.Signal())
	} else {
		s.result.ExitCode = status.ExitStatus()
	}
	// A shell passes the end of the process that was killed on as 128+9.
	if s.result.ExitCode == 128+int(syscall.SIGKILL) && memoryKills(s.limits.Groups) > s.killed {
		s.result.OutOfMemory = true
	}
}

// clearWithin is how long clear tries: a process that the kernel does not let
// die must not hide the command's result.
const clearWithin = 10 * time.Second

// clear kills what the command left behind.
func (s *supervisor) clear() {
	giveUp := time.After(clearWithin)
	wait := time.Millisecond
	for {
		select {
		case <-s.reaped:
			return
		case <-giveUp:
			return
		case <-time.After(wait):
		}
		killDescendants()
		wait = min(2*wait, 50*time.Millisecond)
	}
}

// lookPath finds a command as a shell would in the task's environment.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // relative to Dir
	}
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		file := filepath.Join(d, name)
		if st, err := os.Stat(file); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%q was not found in PATH (%s)", name, path)
}
