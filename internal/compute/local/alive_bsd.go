//go:build unix && !linux

package local

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// aliveness is the reading end of a supervisor's FIFO.
type aliveness interface {
	// wait returns when no process holds the writing end any more, or ctx ends.
	// It closes the FIFO.
	wait(ctx context.Context) error
	close()
}

type fifo struct{ *os.File }

func watchAlive(path string) (aliveness, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return fifo{f}, nil
}

func (f fifo) close() { f.File.Close() }

// lookEveryMS bounds how long wait outlives its context. It is not how soon the
// end is seen: poll returns at once for that.
const lookEveryMS = 500

// wait polls the FIFO itself: kqueue does not tell of a FIFO's last writer
// going away (golang.org/issue/24164).
func (f fifo) wait(ctx context.Context) error {
	defer f.File.Close()
	fd := int(f.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	var b [64]byte
	for ctx.Err() == nil {
		n, err := unix.Read(fd, b[:])
		switch {
		case n == 0 && err == nil:
			return nil
		case err == nil:
			continue
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return err
		}
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, lookEveryMS)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return ctx.Err()
}
