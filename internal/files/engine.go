package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The buckets of the store. A share is there when its directory is: a program of
// this server may have made it. The ID is of an instance of a share.
const (
	bucketShares      = "file.share"      // <account uid>/<name> → shareRec
	bucketMeta        = "file.meta"       // <share ID>/<path in lower case> → metaRec
	bucketPermissions = "file.permission" // <share ID>/<key> → SDDL
	bucketGarbage     = "file.garbage"    // <share ID>: what the store has of it is to go
	bucketRetention   = "file.retention"  // <account uid> → days that deleted shares are kept, if it was said
)

// defaultQuota is how large a share may become unless it is said, in GiB.
const defaultQuota = 5120

type shareRec struct {
	Name     string                 `json:"name"`
	ID       string                 `json:"id"`
	ETag     uint64                 `json:"etag"`
	Modified int64                  `json:"mod"` // Unix nanoseconds
	Quota    int                    `json:"quota"`
	Tier     string                 `json:"tier,omitempty"`
	Tiered   int64                  `json:"tiered,omitempty"` // Unix nanoseconds
	Metadata map[string]string      `json:"meta,omitempty"`
	Policies []storage.AccessPolicy `json:"policies,omitempty"`
	Lease    *storage.Lease         `json:"lease,omitempty"`
	// Removed says that the share is deleted. Its directory is to go at Until, Unix
	// nanoseconds; Deleted is when that was, and Version names what is kept.
	Removed bool   `json:"removed,omitempty"`
	Deleted int64  `json:"deleted,omitempty"`
	Until   int64  `json:"until,omitempty"`
	Version string `json:"version,omitempty"`
}

// kept reports whether a deleted share can be restored at now.
func (r *shareRec) kept(now int64) bool { return r.Removed && r.Until > now }

// defaultRetention is how many days an account keeps deleted shares unless it is
// said, as Azure does.
const defaultRetention = 7

// retention is how many days an account keeps deleted shares.
func retention(tx store.Tx, uid string) (int, error) {
	b, err := tx.Get(bucketRetention, uid)
	if errors.Is(err, store.ErrNotFound) {
		return defaultRetention, nil
	}
	if err != nil {
		return 0, err
	}
	days, err := strconv.Atoi(string(b))
	if err != nil {
		return 0, fmt.Errorf("decode retention of shares: %w", err)
	}
	return days, nil
}

// engine keeps the shares.
type engine struct {
	store  store.Store
	clock  clock.Clock
	dirs   Dirs
	etags  storage.Stamps
	reaper *storage.Reaper

	usage usage
	seed  maphash.Seed
	locks [64]sync.Mutex // serialise the writes of one file
}

func newEngine(st store.Store, c clock.Clock, dirs Dirs) *engine {
	return &engine{store: st, clock: c, dirs: dirs, reaper: storage.NewReaper(c), usage: usage{of: map[string]*used{}}, seed: maphash.MakeSeed()}
}

// stamp returns the present and an ETag that no resource had before.
func (e *engine) stamp() (now int64, etag uint64) { return e.etags.Next(e.clock) }

func decodeShare(key string, b []byte) (*shareRec, error) {
	r := &shareRec{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("decode share %q: %w", key, err)
	}
	return r, nil
}

func saveShare(tx store.Tx, uid string, r *shareRec) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode share %s: %w", r.Name, err)
	}
	return tx.Put(bucketShares, uid+"/"+r.Name, b)
}

// load returns the row of a share, nil if there is none.
func load(tx store.Tx, uid, name string) (*shareRec, error) {
	b, err := tx.Get(bucketShares, uid+"/"+name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeShare(name, b)
}

// find returns a share. One that has a directory and no row was made by a program
// of this server; its ID is the same each time.
func (e *engine) find(tx store.Tx, uid, name string) (*shareRec, error) {
	rec, err := load(tx, uid, name)
	if err != nil {
		return nil, err
	}
	dir, there, err := e.dirs.Path(uid, name)
	if err != nil {
		return nil, err
	}
	if !there || rec != nil && rec.Removed {
		return nil, storage.Refuse("ShareNotFound")
	}
	if rec == nil {
		rec = &shareRec{Name: name, ID: uid + "-" + name, Quota: defaultQuota, ETag: storage.UnixTicks}
		if info, err := os.Stat(dir); err == nil {
			rec.Modified = info.ModTime().UnixNano()
			rec.ETag = storage.UnixTicks + uint64(rec.Modified/100)
		}
	}
	return rec, nil
}

func (e *engine) share(ctx context.Context, uid, name string) (rec *shareRec, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		rec, err = e.find(tx, uid, name)
		return err
	})
	return rec, err
}

