package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// engine keeps containers and blobs. Every change is one transaction of the
// store; bytes are durable in files before the transaction names them, and files
// are removed after the transaction that gave them up.
type engine struct {
	store store.Store
	clock clock.Clock
	files *files

	etags  storage.Stamps
	reaper *storage.Reaper

	reaping sync.Mutex // held while garbage is taken apart
	aging   sync.Mutex // held during a round of lifecycle policies

	// reading is held shared from looking a block list up to pinning it, and
	// alone by the reaper before it takes lists apart.
	reading sync.RWMutex
	pinMu   sync.Mutex
	pins    map[string]int // list ID → readers

	copies copies

	seed  maphash.Seed
	locks [64]sync.Mutex // serialise appends to one blob
}

// ref names a blob.
type ref struct {
	uid, container, name string
	// as is who uses the blob, nil for Azimuth itself; need is what they need
	// the ACLs of a tree to allow, when these decide.
	as   *actor
	need need
	// at names something of the blob's past; nil is the blob itself.
	at *moment
	// birth is what the request says about the permissions of what it makes.
	birth *birth
}

func newEngine(st store.Store, c clock.Clock, f *files) *engine {
	return &engine{
		store: st, clock: c, files: f,
		reaper: storage.NewReaper(c), copies: copies{wake: make(chan struct{}, 1)},
		pins: map[string]int{},
		seed: maphash.MakeSeed(),
	}
}

// stamp returns the present and an ETag that no resource has had before.
func (e *engine) stamp() (now int64, etag uint64) { return e.etags.Next(e.clock) }

func (e *engine) lock(key string) *sync.Mutex {
	return &e.locks[maphash.String(e.seed, key)%uint64(len(e.locks))]
}

func findContainer(tx store.Tx, uid, name string) (*containerRec, error) {
	key := containerKey(uid, name)
	c, err := store.Recall(tx, bucketContainers, key, func() (*containerRec, error) {
		return storage.Load[containerRec](tx, bucketContainers, key)
	})
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, refuse("ContainerNotFound")
	}
	own := *c // callers change it
	return &own, nil
}

// find returns the blob of r and the key of its row; the blob is nil when there
// is none. A blob of uncommitted blocks only is returned too.
func find(tx store.Tx, r ref) (key string, b *blobRec, err error) {
	p, err := look(tx, r)
	if err != nil {
		return "", nil, err
	}
	return p.find(tx, r)
}

// visible is b unless it consists of uncommitted blocks only.
func visible(b *blobRec) *blobRec {
	if b == nil || b.Uncommitted {
		return nil
	}
	return b
}

// createContainer makes a container.
func (e *engine) createContainer(ctx context.Context, uid string, c *containerRec) (*containerRec, error) {
	name := c.Name
	c.ID = storage.RandomHex(12)
	c.Modified, c.ETag = e.stamp()
	err := e.store.Update(ctx, func(tx store.Tx) error {
		old, err := storage.Load[containerRec](tx, bucketContainers, containerKey(uid, name))
		if err != nil {
			return err
		}
		if old != nil {
			return refuse("ContainerAlreadyExists")
		}
		return storage.Save(tx, bucketContainers, containerKey(uid, name), c)
	})
	if err != nil {
		return nil, fmt.Errorf("create container %s: %w", name, err)
	}
	return c, nil
}

// container returns a container.
func (e *engine) container(ctx context.Context, uid, name string) (c *containerRec, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		c, err = findContainer(tx, uid, name)
		return err
	})
	return c, err
}

// changeContainer applies change to a container and gives it a new ETag.
func (e *engine) changeContainer(ctx context.Context, uid, name string, change func(*containerRec) error) (c *containerRec, err error) {
	now, etag := e.stamp()
	err = e.store.Update(ctx, func(tx store.Tx) error {
		if c, err = findContainer(tx, uid, name); err != nil {
			return err
		}
		if err := change(c); err != nil {
			return err
		}
		c.ETag, c.Modified = etag, now
		return storage.Save(tx, bucketContainers, containerKey(uid, name), c)
	})
	if err != nil {
		return nil, fmt.Errorf("change container %s: %w", name, err)
	}
	return c, nil
}

