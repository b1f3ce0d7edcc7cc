package blob

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// afterAll sorts behind every blob name that continues what it is appended to.
const afterAll = "\U0010FFFF"

// listQuery selects blobs of a container.
type listQuery struct {
	Prefix    string
	Delimiter string
	// After is the Next of the page before, or "".
	After string
	// Max is the most blobs and prefixes to return.
	Max         int
	Uncommitted bool
	// FilesOnly leaves the directories of a tree out.
	FilesOnly bool
	// Snapshots, Versions and Deleted add what there is of blobs' pasts. Of a
	// snapshot or version that soft delete keeps, both must be set.
	Snapshots, Versions, Deleted bool
	// VersionsOnly would add blobs of which there are only versions.
	VersionsOnly bool
}

// past reports whether a row of the past is to be listed.
func (q listQuery) past(r *pastRec) bool {
	switch {
	case r.Deleted != 0 && !q.Deleted:
		return false
	case r.Kind == pastSnapshot:
		return q.Snapshots
	case r.Kind == pastVersion:
		return q.Versions
	}
	return true
}

// listItem is a blob or a prefix of several. The prefix that a directory of a
// tree is has the directory's record, and a name without the delimiter.
type listItem struct {
	Name   string
	Blob   *blobRec
	Prefix bool
	key    string // of the row, in a tree
	// Past is set when Blob is of a blob's past; at is its time.
	Past *pastRec
	at   string
}

// list returns a page of blobs in name order, and where the next one begins or
// "" when this is the last.
func (e *engine) list(ctx context.Context, r ref, q listQuery) (items []listItem, next string, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		c, err := findContainer(tx, r.uid, r.container)
		if err != nil {
			return err
		}
		if c.Tree {
			items, next, err = listTree(tx, c, q, r.as)
			return err
		}
		if !r.as.super() {
			return refuse("AuthorizationPermissionMismatch")
		}
		switch {
		case !c.Past:
			q.Snapshots, q.Versions, q.Deleted = false, false, false
		case q.VersionsOnly:
			return notImplemented("List Blobs with include=deletedwithversions")
		}
		items, next, err = list(tx, c.ID, q)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("list container %s: %w", r.container, err)
	}
	return items, next, nil
}

func list(tx store.Tx, containerID string, q listQuery) (items []listItem, next string, err error) {
	base := containerID + "/"
	after := ""
	if q.After != "" {
		after = base + q.After
	}
	last := "" // the prefix that was found last
	step := q.Max + 1
	for {
		skip := false
		n := 0
		for row, err := range q.rows(tx, base, after, step) {
			if err != nil {
				return nil, "", err
			}
			n++
			after = row.Key
			name, at, isPast := strings.Cut(strings.TrimSuffix(row.Key[len(base):], liveMark), pastMark)
			item := listItem{Name: name}
			if isPast {
				if item.Past, err = storage.Decode[pastRec](bucketPast, row.Key, row.Value); err != nil {
					return nil, "", err
				}
				item.at = at
				if item.Blob = &item.Past.blobRec; !q.past(item.Past) {
					continue
				}
			}
			if i := delimited(name, q); i >= 0 {
				item = listItem{Name: name[:i], Prefix: true}
				if item.Name == last {
					continue // a name with afterAll itself in it
				}
				last = item.Name
				after, skip = base+item.Name+afterAll, true
				if !q.Uncommitted && !isPast {
					ok, err := anyVisible(tx, base+item.Name, row)
					if err != nil {
						return nil, "", err
					}
					if !ok {
						break
					}
				}
			} else if !isPast {
				b, err := storage.Decode[blobRec](bucketBlobs, row.Key, row.Value)
				if err != nil {
					return nil, "", err
				}
				if b.Uncommitted && !q.Uncommitted {
					continue
				}
				item.Blob = b
			}
			if len(items) == q.Max {
				return items, next, nil
			}
			items = append(items, item)
			next = after[len(base):]
			if skip {
				break
			}
		}
		if !skip && n < step {
			return items, "", nil
		}
		// After a prefix the next rows are read in small steps: there may be
		// another prefix at once.
		if skip {
			step = 4
		} else {
			step = min(2*step, q.Max+1)
		}
	}
}

