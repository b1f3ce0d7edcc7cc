package oci

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// uploadLife is how long an upload is kept that nobody goes on with. Azure's own
// time is not known.
const uploadLife = 24 * time.Hour

// uploadSet is the uploads that this process has seen, by registry and ID.
type uploadSet struct {
	mu   sync.Mutex
	open map[string]*session
}

// session lets one request at a time go on with an upload, and keeps the hash of
// what is there, so that a layer need not be read again when it is complete.
type session struct {
	busy  chan struct{} // holds one while a request is at it
	users int

	hash   hash.Hash
	hashed int64
}

// enter waits for the upload's turn until ctx ends.
func (u *uploadSet) enter(ctx context.Context, id string) (se *session, leave func(), err error) {
	u.mu.Lock()
	se = u.open[id]
	if se == nil {
		se = &session{busy: make(chan struct{}, 1)}
		u.open[id] = se
	}
	se.users++
	u.mu.Unlock()
	drop := func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		se.users--
		if se.users == 0 && se.hash == nil && u.open[id] == se {
			delete(u.open, id)
		}
	}
	if ctx.Err() == nil {
		select {
		case se.busy <- struct{}{}:
			return se, func() { <-se.busy; drop() }, nil
		case <-ctx.Done():
		}
	}
	drop()
	return nil, nil, fmt.Errorf("wait for upload: %w", ctx.Err())
}

// working reports whether a request is at an upload now.
func (u *uploadSet) working(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.open[id] != nil && u.open[id].users > 0
}

// forget lets go of the hash of an upload that has ended.
func (u *uploadSet) forget(id string, se *session) {
	se.hash = nil
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[id] == se {
		delete(u.open, id)
	}
}

// startUpload begins an upload, takes a whole blob, or mounts one.
func (c *call) startUpload() error {
	q := c.r.URL.Query()
	if err := c.mayWrite(); err != nil {
		return err
	}
	if mount := q.Get("mount"); mount != "" {
		d, err := parseDigest(mount)
		if err != nil {
			return err
		}
		done, err := c.mount(d, q.Get("from"))
		if err != nil || done {
			return err
		}
	}
	up := &uploadRec{UID: c.reg.UID, Repo: c.repo, ID: rand.Text(), At: c.now}
	err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		if err := enter(tx, c.reg.UID); err != nil {
			return err
		}
		if err := c.tables.uploads.Put(tx, up); err != nil {
			return err
		}
		return due(tx, c.now.Add(uploadLife), dueUpload, up.UID, up.ID, "")
	})
	if err != nil {
		return fmt.Errorf("start upload: %w", err)
	}
	file, err := create(c.files.upload(up.UID, up.ID))
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("create registry file: %w", err)
	}
	c.ref = up.ID
	if q.Get("digest") != "" {
		return c.endUpload()
	}
	return c.accepted(0, http.StatusAccepted)
}

// accepted tells how far an upload is.
func (c *call) accepted(have int64, status int) error {
	h := c.w.Header()
	h.Set("Location", "/v2/"+c.repo+"/blobs/uploads/"+c.ref)
	h.Set("Docker-Upload-Uuid", c.ref)
	h.Set("Range", "0-"+strconv.FormatInt(max(0, have-1), 10))
	h.Set("Content-Length", "0")
	c.w.WriteHeader(status)
	return nil
}

// withUpload calls f with the upload that the path names, alone.
func (c *call) withUpload(f func(up *uploadRec, se *session, file *os.File) error) error {
	se, leave, err := c.uploads.enter(c.ctx, key(c.reg.UID, c.ref))
	if err != nil {
		return err
	}
	defer leave()
	up, err := c.upload()
	if err != nil {
		return err
	}
	path := c.files.upload(up.UID, up.ID)
	file, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // its creation was interrupted
		file, err = create(path)
	}
	if err != nil {
		return fmt.Errorf("open upload: %w", err)
	}
	defer file.Close()
	return f(up, se, file)
}

// upload reads the record of the upload that the path names.
func (c *call) upload() (up *uploadRec, err error) {
	if !c.uploadName.MatchString(c.ref) {
		return nil, known(errcode.ErrorCodeBlobUploadUnknown, nil)
	}
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		up, err = find(tx, &c.tables.uploads, key(c.reg.UID, c.ref))
		return err
	})
	if err == nil && (up == nil || up.Repo != c.repo) {
		err = known(errcode.ErrorCodeBlobUploadUnknown, nil)
	}
	return up, err
}

