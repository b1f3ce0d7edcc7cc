package fileshare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Path returns the directory of a share, and whether it is there.
func (s *Shares) Path(account, share string) (dir string, there bool, err error) {
	if err := usable(account, share); err != nil {
		return "", false, err
	}
	dir = filepath.Join(s.dir, account, share)
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return dir, false, nil
	}
	if err != nil {
		return dir, false, fmt.Errorf("find file share: %w", err)
	}
	return dir, info.IsDir(), nil
}

// List returns the shares of an account, in the order of their names.
func (s *Shares) List(account string) ([]string, error) {
	if err := usable(account, "x"); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, account))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list file shares: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Remove removes a share: it is gone at once, in one step. The function that it
// returns frees the space; without that the next start does.
func (s *Shares) Remove(account, share string) (free func() error, err error) {
	if err := usable(account, share); err != nil {
		return nil, err
	}
	aside := filepath.Join(s.dir, removedPrefix+account+"-"+share+"-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	err = os.Rename(filepath.Join(s.dir, account, share), aside)
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("remove file share: %w", err)
	}
	return func() error {
		if err := os.RemoveAll(aside); err != nil {
			return fmt.Errorf("free a file share: %w", err)
		}
		return nil
	}, nil
}

// Sweep removes what an earlier process had begun to remove.
func (s *Shares) Sweep() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("sweep file shares: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), removedPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(s.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