// rows yields up to limit rows behind after, in name order. With the past, what a
// blob was comes before what it is, whose key then ends with liveMark.
func (q listQuery) rows(tx store.Tx, base, after string, limit int) iter.Seq2[store.Entry, error] {
	if !q.Snapshots && !q.Versions && !q.Deleted {
		return tx.Scan(bucketBlobs, store.Range{Prefix: base + q.Prefix, After: after, Limit: limit})
	}
	return func(yield func(store.Entry, error) bool) {
		live, err := q.liveRows(tx, base, after, limit)
		if err != nil {
			yield(store.Entry{}, err)
			return
		}
		for row, err := range tx.Scan(bucketPast, store.Range{Prefix: base + q.Prefix, After: after, Limit: limit}) {
			if err != nil {
				yield(row, err)
				return
			}
			for ; len(live) > 0 && live[0].Key < row.Key; live = live[1:] {
				if limit--; limit < 0 || !yield(live[0], nil) {
					return
				}
			}
			if limit--; limit < 0 || !yield(row, nil) {
				return
			}
		}
		for ; len(live) > 0; live = live[1:] {
			if limit--; limit < 0 || !yield(live[0], nil) {
				return
			}
		}
	}
}

// liveRows are the rows of blobs for a list with the past.
func (q listQuery) liveRows(tx store.Tx, base, after string, limit int) (live []store.Entry, err error) {
	if name, at, ok := strings.Cut(after, pastMark); ok {
		// The list stopped at this blob: in its past, or behind it.
		after = name
		if at != liveMark[len(pastMark):] {
			b, err := tx.Get(bucketBlobs, name)
			if err == nil {
				live = append(live, store.Entry{Key: name + liveMark, Value: b})
			} else if !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
		}
	}
	for row, err := range tx.Scan(bucketBlobs, store.Range{Prefix: base + q.Prefix, After: after, Limit: limit}) {
		if err != nil {
			return nil, err
		}
		row.Key += liveMark
		live = append(live, row)
	}
	return live, nil
}

// delimited returns where the part of name that is listed as a prefix ends, or
// -1.
func delimited(name string, q listQuery) int {
	if q.Delimiter == "" {
		return -1
	}
	i := strings.Index(name[len(q.Prefix):], q.Delimiter)
	if i < 0 {
		return -1
	}
	return len(q.Prefix) + i + len(q.Delimiter)
}

// anyVisible reports whether a prefix has a committed blob, of which first is
// the first row.
func anyVisible(tx store.Tx, prefix string, first store.Entry) (bool, error) {
	b, err := storage.Decode[blobRec](bucketBlobs, first.Key, first.Value)
	if err != nil || !b.Uncommitted {
		return err == nil, err
	}
	for row, err := range tx.Scan(bucketBlobs, store.Range{Prefix: prefix, After: first.Key}) {
		if err != nil {
			return false, err
		}
		if b, err = storage.Decode[blobRec](bucketBlobs, row.Key, row.Value); err != nil || !b.Uncommitted {
			return err == nil, err
		}
	}
	return false, nil
}

// listContainers returns a page of containers, and where the next begins.
func (e *engine) listContainers(ctx context.Context, uid, prefix, after string, limit int) (cs []*containerRec, next string, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		r := store.Range{Prefix: containerKey(uid, prefix), Limit: limit + 1}
		if after != "" {
			r.After = containerKey(uid, after)
		}
		for row, err := range tx.Scan(bucketContainers, r) {
			if err != nil {
				return err
			}
			if len(cs) == limit {
				next = cs[limit-1].Name
				return nil
			}
			c, err := storage.Decode[containerRec](bucketContainers, row.Key, row.Value)
			if err != nil {
				return err
			}
			cs = append(cs, c)
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list containers: %w", err)
	}
	return cs, next, nil
}
