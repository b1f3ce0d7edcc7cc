//go:build unix

package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

func supported() error { return nil }

// The files that a supervisor inherits.
const (
	fdLock  = 3
	fdAlive = 4
)

// spawn makes a task directory and starts its supervisor, or gives it to one that
// is ready, unless that is nil. After an error no supervisor runs.
func spawn(d taskDir, command []string, spec compute.TaskSpec, c *contained, limits nodeLimits, next *ready) (reader aliveness, cmd *exec.Cmd, err error) {
	defer func() {
		if next != nil { // it was not needed, or ended before its time
			next.close()
		}
	}()
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, nil, err
	}
	lock, err := os.OpenFile(d.lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, nil, fmt.Errorf("lock task: %w", err)
	}
	if err := unix.Mkfifo(d.alive(), 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, nil, fmt.Errorf("make FIFO: %w", err)
	}
	if err := writeJSON(d.limits(), limits); err != nil {
		return nil, nil, err
	}
	if c != nil {
		if err := writeJSON(d.contained(), c); err != nil {
			return nil, nil, err
		}
	}
	if err := writeJSON(d.spec(), spec); err != nil {
		return nil, nil, err
	}
	out, err := os.OpenFile(d.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer out.Close()
	reader, err = watchAlive(d.alive())
	if err != nil {
		return nil, nil, err
	}
	// A FIFO opens for writing at once when it has a reader, as it has now.
	writer, err := os.OpenFile(d.alive(), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		reader.close()
		return nil, nil, err
	}
	defer writer.Close()
	if next != nil {
		if err := next.give(d, lock, writer, out); err == nil {
			cmd, next = next.cmd, nil
			return reader, cmd, nil
		}
	}
	cmd = exec.Command(command[0], append(command[1:len(command):len(command)], "--dir", string(d))...)
	cmd.Dir, cmd.Env = "/", supervisorEnv() // there, so that it keeps no file system busy
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{lock, writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		reader.close()
		return nil, nil, fmt.Errorf("start supervisor: %w", err)
	}
	return reader, cmd, nil
}

// supervisorEnv is the environment of supervisors. A task has its own from
// task.json; the supervisor needs little.
func supervisorEnv() []string { return []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=2"} }

// lockHeld says whether a supervisor lives, or is being started.
func (d taskDir) lockHeld() (bool, error) {
	f, err := os.OpenFile(d.lock(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

func signalStop(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
