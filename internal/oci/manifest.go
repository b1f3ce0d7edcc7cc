package oci

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// resolve finds the manifest that a tag or digest names. The tag is nil for a
// digest.
func (c *call) resolve(tx store.Tx, ref string) (*manifestRec, *tagRec, error) {
	var t *tagRec
	d := ref
	if c.tagName.MatchString(ref) {
		var err error
		if t, err = find(tx, &c.tables.tags, key(c.reg.UID, c.repo, ref)); err != nil {
			return nil, nil, err
		}
		if t == nil {
			return nil, nil, c.noManifest(tx, ref)
		}
		d = t.Digest
	} else if _, err := parseDigest(ref); err != nil {
		return nil, nil, err
	}
	m, err := find(tx, &c.tables.manifests, key(c.reg.UID, c.repo, d))
	if err != nil {
		return nil, nil, err
	}
	if m == nil {
		return nil, nil, c.noManifest(tx, ref)
	}
	return m, t, nil
}

// noManifest says what there is not: the repository, or the manifest.
func (c *call) noManifest(tx store.Tx, ref string) error {
	r, err := c.repository(tx)
	if err != nil {
		return err
	}
	if r == nil {
		return known(errcode.ErrorCodeNameUnknown, map[string]string{"name": c.repo})
	}
	e := known(errcode.ErrorCodeManifestUnknown, map[string]string{"name": c.repo, "revision": ref})
	e.Message = "manifest tagged by \"" + ref + "\" is not found"
	if !c.tagName.MatchString(ref) {
		e.Message = "manifest " + ref + " is not found"
	}
	return e
}

func (c *call) getManifest() error {
	var m *manifestRec
	err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		if err := c.mayRead(tx); err != nil {
			return err
		}
		var t *tagRec
		if m, t, err = c.resolve(tx, c.ref); err != nil {
			return err
		}
		if m.Locks.NoRead || t != nil && t.Locks.NoRead {
			return locked()
		}
		return nil
	})
	if err != nil {
		return err
	}
	file, err := c.files.open(c.reg.UID, digest.Digest(m.Digest))
	if errors.Is(err, fs.ErrNotExist) { // it was deleted since
		return known(errcode.ErrorCodeManifestUnknown, nil)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	h := c.w.Header()
	h.Set("Content-Type", m.MediaType)
	h.Set("Docker-Content-Digest", m.Digest)
	h.Set("ETag", `"`+m.Digest+`"`)
	http.ServeContent(c.w, c.r, "", time.Time{}, file)
	return nil
}

// putManifest takes a manifest, under its digest or a tag.
func (c *call) putManifest() error {
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxManifest+1))
	if err != nil {
		return &bodyError{err}
	}
	if len(body) > maxManifest {
		e := invalid(errcode.ErrorCodeManifestInvalid, fmt.Sprintf("manifest invalid: it is larger than %d bytes", maxManifest))
		e.Status = http.StatusRequestEntityTooLarge
		return e
	}
	d, name := digest.FromBytes(body), ""
	if c.tagName.MatchString(c.ref) {
		name = c.ref
	} else {
		want, err := parseDigest(c.ref)
		if err != nil {
			return err
		}
		if d = want.Algorithm().FromBytes(body); d != want {
			return known(errcode.ErrorCodeDigestInvalid, map[string]string{"digest": c.ref})
		}
	}
	p, err := parseManifest(c.r.Header.Get("Content-Type"), body)
	if err != nil {
		return err
	}
	m := c.record(d, int64(len(body)), p)
	if err := c.describe(m, p); err != nil {
		return err
	}
	if err := c.keepManifest(m, p, body, name); err != nil {
		return err
	}
	if p.subject != nil {
		c.w.Header().Set("OCI-Subject", string(p.subject.Digest))
	}
	return c.created("manifests", d)
}

// record is what is remembered of a manifest.
func (c *call) record(d digest.Digest, size int64, p *parsed) *manifestRec {
	m := &manifestRec{UID: c.reg.UID, Repo: c.repo, Digest: string(d), MediaType: p.mediaType, Size: size, Image: p.size(),
		Created: c.now, Updated: c.now, ArtifactType: p.artifactType, Annotations: p.annotations, Parts: p.parts()}
	if p.config != nil {
		m.ConfigType = p.config.MediaType
	}
	if p.subject != nil {
		m.Subject = string(p.subject.Digest)
	}
	seen := map[string]bool{}
	use := func(d digest.Digest) {
		if !seen[string(d)] {
			seen[string(d)] = true
			m.Uses = append(m.Uses, string(d))
		}
	}
	for _, b := range p.blobs() {
		use(b)
	}
	for _, part := range p.manifests {
		use(part.Digest)
	}
	return m
}

