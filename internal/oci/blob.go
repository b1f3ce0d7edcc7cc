package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// parseDigest reads a digest of an algorithm that the registry keeps. What it
// returns is fit for a path.
func parseDigest(text string) (digest.Digest, error) {
	d, err := digest.Parse(text)
	if err != nil || d.Algorithm() != digest.SHA256 && d.Algorithm() != digest.SHA512 {
		return "", invalid(errcode.ErrorCodeDigestInvalid, "A digest is sha256: or sha512: and as many hexadecimal digits as that has.")
	}
	return d, nil
}

// getBlob serves a blob of the repository, or a part of one.
func (c *call) getBlob() error {
	d, err := parseDigest(c.ref)
	if err != nil {
		return err
	}
	old := false
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		if err := c.mayRead(tx); err != nil {
			return err
		}
		l, err := find(tx, &c.tables.links, key(c.reg.UID, c.repo, string(d)))
		if err != nil {
			return err
		}
		if l == nil {
			return known(errcode.ErrorCodeBlobUnknown, map[string]string{"digest": string(d)})
		}
		old = c.now.Sub(l.At) > linkFresh
		return nil
	})
	if err != nil {
		return err
	}
	if old && c.r.Method == http.MethodHead {
		// Who asks whether it is here, and may push, is about to name it.
		if err := c.refresh(d); err != nil {
			return err
		}
	}
	file, err := c.files.open(c.reg.UID, d)
	if errors.Is(err, fs.ErrNotExist) { // it was removed since
		return known(errcode.ErrorCodeBlobUnknown, map[string]string{"digest": string(d)})
	}
	if err != nil {
		return err
	}
	defer file.Close()
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", string(d))
	h.Set("ETag", `"`+string(d)+`"`)
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	http.ServeContent(c.w, c.r, "", time.Time{}, file)
	return nil
}

// refresh keeps a blob from being collected while it is named by nothing yet.
func (c *call) refresh(d digest.Digest) error {
	ok, err := c.mayOne(need{Type: typeRepository, Name: c.repo, Actions: []string{actPush}})
	if err != nil || !ok {
		return err
	}
	err = c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		l, err := find(tx, &c.tables.links, key(c.reg.UID, c.repo, string(d)))
		if err != nil {
			return err
		}
		if l == nil {
			return known(errcode.ErrorCodeBlobUnknown, map[string]string{"digest": string(d)})
		}
		return c.link(tx, d)
	})
	if err != nil {
		return fmt.Errorf("hold on to blob: %w", err)
	}
	return nil
}

// mount makes a blob of another repository one of this one's, if the caller may
// pull from there. Otherwise it is to be uploaded.
func (c *call) mount(d digest.Digest, from string) (done bool, err error) {
	if from == "" || !c.isName(from) {
		return false, nil
	}
	ok, err := c.mayOne(need{Type: typeRepository, Name: from, Actions: []string{actPull}})
	if err != nil {
		return false, err
	}
	if !ok {
		if ok, err = c.may(c.ctx, c.reg, c.who, actPull); err != nil || !ok {
			return false, err
		}
		// the caller may, and the token does not say so: it is to get a better one
		return false, c.unauthorized(c, need{Type: typeRepository, Name: c.repo, Actions: []string{actPush}, From: from}, "insufficient_scope")
	}
	err = c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		done = false
		src, err := find(tx, &c.tables.repositories, key(c.reg.UID, from))
		if err != nil || src != nil && src.Locks.NoRead {
			return err
		}
		l, err := find(tx, &c.tables.links, key(c.reg.UID, from, string(d)))
		if err != nil || l == nil {
			return err
		}
		done = true
		return c.link(tx, d)
	})
	if err != nil {
		return false, fmt.Errorf("mount blob: %w", err)
	}
	if !done {
		return false, nil
	}
	return true, c.created("blobs", d)
}

// deleteBlob takes a blob from the repository. One that a manifest names stays.
func (c *call) deleteBlob() error {
	d, err := parseDigest(c.ref)
	if err != nil {
		return err
	}
	err = c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		if err := c.mayDelete(tx); err != nil {
			return err
		}
		k := key(c.reg.UID, c.repo, string(d))
		l, err := find(tx, &c.tables.links, k)
		if err != nil {
			return err
		}
		if l == nil {
			return known(errcode.ErrorCodeBlobUnknown, map[string]string{"digest": string(d)})
		}
		used, err := has(tx, &c.tables.manifests, byUse, k)
		if err != nil {
			return err
		}
		if used {
			return invalid(errcode.ErrorCodeUnsupported, "A manifest of the repository names this blob.")
		}
		if err := c.tables.links.Delete(tx, k); err != nil {
			return err
		}
		return due(tx, c.now, dueBlob, c.reg.UID, "", string(d))
	})
	if err != nil {
		return err
	}
	c.reclaim()
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// repository reads the record of the call's repository; nil when it has none yet.
func (c *call) repository(tx store.Tx) (*repository, error) {
	return find(tx, &c.tables.repositories, key(c.reg.UID, c.repo))
}

// mayRead refuses pulls that the repository's attributes forbid.
func (c *call) mayRead(tx store.Tx) error {
	r, err := c.repository(tx)
	if err == nil && r != nil && r.Locks.NoRead {
		return locked()
	}
	return err
}

// mayWrite refuses pushes that the repository's attributes forbid.
func (c *call) mayWrite() error {
	return c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		r, err := c.repository(tx)
		if err == nil && r != nil && r.Locks.NoWrite {
			return locked()
		}
		return err
	})
}

// mayDelete refuses deletions that the repository's attributes forbid. What may not
// be written may not be deleted either.
func (c *call) mayDelete(tx store.Tx) error {
	r, err := c.repository(tx)
	if err == nil && r != nil && r.Locks.keeps() {
		return locked()
	}
	return err
}

func (l locks) keeps() bool { return l.NoDelete || l.NoWrite }