// uploadStatus does not wait for a request that is at it: who asks may have lost the
// answer of just that one.
func (c *call) uploadStatus() error {
	up, err := c.upload()
	if err != nil {
		return err
	}
	info, err := os.Stat(c.files.upload(up.UID, up.ID))
	if errors.Is(err, fs.ErrNotExist) { // its creation was interrupted
		return c.accepted(0, http.StatusNoContent)
	}
	if err != nil {
		return fmt.Errorf("measure upload: %w", err)
	}
	return c.accepted(info.Size(), http.StatusNoContent)
}

func (c *call) continueUpload() error {
	if err := c.mayWrite(); err != nil {
		return err
	}
	return c.withUpload(func(up *uploadRec, se *session, file *os.File) error {
		have, err := c.appendBody(se, file)
		if err != nil {
			return err
		}
		if c.now.Sub(up.At) > uploadLife/8 { // not for each chunk
			up.At = c.now
			if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) error { return c.tables.uploads.Put(tx, up) }); err != nil {
				return fmt.Errorf("go on with upload: %w", err)
			}
		}
		return c.accepted(have, http.StatusAccepted)
	})
}

// appendBody appends the request's body to an upload and returns how much there is
// now. What was taken of a body that is cut short stays, and can be gone on from.
func (c *call) appendBody(se *session, file *os.File) (have int64, err error) {
	if have, err = file.Seek(0, io.SeekEnd); err != nil {
		return 0, fmt.Errorf("measure upload: %w", err)
	}
	if at, length, ok, err := contentRange(c.r.Header.Get("Content-Range")); err != nil {
		return 0, err
	} else if ok {
		if at != have {
			return 0, c.outOfOrder(have)
		}
		if c.r.ContentLength >= 0 && c.r.ContentLength != length {
			return 0, known(errcode.ErrorCodeSizeInvalid, nil)
		}
		c.r.Body = http.MaxBytesReader(c.w, c.r.Body, length)
	}
	if have == 0 && se.hash == nil {
		se.hash = sha256.New()
	}
	var dst io.Writer = file
	if se.hash != nil && se.hashed == have {
		dst = io.MultiWriter(file, se.hash)
	}
	n, err := c.files.pump(dst, c.r.Body)
	if dst != io.Writer(file) {
		se.hashed += n
	}
	if err != nil {
		// a write that failed may have reached the file in part, or not the hash
		se.hash, se.hashed = nil, 0
		if body := (*bodyError)(nil); !errors.As(err, &body) {
			// What was acknowledged before stays. The rest must not: on a full disk it
			// is in the way of everything else.
			if terr := file.Truncate(have); terr != nil {
				err = errors.Join(err, fmt.Errorf("take back what did not fit: %w", terr))
			}
		}
		return 0, err
	}
	return have + n, nil
}

// outOfOrder tells a client from where to go on.
func (c *call) outOfOrder(have int64) error {
	h := c.w.Header()
	h.Set("Location", "/v2/"+c.repo+"/blobs/uploads/"+c.ref)
	h.Set("Docker-Upload-Uuid", c.ref)
	h.Set("Range", "0-"+strconv.FormatInt(max(0, have-1), 10))
	return known(errcode.ErrorCodeRangeInvalid, nil)
}

// contentRange reads the header's form of this API, FIRST-LAST, and that of HTTP.
func contentRange(header string) (first, length int64, ok bool, err error) {
	if header == "" {
		return 0, 0, false, nil
	}
	text, _, _ := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	a, b, found := strings.Cut(text, "-")
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	if !found || err1 != nil || err2 != nil || first < 0 || last < first {
		return 0, 0, false, known(errcode.ErrorCodeRangeInvalid, nil)
	}
	return first, last - first + 1, true, nil
}

