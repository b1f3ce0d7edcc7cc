package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Limits of the Blob service.
const (
	maxCommittedBlocks   = 50_000
	maxUncommittedBlocks = 100_000
)

// extentsPerRow bounds the rows of a block list, so that reading a range of a
// blob of 50,000 blocks decodes a few hundred of them and not all.
const extentsPerRow = 512

// block is one entry of a block list.
type block struct {
	ID   string
	Size int64
}

// blockChoice is one entry of a Put Block List request.
type blockChoice struct {
	ID string
	// From is "Latest", "Committed" or "Uncommitted".
	From string
}

// stage keeps an uncommitted block of a block blob that need not exist, once
// admit, which may be nil, has agreed to the blob as it is.
func (e *engine) stage(ctx context.Context, r ref, id string, in *intake, admit func(*blobRec) error) error {
	now, etag := e.stamp()
	data, staging := dataID(etag), storage.RandomHex(12)
	var gone []string
	err := e.store.Update(ctx, func(tx store.Tx) error {
		p, err := e.place(tx, r)
		if err != nil {
			return err
		}
		key, b := p.key, p.rec
		if admit != nil {
			if err := admit(visible(b)); err != nil {
				return err
			}
		}
		if b == nil {
			b = &blobRec{Type: BlockBlob, Uncommitted: true, Created: now, Modified: now, ETag: etag}
		}
		if b.Type != BlockBlob {
			return refuse("InvalidBlobType")
		}
		st := &stagedRec{Blob: key, IDLength: len(id)}
		if b.Staged == "" {
			b.Staged = staging
			if err := storage.Save(tx, bucketBlobs, key, b); err != nil {
				return err
			}
		} else if st, err = storage.Load[stagedRec](tx, bucketStaged, b.Staged); err != nil {
			return err
		} else if st == nil {
			return fmt.Errorf("staging record %s is missing", b.Staged)
		}
		if st.IDLength != len(id) {
			return refuse("InvalidBlobOrBlock")
		}
		bk := blockKey(b.Staged, id)
		old, err := storage.Load[blockRec](tx, bucketBlocks, bk)
		if err != nil {
			return err
		}
		if old == nil {
			if st.Count++; st.Count > maxUncommittedBlocks {
				return &Error{Status: 409, Code: "BlockCountExceedsLimit", Message: "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks."}
			}
		} else if gone, err = releaseBlock(tx, gone[:0], old); err != nil {
			return err
		}
		nb := blockRec{Size: in.size}
		if in.file != "" {
			nb.File = in.file
			err = storage.Save(tx, bucketFiles, in.file, fileRec{Size: in.size, CRC: in.crc})
		} else {
			nb.Inline = data
			err = saveInline(tx, data, in.crc, in.inline)
		}
		if err != nil {
			return err
		}
		if err := storage.Save(tx, bucketBlocks, bk, nb); err != nil {
			return err
		}
		st.Last = now
		return storage.Save(tx, bucketStaged, b.Staged, st)
	})
	if err != nil {
		e.undo(in, err)
		return fmt.Errorf("put block of %s: %w", r.name, err)
	}
	e.settle(gone, nil)
	return nil
}

func releaseBlock(tx store.Tx, gone []string, b *blockRec) ([]string, error) {
	if b.Inline != "" {
		return gone, tx.Delete(bucketInline, b.Inline)
	}
	return releaseFile(tx, gone, b.File)
}

// commit makes a blob of the chosen blocks. No bytes are copied but those of
// small blocks that are used more than once.
func (e *engine) commit(ctx context.Context, r ref, choices []blockChoice, build change) (b *blobRec, err error) {
	now, etag := e.stamp()
	list := storage.RandomHex(12)
	var gone []string
	var old *blobRec
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := e.place(tx, r)
		if err != nil {
			return err
		}
		key := p.key
		old = p.rec
		if v := visible(old); v != nil && v.Type != BlockBlob {
			return refuse("InvalidBlobType")
		}
		if b, err = build(visible(old)); err != nil {
			return err
		}
		if err := p.adopt(b, r); err != nil {
			return err
		}
		extents, err := gather(tx, old, choices)
		if err != nil {
			return err
		}
		b.Created, b.Modified, b.ETag = now, now, etag
		if v := visible(old); v != nil {
			b.Created = v.Created
		}
		b.Size, b.Blocks = 0, len(extents)
		if len(extents) > 0 {
			b.List = list
			if b.Size, err = saveExtents(tx, list, 0, extents); err != nil {
				return err
			}
		}
		if gone, err = e.supersede(tx, p, r.uid, b); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, key, b)
	})
	if err != nil {
		return nil, fmt.Errorf("put block list of %s: %w", r.name, err)
	}
	e.settle(gone, old)
	return b, nil
}

