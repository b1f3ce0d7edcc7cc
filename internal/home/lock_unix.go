//go:build unix

package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock makes this process the home's one server until the returned function is
// called or the process ends, however it ends.
func (d Dir) Lock() (unlock func(), err error) {
	f, err := os.OpenFile(d.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock home: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for try := 0; try < 50 && errors.Is(err, unix.EWOULDBLOCK); try++ {
		// somebody may only be looking (locked holds it for microseconds)
		time.Sleep(2 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock home: %w", err)
	}
	// What a server that was killed said of itself is not true of this one.
	if err := os.Remove(d.serverFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Close()
		return nil, fmt.Errorf("lock home: %w", err)
	}
	return func() { f.Close() }, nil
}

// Released blocks until no server holds the home.
func (d Dir) Released() error {
	f, err := os.OpenFile(d.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("wait for server: %w", err)
	}
	defer f.Close()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (d Dir) lockFile() string { return d.Path("run", "server.lock") }

func (d Dir) locked() (bool, error) {
	f, err := os.Open(d.lockFile())
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// Free is how many bytes the disk that holds the home has left for this user.
func (d Dir) Free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(string(d), &st); err != nil {
		return 0, fmt.Errorf("look at the disk of home %s: %w", d, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
