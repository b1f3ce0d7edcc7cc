package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// reapBatch is how many rows the reaper deletes in one transaction, so that
// other writers do not wait long for it.
const reapBatch = 256

// stagedLife is how long uncommitted blocks are kept after the last Put Block:
// one week, as Microsoft's Put Block says.
const stagedLife = 7 * 24 * time.Hour

// discard leaves work to the reaper, as part of the transaction that made it.
func (e *engine) discard(tx store.Tx, g garbage) error {
	_, seq := e.stamp()
	return storage.Save(tx, bucketGarbage, fmt.Sprintf("%016x", seq), g)
}

// discardContainer leaves what is in a container to the reaper.
func (e *engine) discardContainer(tx store.Tx, c *containerRec) error {
	if c.Past {
		if err := e.discard(tx, garbage{Kind: "past", ID: c.ID}); err != nil {
			return err
		}
	}
	return e.discard(tx, garbage{Kind: "container", ID: c.ID})
}

// reap takes discarded data apart until ctx ends. Garbage of an earlier process
// is done first.
func (e *engine) reap(ctx context.Context, report func(error)) {
	e.reaper.Run(ctx, report, e.reapAll, func(ctx context.Context) error {
		return errors.Join(e.expireStaged(ctx), e.expirePast(ctx), e.expireGone(ctx), e.runLifecycles(ctx))
	})
}

