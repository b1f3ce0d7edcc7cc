package local

import (
	"fmt"
	"os"
)

// reserve is a file that keeps some room of the disk that jobs share with the
// server. When the disk is full at the end of a task it gives way, so that the end
// can be written down and what the job left removed; then it is made anew.
type reserve struct {
	path string
	// free says how many bytes the disk of a directory has left for this user.
	free func(dir string) (uint64, error)
}

const (
	reserveSize = 8 << 20 // bytes
	// A disk that has less than this is not made fuller by the reserve.
	reserveFrom = 4 * reserveSize
)

// hold makes the reserve, unless it is there or the disk has little room.
func (r reserve) hold(dir string) error {
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveSize {
		return nil
	}
	if n, err := r.free(dir); err != nil || n < reserveFrom {
		return err
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep room on the disk: %w", err)
	}
	zeros := make([]byte, 1<<20) // written, since a hole keeps no room
	for range reserveSize / len(zeros) {
		if _, err := f.Write(zeros); err != nil {
			f.Close()
			os.Remove(r.path)
			return fmt.Errorf("keep room on the disk: %w", err)
		}
	}
	return f.Close()
}

// yield gives the room to whoever needs it, if the disk is nearly full.
func (r reserve) yield(dir string) error {
	if n, err := r.free(dir); err != nil || n >= reserveSize {
		return err
	}
	if err := os.Remove(r.path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("make room on the disk: %w", err)
	}
	return nil
}
