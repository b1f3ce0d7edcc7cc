package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// tree is the directory of a share. Nothing is reached through it that is outside,
// whatever links programs put there.
type tree struct {
	*os.Root
	dir string
}

func openTree(dir string) (*tree, error) {
	r, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, storage.Refuse("ShareNotFound")
	}
	if err != nil {
		return nil, fmt.Errorf("open share: %w", err)
	}
	return &tree{r, dir}, nil
}

// name is a path as os.Root wants it.
func (t *tree) name(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// place is where a path leads. Names of Azure's files are the same in any case;
// those on this disk are not, so path has them as they are here.
type place struct {
	path string
	info fs.FileInfo // nil if there is nothing
}

// lookup finds what is at a path. The parent of what is not there is.
func (t *tree) lookup(path string) (place, error) {
	if info, err := t.stat(path); err != nil || info != nil {
		return place{path, info}, err
	}
	actual := ""
	rest := path
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		next := inDir(actual, name)
		info, err := t.stat(next)
		if err != nil {
			return place{}, err
		}
		if info == nil {
			found, err := t.anyCase(actual, name)
			if err != nil {
				return place{}, err
			}
			if found == "" {
				if rest != "" {
					return place{}, storage.Refuse("ParentNotFound")
				}
				return place{path: next}, nil
			}
			next = inDir(actual, found)
			if info, err = t.stat(next); err != nil {
				return place{}, err
			}
		}
		if rest == "" {
			return place{next, info}, nil
		}
		if info == nil || !info.IsDir() {
			return place{}, storage.Refuse("ParentNotFound")
		}
		actual = next
	}
	return place{}, storage.Refuse("ResourceNotFound")
}

// stat describes what is at a path, through links that stay in the share. It is
// nil when there is nothing.
func (t *tree) stat(path string) (fs.FileInfo, error) {
	info, err := t.Stat(t.name(path))
	switch {
	case err == nil:
		return info, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		// a link that leads nowhere is something, still
		if info, lerr := t.Lstat(t.name(path)); lerr == nil {
			return info, nil
		}
		return nil, nil
	}
	if info, lerr := t.Lstat(t.name(path)); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return info, nil // it leads out of the share
	}
	if strings.Contains(err.Error(), "path escapes") {
		return nil, nil
	}
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return nil, storage.Refuse("InvalidFileOrDirectoryPathName")
	}
	return nil, fmt.Errorf("look at a file of a share: %w", err)
}

// anyCase finds a name in a directory regardless of case, "" if there is none.
func (t *tree) anyCase(dir, name string) (string, error) {
	d, err := t.Open(t.name(dir))
	if err != nil {
		return "", asRefusal(err)
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, n := range names {
			if strings.EqualFold(n, name) {
				return n, nil
			}
		}
		if err != nil || len(names) == 0 {
			return "", nil
		}
	}
}

// asRefusal turns an error of the disk into what a client is told.
func asRefusal(err error) error {
	switch {
	case err == nil:
		return nil
	case storage.HasCode(err, "ShareSizeLimitReached"):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return storage.Refuse("ResourceNotFound")
	case errors.Is(err, syscall.ENOTEMPTY): // which is an ErrExist, too
		return storage.Refuse("DirectoryNotEmpty")
	case errors.Is(err, fs.ErrExist):
		return storage.Refuse("ResourceAlreadyExists")
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return storage.Refuse("ResourceTypeMismatch")
	case errors.Is(err, syscall.ENAMETOOLONG):
		return storage.Refuse("InvalidFileOrDirectoryPathName")
	case errors.Is(err, syscall.EFBIG):
		return storage.Refuse("OutOfRangeInput")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ETXTBSY):
		return storage.Refuse("SharingViolation")
	case strings.Contains(err.Error(), "path escapes"):
		return storage.Refuse("ResourceNotFound")
	}
	return fmt.Errorf("work in a share: %w", err)
}

// openFile opens a regular file. A pipe or device that a program put there is not
// opened for reading or writing, nor waited for.
func (t *tree) openFile(path string, flag int) (*os.File, fs.FileInfo, error) {
	f, err := t.OpenFile(path, flag|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, nil, asRefusal(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = storage.Refuse("ResourceTypeMismatch")
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// syncDir makes the names in a directory durable.
func (t *tree) syncDir(dir string) error {
	d, err := t.Open(t.name(dir))
	if err != nil {
		return asRefusal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync a directory of a share: %w", err)
	}
	return nil
}
