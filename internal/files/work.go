package files

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// work is a call's hold on a share and on what is at its path.
type work struct {
	*tree
	c    *call
	rec  *shareRec
	at   place
	meta *metaRec // nil if nothing is kept
}

// open finds the share and what is at a path in it. The work must be closed.
func (c *call) open(path string) (*work, error) {
	w := &work{c: c}
	var err error
	if w.rec, err = c.s.eng.share(c.Context(), c.Account.UID, c.share); err != nil {
		return nil, err
	}
	dir, _, err := c.s.eng.dirs.Path(c.Account.UID, c.share)
	if err != nil {
		return nil, err
	}
	if w.tree, err = openTree(dir); err != nil {
		return nil, err
	}
	if w.at, err = w.lookup(path); err != nil {
		w.close()
		return nil, err
	}
	if err := c.s.eng.store.View(c.Context(), func(tx store.Tx) error {
		w.meta, err = loadMeta(tx, w.rec.ID, w.at.path)
		return err
	}); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *work) close() { _ = w.Root.Close() }

// openDir is open for a directory that is there.
func (c *call) openDir() (*work, error) {
	w, err := c.open(c.path)
	if err != nil {
		return nil, err
	}
	switch {
	case w.at.info == nil:
		err = storage.Refuse("ResourceNotFound")
	case !w.at.info.IsDir():
		err = storage.Refuse("ResourceTypeMismatch")
	default:
		return w, nil
	}
	w.close()
	return nil, err
}

// openToRead is openRegular for a file that the caller may read now.
func (c *call) openToRead() (*work, error) {
	w, err := c.openRegular()
	if err != nil {
		return nil, err
	}
	if err := w.mayUse(false); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// openRegular is open for a file that is there.
func (c *call) openRegular() (*work, error) {
	w, err := c.open(c.path)
	if err != nil {
		return nil, err
	}
	switch {
	case w.at.info == nil:
		err = storage.Refuse("ResourceNotFound")
	case !w.at.info.Mode().IsRegular():
		err = storage.Refuse("ResourceTypeMismatch")
	default:
		return w, nil
	}
	w.close()
	return nil, err
}

// parent describes the directory that the work's path is in, nil for the root.
func (w *work) parent() fs.FileInfo {
	if w.at.path == "" {
		return nil
	}
	dir, _ := splitLast(w.at.path)
	info, err := w.stat(dir)
	if err != nil {
		return nil
	}
	return info
}

// lock keeps others from writing the file at the work's path.
func (w *work) lock() *sync.Mutex {
	e := w.c.s.eng
	m := &e.locks[maphash.String(e.seed, metaKey(w.rec.ID, w.at.path))%uint64(len(e.locks))]
	m.Lock()
	return m
}

// mayWrite decides about a change of a file by its lease, and refuses to change
// what is read-only.
func (w *work) mayWrite() error {
	m := w.meta
	if m == nil {
		m = &metaRec{}
	}
	if _, err := m.Lease.Held(w.c.HTTP.Header.Get("x-ms-lease-id"), "File", true, w.c.s.base.Clock.Now().UnixNano()); err != nil {
		return err
	}
	if strings.Contains(m.Attributes, "ReadOnly") {
		return storage.Refuse("ReadOnlyAttribute")
	}
	return nil
}

// mayUse decides about another use of a file by its lease.
func (w *work) mayUse(write bool) error {
	m := w.meta
	if m == nil {
		m = &metaRec{}
	}
	_, err := m.Lease.Held(w.c.HTTP.Header.Get("x-ms-lease-id"), "File", write, w.c.s.base.Clock.Now().UnixNano())
	return err
}

// keep writes what is kept of the work's path, as f changes it, and describes the
// file anew.
func (w *work) keep(f func(store.Tx, *metaRec) error) (*metaRec, error) {
	info, err := w.stat(w.at.path)
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, storage.Refuse("ResourceNotFound") // a program was quicker
	}
	w.at.info = info
	m := &metaRec{}
	err = w.c.s.eng.store.Update(w.c.Context(), func(tx store.Tx) error {
		old, err := loadMeta(tx, w.rec.ID, w.at.path)
		if err != nil {
			return err
		}
		*m = metaRec{}
		if old != nil {
			*m = *old
		}
		w.c.s.eng.touch(m, info)
		if f != nil {
			if err := f(tx, m); err != nil {
				return err
			}
		}
		return saveMeta(tx, w.rec.ID, w.at.path, m)
	})
	if err != nil {
		return nil, err
	}
	w.meta = m
	return current(m, info), nil
}

// written sets the time of the file itself, as the headers have it; old is what it
// was before a write.
func (w *work) written(p *smb, old time.Time) error {
	var t time.Time
	switch {
	case strings.EqualFold(p.written, "preserve"):
		t = old
	case p.written == "", strings.EqualFold(p.written, "now"):
		return nil
	default:
		t, _ = smbTime(p.written, time.Time{})
	}
	if t.IsZero() {
		return nil
	}
	if err := w.Chtimes(w.name(w.at.path), t, t); err != nil {
		return fmt.Errorf("set the time of a file: %w", err)
	}
	return nil
}

// forget removes what is kept of a path.
func (w *work) forget(path string) error {
	return w.c.s.eng.store.Update(w.c.Context(), func(tx store.Tx) error { return tx.Delete(bucketMeta, metaKey(w.rec.ID, path)) })
}