// deleteContainer removes a container. Its blobs are gone at once; their space
// comes back in the background.
func (e *engine) deleteContainer(ctx context.Context, uid, name string, check func(*containerRec) error) error {
	err := e.store.Update(ctx, func(tx store.Tx) error {
		c, err := findContainer(tx, uid, name)
		if err != nil {
			return err
		}
		if err := check(c); err != nil {
			return err
		}
		return e.dropContainer(tx, uid, c)
	})
	if err != nil {
		return fmt.Errorf("delete container %s: %w", name, err)
	}
	e.reaper.Kick()
	return nil
}

// stat returns a blob.
func (e *engine) stat(ctx context.Context, r ref) (b *blobRec, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		if _, b, err = find(tx, r); err != nil {
			return err
		}
		if b = visible(b); b == nil {
			return refuse("BlobNotFound")
		}
		return nil
	})
	return b, err
}

// change describes how a write makes the new blob from the old one, which is nil
// when there is none. It runs inside the transaction and may run more than once.
// It sets what it is about; the engine sets times, ETag and data.
type change func(old *blobRec) (*blobRec, error)

// put makes the bytes of in the whole content of a blob. What it takes over from
// in belongs to the blob afterwards; on an error it is dropped.
func (e *engine) put(ctx context.Context, r ref, in *intake, build change) (b *blobRec, err error) {
	now, etag := e.stamp()
	var gone []string
	var old *blobRec
	data := dataID(etag)
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := e.place(tx, r)
		if err != nil {
			return err
		}
		old = p.rec
		if b, err = build(visible(old)); err != nil {
			return err
		}
		if err := p.adopt(b, r); err != nil {
			return err
		}
		b.Created, b.Modified, b.ETag = now, now, etag
		if v := visible(old); v != nil && v.Type == b.Type {
			b.Created = v.Created
		}
		if b.Type == pageBlob {
			b.Pages, b.Origin = data, etag
		} else {
			b.Size = in.size
		}
		switch {
		case in.file != "":
			b.File = in.file
			err = storage.Save(tx, bucketFiles, in.file, fileRec{Size: in.size, CRC: in.crc})
		case in.size > 0:
			b.Inline = data
			err = saveInline(tx, data, in.crc, in.inline)
		}
		if err != nil {
			return err
		}
		if gone, err = e.supersede(tx, p, r.uid, b); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, p.key, b)
	})
	if err != nil {
		e.undo(in, err)
		return nil, fmt.Errorf("put blob %s: %w", r.name, err)
	}
	e.settle(gone, old)
	return b, nil
}

// undo drops what a failed write took in. After an error of the store itself the
// file stays: whether the write happened may be unknown, and if it did not, the
// next start's sweep removes it.
func (e *engine) undo(in *intake, err error) {
	var refused *Error
	if errors.As(err, &refused) || storage.IsFull(err) || errors.Is(err, errReplaced) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		e.files.drop(in)
	}
}

// update changes a blob's properties and gives it a new ETag. versioned says that
// the change makes a new version of it where versions are kept.
func (e *engine) update(ctx context.Context, r ref, versioned bool, change func(*blobRec) error) (b *blobRec, err error) {
	now, etag := e.stamp()
	var gone []string
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if b = visible(p.rec); b == nil {
			return refuse("BlobNotFound")
		}
		size := b.Size
		if versioned {
			if err := e.advance(tx, p, r.uid, etag); err != nil {
				return err
			}
		}
		if err := change(b); err != nil {
			return err
		}
		if b.Size < size { // a page blob that was made smaller
			if gone, err = cutPages(tx, b.Pages, byteRange{b.Size, size - b.Size}); err != nil {
				return err
			}
		}
		b.ETag, b.Modified = etag, now
		return storage.Save(tx, bucketBlobs, p.key, b)
	})
	if err != nil {
		return nil, fmt.Errorf("change blob %s: %w", r.name, err)
	}
	e.files.remove(gone...)
	return b, nil
}

// snapshotsToo says what a deletion does about the snapshots of the blob.
type snapshotsToo byte

const (
	refuseSnapshots  snapshotsToo = iota // there must be none
	includeSnapshots                     // they go, too
	onlySnapshots                        // they alone go
)

