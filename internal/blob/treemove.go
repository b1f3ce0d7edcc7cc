package blob

import (
	"context"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// move gives what is at src the name of dst, which may be in another container.
// It is one transaction that changes one row, however much a directory holds.
// admit decides about the source and what the destination has now, which may be
// nil.
func (e *engine) move(ctx context.Context, src, dst ref, admit func(from, old *blobRec) error) (b *blobRec, err error) {
	now, etag := e.stamp()
	var gone []string
	var old *blobRec
	err = e.store.Update(ctx, func(tx store.Tx) error {
		from, err := look(tx, src)
		if HasCode(err, "ContainerNotFound") {
			return refuse("SourcePathNotFound")
		}
		if err != nil {
			return err
		}
		b = visible(from.rec)
		if b == nil {
			return refuse("SourcePathNotFound")
		}
		if err := settled(b); err != nil {
			return err
		}
		to, err := look(tx, dst)
		if err != nil {
			return err
		}
		if err := movable(from, to); err != nil {
			return err
		}
		if to.key == from.key {
			return admit(b, b) // to itself, which changes nothing
		}
		old = to.rec
		if err := admit(b, visible(old)); err != nil {
			return err
		}
		if v := visible(old); v != nil {
			if (v.Dir != "") != (b.Dir != "") {
				return refuse("InvalidSourceOrDestinationResourceType")
			}
			if err := e.replaceable(tx, to, dst.as, v); err != nil {
				return err
			}
		}
		b.Modified, b.ETag, b.Lease = now, etag, nil
		if gone, err = e.supersede(tx, to, dst.uid, b); err != nil {
			return err
		}
		if b.Staged != "" {
			st, err := storage.Load[stagedRec](tx, bucketStaged, b.Staged)
			if err != nil {
				return err
			}
			if st != nil {
				st.Blob = to.key
				if err := storage.Save(tx, bucketStaged, b.Staged, st); err != nil {
					return err
				}
			}
		}
		if err := reindex(tx, from.key, b.Tags, nil); err != nil {
			return err
		}
		if err := tx.Delete(bucketBlobs, from.key); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, to.key, b)
	})
	if err != nil {
		return nil, fmt.Errorf("move path %s to %s: %w", src.name, dst.name, err)
	}
	e.settle(gone, old)
	return b, nil
}

// movable checks what a move needs of the two places, whatever the rights.
func movable(from, to *spot) error {
	if from.root || to.root {
		return refuse("InvalidRenameSourcePath")
	}
	if from.c.Tree != to.c.Tree || from.rec.isDirectory() && !from.c.Tree {
		return notImplemented("Path Create (rename) of a directory without a hierarchical namespace")
	}
	if !to.c.Tree {
		return nil
	}
	if to.blocked {
		return &Error{Status: 409, Code: "InvalidDestinationPath", Message: refuse("PathConflict").Message}
	}
	if from.rec.Dir != "" {
		if from.key == to.key {
			return refuse("InvalidRenameSourcePath")
		}
		for _, d := range to.dirs {
			if d.id == from.rec.Dir {
				return refuse("InvalidRenameSourcePath")
			}
		}
	}
	if to.key == "" {
		return refuse("RenameDestinationParentPathNotFound")
	}
	return nil
}

// replaceable checks that a move may replace what is at its destination: by ACL
// that takes the right to delete it, and a directory must be empty.
func (e *engine) replaceable(tx store.Tx, to *spot, as *actor, old *blobRec) error {
	if err := to.permit(as, needDelete); err != nil {
		return err
	}
	if old.Dir == "" {
		return nil
	}
	empty, err := isEmpty(tx, old.Dir)
	if err != nil {
		return err
	}
	if !empty {
		// The code for this is not in Microsoft's list of those of Path Create.
		return refuse("DirectoryIsNotEmpty")
	}
	return nil
}