// gather turns choices into extents. Staged blocks are taken out of staging;
// what is used again gets a further reference.
func gather(tx store.Tx, old *blobRec, choices []blockChoice) ([]extent, error) {
	staged, committed := map[string]extent{}, map[string]extent{}
	if old != nil && old.Staged != "" {
		for row, err := range tx.Scan(bucketBlocks, store.Range{Prefix: blockKey(old.Staged, "")}) {
			if err != nil {
				return nil, err
			}
			b, err := storage.Decode[blockRec](bucketBlocks, row.Key, row.Value)
			if err != nil {
				return nil, err
			}
			id := row.Key[len(old.Staged)+1:]
			staged[id] = extent{Block: id, Size: b.Size, File: b.File, Inline: b.Inline}
		}
	}
	if old != nil && old.List != "" {
		if err := eachExtent(tx, old.List, func(x extent) error { committed[x.Block] = x; return nil }); err != nil {
			return nil, err
		}
	}
	taken := map[string]bool{}
	extents := make([]extent, 0, len(choices))
	for _, c := range choices {
		x, isStaged := staged[c.ID]
		if c.From == "Committed" || (c.From == "Latest" && !isStaged) {
			x, isStaged = committed[c.ID]
			if !isStaged {
				return nil, refuse("InvalidBlockList")
			}
			isStaged = false
		} else if !isStaged {
			return nil, refuse("InvalidBlockList")
		}
		switch {
		case isStaged && !taken[c.ID]:
			taken[c.ID] = true
			if err := tx.Delete(bucketBlocks, blockKey(old.Staged, c.ID)); err != nil {
				return nil, err
			}
		case x.File != "":
			if err := retainFile(tx, x.File); err != nil {
				return nil, err
			}
		default:
			var err error
			if x.Inline, err = cloneInline(tx, x.Inline); err != nil {
				return nil, err
			}
		}
		extents = append(extents, x)
	}
	return extents, nil
}

// saveExtents adds extents to a list at its end, the offset at, and returns where
// they end.
func saveExtents(tx store.Tx, list string, at int64, extents []extent) (end int64, err error) {
	end = at
	for len(extents) > 0 {
		n := min(extentsPerRow, len(extents))
		if err := storage.Save(tx, bucketExtents, extentKey(list, end), extents[:n]); err != nil {
			return 0, err
		}
		for _, x := range extents[:n] {
			end += x.Size
		}
		extents = extents[n:]
	}
	return end, nil
}

