// Package atomicfile writes whole files so that a reader, or a crash at any
// moment, sees the old content or the new and never a part of it.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Write makes path hold data with mode perm. It reports false, and touches
// nothing, when the file already does. The data is on disk when Write returns.
func Write(path string, data []byte, perm fs.FileMode) (changed bool, err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(data)) {
		old, err := os.ReadFile(path)
		if err == nil && bytes.Equal(old, data) {
			if info.Mode().Perm() == perm || runtime.GOOS == "windows" { // which has no such modes
				return false, nil
			}
			if err := os.Chmod(path, perm); err != nil {
				return false, fmt.Errorf("write %s: %w", path, err)
			}
			return true, nil
		}
	}
	tmp, err := temporary(path, data, perm)
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	return true, syncDir(filepath.Dir(path))
}

// Create makes path hold data with mode perm unless something is there, which
// it reports with an error that wraps fs.ErrExist. Of several callers at once,
// in any number of processes, one succeeds.
func Create(path string, data []byte, perm fs.FileMode) error {
	tmp, err := temporary(path, data, perm)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	defer os.Remove(tmp)
	// A link fails where a rename would replace.
	if err := os.Link(tmp, path); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// temporary writes data to a new file beside path.
func temporary(path string, data []byte, perm fs.FileMode) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// syncDir makes a new name durable. Windows does so by itself, and cannot be
// asked to.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
