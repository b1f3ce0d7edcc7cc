package blob

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Soft delete keeps a path of a tree as one row of the past, whatever a directory
// holds: what is below it stays where it is, out of sight. The row's key has the
// whole path in its container. What a path is overwritten with is not kept, as in
// Azure.

// buryPath keeps a path that is deleted, as far as the account's policy does.
func (e *engine) buryPath(tx store.Tx, p *spot, uid string, old *blobRec, days int) error {
	rec := &pastRec{blobRec: *old, Kind: pastPath}
	rec.Staged, rec.Lease = "", nil
	now, at := e.stamp()
	rec.delete(now, days)
	old.deletion = at
	if old.Staged != "" {
		if err := e.discard(tx, garbage{Kind: "staged", ID: old.Staged}); err != nil {
			return err
		}
	}
	return p.keep(tx, uid, pastKey(p.path(), at), rec)
}

// path is the key of the past of a path of a tree.
func (p *spot) path() string { return blobKey(p.c.ID, strings.Join(p.segs, "/")) }

// deletionID names a deletion of a path.
func deletionID(at uint64) string { return strconv.FormatUint(at, 10) }

// listGone returns a page of the deleted paths of a tree, in name order.
func (e *engine) listGone(ctx context.Context, r ref, q listQuery) (items []listItem, next string, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		c, err := findContainer(tx, r.uid, r.container)
		if err != nil {
			return err
		}
		if !r.as.super() {
			return refuse("AuthorizationPermissionMismatch")
		}
		base := c.ID + "/"
		rg := store.Range{Prefix: base + q.Prefix}
		if q.After != "" {
			rg.After = base + q.After
		}
		for row, err := range tx.Scan(bucketPast, rg) {
			if err != nil {
				return err
			}
			name, at, ok := strings.Cut(row.Key[len(base):], pastMark)
			if !ok {
				continue
			}
			it := listItem{Name: name, at: at}
			if i := delimited(name, q); i >= 0 {
				it = listItem{Name: name[:i], Prefix: true}
				if n := len(items); n > 0 && items[n-1].Name == it.Name {
					next = row.Key[len(base):]
					continue
				}
			}
			if len(items) == q.Max {
				return nil
			}
			if !it.Prefix {
				if it.Past, err = storage.Decode[pastRec](bucketPast, row.Key, row.Value); err != nil {
					return err
				}
				it.Blob = &it.Past.blobRec
			}
			items, next = append(items, it), row.Key[len(base):]
		}
		next = ""
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list deleted paths of %s: %w", r.container, err)
	}
	return items, next, nil
}

// undeletePath brings a deleted path back where it was.
func (e *engine) undeletePath(ctx context.Context, r ref, at uint64) (b *blobRec, err error) {
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if !p.c.Tree || p.root {
			return refuse("PathConflict")
		}
		key := pastKey(p.path(), at)
		rec, err := storage.Load[pastRec](tx, bucketPast, key)
		if err != nil {
			return err
		}
		if rec == nil {
			return refuse("BlobNotFound")
		}
		if visible(p.rec) != nil {
			return refuse("PathAlreadyExists")
		}
		if err := e.makeParents(tx, p, r.as); err != nil {
			return err
		}
		if err := forget(tx, key, rec); err != nil {
			return err
		}
		b = &rec.blobRec
		if p.rec != nil { // blocks that nobody committed
			b.Staged = p.rec.Staged
		}
		return storage.Save(tx, bucketBlobs, p.key, b)
	})
	if err != nil {
		return nil, fmt.Errorf("undelete path %s: %w", r.name, err)
	}
	return b, nil
}

// undeletePath serves Path Undelete.
func (s *Service) undeletePath(c *call) error {
	if err := needsTree(c); err != nil {
		return err
	}
	const header = "x-ms-undelete-source"
	raw := c.r.Header.Get(header)
	source, query, _ := strings.Cut(raw, "?")
	source, err := url.PathUnescape(source)
	if err != nil {
		return badHeader(header, raw)
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return badHeader(header, raw)
	}
	at, err := strconv.ParseUint(q.Get("deletionid"), 10, 64)
	if err != nil {
		return badHeader(header, raw)
	}
	source = strings.Join(segments(source), "/")
	if source != strings.Join(segments(c.blob), "/") && source != c.container+"/"+strings.Join(segments(c.blob), "/") {
		return notImplemented("Path Undelete to another path")
	}
	b, err := s.eng.undeletePath(c.r.Context(), c.ref(), at)
	if err != nil {
		return err
	}
	c.w.Header()["x-ms-resource-type"] = []string{resourceType(b)}
	c.w.Header()["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// gone writes a deleted path of a list.
func (x *xmlWriter) gone(s *Service, it listItem) {
	b := it.Blob
	x.Raw("<Blob>")
	x.Name("Name", it.Name)
	x.Element("Deleted", "true")
	if at, ok := parseTicks(it.at); ok {
		x.Element("DeletionId", deletionID(at))
	}
	x.Raw("<Properties>")
	x.Element("Creation-Time", httpTime(b.Created))
	x.Element("Last-Modified", httpTime(b.Modified))
	x.Element("Etag", strings.Trim(etagString(b.ETag), `"`))
	x.Element("Content-Length", strconv.FormatInt(b.Size, 10))
	x.Element("Content-Type", b.ContentType)
	x.Element("Content-MD5", base64.StdEncoding.EncodeToString(b.ContentMD5))
	x.Element("BlobType", string(b.Type))
	x.Element("ResourceType", resourceType(b))
	x.Element("ServerEncrypted", "false")
	x.Element("DeletedTime", storage.HTTPTime(it.Past.Deleted))
	x.Element("RemainingRetentionDays", daysLeft(it.Past.Until, s.cfg.Clock.Now()))
	x.Raw("</Properties></Blob>")
}