// reapAll does all the garbage there is, but for lists that are being read. One
// call runs at a time, so that what an earlier one took on is done when it returns.
func (e *engine) reapAll(ctx context.Context) error {
	e.reaping.Lock()
	defer e.reaping.Unlock()
	after := ""
	var failed error
	for {
		var entry *store.Entry
		err := e.store.View(ctx, func(tx store.Tx) error {
			entry = nil
			for row, err := range tx.Scan(bucketGarbage, store.Range{After: after, Limit: 1}) {
				if err != nil {
					return err
				}
				entry = &row
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read blob garbage: %w", err)
		}
		if entry == nil {
			return failed
		}
		after = entry.Key
		g, err := storage.Decode[garbage](bucketGarbage, entry.Key, entry.Value)
		if err != nil {
			failed = err
			continue
		}
		if (g.Kind == "list" || g.Kind == "pages") && e.pinned(g.ID) {
			continue // its last reader wakes the reaper
		}
		for done := false; !done; {
			if done, err = e.reapSome(ctx, entry.Key, g); err != nil {
				failed = fmt.Errorf("reap blob %s %s: %w", g.Kind, g.ID, err)
				break
			}
		}
	}
}

// reapSome does one batch of a piece of garbage, and removes its row when there
// is nothing left of it.
func (e *engine) reapSome(ctx context.Context, key string, g *garbage) (done bool, err error) {
	var gone []string
	err = e.store.Update(ctx, func(tx store.Tx) error {
		gone = gone[:0]
		bucket, prefix, limit := bucketExtents, g.ID+"/", reapBatch
		switch g.Kind {
		case "list":
			limit = 1
		case "pages":
			bucket = bucketPages
		case "staged":
			bucket = bucketBlocks
		case "container":
			bucket = bucketBlobs
		case "past":
			bucket = bucketPast
		case "gone":
			bucket = bucketGone
		case "account":
			bucket = bucketContainers
		default:
			return fmt.Errorf("unknown kind")
		}
		var rows []store.Entry
		for row, err := range tx.Scan(bucket, store.Range{Prefix: prefix, Limit: limit}) {
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		for _, row := range rows {
			if gone, err = e.reapRow(tx, gone, bucket, row); err != nil {
				return err
			}
			if err := tx.Delete(bucket, row.Key); err != nil {
				return err
			}
		}
		if done = len(rows) < limit; !done {
			return nil
		}
		if g.Kind == "staged" {
			if err := tx.Delete(bucketStaged, g.ID); err != nil {
				return err
			}
		}
		if g.Kind == "account" {
			if err := forgetAccount(tx, g.ID); err != nil {
				return err
			}
		}
		return tx.Delete(bucketGarbage, key)
	})
	if err != nil {
		return false, err
	}
	e.files.remove(gone...)
	return done, nil
}

func (e *engine) reapRow(tx store.Tx, gone []string, bucket string, row store.Entry) ([]string, error) {
	switch bucket {
	case bucketExtents:
		var xs []extent
		if err := json.Unmarshal(row.Value, &xs); err != nil {
			return nil, fmt.Errorf("decode block list: %w", err)
		}
		var err error
		for _, x := range xs {
			if gone, err = releaseBlock(tx, gone, &blockRec{File: x.File, Inline: x.Inline}); err != nil {
				return nil, err
			}
		}
		return gone, nil
	case bucketPages:
		p, err := storage.Decode[pageRec](bucket, row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		return releaseBlock(tx, gone, &blockRec{File: p.File, Inline: p.Inline})
	case bucketBlocks:
		b, err := storage.Decode[blockRec](bucket, row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		return releaseBlock(tx, gone, b)
	case bucketBlobs:
		b, err := storage.Decode[blobRec](bucket, row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		if b.Dir != "" {
			return gone, e.discard(tx, garbage{Kind: "container", ID: b.Dir})
		}
		if err := reindex(tx, row.Key, b.Tags, nil); err != nil {
			return nil, err
		}
		more, err := e.release(tx, b)
		return append(gone, more...), err
	case bucketGone:
		return gone, e.reapGone(tx, row)
	case bucketPast:
		rec, err := storage.Decode[pastRec](bucket, row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		if err := forget(tx, row.Key, rec); err != nil {
			return nil, err
		}
		more, err := e.release(tx, &rec.blobRec)
		return append(gone, more...), err
	default:
		c, err := storage.Decode[containerRec](bucket, row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		return gone, e.discardContainer(tx, c)
	}
}

// forgetAccount removes what an account has besides containers.
func forgetAccount(tx store.Tx, uid string) error {
	for _, bucket := range []string{bucketRetention, bucketLifecycle} {
		if err := tx.Delete(bucket, uid); err != nil {
			return err
		}
	}
	return storage.Forget(tx, uid)
}

// expireStaged gives up blocks that nobody committed in time.
func (e *engine) expireStaged(ctx context.Context) error {
	limit := e.clock.Now().Add(-stagedLife).UnixNano()
	old := map[string]string{} // staging ID → blob key
	err := e.store.View(ctx, func(tx store.Tx) error {
		for row, err := range tx.Scan(bucketStaged, store.Range{}) {
			if err != nil {
				return err
			}
			st, err := storage.Decode[stagedRec](bucketStaged, row.Key, row.Value)
			if err != nil {
				return err
			}
			if st.Last < limit {
				old[row.Key] = st.Blob
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for expired blocks: %w", err)
	}
	for id, key := range old {
		err := e.store.Update(ctx, func(tx store.Tx) error {
			st, err := storage.Load[stagedRec](tx, bucketStaged, id)
			if err != nil || st == nil || st.Last >= limit {
				return err
			}
			b, err := storage.Load[blobRec](tx, bucketBlobs, key)
			if err != nil || b == nil || b.Staged != id {
				return err
			}
			if b.Uncommitted {
				err = tx.Delete(bucketBlobs, key)
			} else {
				b.Staged = ""
				err = storage.Save(tx, bucketBlobs, key, b)
			}
			if err != nil {
				return err
			}
			return e.discard(tx, garbage{Kind: "staged", ID: id})
		})
		if err != nil {
			return fmt.Errorf("expire blocks: %w", err)
		}
	}
	return nil
}

// sweep removes files of earlier processes that no row names: what was being
// written, or about to be removed, when they ended.
func (e *engine) sweep(ctx context.Context) (removed int, err error) {
	err = e.eachDir(ctx, func(names []string) error {
		var orphans []string
		err := e.store.View(ctx, func(tx store.Tx) error {
			for _, id := range names {
				if e.files.ours(id) {
					continue
				}
				row, err := storage.Load[fileRec](tx, bucketFiles, id)
				if err != nil {
					return err
				}
				if row == nil {
					orphans = append(orphans, id)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		e.files.remove(orphans...)
		removed += len(orphans)
		return nil
	})
	return removed, err
}

// eachDir calls f with the blob files, a few hundred at a time.
func (e *engine) eachDir(ctx context.Context, f func(names []string) error) error {
	dirs, err := os.ReadDir(e.files.dir)
	if err != nil {
		return fmt.Errorf("read blob directory: %w", err)
	}
	for _, d := range dirs {
		if !d.IsDir() || len(d.Name()) != 2 {
			continue
		}
		if err := e.eachFile(ctx, d.Name(), f); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) eachFile(ctx context.Context, sub string, f func(names []string) error) error {
	dir, err := os.Open(e.files.dir + string(os.PathSeparator) + sub)
	if err != nil {
		return fmt.Errorf("read blob directory: %w", err)
	}
	defer dir.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		names, _ := dir.Readdirnames(reapBatch)
		if len(names) == 0 {
			return nil
		}
		valid := names[:0]
		for _, n := range names {
			if len(n) > 2 && n[:2] == sub {
				valid = append(valid, n)
			}
		}
		if err := f(valid); err != nil {
			return err
		}
	}
}