func (c *call) createDirectory() error {
	p, err := parseSMB(c.HTTP.Header)
	if err != nil {
		return err
	}
	meta, err := storage.ParseMetadata(c.HTTP.Header)
	if err != nil {
		return err
	}
	if c.path == "" {
		return storage.Refuse("ResourceAlreadyExists")
	}
	w, err := c.open(c.path)
	if err != nil {
		return err
	}
	defer w.close()
	if w.at.info != nil {
		return storage.Refuse("ResourceAlreadyExists")
	}
	if err := w.Mkdir(w.at.path, 0o700); err != nil {
		return asRefusal(err)
	}
	dir, _ := splitLast(w.at.path)
	if err := w.syncDir(dir); err != nil {
		return err
	}
	if err := w.written(p, time.Time{}); err != nil {
		return err
	}
	m, err := w.keep(func(tx store.Tx, m *metaRec) error {
		now := c.s.base.Clock.Now()
		*m = metaRec{ETag: m.ETag, Modified: m.Modified, Changed: m.Changed, Seen: m.Seen, Size: m.Size, Created: now.UnixNano(), Metadata: meta}
		return p.apply(tx, w.rec.ID, m, now, true)
	})
	if err != nil {
		return err
	}
	c.show(m, w.at.info, w.parent())
	c.Set("x-ms-request-server-encrypted", "true")
	return c.Empty(http201)
}

func (c *call) deleteDirectory() error {
	if c.path == "" {
		return storage.Refuse("InvalidUri")
	}
	w, err := c.openDir()
	if err != nil {
		return err
	}
	defer w.close()
	if w.meta != nil && strings.Contains(w.meta.Attributes, "ReadOnly") {
		return storage.Refuse("ReadOnlyAttribute")
	}
	if err := w.unlink(); err != nil {
		return err
	}
	// what programs removed from it is forgotten, too
	if err := w.forgetBelow(w.at.path); err != nil {
		return err
	}
	return c.Empty(http202)
}

// unlink removes the file or empty directory at the path, durably.
func (w *work) unlink() error {
	if err := w.Remove(w.at.path); err != nil {
		return asRefusal(err)
	}
	dir, _ := splitLast(w.at.path)
	return w.syncDir(dir)
}

// forgetBelow removes what is kept of a directory and of what was in it.
func (w *work) forgetBelow(path string) error {
	for {
		n := 0
		err := w.c.s.eng.store.Update(w.c.Context(), func(tx store.Tx) error {
			var keys []string
			for row, err := range tx.Scan(bucketMeta, store.Range{Prefix: metaKey(w.rec.ID, path) + "/", Limit: reapBatch}) {
				if err != nil {
					return err
				}
				keys = append(keys, row.Key)
			}
			n = len(keys)
			for _, k := range append(keys, metaKey(w.rec.ID, path)) {
				if err := tx.Delete(bucketMeta, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || n < reapBatch {
			return err
		}
	}
}

func (c *call) getDirectory() error {
	w, err := c.openDir()
	if err != nil {
		return err
	}
	defer w.close()
	m := current(w.meta, w.at.info)
	storage.WriteMetadata(c.W.Header(), m.Metadata)
	c.show(m, w.at.info, w.parent())
	c.Set("x-ms-server-encrypted", "true")
	c.Set("x-ms-type", "Directory")
	return c.Empty(http200)
}

func (c *call) setDirectoryProperties() error {
	p, err := parseSMB(c.HTTP.Header)
	if err != nil {
		return err
	}
	return c.changeDirectory(p, func(tx store.Tx, w *work, m *metaRec) error {
		return p.apply(tx, w.rec.ID, m, c.s.base.Clock.Now(), true)
	})
}

func (c *call) setDirectoryMetadata() error {
	meta, err := storage.ParseMetadata(c.HTTP.Header)
	if err != nil {
		return err
	}
	return c.changeDirectory(&smb{written: "preserve"}, func(_ store.Tx, _ *work, m *metaRec) error {
		m.Metadata = meta
		return nil
	})
}

func (c *call) changeDirectory(p *smb, f func(store.Tx, *work, *metaRec) error) error {
	w, err := c.openDir()
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.written(p, w.at.info.ModTime()); err != nil {
		return err
	}
	m, err := w.keep(func(tx store.Tx, m *metaRec) error { return f(tx, w, m) })
	if err != nil {
		return err
	}
	c.show(m, w.at.info, w.parent())
	c.Set("x-ms-request-server-encrypted", "true")
	return c.Empty(http200)
}

// listHandles serves List Handles. Nobody has any: this server does not speak SMB.
func (c *call) listHandles() error {
	w, err := c.open(c.path)
	if err != nil {
		return err
	}
	defer w.close()
	if w.at.info == nil {
		return storage.Refuse("ResourceNotFound")
	}
	x := c.XML()
	x.Raw("<EnumerationResults><Entries /><NextMarker /></EnumerationResults>")
	return c.End(x)
}

func (c *call) closeHandles() error {
	if c.HTTP.Header.Get("x-ms-handle-id") == "" {
		return storage.MissingHeader("x-ms-handle-id")
	}
	w, err := c.open(c.path)
	if err != nil {
		return err
	}
	defer w.close()
	if w.at.info == nil {
		return storage.Refuse("ResourceNotFound")
	}
	c.Set("x-ms-number-of-handles-closed", "0")
	c.Set("x-ms-number-of-handles-failed", "0")
	return c.Empty(http200)
}
