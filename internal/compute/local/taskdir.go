package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// taskDir is the directory of one task, by which the server and the task's
// supervisor speak with each other:
//
//	task.json        the compute.TaskSpec; written by the server before anything
//	                 is started
//	limits.json      the nodeLimits
//	container.json   the contained, for a task with an image
//	container.log    what the container engine had to say
//	inside/          what of this directory is in the container: the command's
//	                 process ID
//	lock             locked by the server before it starts the supervisor, which
//	                 inherits the lock and keeps it for life: no second
//	                 supervisor can ever start while one lives
//	alive            a FIFO that the supervisor holds open for writing: its
//	                 readers see the end of file when it is gone, however it went
//	supervisor.json  the supervisor; written by it before it starts the command.
//	                 Without it the command was never started
//	stop             how the server asks the supervisor to end the command; a
//	                 signal tells it to look
//	result.json      the compute.TaskResult; the supervisor writes it last
//	supervisor.log   what the supervisor had to complain about
type taskDir string

func (d taskDir) spec() string       { return filepath.Join(string(d), "task.json") }
func (d taskDir) limits() string     { return filepath.Join(string(d), "limits.json") }
func (d taskDir) contained() string  { return filepath.Join(string(d), "container.json") }
func (d taskDir) inside() string     { return filepath.Join(string(d), "inside") }
func (d taskDir) engineLog() string  { return filepath.Join(string(d), "container.log") }
func (d taskDir) lock() string       { return filepath.Join(string(d), "lock") }
func (d taskDir) alive() string      { return filepath.Join(string(d), "alive") }
func (d taskDir) supervisor() string { return filepath.Join(string(d), "supervisor.json") }
func (d taskDir) stop() string       { return filepath.Join(string(d), "stop") }
func (d taskDir) result() string     { return filepath.Join(string(d), "result.json") }
func (d taskDir) log() string        { return filepath.Join(string(d), "supervisor.log") }

// supervisorInfo is supervisor.json.
type supervisorInfo struct {
	// PID is the supervisor's process and session.
	PID int
	// Group is the command's process group, where the system has no better way
	// to find what a killed supervisor left; 0 before it is known.
	Group int `json:",omitempty"`
	// BootID tells whether PID means anything any more.
	BootID string
}

// stopRequest is the file stop.
type stopRequest struct {
	Grace time.Duration
}

// taskVariable is set in the command's environment to the task's ID, so that
// processes which left its group and its session can be found.
const taskVariable = "AZIMUTH_TASK"

// requestStop asks the supervisor to end the command. The supervisor looks for
// the request when it gets the signal, and once before it starts the command.
func (d taskDir) requestStop(grace time.Duration) error {
	if err := writeJSON(d.stop(), stopRequest{Grace: grace}); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed in the meantime
		}
		return fmt.Errorf("request stop: %w", err)
	}
	var info supervisorInfo
	if err := readJSON(d.supervisor(), &info); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has not started the command, and will see the request
		}
		return fmt.Errorf("request stop: %w", err)
	}
	// A handle on the process first, the check that it is the supervisor after:
	// the lock is held, so the supervisor lives, so the number is its own.
	p, err := os.FindProcess(info.PID)
	if err != nil {
		return nil
	}
	defer p.Release()
	if held, err := d.lockHeld(); err != nil || !held {
		return err
	}
	if err := signalStop(p); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal supervisor: %w", err)
	}
	return nil
}

// outcome is how a task ended whose supervisor is gone. If the supervisor left
// no result, outcome first kills what is left of the command, however long that
// takes: only then is it certain that nothing runs.
func (d taskDir) outcome(ctx context.Context) (compute.TaskResult, error) {
	var res compute.TaskResult
	err := readJSON(d.result(), &res)
	if err == nil {
		return res, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("read result: %w", err)
	} else {
		err = nil
	}
	res = compute.TaskResult{ExitCode: -1, Lost: true}
	var info supervisorInfo
	switch e := readJSON(d.supervisor(), &info); {
	case errors.Is(e, fs.ErrNotExist):
		res.Lost = false
		res.Error = "the supervisor ended before it started the command; see " + d.log()
	case e != nil:
		err = errors.Join(err, fmt.Errorf("read supervisor: %w", e))
	default:
		if e := killLeftovers(ctx, info, filepath.Base(string(d))); e != nil {
			err = errors.Join(err, e)
		}
		if e := d.removeContainer(ctx); e != nil {
			err = errors.Join(err, e)
		}
	}
	if ctx.Err() == nil {
		err = errors.Join(err, writeResult(d, nil, res))
	}
	return res, err
}

// resultRoom is the room that is set aside for the result before the command
// starts, so that a command that fills the disk still gets one.
const resultRoom = 4096

// reserveResult returns a file with resultRoom bytes for writeResult.
func reserveResult(d taskDir) (*os.File, error) {
	f, err := os.OpenFile(d.result()+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(blanks(resultRoom)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func blanks(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = ' '
	}
	return b
}

// writeResult puts the result on the disk and then in its place, so that it is
// there whole or not at all. It closes room, which may be nil.
func writeResult(d taskDir, room *os.File, res compute.TaskResult) error {
	if len(res.Error) > resultRoom/2 {
		res.Error = res.Error[:resultRoom/2]
	}
	b, err := json.Marshal(res)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if room == nil {
		if room, err = reserveResult(d); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
	_, err = room.WriteAt(append(b, blanks(max(0, resultRoom-len(b)))...), 0)
	err = errors.Join(err, room.Sync(), room.Close())
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if err := os.Rename(d.result()+".new", d.result()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