// remove deletes a blob, with the uncommitted blocks it may have, or what r names
// of its past. It reports whether that is still kept somehow.
func (e *engine) remove(ctx context.Context, r ref, too snapshotsToo, check func(*blobRec) error) (kept bool, err error) {
	var gone []string
	var b *blobRec
	err = e.store.Update(ctx, func(tx store.Tx) error {
		gone, kept = nil, false
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		var key string
		if key, b, err = p.find(tx, r); err != nil {
			return err
		}
		if visible(b) == nil {
			return refuse("BlobNotFound")
		}
		if err := check(b); err != nil {
			return err
		}
		switch {
		case b.former:
			rec, err := storage.Load[pastRec](tx, bucketPast, key)
			if err != nil {
				return err
			}
			gone, kept, err = e.removePast(tx, r.uid, key, rec)
			return err
		case r.at != nil:
			return refuse("OperationNotAllowedOnRootBlob")
		}
		if gone, kept, err = e.removeSnapshots(tx, p, r.uid, too); err != nil || too == onlySnapshots {
			return err
		}
		if b.Dir != "" {
			if empty, err := isEmpty(tx, b.Dir); err != nil {
				return err
			} else if !empty {
				return refuse("DirectoryIsNotEmpty")
			}
		}
		if err := reindex(tx, p.key, b.Tags, nil); err != nil {
			return err
		}
		buried, err := e.bury(tx, p, r.uid, b, true)
		if err != nil {
			return err
		}
		kept = kept || buried
		if !buried {
			more, err := e.release(tx, b)
			if err != nil {
				return err
			}
			gone = append(gone, more...)
		}
		return tx.Delete(bucketBlobs, p.key)
	})
	if err != nil {
		return false, fmt.Errorf("delete blob %s: %w", r.name, err)
	}
	e.settle(gone, b)
	if too != refuseSnapshots {
		e.reaper.Kick() // the snapshots may have left something to the reaper, too
	}
	return kept, nil
}

// removeSnapshots deletes the snapshots of a blob that is to be deleted.
func (e *engine) removeSnapshots(tx store.Tx, p *spot, uid string, too snapshotsToo) (gone []string, kept bool, err error) {
	keys, recs, err := p.pastRows(tx)
	if err != nil {
		return nil, false, err
	}
	for i, rec := range recs {
		if rec.Kind != pastSnapshot || rec.Deleted != 0 {
			continue
		}
		if too == refuseSnapshots {
			return nil, false, refuse("SnapshotsPresent")
		}
		more, k, err := e.removePast(tx, uid, keys[i], rec)
		if err != nil {
			return nil, false, err
		}
		gone, kept = append(gone, more...), kept || k
	}
	return gone, kept, nil
}

// release gives up the data and the uncommitted blocks of old. It returns the
// files to remove once the transaction is durable.
func (e *engine) release(tx store.Tx, old *blobRec) (gone []string, err error) {
	if old == nil {
		return nil, nil
	}
	if old.Staged != "" {
		if err := e.discard(tx, garbage{Kind: "staged", ID: old.Staged}); err != nil {
			return nil, err
		}
	}
	switch {
	case old.Inline != "":
		return nil, tx.Delete(bucketInline, old.Inline)
	case old.File != "":
		return releaseFile(tx, nil, old.File)
	case old.List != "":
		return nil, e.discard(tx, garbage{Kind: "list", ID: old.List})
	case old.Dir != "":
		return nil, e.discard(tx, garbage{Kind: "container", ID: old.Dir})
	case old.Pages != "":
		return nil, e.discard(tx, garbage{Kind: "pages", ID: old.Pages})
	}
	return nil, nil
}

// releaseFile gives up one reference to a file and appends it to gone when that
// was the last.
func releaseFile(tx store.Tx, gone []string, id string) ([]string, error) {
	f, err := storage.Load[fileRec](tx, bucketFiles, id)
	if err != nil || f == nil {
		return gone, err
	}
	if f.Refs > 1 {
		f.Refs--
		return gone, storage.Save(tx, bucketFiles, id, f)
	}
	return append(gone, id), tx.Delete(bucketFiles, id)
}

// retainFile adds a reference to a file.
func retainFile(tx store.Tx, id string) error {
	f, err := storage.Load[fileRec](tx, bucketFiles, id)
	if err != nil {
		return err
	}
	if f == nil {
		return fmt.Errorf("blob file %s has no row", id)
	}
	f.Refs = max(f.Refs, 1) + 1
	return storage.Save(tx, bucketFiles, id, f)
}

// settle runs after a transaction that released old is durable.
func (e *engine) settle(gone []string, old *blobRec) {
	e.files.remove(gone...)
	if old != nil && (old.List+old.Pages+old.Staged+old.Dir != "") {
		e.reaper.Kick() // release left the rest to the reaper
	}
}

// isGone reports whether err means that a file vanished between being looked up
// and being opened, because the blob was replaced meanwhile.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrNotFound)
}
