package oci

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// The REST API of Azure's own:
// https://learn.microsoft.com/rest/api/containerregistry/

// attributes are changeableAttributes.
type attributes struct {
	Delete *bool `json:"deleteEnabled,omitempty"`
	Write  *bool `json:"writeEnabled,omitempty"`
	List   *bool `json:"listEnabled,omitempty"`
	Read   *bool `json:"readEnabled,omitempty"`
}

func (l locks) attributes() attributes {
	return attributes{new(!l.NoDelete), new(!l.NoWrite), new(!l.NoList), new(!l.NoRead)}
}

// apply changes the locks to what the attributes say.
func (a attributes) apply(l *locks) {
	for _, one := range []struct {
		to *bool
		l  *bool
	}{{a.Delete, &l.NoDelete}, {a.Write, &l.NoWrite}, {a.List, &l.NoList}, {a.Read, &l.NoRead}} {
		if one.to != nil {
			*one.l = !*one.to
		}
	}
}

// stamp is a time as Azure writes it here.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

const maxAttributes = 64 << 10

func (c *call) readAttributes() (attributes, error) {
	var a attributes
	b, err := io.ReadAll(io.LimitReader(c.r.Body, maxAttributes))
	if err != nil {
		return a, &bodyError{err}
	}
	if err := json.Unmarshal(b, &a); err != nil {
		e := known(errcode.ErrorCodeUnsupported, nil)
		e.Status, e.Code, e.Message = http.StatusBadRequest, "INVALID_REQUEST", "The attributes cannot be read: "+err.Error() // Azure's words are not known
		return a, e
	}
	return a, nil
}

func (c *call) showRepositoryRecord(r *repository) {
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]any{
		"registry": c.reg.host(), "imageName": r.Name, "createdTime": stamp(r.Created), "lastUpdateTime": stamp(r.Updated),
		"manifestCount": r.Manifests, "tagCount": r.Tags, "changeableAttributes": r.Locks.attributes(),
	})
}

func (c *call) showRepository() error {
	var r *repository
	err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		r, err = c.mustExist(tx)
		return err
	})
	if err != nil {
		return err
	}
	c.showRepositoryRecord(r)
	return nil
}

func (c *call) changeRepository() error {
	a, err := c.readAttributes()
	if err != nil {
		return err
	}
	var r *repository
	err = c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		if r, err = c.mustExist(tx); err != nil {
			return err
		}
		a.apply(&r.Locks)
		return c.tables.repositories.Put(tx, r)
	})
	if err != nil {
		return err
	}
	c.showRepositoryRecord(r)
	return nil
}

// deleteRepository removes a repository with all that is in it, unless something
// may not be deleted.
func (c *call) deleteRepository() error {
	out := dropped{Manifests: []string{}, Tags: []string{}}
	err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		out = dropped{Manifests: []string{}, Tags: []string{}}
		r, err := c.mustExist(tx)
		if err != nil {
			return err
		}
		if r.Locks.keeps() {
			return locked()
		}
		inside := store.Range{Prefix: key(c.reg.UID, c.repo, "")}
		manifests, err := list(c.tables.manifests.All(tx, inside))
		if err != nil {
			return err
		}
		for _, m := range manifests {
			if err := c.dropManifest(tx, r, m, &out); err != nil {
				return err
			}
		}
		links, err := list(c.tables.links.All(tx, inside))
		if err != nil {
			return err
		}
		for _, l := range links {
			if err := c.tables.links.Delete(tx, key(l.UID, l.Repo, l.Digest)); err != nil {
				return err
			}
			if err := due(tx, c.now, dueBlob, l.UID, "", l.Digest); err != nil {
				return err
			}
		}
		return c.tables.repositories.Delete(tx, key(c.reg.UID, c.repo))
	})
	if err != nil {
		return err
	}
	c.reclaim()
	c.writeJSON(c.w, http.StatusAccepted, "application/json; charset=utf-8", out)
	return nil
}