// createIn makes a share.
func (e *engine) createIn(tx store.Tx, uid string, rec *shareRec) error {
	old, err := load(tx, uid, rec.Name)
	if err != nil {
		return err
	}
	_, there, err := e.dirs.Path(uid, rec.Name)
	if err != nil {
		return err
	}
	if there && (old == nil || !old.Removed) {
		return storage.Refuse("ShareAlreadyExists")
	}
	if there {
		// What was deleted is in the way. Azure would still keep it beside the new
		// share; here its time ends.
		free, err := e.dirs.Remove(uid, rec.Name)
		if err != nil {
			return err
		}
		go func() { _ = free() }() // else the next start does it
	}
	if old != nil {
		if err := tx.Put(bucketGarbage, old.ID, nil); err != nil {
			return err
		}
	}
	if _, err := e.dirs.Share(uid, rec.Name); err != nil {
		return err
	}
	rec.ID = storage.RandomHex(12)
	rec.Modified, rec.ETag = e.stamp()
	if rec.Quota == 0 {
		rec.Quota = defaultQuota
	}
	return saveShare(tx, uid, rec)
}

// change applies f to a share and gives it a new ETag.
func (e *engine) change(ctx context.Context, uid, name string, f func(*shareRec) error) (rec *shareRec, err error) {
	err = e.store.Update(ctx, func(tx store.Tx) error {
		rec, err = e.find(tx, uid, name)
		if err != nil {
			return err
		}
		if err := f(rec); err != nil {
			return err
		}
		rec.Modified, rec.ETag = e.stamp()
		return saveShare(tx, uid, rec)
	})
	return rec, err
}

// removeIn deletes a share. Its directory goes once that is durable.
func (e *engine) removeIn(tx store.Tx, uid, name string, check func(*shareRec) error) error {
	rec, err := e.find(tx, uid, name)
	if err != nil {
		return err
	}
	if err := check(rec); err != nil {
		return err
	}
	days, err := retention(tx, uid)
	if err != nil {
		return err
	}
	now := e.clock.Now()
	rec.Removed, rec.Deleted, rec.Until = true, now.UnixNano(), now.AddDate(0, 0, days).UnixNano()
	rec.Version, rec.Lease = strings.ToUpper(storage.RandomHex(8)), nil
	return saveShare(tx, uid, rec)
}

// restoreIn brings a deleted share back that is still kept.
func (e *engine) restoreIn(tx store.Tx, uid, name, version string) (*shareRec, error) {
	rec, err := load(tx, uid, name)
	if err != nil {
		return nil, err
	}
	if rec != nil && !rec.Removed {
		return nil, storage.Refuse("ShareAlreadyExists")
	}
	_, there, err := e.dirs.Path(uid, name)
	if err != nil {
		return nil, err
	}
	if rec == nil || !there || !rec.kept(e.clock.Now().UnixNano()) || rec.Version != version {
		return nil, storage.Refuse("ShareNotFound")
	}
	rec.Removed, rec.Deleted, rec.Until, rec.Version = false, 0, 0, ""
	rec.Modified, rec.ETag = e.stamp()
	return rec, saveShare(tx, uid, rec)
}

// reap frees the space of what is deleted, until ctx ends.
func (e *engine) reap(ctx context.Context, report func(error)) {
	// reapAll itself finds the shares whose time is over
	hourly := func(context.Context) error { return nil }
	e.reaper.Run(ctx, report, e.reapAll, hourly)
}

// reapAll removes the directories of deleted shares, and then what the store has
// of shares that are gone.
func (e *engine) reapAll(ctx context.Context) error {
	type gone struct{ uid, name string }
	var list []gone
	if err := e.store.View(ctx, func(tx store.Tx) error {
		list = nil
		for row, err := range tx.Scan(bucketShares, store.Range{}) {
			if err != nil {
				return err
			}
			rec, err := decodeShare(row.Key, row.Value)
			if err != nil {
				return err
			}
			if rec.Removed && !rec.kept(e.clock.Now().UnixNano()) {
				list = append(list, gone{row.Key[:len(row.Key)-len(rec.Name)-1], rec.Name})
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("find deleted shares: %w", err)
	}
	for _, g := range list {
		if err := e.reapShare(ctx, g.uid, g.name); err != nil {
			return fmt.Errorf("remove share %s: %w", g.name, err)
		}
	}
	return e.reapGarbage(ctx)
}

func (e *engine) reapShare(ctx context.Context, uid, name string) error {
	free := func() error { return nil }
	err := e.store.Update(ctx, func(tx store.Tx) error {
		rec, err := load(tx, uid, name)
		if err != nil || rec == nil || !rec.Removed || rec.kept(e.clock.Now().UnixNano()) {
			return err // it was made again, or restored
		}
		if _, there, err := e.dirs.Path(uid, name); err != nil {
			return err
		} else if there {
			if free, err = e.dirs.Remove(uid, name); err != nil {
				return err
			}
		}
		if err := tx.Put(bucketGarbage, rec.ID, nil); err != nil {
			return err
		}
		return tx.Delete(bucketShares, uid+"/"+name)
	})
	return errors.Join(err, free())
}

// reapBatch is how many rows one transaction removes.
const reapBatch = 256

func (e *engine) reapGarbage(ctx context.Context) error {
	return storage.Sweep(ctx, e.store, reapBatch, bucketGarbage, bucketMeta, bucketPermissions)
}
