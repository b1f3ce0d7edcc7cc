package blob

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Data that is appended to a file of Data Lake Storage is staged as blocks that
// are named by where they go. A flush adds them to the end of the file's block
// list, in place: readers of the shorter file know its length and do not look
// behind it. So its cost is that of what was appended.

const appendedPrefix = "dfs:"

// appendedID names the block of data appended at a position.
func appendedID(position int64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%020d", appendedPrefix, position))
}

// appendedAt is the opposite of appendedID.
func appendedAt(id string) (position int64, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return 0, false
	}
	digits, ok := strings.CutPrefix(string(raw), appendedPrefix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	position, err = strconv.ParseInt(digits, 10, 64)
	return position, err == nil && position >= 0
}

// appended is staged data of a file.
type appended struct {
	at int64
	id string
	blockRec
}

// stagedAppends returns the staged appends of a file in their order.
func stagedAppends(tx store.Tx, staging string) ([]appended, error) {
	var out []appended
	if staging == "" {
		return nil, nil
	}
	for row, err := range tx.Scan(bucketBlocks, store.Range{Prefix: blockKey(staging, "")}) {
		if err != nil {
			return nil, err
		}
		id := row.Key[len(staging)+1:]
		at, ok := appendedAt(id)
		if !ok {
			continue // staged by the Blob service
		}
		b, err := storage.Decode[blockRec](bucketBlocks, row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, appended{at, id, *b})
	}
	slices.SortFunc(out, func(a, b appended) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	return out, nil
}

// flush makes the appended data up to position part of a file. Data appended
// behind that is kept when retain is set, and given up otherwise. change decides
// about the file as it is and sets its properties.
func (e *engine) flush(ctx context.Context, r ref, position int64, retain bool, change func(*blobRec) error) (b *blobRec, err error) {
	now, etag := e.stamp()
	kick := false
	err = e.store.Update(ctx, func(tx store.Tx) error {
		kick = false
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if b = visible(p.rec); b == nil {
			return refuse("BlobNotFound")
		}
		if b.Dir != "" {
			return refuse("ResourceTypeMismatch")
		}
		if b.Type != BlockBlob {
			return refuse("InvalidBlobType")
		}
		if err := change(b); err != nil {
			return err
		}
		staged, err := stagedAppends(tx, b.Staged)
		if err != nil {
			return err
		}
		n, end := 0, b.Size
		for ; n < len(staged) && staged[n].at < position && staged[n].at == end; n++ {
			end += staged[n].Size
		}
		if end != position {
			return refuse("InvalidFlushPosition")
		}
		if err := extendList(tx, b, staged[:n]); err != nil {
			return err
		}
		if b.Staged != "" {
			if retain && n < len(staged) {
				err = forgetStaged(tx, b.Staged, n)
			} else {
				kick = true
				err = e.discard(tx, garbage{Kind: "staged", ID: b.Staged})
				b.Staged = ""
			}
			if err != nil {
				return err
			}
		}
		b.ETag, b.Modified = etag, now
		return storage.Save(tx, bucketBlobs, p.key, b)
	})
	if err != nil {
		return nil, fmt.Errorf("flush file %s: %w", r.name, err)
	}
	if kick {
		e.reaper.Kick()
	}
	return b, nil
}

// forgetStaged counts n staged blocks less.
func forgetStaged(tx store.Tx, staging string, n int) error {
	st, err := storage.Load[stagedRec](tx, bucketStaged, staging)
	if err != nil || st == nil {
		return err
	}
	st.Count -= n
	return storage.Save(tx, bucketStaged, staging, st)
}

// extendList moves staged data to the end of a blob.
func extendList(tx store.Tx, b *blobRec, staged []appended) error {
	if len(staged) == 0 {
		return nil
	}
	if b.List == "" {
		b.List = storage.RandomHex(12)
		b.Blocks = 0
		if b.Size > 0 {
			// What the blob has becomes the first extent.
			first := extent{Block: appendedID(0), Size: b.Size, File: b.File, Inline: b.Inline}
			if _, err := saveExtents(tx, b.List, 0, []extent{first}); err != nil {
				return err
			}
			b.File, b.Inline, b.Blocks = "", "", 1
		}
	}
	extents := make([]extent, len(staged))
	for i, a := range staged {
		extents[i] = extent{Block: a.id, Size: a.Size, File: a.File, Inline: a.Inline}
		if err := tx.Delete(bucketBlocks, blockKey(b.Staged, a.id)); err != nil {
			return err
		}
	}
	var err error
	if b.Size, err = saveExtents(tx, b.List, b.Size, extents); err != nil {
		return err
	}
	b.Blocks += len(extents)
	return nil
}
