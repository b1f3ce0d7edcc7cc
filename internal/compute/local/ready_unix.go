//go:build unix

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxReady is how many supervisors wait for tasks at most: each takes a few
// megabytes, and what it saves is no more than a few hundredths of a second.
const maxReady = 16

// ready is a supervisor that was started ahead of its task, so that a node which
// is up starts a task at once: it is in the node's control groups already, and
// waits at a socket for the task's directory and open files. It ends when the
// socket closes, with the server at the latest. What was sent and not received
// yet stays in the socket, and the task's lock with it: the task can no more be
// lost on the way than when a supervisor is started for it.
type ready struct {
	cmd  *exec.Cmd
	conn int
}

func startReady(command []string, node string, limits nodeLimits) (*ready, error) {
	b, err := json.Marshal(limits)
	if err != nil {
		return nil, err
	}
	syscall.ForkLock.RLock() // no other child must keep the socket open
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(ends[0])
		unix.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "socket")
	defer theirs.Close()
	cmd := exec.Command(command[0], append(command[1:len(command):len(command)], "--node", node, "--limits", string(b))...)
	cmd.Dir, cmd.Env = "/", supervisorEnv()
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = unix.Close(ends[0])
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	return &ready{cmd, ends[0]}, nil
}

// received is what a supervisor answers when it has a task.
const received = 1

// answerWithin is how long a supervisor that waits may take for that.
const answerWithin = 2 // seconds

// give hands a task over. After an error the supervisor is dead and has done
// nothing of it.
func (r *ready) give(d taskDir, files ...*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	err := unix.Sendmsg(r.conn, []byte(d), unix.UnixRights(fds...), nil, 0)
	if err == nil {
		// Of a supervisor that is being killed the socket may still be open.
		err = r.answer(&unix.Timeval{Sec: answerWithin})
	}
	if err == nil {
		return unix.Close(r.conn)
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	if r.answer(&unix.Timeval{Usec: 1}) == nil {
		// It had the task when it died, and may have started the command: it is a
		// supervisor that was lost, as any other.
		return unix.Close(r.conn)
	}
	return fmt.Errorf("hand a task over: %w", err)
}

func (r *ready) answer(within *unix.Timeval) error {
	if err := unix.SetsockoptTimeval(r.conn, unix.SOL_SOCKET, unix.SO_RCVTIMEO, within); err != nil {
		return err
	}
	for {
		var b [1]byte
		switch n, err := unix.Read(r.conn, b[:]); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0 || b[0] != received:
			return errors.New("the supervisor ended")
		default:
			return nil
		}
	}
}

// close ends a supervisor that no task was given.
func (r *ready) close() {
	_ = unix.Close(r.conn)
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// awaitTask is the other side: it returns the supervisor of the task that is
// handed over, or nil when there will be none.
func awaitTask(limits nodeLimits) (s *supervisor, log *os.File, err error) {
	const socket = 3
	if _, err := unix.FcntlInt(socket, unix.F_GETFD, 0); err != nil {
		return nil, nil, errors.New("this command is for azimuth's own use")
	}
	unix.CloseOnExec(socket)
	start := enter(limits)
	name, oob := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(3*4))
	var n, rights int
	for {
		if n, rights, _, _, err = unix.Recvmsg(socket, name, oob, 0); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil || n == 0 {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:rights])
	if err != nil || len(messages) != 1 {
		return nil, nil, fmt.Errorf("receive a task: %d messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 3 {
		return nil, nil, fmt.Errorf("receive a task: %d files: %w", len(fds), err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	// A server that died in the meantime gets no answer, and finds the task under
	// way when it is started again.
	if _, err := unix.Write(socket, []byte{received}); err != nil && !errors.Is(err, unix.EPIPE) {
		return nil, nil, fmt.Errorf("receive a task: %w", err)
	}
	_ = unix.Close(socket)
	return &supervisor{dir: taskDir(name[:n]), lock: fds[0], alive: fds[1], within: start}, os.NewFile(uintptr(fds[2]), "log"), nil
}

// superviseNext waits for a task and supervises it.
func superviseNext(limits string, run func(*supervisor, io.Writer) int, stderr io.Writer) int {
	var l nodeLimits
	if err := json.Unmarshal([]byte(limits), &l); err != nil {
		fmt.Fprintln(stderr, "azimuth supervise: read limits:", err)
		return 2
	}
	s, log, err := awaitTask(l)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "azimuth supervise:", err)
		return 1
	case s == nil:
		return 0
	}
	defer log.Close()
	return run(s, log)
}
