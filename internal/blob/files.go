package blob

import (
	"crypto/md5"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// inlineLimit is the most bytes of a blob or block that are kept in the store
// rather than in a file: below it one fsync less outweighs the larger database
// (see BenchmarkPutSmall).
const inlineLimit = 16 << 10

const copyBuffer = 256 << 10

// files is the directory of blob bytes: <dir>/<2 hex>/<id>. A file means
// nothing until a row of the store names it.
type files struct {
	dir string
	// boot marks the files of this process, so that the sweep of leftovers does
	// not touch what is being written now.
	boot string
	// fault, in tests, fails a step before it is done.
	fault   func(step string) error
	buffers sync.Pool
}

func openFiles(dir string) (*files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make blob directory: %w", err)
	}
	f := &files{dir: dir, boot: storage.RandomHex(4)}
	f.buffers.New = func() any { b := make([]byte, copyBuffer); return &b }
	return f, nil
}

func (f *files) step(name string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(name)
}

func (f *files) path(id string) string { return filepath.Join(f.dir, id[:2], id) }

// ours reports whether this process made the file.
func (f *files) ours(id string) bool { return strings.HasSuffix(id, "-"+f.boot) }

// create makes a new empty file and its directory.
func (f *files) create() (string, *os.File, error) {
	if err := f.step("create"); err != nil {
		return "", nil, err
	}
	id := storage.RandomHex(12) + "-" + f.boot
	path := f.path(id)
	const flags = os.O_CREATE | os.O_EXCL | os.O_RDWR
	file, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			if err = syncDir(f.dir); err == nil {
				file, err = os.OpenFile(path, flags, 0o600)
			}
		}
	}
	if err != nil {
		return "", nil, fmt.Errorf("create blob file: %w", err)
	}
	return id, file, nil
}

// seal makes the file's bytes and, when it is new, its name durable.
func (f *files) seal(id string, file *os.File, isNew bool) error {
	if err := f.step("sync"); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync blob file: %w", err)
	}
	if !isNew {
		return nil
	}
	if err := f.step("syncdir"); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.path(id)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync blob directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync blob directory: %w", err)
	}
	return nil
}

// remove deletes files. What cannot be deleted now is left to the next sweep.
func (f *files) remove(ids ...string) {
	for _, id := range ids {
		if f.step("remove") == nil {
			os.Remove(f.path(id))
		}
	}
}

// open opens a file for reading.
func (f *files) open(id string) (*os.File, error) {
	file, err := os.Open(f.path(id))
	if err != nil {
		return nil, fmt.Errorf("open blob file: %w", err)
	}
	return file, nil
}

// intake is bytes taken in and durable, but not yet named by the store.
type intake struct {
	size   int64
	crc    uint64
	md5    []byte // nil when it was not asked for
	inline []byte // the bytes themselves, when file is empty
	file   string
}

// fillBuffer reads until buf is full or r has ended. Unlike io.ReadFull it tells
// the end of r from a body that was cut short.
func fillBuffer(r io.Reader, buf []byte) (n int, ended bool, err error) {
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, &storage.BodyError{Err: err}
		}
	}
	return n, false, nil
}

// take reads r to its end. More than limit bytes are refused with
// RequestBodyTooLarge.
func (f *files) take(r io.Reader, limit int64, wantMD5 bool) (*intake, error) {
	bp := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(bp)
	buf := *bp
	var sum hash.Hash
	if wantMD5 {
		sum = md5.New()
	}
	in := &intake{}
	n, ended, err := fillBuffer(r, buf)
	if err != nil {
		return nil, err
	}
	if in.size = int64(n); in.size > limit {
		return nil, refuse("RequestBodyTooLarge")
	}
	add := func(p []byte) {
		in.crc = crcUpdate(in.crc, p)
		if sum != nil {
			sum.Write(p)
		}
	}
	add(buf[:n])
	if ended && n <= inlineLimit {
		in.inline = append([]byte(nil), buf[:n]...)
	} else if err := f.fill(in, r, buf, n, ended, limit, add); err != nil {
		return nil, err
	}
	if sum != nil {
		in.md5 = sum.Sum(nil)
	}
	return in, nil
}

// fill writes buf[:n], then the rest of r unless it has ended, to a new file.
func (f *files) fill(in *intake, r io.Reader, buf []byte, n int, ended bool, limit int64, add func([]byte)) (err error) {
	id, file, err := f.create()
	if err != nil {
		return err
	}
	defer func() {
		if cerr := file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close blob file: %w", cerr)
		}
		if err != nil {
			f.remove(id)
		}
	}()
	for {
		if err := f.step("write"); err != nil {
			return err
		}
		if _, err := file.Write(buf[:n]); err != nil {
			return fmt.Errorf("write blob file: %w", err)
		}
		if ended {
			break
		}
		if n, ended, err = fillBuffer(r, buf); err != nil {
			return err
		}
		if in.size += int64(n); in.size > limit {
			return refuse("RequestBodyTooLarge")
		}
		add(buf[:n])
	}
	if err := f.seal(id, file, true); err != nil {
		return err
	}
	in.file = id
	return nil
}

// drop removes the file of an intake that was not used.
func (f *files) drop(in *intake) {
	if in != nil && in.file != "" {
		f.remove(in.file)
	}
}