// endUpload takes what is left of a blob and makes it one of the repository's.
func (c *call) endUpload() error {
	if err := c.mayWrite(); err != nil {
		return err
	}
	want, err := parseDigest(c.r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	return c.withUpload(func(up *uploadRec, se *session, file *os.File) error {
		size, err := c.appendBody(se, file)
		if err != nil {
			return err
		}
		got, err := se.digest(c.files, file, size, want.Algorithm())
		if err != nil {
			return err
		}
		id := key(up.UID, up.ID)
		if got != want {
			// it cannot become the blob any more
			if err := c.dropUpload(c.ctx, up); err != nil {
				return err
			}
			c.uploads.forget(id, se)
			return known(errcode.ErrorCodeDigestInvalid, map[string]string{"digest": string(want)})
		}
		if err := c.keep(file, want, size, up); err != nil {
			return err
		}
		c.uploads.forget(id, se)
		return c.created("blobs", want)
	})
}

// digest is that of what is in the file, of which size bytes were hashed already if
// nothing interrupted it.
func (se *session) digest(f *files, file *os.File, size int64, algorithm digest.Algorithm) (digest.Digest, error) {
	if algorithm == digest.SHA256 && se.hash != nil && se.hashed == size {
		return digest.NewDigest(algorithm, se.hash), nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("read upload: %w", err)
	}
	h := algorithm.Hash()
	if _, err := f.pump(h, file); err != nil {
		return "", fmt.Errorf("read upload: %w", err)
	}
	return digest.NewDigest(algorithm, h), nil
}

// keep turns the file of an upload into a blob of the repository.
func (c *call) keep(file *os.File, d digest.Digest, size int64, up *uploadRec) error {
	defer c.lock(c.reg.UID, d)()
	if err := c.files.place(file, c.reg.UID, d); err != nil {
		return err
	}
	// the file has its name now, so who hangs up does not end this
	err := c.cfg.Store.Update(context.WithoutCancel(c.ctx), func(tx store.Tx) error {
		if err := c.files.step("commit"); err != nil {
			return err
		}
		if err := c.putBlob(tx, d, size); err != nil {
			return err
		}
		if err := c.tables.uploads.Delete(tx, key(up.UID, up.ID)); err != nil {
			return err
		}
		return c.link(tx, d)
	})
	if err != nil {
		// what has no row is an upload still, to be tried again
		if there, verr := c.hasRow(context.WithoutCancel(c.ctx), up.UID, d); verr == nil && !there {
			if rerr := os.Rename(c.files.blob(up.UID, d), file.Name()); rerr != nil {
				err = errors.Join(err, fmt.Errorf("take back blob: %w", rerr))
			}
		}
		return fmt.Errorf("keep blob: %w", err)
	}
	return nil
}

// putBlob makes a row for a file that has its name.
func (c *call) putBlob(tx store.Tx, d digest.Digest, size int64) error {
	b, err := find(tx, &c.tables.blobs, key(c.reg.UID, string(d)))
	if err != nil {
		return err
	}
	if b != nil {
		return addUsage(tx, c.reg.UID, 0)
	}
	if err := addUsage(tx, c.reg.UID, size); err != nil {
		return err
	}
	return c.tables.blobs.Put(tx, &blobRec{UID: c.reg.UID, Digest: string(d), Size: size})
}

// link makes a blob one of the repository's, or says that somebody needs it now.
func (c *call) link(tx store.Tx, d digest.Digest) error {
	if err := c.tables.links.Put(tx, &link{UID: c.reg.UID, Repo: c.repo, Digest: string(d), At: c.now}); err != nil {
		return err
	}
	return due(tx, c.now.Add(linkLife), dueLink, c.reg.UID, c.repo, string(d))
}

func (c *call) cancelUpload() error {
	return c.withUpload(func(up *uploadRec, se *session, _ *os.File) error {
		if err := c.dropUpload(c.ctx, up); err != nil {
			return err
		}
		c.uploads.forget(key(up.UID, up.ID), se)
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// dropUpload removes an upload and its bytes. The caller is alone with it.
func (s *Service) dropUpload(ctx context.Context, up *uploadRec) error {
	err := s.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error { return s.tables.uploads.Delete(tx, key(up.UID, up.ID)) })
	if err != nil {
		return fmt.Errorf("drop upload: %w", err)
	}
	s.files.remove(s.files.upload(up.UID, up.ID))
	return nil
}

// created is the answer to what was stored.
func (c *call) created(kind string, d digest.Digest) error {
	h := c.w.Header()
	h.Set("Location", "/v2/"+c.repo+"/"+kind+"/"+string(d))
	h.Set("Docker-Content-Digest", string(d))
	h.Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusCreated)
	return nil
}
