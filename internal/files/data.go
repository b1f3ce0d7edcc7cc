package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The methods in this file read and write the files of shares for the rest of
// Azimuth. They authorise nobody: the caller has decided that already. account is
// an account's name.

func (s *Service) openShare(ctx context.Context, account, share string) (*tree, *shareRec, error) {
	a, err := s.base.Accounts.Account(ctx, account)
	if err != nil {
		return nil, nil, fmt.Errorf("find storage account %s: %w", account, err)
	}
	if err := checkShareName(share); err != nil {
		return nil, nil, err
	}
	rec, err := s.eng.share(ctx, a.UID, share)
	if err != nil {
		return nil, nil, fmt.Errorf("open share %s: %w", share, err)
	}
	dir, _, err := s.eng.dirs.Path(a.UID, share)
	if err != nil {
		return nil, nil, err
	}
	t, err := openTree(dir)
	return t, rec, err
}

// EnsureShare makes a share unless it is there.
func (s *Service) EnsureShare(ctx context.Context, account, share string) error {
	a, err := s.base.Accounts.Account(ctx, account)
	if err != nil {
		return fmt.Errorf("find storage account %s: %w", account, err)
	}
	if err := checkShareName(share); err != nil {
		return err
	}
	if _, err := s.eng.share(ctx, a.UID, share); !storage.HasCode(err, "ShareNotFound") {
		return err
	}
	err = s.eng.store.Update(ctx, func(tx store.Tx) error { return s.eng.createIn(tx, a.UID, &shareRec{Name: share}) })
	if storage.HasCode(err, "ShareAlreadyExists") {
		return nil
	}
	return err
}

// OpenFile opens a file of a share for reading. What is not there is an error that
// wraps fs.ErrNotExist.
func (s *Service) OpenFile(ctx context.Context, account, share, name string) (io.ReadCloser, error) {
	t, _, err := s.openShare(ctx, account, share)
	if storage.HasCode(err, "ShareNotFound") {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, err
	}
	defer t.Close()
	at, err := t.find(name)
	if err == nil && (at.info == nil || !at.info.Mode().IsRegular()) {
		err = fmt.Errorf("file %s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	f, _, err := t.openFile(at.path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// find is lookup of a path as others write it; a parent that is not there is the
// same as a file that is not.
func (t *tree) find(name string) (place, error) {
	clean, err := cleanPath(name, true)
	if err != nil {
		return place{}, err
	}
	at, err := t.lookup(clean)
	if storage.HasCode(err, "ParentNotFound") || storage.HasCode(err, "ResourceNotFound") {
		return place{}, fmt.Errorf("file %s: %w", name, fs.ErrNotExist)
	}
	return at, err
}

// ListFiles yields the paths of all files below a directory of a share, without
// pipes, devices and links that lead out. A directory that is not there has none.
func (s *Service) ListFiles(ctx context.Context, account, share, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		t, _, err := s.openShare(ctx, account, share)
		if storage.HasCode(err, "ShareNotFound") {
			return
		}
		if err != nil {
			yield("", err)
			return
		}
		defer t.Close()
		at, err := t.find(dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && at.info == nil {
			return
		}
		if err != nil {
			yield("", err)
			return
		}
		err = fs.WalkDir(t.FS(), t.name(at.path), func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			info, err := t.stat(p)
			if err != nil || info == nil || !info.Mode().IsRegular() {
				return err
			}
			if !yield(p, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield("", fmt.Errorf("list share %s: %w", share, err))
		}
	}
}

// PutFile makes a file of all of r, replacing what is there, with the directories
// that it is in. When it returns, the file is durable.
func (s *Service) PutFile(ctx context.Context, account, share, name string, r io.Reader) error {
	t, rec, err := s.openShare(ctx, account, share)
	if err != nil {
		return err
	}
	defer t.Close()
	clean, err := cleanPath(name, true)
	if err != nil || clean == "" {
		return fmt.Errorf("put file %q: %w", name, storage.Refuse("InvalidFileOrDirectoryPathName"))
	}
	if dir := path.Dir(clean); dir != "." {
		if err := t.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("put file %s: %w", name, asRefusal(err))
		}
	}
	at, err := t.lookup(clean)
	if err != nil {
		return fmt.Errorf("put file %s: %w", name, err)
	}
	f, _, err := t.openFile(at.path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("put file %s: %w", name, err)
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("put file %s: %w", name, asRefusal(err))
	}
	w := &growing{eng: s.eng, rec: rec, dir: t.dir, f: f}
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("put file %s: %w", name, asRefusal(err))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("put file %s: %w", name, err)
	}
	for dir, _ := splitLast(at.path); ; dir, _ = splitLast(dir) {
		if err := t.syncDir(dir); err != nil || dir == "" {
			return err
		}
	}
}

// growing writes a file within its share's quota.
type growing struct {
	eng *engine
	rec *shareRec
	dir string
	f   *os.File
}

func (g *growing) Write(p []byte) (int, error) {
	if err := g.eng.grow(g.rec, g.dir, int64(len(p))); err != nil {
		return 0, err
	}
	return g.f.Write(p)
}