func eachExtent(tx store.Tx, list string, f func(extent) error) error {
	for row, err := range tx.Scan(bucketExtents, store.Range{Prefix: list + "/"}) {
		if err != nil {
			return err
		}
		var xs []extent
		if err := json.Unmarshal(row.Value, &xs); err != nil {
			return fmt.Errorf("decode block list %s: %w", row.Key, err)
		}
		for _, x := range xs {
			if err := f(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// blockLists returns the committed and uncommitted blocks of a blob. The record
// is nil when it has uncommitted blocks only.
func (e *engine) blockLists(ctx context.Context, r ref) (b *blobRec, committed, uncommitted []block, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		_, rec, err := find(tx, r)
		if err != nil {
			return err
		}
		if rec == nil {
			return refuse("BlobNotFound")
		}
		if rec.Type != BlockBlob || rec.Dir != "" {
			return refuse("InvalidBlobType")
		}
		b = visible(rec)
		if rec.List != "" {
			if err := eachExtent(tx, rec.List, func(x extent) error {
				committed = append(committed, block{x.Block, x.Size})
				return nil
			}); err != nil {
				return err
			}
		}
		if rec.Staged == "" {
			return nil
		}
		for row, err := range tx.Scan(bucketBlocks, store.Range{Prefix: blockKey(rec.Staged, "")}) {
			if err != nil {
				return err
			}
			st, err := storage.Decode[blockRec](bucketBlocks, row.Key, row.Value)
			if err != nil {
				return err
			}
			uncommitted = append(uncommitted, block{row.Key[len(rec.Staged)+1:], st.Size})
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read block list of %s: %w", r.name, err)
	}
	return b, committed, uncommitted, nil
}

// append adds the bytes of in to the end of an append blob, once check has
// agreed to the blob as it is. It returns the blob and the offset of the bytes.
// The intake is dropped in any case.
func (e *engine) append(ctx context.Context, r ref, in *intake, check func(*blobRec) error) (b *blobRec, offset int64, err error) {
	defer e.files.drop(in)
	mu := e.lock(r.uid + "/" + r.container + "/" + r.name)
	mu.Lock()
	defer mu.Unlock()
	for {
		b, offset, err = e.tryAppend(ctx, r, in, check)
		if !errors.Is(err, errReplaced) {
			break
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("append to blob %s: %w", r.name, err)
	}
	return b, offset, nil
}

var errReplaced = errors.New("the blob was replaced meanwhile")

func (e *engine) tryAppend(ctx context.Context, r ref, in *intake, check func(*blobRec) error) (b *blobRec, offset int64, err error) {
	var crc uint64
	admit := func(b *blobRec) error {
		if b = visible(b); b == nil {
			return refuse("BlobNotFound")
		}
		if b.Dir != "" {
			return refuse("ResourceTypeMismatch")
		}
		if b.Type != AppendBlob {
			return refuse("InvalidBlobType")
		}
		return check(b)
	}
	err = e.store.View(ctx, func(tx store.Tx) error {
		if _, b, err = find(tx, r); err != nil {
			return err
		}
		if err := admit(b); err != nil || b.File == "" {
			return err
		}
		row, err := storage.Load[fileRec](tx, bucketFiles, b.File)
		if err != nil {
			return err
		}
		if row == nil {
			return fmt.Errorf("blob file %s has no row", b.File)
		}
		crc = row.CRC
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	had := *b
	offset = b.Size
	id, crc, err := e.extend(had.File, offset, in, crc)
	if err != nil {
		if had.File != "" && isGone(err) {
			return nil, 0, errReplaced
		}
		return nil, 0, err
	}
	now, etag := e.stamp()
	err = e.store.Update(ctx, func(tx store.Tx) error {
		var key string
		if key, b, err = find(tx, r); err != nil {
			return err
		}
		if err := admit(b); err != nil {
			return err
		}
		if b.File != had.File || b.Size != had.Size || b.Created != had.Created {
			return errReplaced
		}
		b.File, b.Size, b.Modified, b.ETag = id, offset+in.size, now, etag
		b.Blocks++
		f, err := storage.Load[fileRec](tx, bucketFiles, id)
		if err != nil {
			return err
		}
		if f == nil {
			f = &fileRec{}
		}
		// Snapshots and versions may name the file, too, up to where it was then.
		f.Size, f.CRC, f.Append = b.Size, crc, true
		if err := storage.Save(tx, bucketFiles, id, f); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, key, b)
	})
	if err != nil && had.File == "" {
		e.undo(&intake{file: id}, err)
	}
	return b, offset, err
}

// extend writes the bytes of in at offset of the file, or of a new one when id
// is empty, and makes them durable. What a crash or a failure leaves there is
// behind the length that the store knows, so it is never read.
func (e *engine) extend(id string, offset int64, in *intake, crc uint64) (_ string, _ uint64, err error) {
	var file *os.File
	isNew := id == ""
	if isNew {
		id, file, err = e.files.create()
	} else {
		file, err = os.OpenFile(e.files.path(id), os.O_RDWR, 0)
	}
	if err != nil {
		return "", 0, fmt.Errorf("open append blob file: %w", err)
	}
	defer func() {
		if cerr := file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close append blob file: %w", cerr)
		}
		if err != nil && isNew {
			e.files.remove(id)
		}
	}()
	if err := e.files.step("write"); err != nil {
		return "", 0, err
	}
	if in.file == "" {
		if _, err := file.WriteAt(in.inline, offset); err != nil {
			return "", 0, fmt.Errorf("write append blob file: %w", err)
		}
		crc = crcUpdate(crc, in.inline)
	} else if crc, err = e.copyInto(file, offset, in.file, crc); err != nil {
		return "", 0, err
	}
	if err := e.files.seal(id, file, isNew); err != nil {
		return "", 0, err
	}
	return id, crc, nil
}

func (e *engine) copyInto(dst *os.File, offset int64, from string, crc uint64) (uint64, error) {
	src, err := e.files.open(from)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	bp := e.files.buffers.Get().(*[]byte)
	defer e.files.buffers.Put(bp)
	buf := *bp
	for {
		n, ended, err := fillBuffer(src, buf)
		if err != nil {
			return 0, fmt.Errorf("read appended bytes: %w", err)
		}
		if _, err := dst.WriteAt(buf[:n], offset); err != nil {
			return 0, fmt.Errorf("write append blob file: %w", err)
		}
		crc, offset = crcUpdate(crc, buf[:n]), offset+int64(n)
		if ended {
			return crc, nil
		}
	}
}
