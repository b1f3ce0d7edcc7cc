package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A copy from another account, or one that takes long, goes on in the background,
// as in Azure: its destination is there at once, empty, and tells how far the copy
// is. It is kept in the store, so that it goes on after a restart.

// The states of a copy, as x-ms-copy-status names them.
const (
	copyPending = "pending"
	copySuccess = "success"
	copyAborted = "aborted"
	copyFailed  = "failed"
)

// bucketCopies holds <copy ID> → copyJob.
const bucketCopies = "blob.copy"

// syncCopyLimit is the most bytes of an append blob, which are copied, and
// syncCopyBlocks the most blocks of a block blob, which are shared one by one, that
// a copy in one account is done with before it answers.
const (
	syncCopyLimit  = 16 << 20
	syncCopyBlocks = 5000
)

// copyJob is a copy that is under way.
type copyJob struct {
	Key       string  `json:"key"` // of the destination's row
	UID       string  `json:"uid"` // of the source
	Container string  `json:"container"`
	Name      string  `json:"name"`
	At        *moment `json:"at,omitempty"`
	ETag      uint64  `json:"etag"` // of the source
}

// pending reports whether a blob is the destination of a copy under way.
func (b *blobRec) pending() bool { return b != nil && b.Copy != nil && b.Copy.Status == copyPending }

// settled refuses to change the destination of a copy under way.
func settled(b *blobRec) error {
	if b.pending() {
		return refuse("PendingCopyOperation")
	}
	return nil
}

// status is the state of the copy that a blob is of.
func (c *copyRec) status() string {
	if c.Status == "" {
		return copySuccess
	}
	return c.Status
}

// copies are the copies that this process has begun.
type copies struct {
	wake    chan struct{}
	running atomic.Pointer[runningCopy]
}

type runningCopy struct {
	id     string
	done   atomic.Int64 // bytes
	cancel context.CancelFunc
}

// progress is what x-ms-copy-progress says of a blob.
func (e *engine) progress(b *blobRec) string {
	done, total := b.Size, b.Size
	if s := b.Copy.status(); s != copySuccess {
		total, done = b.Copy.Total, 0
		if r := e.copies.running.Load(); r != nil && r.id == b.Copy.ID {
			done = min(r.done.Load(), total)
		}
	}
	return strconv.FormatInt(done, 10) + "/" + strconv.FormatInt(total, 10)
}

// takesLong reports whether a copy of from is to be done in the background.
func takesLong(from *blobRec, src, dst ref) bool {
	return src.uid != dst.uid || from.Type == AppendBlob && from.Size > syncCopyLimit || from.Blocks > syncCopyBlocks && from.List != ""
}

// beginCopy makes an empty destination and leaves the rest to the background.
func (e *engine) beginCopy(ctx context.Context, src, dst ref, from *blobRec, build func(old, src *blobRec) (*blobRec, error)) (b *blobRec, err error) {
	now, etag := e.stamp()
	var gone []string
	var old *blobRec
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := e.place(tx, dst)
		if err != nil {
			return err
		}
		old = p.rec
		if b, err = build(visible(old), from); err != nil {
			return err
		}
		if err := p.adopt(b, dst); err != nil {
			return err
		}
		b.Type, b.Created, b.Modified, b.ETag = from.Type, now, now, etag
		if v := visible(old); v != nil {
			b.Created = v.Created
		}
		if b.Type == pageBlob {
			b.Pages, b.Origin, b.Size, b.Sequence = dataID(etag), etag, from.Size, from.Sequence
		}
		b.Copy.Status, b.Copy.Total, b.Copy.Completed = copyPending, from.Size, 0
		if gone, err = e.supersede(tx, p, dst.uid, b); err != nil {
			return err
		}
		job := copyJob{Key: p.key, UID: src.uid, Container: src.container, Name: src.name, At: src.at, ETag: from.ETag}
		if err := storage.Save(tx, bucketCopies, b.Copy.ID, job); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, p.key, b)
	})
	if err != nil {
		return nil, fmt.Errorf("begin copy of blob %s: %w", src.name, err)
	}
	e.settle(gone, old)
	select {
	case e.copies.wake <- struct{}{}:
	default:
	}
	return b, nil
}

// runCopies does the copies there are until ctx ends. Those of an earlier process
// are done first.
func (e *engine) runCopies(ctx context.Context, report func(error)) {
	for {
		if err := e.copyAll(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-e.copies.wake:
		}
	}
}

// copyAll does each copy there is once.
func (e *engine) copyAll(ctx context.Context) error {
	after := ""
	var failed error
	for {
		var entry *store.Entry
		if err := e.store.View(ctx, func(tx store.Tx) error {
			for row, err := range tx.Scan(bucketCopies, store.Range{After: after, Limit: 1}) {
				if err != nil {
					return err
				}
				entry = &row
			}
			return nil
		}); err != nil {
			return fmt.Errorf("read copies: %w", err)
		}
		if entry == nil {
			return failed
		}
		after = entry.Key
		job, err := storage.Decode[copyJob](bucketCopies, entry.Key, entry.Value)
		if err == nil {
			err = e.runCopy(ctx, entry.Key, job)
		}
		if err != nil {
			failed = fmt.Errorf("copy %s: %w", entry.Key, err)
		}
		if ctx.Err() != nil {
			return failed
		}
	}
}

// countingReader counts what is read through it.
type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

