package blob

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// What a blob was is kept in rows of their own, beside the blob's: snapshots,
// earlier versions, and what soft delete keeps. Their keys are the blob's key, a
// zero byte, which no name has, and a time, so that they sort right before every
// longer name. A record moves there with its data; nothing is copied but the
// block lists and small data of blobs that go on under their name.
//
// Accounts with a hierarchical namespace have deleted paths only.

// pastKind says what a row of the past is of.
type pastKind string

const (
	pastSnapshot pastKind = "snapshot"
	pastVersion  pastKind = "version"
	pastBase     pastKind = "base" // a deleted blob that nothing has replaced
	pastPath     pastKind = "path" // a deleted path of a tree, see gonepath.go
)

// pastRec is what a blob was.
type pastRec struct {
	blobRec
	Kind pastKind `json:"kind"`
	// Deleted is when soft delete took it, and Until when it goes for good, both
	// Unix nanoseconds. Zero is of what is not deleted.
	Deleted int64 `json:"gone,omitempty"`
	Until   int64 `json:"until,omitempty"`
}

const (
	pastMark = "\x00"
	// baseMark and liveMark stand where the others have a time: of a deleted blob
	// and, in lists only, of the blob itself.
	baseMark = pastMark + "~"
	liveMark = pastMark + "\x7f"
)

func pastKey(key string, at uint64) string { return key + pastMark + tickTime(at) }

func dueKey(until int64, key string) string { return fmt.Sprintf("%016x/%s", until, key) }

// tickTime writes an ETag's time as the time of a snapshot or the ID of a version.
func tickTime(ticks uint64) string {
	return storage.FullTime(unixTime(int64(ticks-storage.UnixTicks) * 100))
}

// parseTicks is the opposite of tickTime.
func parseTicks(s string) (uint64, bool) {
	t, err := time.Parse("2006-01-02T15:04:05.0000000Z", s)
	if err != nil || t.Before(unixTime(0)) {
		return 0, false
	}
	ticks := storage.UnixTicks + uint64(t.Unix())*10_000_000 + uint64(t.Nanosecond()/100)
	return ticks, tickTime(ticks) == s
}

// moment names something of a blob's past.
type moment struct {
	version bool
	at      uint64
}

