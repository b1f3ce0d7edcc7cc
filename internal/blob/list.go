package blob

import (
	"context"
	"fmt"
	"strings"

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
}

// listItem is a blob or a prefix of several. The prefix that a directory of a
// tree is has the directory's record, and a name without the delimiter.
type listItem struct {
	Name   string
	Blob   *blobRec
	Prefix bool
	key    string // of the row, in a tree
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
		for row, err := range tx.Scan(bucketBlobs, store.Range{Prefix: base + q.Prefix, After: after, Limit: step}) {
			if err != nil {
				return nil, "", err
			}
			n++
			after = row.Key
			name := row.Key[len(base):]
			item := listItem{Name: name}
			if i := delimited(name, q); i >= 0 {
				item.Name, item.Prefix = name[:i], true
				if item.Name == last {
					continue // a name with afterAll itself in it
				}
				last = item.Name
				after, skip = base+item.Name+afterAll, true
				if !q.Uncommitted {
					ok, err := anyVisible(tx, base+item.Name, row)
					if err != nil {
						return nil, "", err
					}
					if !ok {
						break
					}
				}
			} else {
				b, err := decode[blobRec](bucketBlobs, row.Key, row.Value)
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
	b, err := decode[blobRec](bucketBlobs, first.Key, first.Value)
	if err != nil || !b.Uncommitted {
		return err == nil, err
	}
	for row, err := range tx.Scan(bucketBlobs, store.Range{Prefix: prefix, After: first.Key}) {
		if err != nil {
			return false, err
		}
		if b, err = decode[blobRec](bucketBlobs, row.Key, row.Value); err != nil || !b.Uncommitted {
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
			c, err := decode[containerRec](bucketContainers, row.Key, row.Value)
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