// Read implements io.Reader.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// runCopy does one copy. What keeps it from being done for good, the destination
// tells; any other error leaves it to a later try.
func (e *engine) runCopy(ctx context.Context, id string, job *copyJob) error {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &runningCopy{id: id, cancel: cancel}
	e.copies.running.Store(r)
	defer e.copies.running.Store(nil)
	src := ref{uid: job.UID, container: job.Container, name: job.Name, at: job.At}
	for {
		if err := e.files.step("copy"); err != nil {
			return err
		}
		err := e.tryRunCopy(own, id, job, src, r)
		var refused *Error
		switch {
		case errors.Is(err, errReplaced):
			continue
		case errors.As(err, &refused):
			return e.endCopy(ctx, id, job.Key, copyFailed, strconv.Itoa(refused.Status)+" "+refused.Code+" \""+refused.Message+"\"")
		case storage.IsFull(err):
			return e.endCopy(ctx, id, job.Key, copyFailed, "500 InternalError \"There is no space left on the disk of this Azimuth server.\"")
		case own.Err() != nil && ctx.Err() == nil:
			return nil // aborted
		}
		return err
	}
}

func (e *engine) tryRunCopy(ctx context.Context, id string, job *copyJob, src ref, r *runningCopy) error {
	from, rd, err := e.open(ctx, src)
	if err != nil {
		return err
	}
	defer rd.Close()
	if from.ETag != job.ETag {
		return refuse("SourceConditionNotMet") // it changed meanwhile
	}
	var in *intake
	if from.Type == AppendBlob {
		r.done.Store(0)
		if in, err = e.files.take(&countingReader{rd, &r.done}, from.Size, false); err != nil {
			return err
		}
		if in.file == "" && in.size > 0 { // append blobs are never inline
			if in.file, _, err = e.extend("", 0, in, 0); err != nil {
				return err
			}
		}
	}
	var gone []string
	used := false
	err = e.store.Update(ctx, func(tx store.Tx) error {
		gone, used = nil, false
		b, err := copied(tx, id, job.Key)
		if err != nil || b == nil {
			return err
		}
		_, again, err := find(tx, src)
		if err != nil {
			return err
		}
		if again = visible(again); again == nil || again.ETag != from.ETag {
			return errReplaced
		}
		if gone, err = e.release(tx, b); err != nil {
			return err
		}
		b.Pages = ""
		b.Size, b.Blocks = from.Size, from.Blocks
		if err := e.share(tx, from, in, b); err != nil {
			return err
		}
		used = true
		b.Modified, b.ETag = e.stamp()
		b.Copy.Status, b.Copy.Completed = copySuccess, b.Modified
		if err := tx.Delete(bucketCopies, id); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, job.Key, b)
	})
	if in != nil && (err != nil || !used) {
		if err == nil {
			e.files.drop(in)
		} else {
			e.undo(in, err)
		}
	}
	if err == nil {
		e.files.remove(gone...)
		e.reaper.Kick()
	}
	return err
}

// copied returns the destination of a copy that is under way. When there is none
// any more, the copy is given up.
func copied(tx store.Tx, id, key string) (*blobRec, error) {
	b, err := storage.Load[blobRec](tx, bucketBlobs, key)
	if err != nil {
		return nil, err
	}
	if !b.pending() || b.Copy.ID != id {
		return nil, tx.Delete(bucketCopies, id)
	}
	return b, nil
}

// endCopy ends a copy without its bytes.
func (e *engine) endCopy(ctx context.Context, id, key, status, why string) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		b, err := copied(tx, id, key)
		if err != nil || b == nil {
			return err
		}
		b.Modified, b.ETag = e.stamp()
		b.Copy.Status, b.Copy.Why, b.Copy.Completed = status, why, b.Modified
		if err := tx.Delete(bucketCopies, id); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, key, b)
	})
}

// abortCopy serves Abort Copy Blob.
func (s *Service) abortCopy(c *call) error {
	if v := c.r.Header.Get("x-ms-copy-action"); !strings.EqualFold(v, "abort") {
		if v == "" {
			return missingHeader("x-ms-copy-action")
		}
		return badHeader("x-ms-copy-action", v)
	}
	id := c.q.Get("copyid")
	if id == "" {
		return refuse("MissingRequiredQueryParameter").With("QueryParameterName", "copyid")
	}
	err := s.cfg.Store.Update(c.r.Context(), func(tx store.Tx) error {
		key, b, err := find(tx, c.ref())
		switch {
		case err != nil:
			return err
		case visible(b) == nil:
			return refuse("BlobNotFound")
		}
		if err := s.holds(c, b, writing); err != nil {
			return err
		}
		switch {
		case !b.pending():
			return refuse("NoPendingCopyOperation")
		case !strings.EqualFold(b.Copy.ID, id):
			return refuse("CopyIdMismatch")
		}
		b.Modified, b.ETag = s.eng.stamp()
		b.Copy.Status, b.Copy.Completed = copyAborted, b.Modified
		if err := tx.Delete(bucketCopies, b.Copy.ID); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, key, b)
	})
	if err != nil {
		return fmt.Errorf("abort copy: %w", err)
	}
	if r := s.eng.copies.running.Load(); r != nil && strings.EqualFold(r.id, id) {
		r.cancel()
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// describeCopy writes the headers of the copy that a blob is of.
func (s *Service) describeCopy(h http.Header, b *blobRec) {
	if b.Copy == nil {
		return
	}
	h["x-ms-copy-id"] = []string{b.Copy.ID}
	h["x-ms-copy-source"] = []string{b.Copy.Source}
	h["x-ms-copy-status"] = []string{b.Copy.status()}
	h["x-ms-copy-progress"] = []string{s.eng.progress(b)}
	if b.Copy.Why != "" {
		h["x-ms-copy-status-description"] = []string{b.Copy.Why}
	}
	if b.Copy.Completed != 0 {
		h["x-ms-copy-completion-time"] = []string{storage.HTTPTime(b.Copy.Completed)}
	}
}