// order reads orderby, and whether it is by time and the latest first.
func (c *call) order() (timed, latest bool, err error) {
	switch by := c.r.URL.Query().Get("orderby"); by {
	case "", "none":
		return false, false, nil
	case "timeasc":
		return true, false, nil
	case "timedesc":
		return true, true, nil
	default:
		return false, false, notImplemented("orderby=" + strconv.Quote(by))
	}
}

func tagDoc(t *tagRec) map[string]any {
	return map[string]any{"name": t.Name, "digest": t.Digest, "createdTime": stamp(t.Created), "lastUpdateTime": stamp(t.Updated),
		"signed": false, "changeableAttributes": t.Locks.attributes()}
}

func (c *call) listTags() error {
	n, err := c.page(defaultPage)
	if err != nil {
		return err
	}
	timed, latest, err := c.order()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	of := q.Get("digest")
	var tags []*tagRec
	more := false
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		if _, err := c.mustExist(tx); err != nil {
			return err
		}
		r := store.Range{Prefix: key(c.reg.UID, c.repo, ""), Reverse: latest}
		seq := c.tables.tags.All
		index := ""
		switch {
		case of != "":
			index, r.Prefix, r.Reverse = byDigest, store.Exact(key(c.reg.UID, c.repo, of)), false
		case timed:
			index = byTime
		}
		if index != "" {
			seq = func(tx store.Tx, r store.Range) iter.Seq2[*tagRec, error] { return c.tables.tags.By(tx, index, r) }
		}
		if last := q.Get("last"); last != "" {
			r.After = key(c.reg.UID, c.repo, last)
			if index != "" {
				t, err := find(tx, &c.tables.tags, r.After)
				if err != nil {
					return err
				}
				if r.After = ""; t != nil {
					r.After = c.tables.tags.Position(c.tables.tags.Indexes[index](t)[0], t)
				}
			}
		}
		tags, more, err = take(seq(tx, r), n, func(t *tagRec) bool { return !t.Locks.NoList })
		return err
	})
	if err != nil {
		return err
	}
	docs := make([]any, len(tags))
	for i, t := range tags {
		docs[i] = tagDoc(t)
	}
	if more {
		c.next(map[string]string{"last": tags[len(tags)-1].Name, "n": strconv.Itoa(n), "orderby": q.Get("orderby"), "digest": of})
	}
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]any{"registry": c.reg.host(), "imageName": c.repo, "tags": docs})
	return nil
}

// oneTag calls f with a tag, in a transaction that may write if change is set.
func (c *call) oneTag(change bool, f func(store.Tx, *tagRec) error) (t *tagRec, err error) {
	in := c.cfg.Store.View
	if change {
		in = c.cfg.Store.Update
	}
	err = in(c.ctx, func(tx store.Tx) error {
		if _, err := c.mustExist(tx); err != nil {
			return err
		}
		if t, err = find(tx, &c.tables.tags, key(c.reg.UID, c.repo, c.ref)); err != nil {
			return err
		}
		if t == nil {
			e := known(errcode.ErrorCodeManifestUnknown, map[string]string{"name": c.repo, "tag": c.ref})
			e.Code, e.Message = "TAG_UNKNOWN", "the specified tag does not exist"
			return e
		}
		return f(tx, t)
	})
	return t, err
}

func (c *call) writeTag(t *tagRec) error {
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]any{"registry": c.reg.host(), "imageName": c.repo, "tag": tagDoc(t)})
	return nil
}

func (c *call) showTag() error {
	t, err := c.oneTag(false, func(store.Tx, *tagRec) error { return nil })
	if err != nil {
		return err
	}
	return c.writeTag(t)
}

func (c *call) changeTag() error {
	a, err := c.readAttributes()
	if err != nil {
		return err
	}
	t, err := c.oneTag(true, func(tx store.Tx, t *tagRec) error {
		a.apply(&t.Locks)
		return c.tables.tags.Put(tx, t)
	})
	if err != nil {
		return err
	}
	return c.writeTag(t)
}

