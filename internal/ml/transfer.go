package ml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"mime"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/azimuth-ml/azimuth/internal/blob"
)

// errNothing says that there is no blob where some should be.
var errNothing = errors.New("nothing was found")

// transfers is how many files of one directory are moved at once.
const transfers = 4

// download brings the blob at a place, or all below it, into dir, and returns
// the number of files. With single set it must be one blob.
func (s *Service) download(ctx context.Context, at *place, dir string, single bool) (int, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	where := at.url()
	if name := path.Base(at.Path); at.Path != "" && !strings.HasSuffix(at.Path, "/") {
		there, err := s.isFile(ctx, at)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", where, err)
		case there:
			return 1, s.downloadBlob(ctx, at, at.Path, dir, name)
		}
	}
	if single {
		return 0, fmt.Errorf("the file %s was not found", where)
	}
	prefix := at.Path
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	n := 0
	for name, err := range s.filesBelow(ctx, at, prefix) {
		if err != nil {
			if werr := g.Wait(); werr != nil {
				err = werr
			}
			return 0, fmt.Errorf("%s: %w", where, err)
		}
		rel := strings.TrimPrefix(name, prefix)
		n++
		g.Go(func() error { return s.downloadBlob(ctx, at, name, dir, rel) })
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, fmt.Errorf("%w at %s", errNothing, where)
	}
	return n, nil
}

// isFile reports whether there is a file at a place, and not a directory of some.
func (s *Service) isFile(ctx context.Context, at *place) (bool, error) {
	if at.Type == typeFile {
		f, err := s.cfg.Files.OpenFile(ctx, at.Account, at.Container, at.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, f.Close()
	}
	_, err := s.cfg.Blobs.StatBlob(ctx, at.Account, at.Container, at.Path)
	if blob.HasCode(err, "BlobNotFound") || blob.HasCode(err, "ContainerNotFound") {
		return false, nil
	}
	return err == nil, err
}

// filesBelow yields the names of the files below a directory of a place's
// container or share. prefix is the directory, with a slash behind it unless it
// is empty.
func (s *Service) filesBelow(ctx context.Context, at *place, prefix string) iter.Seq2[string, error] {
	if at.Type == typeFile {
		return s.cfg.Files.ListFiles(ctx, at.Account, at.Container, strings.TrimSuffix(prefix, "/"))
	}
	return func(yield func(string, error) bool) {
		for b, err := range s.cfg.Blobs.ListBlobs(ctx, at.Account, at.Container, prefix) {
			if err == nil && (b.Name == prefix || strings.HasSuffix(b.Name, "/") || b.Metadata["hdi_isfolder"] == "true") {
				continue // a directory of an account with a hierarchical namespace
			}
			name := ""
			if err == nil {
				name = b.Name
			}
			if !yield(name, err) {
				return
			}
		}
	}
}

// openAt opens a file of a place's container or share.
func (s *Service) openAt(ctx context.Context, at *place, name string) (io.ReadCloser, error) {
	if at.Type == typeFile {
		return s.cfg.Files.OpenFile(ctx, at.Account, at.Container, name)
	}
	r, _, err := s.cfg.Blobs.OpenBlob(ctx, at.Account, at.Container, name)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ensure makes a place's container or share unless it is there.
func (s *Service) ensure(ctx context.Context, at *place) error {
	if at.Type == typeFile {
		return s.cfg.Files.EnsureShare(ctx, at.Account, at.Container)
	}
	return s.cfg.Blobs.EnsureContainer(ctx, at.Account, at.Container)
}

// downloadBlob writes one blob to a file below dir.
func (s *Service) downloadBlob(ctx context.Context, at *place, name, dir, rel string) error {
	if !filepath.IsLocal(filepath.FromSlash(rel)) {
		return fmt.Errorf("the name '%s' leads out of the directory it belongs in", name)
	}
	r, err := s.openAt(ctx, at, name)
	if err != nil {
		return err
	}
	defer r.Close()
	file := filepath.Join(dir, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700) // blobs have no modes, and scripts must run
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return fmt.Errorf("download %s: %w", name, err)
	}
	return f.Close()
}

// upload puts a file, or all files below a directory, at a place. Links are
// followed only within the directory; what is no file is left out. A path that
// is not there uploads nothing.
func (s *Service) upload(ctx context.Context, local string, at *place) error {
	info, err := os.Stat(local)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		f, err := os.Open(local)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.uploadFile(ctx, f, at, strings.TrimSuffix(at.Path, "/"))
	}
	root, err := os.OpenRoot(local)
	if err != nil {
		return err
	}
	defer root.Close()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	err = filepath.WalkDir(local, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(local, p)
		if err != nil {
			return err
		}
		g.Go(func() error {
			info, err := root.Stat(rel)
			if err != nil || !info.Mode().IsRegular() {
				s.log.Debug("not uploaded", "path", p, "error", err)
				return nil
			}
			f, err := root.Open(rel)
			if err != nil {
				return err
			}
			defer f.Close()
			return s.uploadFile(gctx, f, at, join(at.Path, filepath.ToSlash(rel)))
		})
		return gctx.Err()
	})
	return errors.Join(g.Wait(), err)
}

func (s *Service) uploadFile(ctx context.Context, f io.Reader, at *place, name string) error {
	if at.Type == typeFile {
		if err := s.cfg.Files.PutFile(ctx, at.Account, at.Container, strings.TrimPrefix(name, "/"), f); err != nil {
			return fmt.Errorf("upload %s: %w", name, err)
		}
		return nil
	}
	h := blob.Headers{ContentType: contentType(name)}
	if _, err := s.cfg.Blobs.PutBlob(ctx, at.Account, at.Container, strings.TrimPrefix(name, "/"), f, h); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

// contentType is what a browser should take a file for.
func contentType(name string) string {
	switch ext := strings.ToLower(path.Ext(name)); ext {
	case ".txt", ".log", ".csv", ".yml", ".yaml", ".md", ".py":
		return "text/plain"
	case ".json", ".png", ".jpg", ".svg", ".html", ".pdf":
		return mime.TypeByExtension(ext)
	}
	return "application/octet-stream"
}
