package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The bytes of a page blob are runs in an ordered map, one for each write that is
// still visible; where there is no run there are zeros, which take no room. A
// write is one transaction that cuts what it covers out of the map and adds its
// own run, so that a crash leaves the old pages or the new ones. A file that
// several runs are parts of counts them.

// pageUnit is the unit of page blobs in bytes.
const pageUnit = 512

// Limits of page blobs, as Microsoft's "Put Blob" and "Put Page" have them.
const (
	maxPageBlob  = 8 << 40
	maxPageWrite = 4 << 20
)

// pageRec is a run of bytes of a page blob.
type pageRec struct {
	Size   int64  `json:"n"`
	File   string `json:"f,omitempty"`
	Inline string `json:"i,omitempty"`
	// At is where in its file the run begins.
	At int64 `json:"o,omitempty"`
	// Stamp is the ETag of the write, so that a run says whether it is younger than
	// a snapshot.
	Stamp uint64 `json:"v"`
}

// pageRun is a run and where it is in the blob.
type pageRun struct {
	offset int64
	pageRec
}

func (r pageRun) end() int64 { return r.offset + r.Size }

func pageKey(id string, offset int64) string { return fmt.Sprintf("%s/%016x", id, offset) }

func decodeRun(id string, row store.Entry) (pageRun, error) {
	rec, err := storage.Decode[pageRec](bucketPages, row.Key, row.Value)
	if err != nil {
		return pageRun{}, err
	}
	at, err := strconv.ParseInt(row.Key[len(id)+1:], 16, 64)
	if err != nil {
		return pageRun{}, fmt.Errorf("page row %s: %w", row.Key, err)
	}
	return pageRun{at, *rec}, nil
}

// runs returns up to limit runs of a map that have a byte at or behind offset and
// begin before end; a limit of 0 is none.
func runs(tx store.Tx, id string, offset, end int64, limit int) (out []pageRun, err error) {
	before := store.Range{Prefix: id + "/", After: pageKey(id, offset+1), Limit: 1, Reverse: true}
	rg := store.Range{Prefix: id + "/", After: pageKey(id, offset), Limit: limit}
	for _, r := range []store.Range{before, rg} {
		for row, err := range tx.Scan(bucketPages, r) {
			if err != nil {
				return nil, err
			}
			run, err := decodeRun(id, row)
			if err != nil {
				return nil, err
			}
			if run.offset >= end {
				return out, nil
			}
			if run.end() > offset {
				out = append(out, run)
			}
		}
	}
	return out, nil
}

// cutPages takes a range out of a map. It returns the files to remove once the
// transaction is durable.
func cutPages(tx store.Tx, id string, rg byteRange) (gone []string, err error) {
	end := rg.offset + rg.length
	cut, err := runs(tx, id, rg.offset, end, 0)
	if err != nil {
		return nil, err
	}
	for _, run := range cut {
		if err := tx.Delete(bucketPages, pageKey(id, run.offset)); err != nil {
			return nil, err
		}
		var keep []pageRun
		if n := rg.offset - run.offset; n > 0 {
			left := run
			left.Size = n
			keep = append(keep, left)
		}
		if n := run.end() - end; n > 0 {
			right := run
			right.offset, right.At, right.Size = end, run.At+run.Size-n, n
			keep = append(keep, right)
		}
		switch {
		case run.Inline != "":
			if keep, err = cutInline(tx, run, keep); err != nil {
				return nil, err
			}
		case len(keep) == 0:
			if gone, err = releaseFile(tx, gone, run.File); err != nil {
				return nil, err
			}
		case len(keep) == 2:
			if err := retainFile(tx, run.File); err != nil {
				return nil, err
			}
		}
		for _, k := range keep {
			if err := storage.Save(tx, bucketPages, pageKey(id, k.offset), k.pageRec); err != nil {
				return nil, err
			}
		}
	}
	return gone, nil
}

