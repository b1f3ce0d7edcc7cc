package blob

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The limits of tags of a blob, as Microsoft's "Manage and find Azure Blob data
// with blob index tags" has them.
const (
	maxTags     = 10
	maxTagKey   = 128
	maxTagValue = 256
)

// findBatch is how many rows of the index a search reads at a time, and
// findBudget how many it reads before it answers with what it has found.
const (
	findBatch  = 256
	findBudget = 20_000
)

func validTagText(s string) bool {
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case strings.ContainsRune(" +-./:=_", r):
		default:
			return false
		}
	}
	return true
}

// addTag adds one tag to a set.
func addTag(tags map[string]string, key, value string) error {
	switch _, twice := tags[key]; {
	case key == "" || len(key) > maxTagKey || len(value) > maxTagValue:
		return badTags("A tag's key has 1 to 128 characters, and its value up to 256.")
	case !validTagText(key) || !validTagText(value):
		return badTags("Tags have letters, digits, spaces and + - . / : = _ only.")
	case twice:
		return badTags("The key " + key + " is there twice.")
	case len(tags) == maxTags:
		return badTags("A blob has at most ten tags.")
	}
	tags[key] = value
	return nil
}

func badTags(reason string) error { return refuse("InvalidInput").With("Reason", reason) }

// parseTags reads x-ms-tags, which has the form of a query.
func parseTags(v string) (map[string]string, error) {
	if v == "" {
		return nil, nil
	}
	tags := map[string]string{}
	for pair := range strings.SplitSeq(v, "&") {
		k, val, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, badHeader("x-ms-tags", v)
		}
		value, err := url.QueryUnescape(val)
		if err != nil {
			return nil, badHeader("x-ms-tags", v)
		}
		if err := addTag(tags, key, value); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

// tagKey is the row of the index for a tag of the blob at key, "<container
// ID>/<name>".
func tagKey(key, tag, value string) string {
	container, name, _ := strings.Cut(key, "/")
	return container + "/" + tag + "\x00" + value + "\x00" + name
}

// reindex changes the index as the tags of the blob at key change. Only the blobs
// themselves are in it, nothing of their past.
func reindex(tx store.Tx, key string, old, now map[string]string) error {
	for k, v := range old {
		if n, ok := now[k]; ok && n == v {
			continue
		}
		if err := tx.Delete(bucketTags, tagKey(key, k, v)); err != nil {
			return err
		}
	}
	for k, v := range now {
		if o, ok := old[k]; ok && o == v {
			continue
		}
		if err := tx.Put(bucketTags, tagKey(key, k, v), []byte{}); err != nil {
			return err
		}
	}
	return nil
}

func tagsOf(b *blobRec) map[string]string {
	if b == nil {
		return nil
	}
	return b.Tags
}

// mark changes what does not make a blob another one: its tags or tier. The ETag
// stays. r may name a snapshot or version.
func (e *engine) mark(ctx context.Context, r ref, change func(*blobRec) error) (b *blobRec, err error) {
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		key, rec, err := p.find(tx, r)
		if err != nil {
			return err
		}
		if b = visible(rec); b == nil {
			return refuse("BlobNotFound")
		}
		old := b.Tags
		if err := change(b); err != nil {
			return err
		}
		if b.former {
			past, err := storage.Load[pastRec](tx, bucketPast, key)
			if err != nil {
				return err
			}
			past.blobRec = *b
			return storage.Save(tx, bucketPast, key, past)
		}
		if err := reindex(tx, key, old, b.Tags); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, key, b)
	})
	if err != nil {
		return nil, fmt.Errorf("mark blob %s: %w", r.name, err)
	}
	return b, nil
}

// found is a blob that a search by tags found.
type found struct {
	container, name string
	tags            map[string]string
}

// findByTags returns up to limit blobs of an account, or of one container, for
// which where holds, and where to go on. A page may be short, or empty, and not
// the last.
func (e *engine) findByTags(ctx context.Context, uid, container string, where tagQuery, after string, limit int) (out []found, next string, err error) {
	at, row, _ := strings.Cut(after, "\x00")
	f := &finder{where: where, limit: limit, budget: findBudget}
	err = e.store.View(ctx, func(tx store.Tx) error {
		if container != "" {
			c, err := findContainer(tx, uid, container)
			if err != nil {
				return err
			}
			_, err = f.container(tx, c, row)
			return err
		}
		if at != "" {
			c, err := storage.Load[containerRec](tx, bucketContainers, containerKey(uid, at))
			if err != nil {
				return err
			}
			if c != nil {
				if full, err := f.container(tx, c, row); full || err != nil {
					return err
				}
			}
		}
		for {
			rg := store.Range{Prefix: containerKey(uid, ""), Limit: findBatch}
			if at != "" {
				rg.After = containerKey(uid, at)
			}
			var cs []*containerRec
			for row, err := range tx.Scan(bucketContainers, rg) {
				if err != nil {
					return err
				}
				c, err := storage.Decode[containerRec](bucketContainers, row.Key, row.Value)
				if err != nil {
					return err
				}
				cs = append(cs, c)
			}
			for _, c := range cs {
				at = c.Name
				if full, err := f.container(tx, c, ""); full || err != nil {
					return err
				}
			}
			if len(cs) < findBatch {
				return nil
			}
		}
	})
	if err != nil {
		return nil, "", fmt.Errorf("find blobs by tags: %w", err)
	}
	return f.out, f.next, nil
}

// finder collects what a search finds.
type finder struct {
	where  tagQuery
	limit  int
	budget int
	out    []found
	next   string
}

// container searches one container behind a row of the index. It reports whether
// the search ends there, though there may be more.
func (f *finder) container(tx store.Tx, c *containerRec, after string) (full bool, err error) {
	if !f.where.inContainer(c.Name) {
		return false, nil
	}
	lead := f.where.lead()
	rg := store.Range{Prefix: c.ID + "/" + lead.key + "\x00", After: after, Limit: findBatch}
	if lead.op == "=" {
		rg.Prefix += lead.value + "\x00"
	}
	for {
		var keys []string
		for row, err := range tx.Scan(bucketTags, rg) {
			if err != nil {
				return false, err
			}
			keys = append(keys, row.Key)
		}
		for _, key := range keys {
			if f.budget == 0 || len(f.out) == f.limit {
				f.next = c.Name + "\x00" + rg.After
				return true, nil
			}
			f.budget--
			rg.After = key
			_, value, _ := strings.Cut(key, "\x00")
			_, name, _ := strings.Cut(value, "\x00")
			b, err := storage.Load[blobRec](tx, bucketBlobs, blobKey(c.ID, name))
			if err != nil {
				return false, err
			}
			if b == nil {
				return false, fmt.Errorf("the index names blob %q of container %s, which is not there", name, c.Name)
			}
			if tags, ok := f.where.match(b.Tags); ok {
				f.out = append(f.out, found{c.Name, name, tags})
			}
		}
		if len(keys) < findBatch {
			return false, nil
		}
	}
}
