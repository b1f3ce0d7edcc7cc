package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Reader reads the bytes of one blob as they were when it was opened, whatever
// happens to the blob meanwhile. It must be closed. ReadAt may be called from
// several goroutines.
type Reader struct {
	eng  *engine
	ctx  context.Context // of the request that reads
	size int64
	pos  int64

	inline []byte
	file   *os.File
	list   string // a pinned block list
	pages  string // a pinned map of pages

	mu    sync.Mutex
	row   []extent // the row of the list that was read last
	start int64    // offset of row
	cur   *os.File // the file that was read last
	curID string

	ahead []loadedRun // of a page blob, the runs in known
	known byteRange
}

var (
	_ io.ReadSeekCloser = (*Reader)(nil)
	_ io.ReaderAt       = (*Reader)(nil)
)

// open finds a blob and opens its bytes.
func (e *engine) open(ctx context.Context, r ref) (*blobRec, *Reader, error) {
	for {
		b, rd, err := e.tryOpen(ctx, r)
		if errors.Is(err, errReplaced) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("open blob %s: %w", r.name, err)
		}
		return b, rd, nil
	}
}

func (e *engine) tryOpen(ctx context.Context, r ref) (b *blobRec, rd *Reader, err error) {
	e.reading.RLock()
	err = e.store.View(ctx, func(tx store.Tx) error {
		if _, b, err = find(tx, r); err != nil {
			return err
		}
		if b = visible(b); b == nil {
			return refuse("BlobNotFound")
		}
		rd = &Reader{eng: e, ctx: ctx, size: b.Size}
		if b.Inline != "" {
			_, rd.inline, err = loadInline(tx, b.Inline)
		}
		return err
	})
	if err == nil && b.List+b.Pages != "" {
		rd.list, rd.pages = b.List, b.Pages
		e.pin(b.List + b.Pages)
	}
	e.reading.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	if b.File == "" {
		return b, rd, nil
	}
	if rd.file, err = e.files.open(b.File); err == nil {
		return b, rd, nil
	}
	if !isGone(err) {
		return nil, nil, err
	}
	// Replaced meanwhile, or lost: the row tells.
	lost := false
	if verr := e.store.View(ctx, func(tx store.Tx) error {
		row, err := storage.Load[fileRec](tx, bucketFiles, b.File)
		lost = row != nil
		return err
	}); verr != nil {
		return nil, nil, verr
	}
	if lost {
		return nil, nil, err
	}
	return nil, nil, errReplaced
}

func (e *engine) pin(list string) {
	e.pinMu.Lock()
	e.pins[list]++
	e.pinMu.Unlock()
}

func (e *engine) unpin(list string) {
	e.pinMu.Lock()
	if e.pins[list]--; e.pins[list] == 0 {
		delete(e.pins, list)
	}
	e.pinMu.Unlock()
	e.reaper.Kick()
}

// pinned reports whether a discarded list is being read. Nobody can begin to
// read it after pinned has returned false, as no record names it any more.
func (e *engine) pinned(list string) bool {
	e.reading.Lock()
	defer e.reading.Unlock()
	e.pinMu.Lock()
	defer e.pinMu.Unlock()
	return e.pins[list] > 0
}

// Size is the length in bytes.
func (r *Reader) Size() int64 { return r.size }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek in blob: negative position")
	}
	r.pos = offset
	return offset, nil
}

// Close releases the blob's bytes.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := r.list + r.pages; id != "" {
		r.eng.unpin(id)
		r.list, r.pages = "", ""
	}
	var err error
	for _, f := range []**os.File{&r.file, &r.cur} {
		if *f != nil {
			err = errors.Join(err, (*f).Close())
			*f = nil
		}
	}
	return err
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read blob: negative offset")
	}
	if off >= r.size {
		return 0, io.EOF
	}
	var short error
	if int64(len(p)) > r.size-off {
		p, short = p[:r.size-off], io.EOF
	}
	n := 0
	for n < len(p) {
		m, err := r.readSome(p[n:], off+int64(n))
		n += m
		if err != nil {
			if err == io.EOF { // the file is shorter than its record says
				err = io.ErrUnexpectedEOF
			}
			return n, fmt.Errorf("read blob at %d: %w", off+int64(n), err)
		}
	}
	return n, short
}

// readSome reads some bytes at off, which is inside the blob.
func (r *Reader) readSome(p []byte, off int64) (int, error) {
	switch {
	case r.file != nil:
		n, err := r.file.ReadAt(p, off)
		if n > 0 {
			err = nil
		}
		return n, err
	case r.list+r.pages == "":
		if off >= int64(len(r.inline)) {
			return 0, io.ErrUnexpectedEOF
		}
		return copy(p, r.inline[off:]), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pages != "" {
		return r.readPages(p, off)
	}
	x, at, err := r.extent(off)
	if err != nil {
		return 0, err
	}
	if int64(len(p)) > x.Size-at {
		p = p[:x.Size-at]
	}
	if x.Inline != "" {
		var data []byte
		err := r.eng.store.View(r.ctx, func(tx store.Tx) (err error) {
			_, data, err = loadInline(tx, x.Inline)
			return err
		})
		if err != nil {
			return 0, err
		}
		if int64(len(data)) < x.Size {
			return 0, io.ErrUnexpectedEOF
		}
		return copy(p, data[at:]), nil
	}
	f, err := r.part(x.File)
	if err != nil {
		return 0, err
	}
	n, err := f.ReadAt(p, at)
	if n > 0 {
		err = nil
	}
	return n, err
}

// part opens one of the blob's files, unless it is the one that was read last.
func (r *Reader) part(id string) (*os.File, error) {
	if r.curID == id {
		return r.cur, nil
	}
	if r.cur != nil {
		r.cur.Close()
	}
	var err error
	if r.cur, err = r.eng.files.open(id); err != nil {
		r.cur, r.curID = nil, ""
		return nil, err
	}
	r.curID = id
	return r.cur, nil
}

// extent returns the extent with the byte at off and the byte's place in it.
func (r *Reader) extent(off int64) (extent, int64, error) {
	for range 2 {
		at := r.start
		for _, x := range r.row {
			if off >= at && off < at+x.Size {
				return x, off - at, nil
			}
			at += x.Size
		}
		if err := r.loadRow(off); err != nil {
			return extent{}, 0, err
		}
	}
	return extent{}, 0, fmt.Errorf("block list %s has no byte %d", r.list, off)
}

// loadRow reads the row of the list that covers off.
func (r *Reader) loadRow(off int64) error {
	return r.eng.store.View(r.ctx, func(tx store.Tx) error {
		rg := store.Range{Prefix: r.list + "/", After: extentKey(r.list, off+1), Limit: 1, Reverse: true}
		for row, err := range tx.Scan(bucketExtents, rg) {
			if err != nil {
				return err
			}
			if _, err := fmt.Sscanf(row.Key[len(r.list)+1:], "%x", &r.start); err != nil {
				return fmt.Errorf("block list row %s: %w", row.Key, err)
			}
			r.row = nil
			if err := json.Unmarshal(row.Value, &r.row); err != nil {
				return fmt.Errorf("decode block list row %s: %w", row.Key, err)
			}
		}
		return nil
	})
}