// cutInline gives what is kept of a run in the store rows of its own.
func cutInline(tx store.Tx, run pageRun, keep []pageRun) ([]pageRun, error) {
	if len(keep) > 0 {
		_, data, err := loadInline(tx, run.Inline)
		if err != nil {
			return nil, err
		}
		if int64(len(data)) < run.Size {
			return nil, fmt.Errorf("inline blob data %s has %d bytes and should have %d", run.Inline, len(data), run.Size)
		}
		for i := range keep {
			k := &keep[i]
			part := data[k.offset-run.offset:][:k.Size]
			k.Inline, k.At = storage.RandomHex(12), 0
			if err := saveInline(tx, k.Inline, crcUpdate(0, part), part); err != nil {
				return nil, err
			}
		}
	}
	return keep, tx.Delete(bucketInline, run.Inline)
}

// writePages puts the bytes of in over a range of a page blob, or zeros when in
// is nil, once check has agreed to the blob as it is. What it takes over from in
// belongs to the blob afterwards; on an error it is dropped.
func (e *engine) writePages(ctx context.Context, r ref, rg byteRange, in *intake, check func(*blobRec) error) (b *blobRec, err error) {
	var gone []string
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if b = visible(p.rec); b == nil {
			return refuse("BlobNotFound")
		}
		if b.Type != pageBlob {
			return refuse("InvalidBlobType")
		}
		if err := check(b); err != nil {
			return err
		}
		if rg.offset+rg.length > b.Size {
			return refuse("InvalidPageRange")
		}
		if gone, err = cutPages(tx, b.Pages, rg); err != nil {
			return err
		}
		// The stamp is of the order in which writes happen, snapshots among them.
		b.Modified, b.ETag = e.stamp()
		if in != nil {
			rec := pageRec{Size: in.size, File: in.file, Stamp: b.ETag}
			if in.file != "" {
				err = storage.Save(tx, bucketFiles, in.file, fileRec{Size: in.size, CRC: in.crc})
			} else {
				rec.Inline = dataID(b.ETag)
				err = saveInline(tx, rec.Inline, in.crc, in.inline)
			}
			if err != nil {
				return err
			}
			if err := storage.Save(tx, bucketPages, pageKey(b.Pages, rg.offset), rec); err != nil {
				return err
			}
		}
		return storage.Save(tx, bucketBlobs, p.key, b)
	})
	if err != nil {
		if in != nil {
			e.undo(in, err)
		}
		return nil, fmt.Errorf("write pages of %s: %w", r.name, err)
	}
	e.files.remove(gone...)
	return b, nil
}

// sharePages makes a map of the runs of another one.
func sharePages(tx store.Tx, from, to string) error {
	for row, err := range tx.Scan(bucketPages, store.Range{Prefix: from + "/"}) {
		if err != nil {
			return err
		}
		run, err := decodeRun(from, row)
		if err != nil {
			return err
		}
		if run.Inline == "" {
			err = retainFile(tx, run.File)
		} else {
			run.Inline, err = cloneInline(tx, run.Inline)
		}
		if err != nil {
			return err
		}
		if err := storage.Save(tx, bucketPages, pageKey(to, run.offset), run.pageRec); err != nil {
			return err
		}
	}
	return nil
}

// cloneInline copies small data to a row of its own.
func cloneInline(tx store.Tx, id string) (string, error) {
	crc, data, err := loadInline(tx, id)
	if err != nil {
		return "", err
	}
	clone := storage.RandomHex(12)
	return clone, saveInline(tx, clone, crc, data)
}

// runsAhead is how many runs a reader looks up at a time. Small data comes with
// them.
const runsAhead = 64

// readPages reads some bytes of a page blob at off. Each write that happens
// meanwhile is read whole or not at all, page by page.
func (r *Reader) readPages(p []byte, off int64) (int, error) {
	for try := 0; ; try++ {
		n, err := r.tryPages(p, off)
		if err == nil || !isGone(err) || try == 100 {
			return n, err
		}
		r.ahead, r.known = nil, byteRange{} // written over meanwhile
	}
}

