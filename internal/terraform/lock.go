package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// errLocked is returned by tryLock when another process holds the lock.
var errLocked = errors.New("locked by another process")

// fileLock is an exclusive lock of the operating system on a file. The system
// drops it when the process ends, however it ends, so nothing is ever left
// locked.
type fileLock struct{ f *os.File }

// acquireLock waits for the lock on path, telling w what it waits for once that
// takes over a second.
func acquireLock(ctx context.Context, c clock.Clock, path string, w io.Writer, waitingFor string) (*fileLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create directory for lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = tryLock(f)
	if errors.Is(err, errLocked) {
		p := startProgress(w, c, "waiting for "+waitingFor)
		for errors.Is(err, errLocked) {
			if err = clock.Sleep(ctx, c, 100*time.Millisecond); err != nil {
				break
			}
			err = tryLock(f)
		}
		p.stop(err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return &fileLock{f: f}, nil
}

// release gives the lock up. The file stays: removing it would let two
// processes hold locks on two files of one name.
func (l *fileLock) release() error { return l.f.Close() }