// MarshalText implements encoding.TextMarshaler.
func (m moment) MarshalText() ([]byte, error) {
	kind := "snapshot "
	if m.version {
		kind = "version "
	}
	return []byte(kind + tickTime(m.at)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(b []byte) error {
	kind, at, _ := strings.Cut(string(b), " ")
	var ok bool
	if m.at, ok = parseTicks(at); !ok {
		return fmt.Errorf("%q is no moment of a blob", b)
	}
	m.version = kind == "version"
	return nil
}

// RetentionPolicy is what an account keeps of blobs that are deleted or replaced.
type RetentionPolicy struct {
	// Days is how long soft delete keeps blobs; 0 is not at all.
	Days int `json:"days,omitempty"`
	// ContainerDays is Days for containers.
	ContainerDays int `json:"containers,omitempty"`
	// Versioning keeps every version until it is deleted.
	Versioning bool `json:"versions,omitempty"`
}

// RetentionIn returns the policy of the account instance uid.
func (s *Service) RetentionIn(tx store.Tx, uid string) (RetentionPolicy, error) {
	return retentionOf(tx, uid)
}

// SetRetentionIn changes the policy of the account instance uid. The caller sees
// to it that the account has a flat namespace if the policy keeps versions.
func (s *Service) SetRetentionIn(tx store.Tx, uid string, p RetentionPolicy) error {
	if p == (RetentionPolicy{}) {
		return tx.Delete(bucketRetention, uid)
	}
	return storage.Save(tx, bucketRetention, uid, p)
}

func retentionOf(tx store.Tx, uid string) (RetentionPolicy, error) {
	return store.Recall(tx, bucketRetention, uid, func() (RetentionPolicy, error) {
		p, err := storage.Load[RetentionPolicy](tx, bucketRetention, uid)
		if p == nil || err != nil {
			return RetentionPolicy{}, err
		}
		return *p, nil
	})
}

// find returns what r names of the spot: the blob, or something of its past.
func (p *spot) find(tx store.Tx, r ref) (key string, b *blobRec, err error) {
	if r.at == nil {
		return p.key, p.rec, nil
	}
	if v := visible(p.rec); v != nil && r.at.version && v.Version == r.at.at {
		return p.key, v, nil
	}
	key = pastKey(p.key, r.at.at)
	old, err := storage.Load[pastRec](tx, bucketPast, key)
	if err != nil || old == nil || old.Deleted != 0 || (old.Kind == pastVersion) != r.at.version {
		return "", nil, err
	}
	old.former = true
	return key, &old.blobRec, nil
}

// pastRows returns the rows of a blob's past, and what they are.
func (p *spot) pastRows(tx store.Tx) (keys []string, recs []*pastRec, err error) {
	if !p.c.Past {
		return nil, nil, nil
	}
	for row, err := range tx.Scan(bucketPast, store.Range{Prefix: p.key + pastMark}) {
		if err != nil {
			return nil, nil, err
		}
		rec, err := storage.Decode[pastRec](bucketPast, row.Key, row.Value)
		if err != nil {
			return nil, nil, err
		}
		keys, recs = append(keys, row.Key), append(recs, rec)
	}
	return keys, recs, nil
}

// keep adds a row to a blob's past.
func (p *spot) keep(tx store.Tx, uid, key string, rec *pastRec) error {
	if !p.c.Past {
		p.c.Past = true
		if err := storage.Save(tx, bucketContainers, containerKey(uid, p.c.Name), p.c); err != nil {
			return err
		}
	}
	return savePast(tx, key, rec)
}

func savePast(tx store.Tx, key string, rec *pastRec) error {
	if rec.Until != 0 {
		if err := tx.Put(bucketDue, dueKey(rec.Until, key), []byte{}); err != nil {
			return err
		}
	}
	return storage.Save(tx, bucketPast, key, rec)
}

// forget removes a row of the past, but not its data.
func forget(tx store.Tx, key string, rec *pastRec) error {
	if rec.Until != 0 {
		if err := tx.Delete(bucketDue, dueKey(rec.Until, key)); err != nil {
			return err
		}
	}
	return tx.Delete(bucketPast, key)
}

// delete marks a record as deleted by soft delete.
func (r *pastRec) delete(now int64, days int) {
	r.Deleted, r.Until = now, now+int64(days)*int64(24*time.Hour)
}

// bury moves a blob to the past, as far as the account's policy keeps it. It
// reports whether that was so; if not, its data is the caller's to release. gone
// says that the blob is deleted, not replaced.
func (e *engine) bury(tx store.Tx, p *spot, uid string, old *blobRec, gone bool) (kept bool, err error) {
	policy, err := retentionOf(tx, uid)
	if err != nil {
		return false, err
	}
	if p.c.Tree {
		if !gone || policy.Days == 0 {
			return false, nil
		}
		return true, e.buryPath(tx, p, uid, old, policy.Days)
	}
	rec := &pastRec{blobRec: *old, Kind: pastVersion}
	rec.Staged, rec.Lease = "", nil
	now, at := e.stamp()
	key := pastKey(p.key, at)
	switch {
	case policy.Versioning || old.Version != 0:
		// A blob older than versioning becomes a version with the time of its
		// last change for an ID.
		if rec.Version == 0 {
			rec.Version = rec.ETag
		}
		key = pastKey(p.key, rec.Version)
	case policy.Days == 0:
		return false, nil
	case gone:
		rec.Kind = pastBase
		rec.delete(now, policy.Days)
		key = p.key + baseMark
	default:
		rec.Kind = pastSnapshot
		rec.delete(now, policy.Days)
	}
	if old.Staged != "" {
		if err := e.discard(tx, garbage{Kind: "staged", ID: old.Staged}); err != nil {
			return false, err
		}
	}
	return true, p.keep(tx, uid, key, rec)
}

// supersede puts b, whose ETag is set, in the place of the spot's blob: what was
// there is kept or released. It returns the files to remove once the transaction
// is durable.
func (e *engine) supersede(tx store.Tx, p *spot, uid string, b *blobRec) (gone []string, err error) {
	old := visible(p.rec)
	if old != nil {
		b.Lease = old.Lease
	}
	if p.c.Tree {
		return e.release(tx, p.rec)
	}
	policy, err := retentionOf(tx, uid)
	if err != nil {
		return nil, err
	}
	if b.Version = 0; policy.Versioning {
		b.Version = b.ETag
	}
	if err := reindex(tx, p.key, tagsOf(old), b.Tags); err != nil {
		return nil, err
	}
	if old != nil {
		kept, err := e.bury(tx, p, uid, old, false)
		if kept || err != nil {
			return nil, err
		}
	} else if p.c.Past {
		if err := e.retireBase(tx, p); err != nil {
			return nil, err
		}
	}
	return e.release(tx, p.rec)
}

// retireBase makes a deleted blob a deleted snapshot of the one that takes its
// name, as Azure does.
func (e *engine) retireBase(tx store.Tx, p *spot) error {
	key := p.key + baseMark
	rec, err := storage.Load[pastRec](tx, bucketPast, key)
	if err != nil || rec == nil {
		return err
	}
	if err := forget(tx, key, rec); err != nil {
		return err
	}
	rec.Kind = pastSnapshot
	_, at := e.stamp()
	return savePast(tx, pastKey(p.key, at), rec)
}

// fork keeps a copy of the spot's blob, as it is, in its past.
func (e *engine) fork(tx store.Tx, p *spot, uid string, kind pastKind, at uint64, meta map[string]string) error {
	rec := &pastRec{blobRec: *p.rec, Kind: kind}
	rec.Staged, rec.Version, rec.Lease = "", 0, nil
	if kind == pastVersion {
		rec.Version = at
	}
	if meta != nil {
		rec.Metadata = meta
	}
	if err := e.share(tx, p.rec, nil, &rec.blobRec); err != nil {
		return err
	}
	return p.keep(tx, uid, pastKey(p.key, at), rec)
}

// advance makes the spot's blob, which is about to change, a new version where
// versions are kept, with the ID etag.
func (e *engine) advance(tx store.Tx, p *spot, uid string, etag uint64) error {
	if p.c.Tree {
		return nil
	}
	policy, err := retentionOf(tx, uid)
	if err != nil {
		return err
	}
	b := p.rec
	if policy.Versioning || b.Version != 0 {
		id := b.Version
		if id == 0 {
			id = b.ETag
		}
		if err := e.fork(tx, p, uid, pastVersion, id, nil); err != nil {
			return err
		}
		if b.Version = 0; policy.Versioning {
			b.Version = etag
		}
	}
	return nil
}

// snapshot keeps a blob as it is and returns the time that names the snapshot. Of
// a blob with versions it begins a new one, as Azure does.
func (e *engine) snapshot(ctx context.Context, r ref, meta map[string]string, check func(*blobRec) error) (b *blobRec, at uint64, err error) {
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if b = visible(p.rec); b == nil {
			return refuse("BlobNotFound")
		}
		if p.c.Tree {
			return notImplemented("Snapshot Blob with a hierarchical namespace")
		}
		if err := check(b); err != nil {
			return err
		}
		_, at = e.stamp()
		if err := e.fork(tx, p, r.uid, pastSnapshot, at, meta); err != nil {
			return err
		}
		if b.Version == 0 {
			return nil
		}
		_, version := e.stamp() // not the snapshot's time: that names a row of its own
		if err := e.advance(tx, p, r.uid, version); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, p.key, b)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("snapshot blob %s: %w", r.name, err)
	}
	return b, at, nil
}

