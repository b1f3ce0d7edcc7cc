package blob

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// listBatch is the most rows of a directory that are read at a time.
const listBatch = 256

// treeLister lists a tree, depth first and the children of a directory in the
// order of their names, so that a slash sorts before every other character. That
// is Azure's order for hierarchical namespaces, too.
type treeLister struct {
	tx    store.Tx
	q     listQuery
	flat  bool // all levels, not one
	items []listItem
	next  string
}

// listTree is list for a tree.
func listTree(tx store.Tx, c *containerRec, q listQuery, as *actor) (items []listItem, next string, err error) {
	if q.Delimiter != "" && q.Delimiter != "/" {
		return nil, "", badQuery("delimiter", q.Delimiter, "A hierarchical namespace has the delimiter / only.")
	}
	dir, part := "", q.Prefix
	if i := strings.LastIndexByte(q.Prefix, '/'); i >= 0 {
		dir, part = q.Prefix[:i], q.Prefix[i+1:]
	}
	p, err := walk(tx, c, dir)
	if err != nil {
		return nil, "", err
	}
	if err := p.permit(as, needList); err != nil {
		return nil, "", err
	}
	if p.rec == nil || p.rec.Dir == "" {
		return nil, "", nil
	}
	path := ""
	if !p.root {
		path = strings.Join(p.segs, "/") + "/"
	}
	var after []string
	if rest, ok := strings.CutPrefix(q.After, path); ok {
		after = segments(rest)
	}
	l := &treeLister{tx: tx, q: q, flat: q.Delimiter == ""}
	full, err := l.dir(p.rec.Dir, path, part, after, as)
	if err != nil {
		return nil, "", err
	}
	if !full {
		l.next = ""
	}
	return l.items, l.next, nil
}

// dir lists the children of a directory whose names begin with part, behind the
// path after. It reports whether there is more than the page has room for.
func (l *treeLister) dir(id, path, part string, after []string, as *actor) (full bool, err error) {
	from := ""
	if len(after) > 0 {
		from = blobKey(id, after[0])
		if l.flat {
			b, err := storage.Load[blobRec](l.tx, bucketBlobs, from)
			if err != nil {
				return false, err
			}
			if b != nil && b.Dir != "" && strings.HasPrefix(after[0], part) {
				if full, err := l.into(b, path+after[0]+"/", after[1:], as); full || err != nil {
					return full, err
				}
			}
		}
	}
	for {
		limit := min(l.q.Max-len(l.items)+1, listBatch)
		var rows []store.Entry
		for row, err := range l.tx.Scan(bucketBlobs, store.Range{Prefix: blobKey(id, part), After: from, Limit: limit}) {
			if err != nil {
				return false, err
			}
			rows = append(rows, row)
		}
		for _, row := range rows {
			from = row.Key
			b, err := storage.Decode[blobRec](bucketBlobs, row.Key, row.Value)
			if err != nil {
				return false, err
			}
			if b.Uncommitted && !l.q.Uncommitted {
				continue
			}
			if len(l.items) == l.q.Max {
				return true, nil
			}
			name := path + row.Key[len(id)+1:]
			if b.Dir == "" || !l.q.FilesOnly {
				l.items = append(l.items, listItem{Name: name, Blob: b, Prefix: !l.flat && b.Dir != "", key: row.Key})
				l.next = name
			}
			if l.flat && b.Dir != "" {
				if full, err := l.into(b, name+"/", nil, as); full || err != nil {
					return full, err
				}
			}
		}
		if len(rows) < limit {
			return false, nil
		}
	}
}

// into lists a directory below the one that the list is of.
func (l *treeLister) into(b *blobRec, path string, after []string, as *actor) (bool, error) {
	if !as.super() {
		own, err := b.Posix.rights(true)
		if err != nil {
			return false, err
		}
		if !own.allows(as, permR|permX) {
			return false, refuse("AuthorizationPermissionMismatch")
		}
	}
	return l.dir(b.Dir, path, "", after, as)
}