// maxConfig is the most bytes of a config that are looked at.
const maxConfig = 1 << 20

// describe finds out the platform of an image from its config.
func (c *call) describe(m *manifestRec, p *parsed) error {
	if p.config == nil || p.config.Size > maxConfig {
		return nil
	}
	linked := false
	err := c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		l, err := find(tx, &c.tables.links, key(c.reg.UID, c.repo, string(p.config.Digest)))
		linked = l != nil
		return err
	})
	if err != nil || !linked {
		return err // that it is missing is said with what else is
	}
	file, err := c.files.open(c.reg.UID, p.config.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	var platform struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	}
	b, err := io.ReadAll(io.LimitReader(file, maxConfig))
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if json.Unmarshal(b, &platform) == nil { // of an artifact it may be anything
		m.Architecture, m.OS = platform.Architecture, platform.OS
	}
	return nil
}

// keepManifest stores a manifest and the tag, unless what it names is missing.
func (c *call) keepManifest(m *manifestRec, p *parsed, body []byte, name string) error {
	d := digest.Digest(m.Digest)
	file, err := create(c.files.upload(c.reg.UID, c.files.manifests+rand.Text()))
	if err != nil {
		return err
	}
	defer file.Close()
	defer c.files.remove(file.Name()) // nothing is there when all went well
	if _, err := c.files.pump(file, bytes.NewReader(body)); err != nil {
		return err
	}
	defer c.lock(c.reg.UID, d)()
	if err := c.files.place(file, c.reg.UID, d); err != nil {
		return err
	}
	err = c.cfg.Store.Update(context.WithoutCancel(c.ctx), func(tx store.Tx) error {
		if err := enter(tx, c.reg.UID); err != nil {
			return err
		}
		if err := c.checkUses(tx, p); err != nil {
			return err
		}
		if err := c.putBlob(tx, d, m.Size); err != nil {
			return err
		}
		return c.putRecords(tx, m, name)
	})
	if err != nil {
		c.discard(d)
		return fmt.Errorf("keep manifest: %w", err)
	}
	return nil
}

// discard removes a file that got its name, but no row. The caller holds the
// digest's lock.
func (c *call) discard(d digest.Digest) {
	err := c.cfg.Store.View(context.WithoutCancel(c.ctx), func(tx store.Tx) error {
		_, err := c.tables.blobs.Get(tx, key(c.reg.UID, string(d)))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		c.files.remove(c.files.blob(c.reg.UID, d))
	}
}

// checkUses refuses a manifest that names what the repository does not have.
func (c *call) checkUses(tx store.Tx, p *parsed) error {
	missing := func(d digest.Digest) error {
		return known(errcode.ErrorCodeManifestBlobUnknown, map[string]string{"digest": string(d)})
	}
	for _, d := range p.blobs() {
		l, err := find(tx, &c.tables.links, key(c.reg.UID, c.repo, string(d)))
		if err != nil {
			return err
		}
		if l == nil {
			return missing(d)
		}
	}
	for _, m := range p.manifests {
		have, err := find(tx, &c.tables.manifests, key(c.reg.UID, c.repo, string(m.Digest)))
		if err != nil {
			return err
		}
		if have == nil {
			return missing(m.Digest)
		}
	}
	return nil
}

// putRecords writes the records of a manifest, its tag and its repository.
func (c *call) putRecords(tx store.Tx, m *manifestRec, name string) error {
	r, err := c.repository(tx)
	if err != nil {
		return err
	}
	if r == nil {
		r = &repository{UID: c.reg.UID, Name: c.repo, Created: c.now}
	}
	if r.Locks.NoWrite {
		return locked()
	}
	old, err := find(tx, &c.tables.manifests, key(m.UID, m.Repo, m.Digest))
	if err != nil {
		return err
	}
	if old == nil {
		r.Manifests++
	} else {
		m.Created, m.Locks = old.Created, old.Locks
		if name == "" {
			m.Updated = old.Updated // nothing changes
		}
	}
	if err := c.tables.manifests.Put(tx, m); err != nil {
		return err
	}
	if name != "" {
		t, err := find(tx, &c.tables.tags, key(c.reg.UID, c.repo, name))
		if err != nil {
			return err
		}
		switch {
		case t == nil:
			t = &tagRec{UID: c.reg.UID, Repo: c.repo, Name: name, Created: c.now}
			r.Tags++
		case t.Locks.NoWrite:
			return locked()
		}
		t.Digest, t.Updated = m.Digest, c.now
		if err := c.tables.tags.Put(tx, t); err != nil {
			return err
		}
	}
	r.Updated = c.now
	return c.tables.repositories.Put(tx, r)
}

// deleteManifest deletes a manifest with its tags, or a tag alone.
func (c *call) deleteManifest() error {
	if c.tagName.MatchString(c.ref) {
		return c.deleteTag()
	}
	err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		if err := c.mayDelete(tx); err != nil {
			return err
		}
		m, _, err := c.resolve(tx, c.ref)
		if err != nil {
			return err
		}
		r, err := c.repository(tx)
		if err != nil {
			return err
		}
		if err := c.dropManifest(tx, r, m, nil); err != nil {
			return err
		}
		r.Updated = c.now
		return c.tables.repositories.Put(tx, r)
	})
	if err != nil {
		return err
	}
	c.reclaim()
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// dropped is what a deletion of a repository took along.
type dropped struct {
	Manifests []string `json:"manifestsDeleted"`
	Tags      []string `json:"tagsDeleted"`
}