// undelete brings back what soft delete keeps of a blob: the blob itself unless
// there is a new one, and its snapshots and versions.
func (e *engine) undelete(ctx context.Context, r ref) error {
	err := e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		keys, recs, err := p.pastRows(tx)
		if err != nil {
			return err
		}
		if len(keys) == 0 && visible(p.rec) == nil {
			return refuse("BlobNotFound")
		}
		for i, rec := range recs {
			if rec.Deleted == 0 {
				continue
			}
			if err := forget(tx, keys[i], rec); err != nil {
				return err
			}
			rec.Deleted, rec.Until = 0, 0
			if rec.Kind != pastBase {
				err = savePast(tx, keys[i], rec)
			} else {
				if p.rec != nil { // blocks that nobody committed
					rec.Staged = p.rec.Staged
				}
				if err := reindex(tx, p.key, nil, rec.Tags); err != nil {
					return err
				}
				err = storage.Save(tx, bucketBlobs, p.key, &rec.blobRec)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("undelete blob %s: %w", r.name, err)
	}
	return nil
}

// removePast deletes a snapshot or version, or lets soft delete keep it a while.
func (e *engine) removePast(tx store.Tx, uid, key string, rec *pastRec) (gone []string, kept bool, err error) {
	policy, err := retentionOf(tx, uid)
	if err != nil {
		return nil, false, err
	}
	if policy.Days > 0 {
		rec.delete(e.clock.Now().UnixNano(), policy.Days)
		return nil, true, savePast(tx, key, rec)
	}
	if gone, err = e.release(tx, &rec.blobRec); err != nil {
		return nil, false, err
	}
	return gone, false, forget(tx, key, rec)
}

// expirePast gives up what soft delete has kept long enough.
func (e *engine) expirePast(ctx context.Context) error {
	limit := dueKey(e.clock.Now().UnixNano(), "")
	for {
		var gone []string
		n := 0
		err := e.store.Update(ctx, func(tx store.Tx) error {
			gone, n = gone[:0], 0
			var due []string
			for row, err := range tx.Scan(bucketDue, store.Range{Limit: reapBatch}) {
				if err != nil {
					return err
				}
				if row.Key < limit {
					due = append(due, row.Key)
				}
			}
			for _, d := range due {
				_, key, _ := strings.Cut(d, "/")
				rec, err := storage.Load[pastRec](tx, bucketPast, key)
				if err != nil {
					return err
				}
				if rec == nil || dueKey(rec.Until, key) != d {
					// Nothing bears this row out. It must not hold up the others.
					if err := tx.Delete(bucketDue, d); err != nil {
						return err
					}
					continue
				}
				more, err := e.release(tx, &rec.blobRec)
				if err != nil {
					return err
				}
				gone = append(gone, more...)
				if err := forget(tx, key, rec); err != nil {
					return err
				}
			}
			n = len(due)
			return nil
		})
		if err != nil {
			return fmt.Errorf("expire deleted blobs: %w", err)
		}
		e.files.remove(gone...)
		if n < reapBatch {
			return nil
		}
	}
}