// deleteTag removes a tag. What it names stays.
func (c *call) deleteTag() error {
	_, err := c.oneTag(true, func(tx store.Tx, t *tagRec) error {
		r, err := c.mustExist(tx)
		if err != nil {
			return err
		}
		if r.Locks.keeps() || t.Locks.keeps() {
			return locked()
		}
		if err := c.tables.tags.Delete(tx, key(t.UID, t.Repo, t.Name)); err != nil {
			return err
		}
		r.Tags, r.Updated = r.Tags-1, c.now
		return c.tables.repositories.Put(tx, r)
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// manifestDoc is a manifest as it is shown, with the tags that it has.
func (c *call) manifestDoc(tx store.Tx, m *manifestRec) (map[string]any, error) {
	doc := map[string]any{"digest": m.Digest, "imageSize": m.Image, "createdTime": stamp(m.Created), "lastUpdateTime": stamp(m.Updated),
		"mediaType": m.MediaType, "changeableAttributes": m.Locks.attributes()}
	for name, value := range map[string]string{"architecture": m.Architecture, "os": m.OS, "configMediaType": m.ConfigType} {
		if value != "" {
			doc[name] = value
		}
	}
	if len(m.Parts) > 0 {
		doc["references"] = m.Parts
	}
	tags := []string{}
	for t, err := range c.tables.tags.By(tx, byDigest, store.Range{Prefix: store.Exact(key(m.UID, m.Repo, m.Digest)), Limit: maxPage}) {
		if err != nil {
			return nil, fmt.Errorf("list tags: %w", err)
		}
		tags = append(tags, t.Name)
	}
	if len(tags) > 0 {
		doc["tags"] = tags
	}
	return doc, nil
}

func (c *call) listManifests() error {
	n, err := c.page(defaultPage)
	if err != nil {
		return err
	}
	timed, latest, err := c.order()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	var docs []any
	more := false
	last := q.Get("last")
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		if _, err := c.mustExist(tx); err != nil {
			return err
		}
		r := store.Range{Prefix: key(c.reg.UID, c.repo, ""), Reverse: latest}
		seq := c.tables.manifests.All
		if timed {
			seq = func(tx store.Tx, r store.Range) iter.Seq2[*manifestRec, error] {
				return c.tables.manifests.By(tx, byTime, r)
			}
		}
		if last != "" {
			r.After = key(c.reg.UID, c.repo, last)
			if timed {
				m, err := find(tx, &c.tables.manifests, r.After)
				if err != nil {
					return err
				}
				if r.After = ""; m != nil {
					r.After = c.tables.manifests.Position(c.tables.manifests.Indexes[byTime](m)[0], m)
				}
			}
		}
		found, again, err := take(seq(tx, r), n, func(m *manifestRec) bool { return !m.Locks.NoList })
		if err != nil {
			return err
		}
		docs, more = make([]any, len(found)), again
		for i, m := range found {
			if docs[i], err = c.manifestDoc(tx, m); err != nil {
				return err
			}
			last = m.Digest
		}
		return nil
	})
	if err != nil {
		return err
	}
	if more {
		c.next(map[string]string{"last": last, "n": strconv.Itoa(n), "orderby": q.Get("orderby")})
	}
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]any{"registry": c.reg.host(), "imageName": c.repo, "manifests": docs})
	return nil
}

func (c *call) showManifest() error { return c.oneManifest(false, func(*manifestRec) {}) }

func (c *call) changeManifest() error {
	a, err := c.readAttributes()
	if err != nil {
		return err
	}
	return c.oneManifest(true, func(m *manifestRec) { a.apply(&m.Locks) })
}

// oneManifest shows a manifest, once f has changed it.
func (c *call) oneManifest(change bool, f func(*manifestRec)) error {
	in := c.cfg.Store.View
	if change {
		in = c.cfg.Store.Update
	}
	var doc map[string]any
	err := in(c.ctx, func(tx store.Tx) error {
		m, _, err := c.resolve(tx, c.ref)
		if err != nil {
			return err
		}
		if f(m); change {
			if err := c.tables.manifests.Put(tx, m); err != nil {
				return err
			}
		}
		doc, err = c.manifestDoc(tx, m)
		return err
	})
	if err != nil {
		return err
	}
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]any{"registry": c.reg.host(), "imageName": c.repo, "manifest": doc})
	return nil
}