// dropManifest removes a manifest, its tags and, as Azure does, what refers to it
// (https://learn.microsoft.com/azure/container-registry/container-registry-manage-artifact).
// What may not be deleted stops it.
func (c *call) dropManifest(tx store.Tx, r *repository, m *manifestRec, out *dropped) error {
	todo := []*manifestRec{m}
	for len(todo) > 0 {
		m, todo = todo[0], todo[1:]
		// one that refers to itself, or that two ways lead to, is met again
		if have, err := find(tx, &c.tables.manifests, key(m.UID, m.Repo, m.Digest)); err != nil || have == nil {
			if err != nil {
				return err
			}
			continue
		}
		if m.Locks.keeps() {
			return locked()
		}
		about, err := list(c.tables.manifests.By(tx, bySubject, store.Range{Prefix: store.Exact(key(m.UID, m.Repo, m.Digest))}))
		if err != nil {
			return err
		}
		todo = append(todo, about...)
		tags, err := list(c.tables.tags.By(tx, byDigest, store.Range{Prefix: store.Exact(key(m.UID, m.Repo, m.Digest))}))
		if err != nil {
			return err
		}
		for _, t := range tags {
			if t.Locks.keeps() {
				return locked()
			}
			if err := c.tables.tags.Delete(tx, key(t.UID, t.Repo, t.Name)); err != nil {
				return err
			}
			r.Tags--
			if out != nil {
				out.Tags = append(out.Tags, t.Name)
			}
		}
		if err := c.tables.manifests.Delete(tx, key(m.UID, m.Repo, m.Digest)); err != nil {
			return err
		}
		r.Manifests--
		if out != nil {
			out.Manifests = append(out.Manifests, m.Digest)
		}
		if err := due(tx, c.now, dueBlob, m.UID, "", m.Digest); err != nil {
			return err
		}
		for _, d := range m.Uses {
			if err := due(tx, c.now, dueLink, m.UID, m.Repo, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// referrers lists what refers to a manifest, which need not be there.
func (c *call) referrers() error {
	d, err := parseDigest(c.ref)
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	artifactType := q.Get("artifactType")
	after := ""
	if last := q.Get("last"); last != "" {
		if _, err := parseDigest(last); err != nil {
			return err
		}
		after = key(key(c.reg.UID, c.repo, string(d)), key(c.reg.UID, c.repo, last))
	}
	out := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	out.SchemaVersion = 2
	more := false
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		if err := c.mayRead(tx); err != nil {
			return err
		}
		for m, err := range c.tables.manifests.By(tx, bySubject, store.Range{Prefix: store.Exact(key(c.reg.UID, c.repo, string(d))), After: after}) {
			if err != nil {
				return err
			}
			if artifactType != "" && m.ArtifactType != artifactType || m.Locks.NoList {
				continue
			}
			if len(out.Manifests) == maxPage {
				more = true
				return nil
			}
			out.Manifests = append(out.Manifests, v1.Descriptor{MediaType: m.MediaType, Digest: digest.Digest(m.Digest), Size: m.Size,
				ArtifactType: m.ArtifactType, Annotations: m.Annotations})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if artifactType != "" {
		c.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if more {
		c.next(map[string]string{"last": string(out.Manifests[len(out.Manifests)-1].Digest), "artifactType": artifactType})
	}
	c.writeJSON(c.w, http.StatusOK, v1.MediaTypeImageIndex, out)
	return nil
}