func (r *Reader) tryPages(p []byte, off int64) (int, error) {
	if off < r.known.offset || off >= r.known.offset+r.known.length {
		if err := r.lookAhead(off); err != nil {
			return 0, err
		}
	}
	end := r.known.offset + r.known.length // of what is known to be zeros
	for i := range r.ahead {
		run := &r.ahead[i]
		if off >= run.end() {
			continue
		}
		if off < run.offset {
			end = run.offset
			break
		}
		p = p[:min(int64(len(p)), run.end()-off)]
		if run.File == "" {
			return copy(p, run.data[off-run.offset:]), nil
		}
		f, err := r.part(run.File)
		if err != nil {
			return 0, err
		}
		n, err := f.ReadAt(p, run.At+off-run.offset)
		if n > 0 {
			err = nil
		}
		return n, err
	}
	p = p[:min(int64(len(p)), end-off)]
	clear(p)
	return len(p), nil
}

// loadedRun is a run with its bytes when they are in the store.
type loadedRun struct {
	pageRun
	data []byte
}

// lookAhead looks up the runs from off on.
func (r *Reader) lookAhead(off int64) error {
	r.ahead = r.ahead[:0]
	return r.eng.store.View(r.ctx, func(tx store.Tx) error {
		found, err := runs(tx, r.pages, off, r.size, runsAhead)
		if err != nil {
			return err
		}
		r.known = byteRange{off, r.size - off}
		for _, run := range found {
			l := loadedRun{pageRun: run}
			if run.Inline != "" {
				if _, l.data, err = loadInline(tx, run.Inline); err != nil {
					return err
				}
				if int64(len(l.data)) < run.Size {
					return io.ErrUnexpectedEOF
				}
			}
			r.ahead = append(r.ahead, l)
		}
		if len(found) >= runsAhead {
			r.known.length = found[len(found)-1].end() - off
		}
		return nil
	})
}

