package oci

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
)

// files is the directory of bytes: UID/blobs/ALGORITHM/XX/HEX for what is whole, and
// UID/uploads/ID for what is being uploaded. A file means nothing until a row of
// the store names it.
type files struct {
	dir string
	// manifests begins the names of the files in which this process takes manifests.
	manifests string
	buffers   sync.Pool
	seed      maphash.Seed
	// fault, in tests, fails a step before it is done.
	fault func(step string) error
}

func (f *files) step(name string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(name)
}

const copyBuffer = 256 << 10

func openFiles(dir string) (*files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make registry directory: %w", err)
	}
	f := &files{dir: dir, manifests: "manifest-" + rand.Text() + "-", seed: maphash.MakeSeed()}
	f.buffers.New = func() any { b := make([]byte, copyBuffer); return &b }
	return f, nil
}

func (f *files) blob(uid string, d digest.Digest) string {
	hex := d.Encoded()
	return filepath.Join(f.dir, uid, "blobs", string(d.Algorithm()), hex[:2], hex)
}

func (f *files) upload(uid, id string) string { return filepath.Join(f.dir, uid, "uploads", id) }

// open opens what is whole.
func (f *files) open(uid string, d digest.Digest) (*os.File, error) {
	file, err := os.Open(f.blob(uid, d))
	if err != nil {
		return nil, fmt.Errorf("open registry blob: %w", err)
	}
	return file, nil
}

// create makes an empty file, and the directories above it.
func create(path string) (*os.File, error) {
	const flags = os.O_CREATE | os.O_EXCL | os.O_RDWR
	file, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			file, err = os.OpenFile(path, flags, 0o600)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create registry file: %w", err)
	}
	return file, nil
}

// place makes the bytes of an upload durable and gives them their name. The caller
// holds the digest's lock.
func (f *files) place(file *os.File, uid string, d digest.Digest) error {
	if err := f.step("sync"); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync registry blob: %w", err)
	}
	to := f.blob(uid, d)
	dir := filepath.Dir(to)
	err := os.Rename(file.Name(), to)
	if errors.Is(err, fs.ErrNotExist) {
		if err = f.makeDir(dir); err == nil {
			err = os.Rename(file.Name(), to)
		}
	}
	if err != nil {
		return fmt.Errorf("name registry blob: %w", err)
	}
	return syncDir(dir)
}

// makeDir makes a directory and those above it durably.
func (f *files) makeDir(dir string) error {
	if dir == f.dir || dir == filepath.Dir(dir) {
		return nil
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = f.makeDir(filepath.Dir(dir)); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync registry directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync registry directory: %w", err)
	}
	return nil
}

// remove deletes a file. What cannot be deleted now is left to the next sweep.
func (f *files) remove(path string) { _ = os.Remove(path) }

// bodyError is a failure to read what the client sends, as opposed to a failure to
// keep it.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read request body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// pump copies src to dst through a buffer of the pool.
func (f *files) pump(dst io.Writer, src io.Reader) (n int64, err error) {
	bp := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(bp)
	for {
		m, rerr := src.Read(*bp)
		if m > 0 {
			if err := f.step("write"); err != nil {
				return n, err
			}
			if _, err := dst.Write((*bp)[:m]); err != nil {
				return n, fmt.Errorf("write registry file: %w", err)
			}
			n += int64(m)
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, &bodyError{rerr}
		}
	}
}

// digestLocks keep the file of a digest and its row in step: who gives a file its
// name, or removes it, holds the lock until the row says so.
type digestLocks struct{ stripes [64]sync.Mutex }

func (l *digestLocks) lock(seed maphash.Seed, uid string, d digest.Digest) (unlock func()) {
	m := &l.stripes[maphash.String(seed, key(uid, string(d)))%uint64(len(l.stripes))]
	m.Lock()
	return m.Unlock
}

func (s *Service) lock(uid string, d digest.Digest) (unlock func()) {
	return s.held.lock(s.files.seed, uid, d)
}
