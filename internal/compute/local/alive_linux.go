package local

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
)

// aliveness is the reading end of a supervisor's FIFO.
type aliveness interface {
	// wait returns when no process holds the writing end any more, or ctx ends.
	// It closes the FIFO.
	wait(ctx context.Context) error
	close()
}

type fifo struct{ *os.File }

// watchAlive opens a FIFO for waiting. No thread waits: the FIFO is in the
// runtime's poller.
func watchAlive(path string) (aliveness, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return fifo{f}, nil
}

func (f fifo) close() { f.File.Close() }

func (f fifo) wait(ctx context.Context) error {
	defer f.File.Close()
	stop := context.AfterFunc(ctx, f.close)
	defer stop()
	var b [64]byte
	for {
		switch _, err := f.Read(b[:]); {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return err
		}
	}
}