// pageRanges returns up to limit ranges of a page blob that have been written, in
// rg or everywhere, and where the next one begins or -1. With since, they are
// those written after that snapshot, and cleared are those cleared after it.
func (e *engine) pageRanges(ctx context.Context, r ref, rg *byteRange, since *moment, limit int, check func(*blobRec) error) (b *blobRec, written, cleared []byteRange, next int64, err error) {
	next = -1
	err = e.store.View(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		_, rec, err := p.find(tx, r)
		if err != nil {
			return err
		}
		if b = visible(rec); b == nil {
			return refuse("BlobNotFound")
		}
		if err := check(b); err != nil {
			return err
		}
		if b.Type != pageBlob {
			return refuse("InvalidBlobType")
		}
		from, end := int64(0), b.Size
		if rg != nil {
			from, end = rg.offset, min(end, rg.offset+rg.length)
		}
		old := &blobRec{}
		var stamp uint64
		if since != nil {
			if old, err = previous(tx, p, r, b, since); err != nil {
				return err
			}
			stamp = since.at
		}
		now := &ranges{tx: tx, id: b.Pages, from: from, end: end, pick: func(run pageRun) bool { return run.Stamp > stamp }}
		was := &ranges{tx: tx, id: old.Pages, from: from, end: end, minus: b.Pages, pick: func(pageRun) bool { return true }}
		for len(written)+len(cleared) <= limit {
			w, err := now.peek()
			if err != nil {
				return err
			}
			c, err := was.peek()
			if err != nil {
				return err
			}
			switch {
			case w == nil && c == nil:
				return nil
			case len(written)+len(cleared) == limit && (c == nil || w != nil && w.offset < c.offset):
				next = w.offset
				return nil
			case len(written)+len(cleared) == limit:
				next = c.offset
				return nil
			case c == nil || w != nil && w.offset < c.offset:
				written = append(written, *w)
				now.head = nil
			default:
				cleared = append(cleared, *c)
				was.head = nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, -1, fmt.Errorf("read page ranges of %s: %w", r.name, err)
	}
	return b, written, cleared, next, nil
}

// previous returns the snapshot that a page blob is compared with.
func previous(tx store.Tx, p *spot, r ref, b *blobRec, since *moment) (*blobRec, error) {
	if r.at != nil && r.at.at < since.at {
		return nil, refuse("PreviousSnapshotCannotBeNewer")
	}
	r.at = since
	_, old, err := p.find(tx, r)
	switch {
	case err != nil:
		return nil, err
	case old == nil || old.Type != pageBlob:
		return nil, refuse("PreviousSnapshotNotFound")
	case old.Origin != b.Origin:
		return nil, refuse("BlobOverwritten")
	}
	return old, nil
}

// ranges goes through the runs of a map that pick is true of, joined where they
// touch, without what minus, another map, has runs for.
type ranges struct {
	tx        store.Tx
	id, minus string
	from, end int64
	pick      func(pageRun) bool
	head      *byteRange
	buf       []byteRange
	done      bool
}

// peek returns the next range or nil. The caller takes it by clearing head.
func (g *ranges) peek() (*byteRange, error) {
	for g.head == nil {
		// The last piece may go on in the next batch, so one stays behind.
		for len(g.buf) < 2 && !g.done {
			if err := g.more(); err != nil {
				return nil, err
			}
		}
		if len(g.buf) == 0 {
			return nil, nil
		}
		g.head, g.buf = &g.buf[0], g.buf[1:]
	}
	return g.head, nil
}

func (g *ranges) more() error {
	if g.id == "" || g.from >= g.end {
		g.done = true
		return nil
	}
	found, err := runs(g.tx, g.id, g.from, g.end, runsAhead)
	if err != nil {
		return err
	}
	start, stop := g.from, g.end
	if len(found) < runsAhead {
		g.done = true
	} else {
		stop = min(g.end, found[len(found)-1].end())
	}
	var covered []pageRun
	if g.minus != "" {
		if covered, err = runs(g.tx, g.minus, start, stop, 0); err != nil {
			return err
		}
	}
	for _, run := range found {
		if !g.pick(run) {
			continue
		}
		from, end := max(run.offset, start), min(run.end(), stop)
		for _, c := range covered {
			if c.end() <= from || c.offset >= end {
				continue
			}
			g.add(from, c.offset)
			from = max(from, c.end())
		}
		g.add(from, end)
	}
	g.from = stop
	return nil
}

func (g *ranges) add(from, end int64) {
	if from >= end {
		return
	}
	if n := len(g.buf); n > 0 && g.buf[n-1].offset+g.buf[n-1].length == from {
		g.buf[n-1].length += end - from
		return
	}
	g.buf = append(g.buf, byteRange{from, end - from})
}

// checkPages checks the runs of a page blob.
func (e *engine) checkPages(ctx context.Context, b *blobRec) (problem string, err error) {
	after := ""
	end := int64(0)
	for {
		n := 0
		err := e.store.View(ctx, func(tx store.Tx) error {
			for row, err := range tx.Scan(bucketPages, store.Range{Prefix: b.Pages + "/", After: after, Limit: checkBatch}) {
				if err != nil {
					return err
				}
				n, after = n+1, row.Key
				run, err := decodeRun(b.Pages, row)
				if err != nil {
					return err
				}
				if run.offset < end || run.end() > b.Size || run.Size <= 0 {
					problem = fmt.Sprintf("its pages at %d are in the wrong place", run.offset)
					return nil
				}
				end = run.end()
				if run.Inline != "" {
					_, data, err := loadInline(tx, run.Inline)
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						return err
					}
					if err != nil || int64(len(data)) != run.Size {
						problem = "its row " + run.Inline + " is missing or too short"
					}
					continue
				}
				f, err := storage.Load[fileRec](tx, bucketFiles, run.File)
				if err != nil {
					return err
				}
				if f == nil || run.At+run.Size > f.Size {
					problem = "its file " + run.File + " is missing or too short"
				}
			}
			return nil
		})
		if err != nil || problem != "" || n < checkBatch {
			return problem, err
		}
	}
}