// removeTree deletes a path of a tree and, of a directory, all that is in it. That
// is gone at once; its space comes back in the background, or when soft delete
// does not keep it any more.
func (e *engine) removeTree(ctx context.Context, r ref, check func(*blobRec) error) error {
	var gone []string
	var b *blobRec
	err := e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if b = visible(p.rec); b == nil {
			return refuse("BlobNotFound")
		}
		if p.root {
			return refuse("PathConflict")
		}
		if err := check(b); err != nil {
			return err
		}
		if b.Dir != "" && !r.as.super() {
			if err := mayEmpty(tx, r.as, b); err != nil {
				return err
			}
		}
		kept, err := e.bury(tx, p, r.uid, b, true)
		if err != nil {
			return err
		}
		if !kept {
			if gone, err = e.release(tx, b); err != nil {
				return err
			}
		}
		return tx.Delete(bucketBlobs, p.key)
	})
	if err != nil {
		return fmt.Errorf("delete path %s: %w", r.name, err)
	}
	e.settle(gone, b)
	return nil
}

// mayEmpty checks that someone whom only ACLs allow anything may empty a
// directory: that takes all rights on it and each directory in it. It is the one
// operation that looks at every path below, and it does so while other writers
// wait, so that what was checked is what is deleted.
func mayEmpty(tx store.Tx, as *actor, d *blobRec) error {
	own, err := d.Posix.rights(true)
	if err != nil {
		return err
	}
	if !own.allows(as, permR|permW|permX) {
		return refuse("AuthorizationPermissionMismatch")
	}
	after := ""
	for {
		var rows []store.Entry
		for row, err := range tx.Scan(bucketBlobs, store.Range{Prefix: d.Dir + "/", After: after, Limit: listBatch}) {
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		for _, row := range rows {
			after = row.Key
			b, err := storage.Decode[blobRec](bucketBlobs, row.Key, row.Value)
			if err != nil {
				return err
			}
			if own.sticky && own.owner != as.id {
				r, err := b.Posix.rights(b.Dir != "")
				if err != nil {
					return err
				}
				if r.owner != as.id {
					return refuse("AuthorizationPermissionMismatch")
				}
			}
			if b.Dir != "" {
				if err := mayEmpty(tx, as, b); err != nil {
					return err
				}
			}
		}
		if len(rows) < listBatch {
			return nil
		}
	}
}

// flatDeletions is how many blobs of a flat container one request to delete a
// directory deletes.
const flatDeletions = 1000

// removeFlat deletes blobs of a flat container whose names are below a directory,
// behind after. It returns where to go on, or "" when it has deleted the
// directory's own blob, too, and all is done.
func (e *engine) removeFlat(ctx context.Context, r ref, recursive bool, after string) (next string, err error) {
	var gone []string
	kick := false
	err = e.store.Update(ctx, func(tx store.Tx) error {
		gone, next, kick = nil, "", false
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		prefix := blobKey(p.c.ID, strings.Trim(r.name, "/")+"/")
		rg := store.Range{Prefix: prefix, Limit: flatDeletions + 1}
		if !recursive {
			rg.Limit = 1
		}
		var rows []store.Entry
		for row, err := range tx.Scan(bucketBlobs, rg) {
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		if p.rec == nil && len(rows) == 0 && after == "" {
			return refuse("BlobNotFound")
		}
		if !recursive && len(rows) > 0 {
			return refuse("DirectoryIsNotEmpty")
		}
		if len(rows) > flatDeletions {
			rows = rows[:flatDeletions]
			next = "more"
		} else if p.rec != nil {
			rows = append(rows, store.Entry{Key: p.key})
		}
		for _, row := range rows {
			b := p.rec
			if row.Key != p.key {
				if b, err = storage.Decode[blobRec](bucketBlobs, row.Key, row.Value); err != nil {
					return err
				}
			}
			kept := false
			if v := visible(b); v != nil {
				at := *p
				at.key = row.Key
				if err := reindex(tx, row.Key, v.Tags, nil); err != nil {
					return err
				}
				if kept, err = e.bury(tx, &at, r.uid, v, true); err != nil {
					return err
				}
				kick = true
			}
			if !kept {
				more, err := e.release(tx, b)
				if err != nil {
					return err
				}
				gone = append(gone, more...)
				kick = kick || b.List != "" || b.Staged != ""
			}
			if err := tx.Delete(bucketBlobs, row.Key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("delete directory %s: %w", r.name, err)
	}
	e.files.remove(gone...)
	if kick {
		e.reaper.Kick()
	}
	return next, nil
}
