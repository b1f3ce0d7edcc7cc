package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Report is what Check found.
type Report struct {
	// Blobs counts committed blobs, Files the files they and uncommitted blocks
	// are in.
	Blobs, Files int
	// Bytes is the size of all blobs together, with their snapshots, versions and
	// what soft delete keeps. Copies share files.
	Bytes int64
	// Orphans counts files that nothing names. They are removed at the next
	// start and harmless until then.
	Orphans int
	// Problems are damaged or missing data, one sentence each.
	Problems []string
}

// checkBatch bounds how long a check holds one snapshot of the store.
const checkBatch = 256

// Check reads every blob file and row and compares lengths and checksums with
// what the store says. It may run while the service is in use.
func (s *Service) Check(ctx context.Context) (*Report, error) {
	r := &Report{}
	c := &checker{e: s.eng, r: r}
	for bucket, check := range map[string]func(context.Context, store.Entry) (string, error){
		bucketFiles: c.file, bucketInline: c.inlineRow, bucketBlobs: c.blob, bucketPast: c.past,
	} {
		if err := c.each(ctx, bucket, check); err != nil {
			return nil, fmt.Errorf("check blobs: %w", err)
		}
	}
	err := s.eng.eachDir(ctx, func(names []string) error {
		return s.eng.store.View(ctx, func(tx store.Tx) error {
			for _, id := range names {
				row, err := storage.Load[fileRec](tx, bucketFiles, id)
				if err != nil {
					return err
				}
				if row == nil {
					r.Orphans++
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("check blob directory: %w", err)
	}
	return r, nil
}

type checker struct {
	e *engine
	r *Report
}

// each calls check with every row of a bucket. What it complains of is looked at
// again with the row as it is then, as the blob may have changed meanwhile.
func (c *checker) each(ctx context.Context, bucket string, check func(context.Context, store.Entry) (string, error)) error {
	after := ""
	for {
		var rows []store.Entry
		err := c.e.store.View(ctx, func(tx store.Tx) error {
			rows = rows[:0]
			for row, err := range tx.Scan(bucket, store.Range{After: after, Limit: checkBatch}) {
				if err != nil {
					return err
				}
				rows = append(rows, row)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.Key
			for {
				problem, err := check(ctx, row)
				if err != nil {
					return err
				}
				if problem == "" {
					break
				}
				var now []byte
				err = c.e.store.View(ctx, func(tx store.Tx) (err error) {
					now, err = tx.Get(bucket, row.Key)
					return err
				})
				if errors.Is(err, store.ErrNotFound) {
					break
				}
				if err != nil {
					return err
				}
				if string(now) == string(row.Value) {
					c.r.Problems = append(c.r.Problems, problem)
					break
				}
				row.Value = now
			}
		}
		if len(rows) < checkBatch {
			return nil
		}
	}
}

func (c *checker) file(ctx context.Context, row store.Entry) (string, error) {
	var want fileRec
	if err := json.Unmarshal(row.Value, &want); err != nil {
		return "The record of blob file " + row.Key + " cannot be read.", nil
	}
	f, err := c.e.files.open(row.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return "Blob file " + row.Key + " is missing.", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	c.r.Files++
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if st.Size() < want.Size || (!want.Append && st.Size() != want.Size) {
		return fmt.Sprintf("Blob file %s has %d bytes and should have %d.", row.Key, st.Size(), want.Size), nil
	}
	bp := c.e.files.buffers.Get().(*[]byte)
	defer c.e.files.buffers.Put(bp)
	src := io.LimitReader(f, want.Size)
	var crc uint64
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, ended, err := fillBuffer(src, *bp)
		if err != nil {
			return fmt.Sprintf("Blob file %s cannot be read: %v.", row.Key, err), nil
		}
		crc = crcUpdate(crc, (*bp)[:n])
		if ended {
			break
		}
	}
	if crc != want.CRC {
		return "The bytes of blob file " + row.Key + " are not those that were written.", nil
	}
	return "", nil
}

func (c *checker) inlineRow(_ context.Context, row store.Entry) (string, error) {
	b := row.Value
	if len(b) < 8 || string(crcBytes(crcUpdate(0, b[8:]))) != string(b[:8]) {
		return "The bytes of blob row " + row.Key + " are not those that were written.", nil
	}
	return "", nil
}

// past is blob for what a blob was.
func (c *checker) past(ctx context.Context, row store.Entry) (string, error) {
	before := c.r.Blobs
	problem, err := c.blob(ctx, row)
	if problem == "" && err == nil {
		c.r.Blobs = before
	}
	return problem, err
}

// blob checks that the data a blob names is there and as long as the blob.
func (c *checker) blob(ctx context.Context, row store.Entry) (string, error) {
	var b blobRec
	if err := json.Unmarshal(row.Value, &b); err != nil {
		return fmt.Sprintf("The record of blob %q cannot be read.", row.Key), nil
	}
	if b.Uncommitted || b.Dir != "" {
		return "", nil
	}
	if b.Pages != "" {
		problem, err := c.e.checkPages(ctx, &b)
		if problem != "" {
			return fmt.Sprintf("Blob %q is damaged: %s.", row.Key, problem), nil
		}
		if err == nil {
			c.r.Blobs++
			c.r.Bytes += b.Size
		}
		return "", err
	}
	var have int64
	var lost string
	err := c.e.store.View(ctx, func(tx store.Tx) error {
		count := func(x extent) error {
			if x.File != "" {
				f, err := storage.Load[fileRec](tx, bucketFiles, x.File)
				if err != nil {
					return err
				}
				if f == nil || f.Size < x.Size {
					lost = "file " + x.File
				}
				have += x.Size
				return nil
			}
			_, data, err := loadInline(tx, x.Inline)
			if errors.Is(err, store.ErrNotFound) {
				lost, err = "row "+x.Inline, nil
			}
			have += int64(len(data))
			return err
		}
		switch {
		case b.List != "":
			return eachExtent(tx, b.List, count)
		case b.File != "":
			return count(extent{File: b.File, Size: b.Size})
		case b.Inline != "":
			return count(extent{Inline: b.Inline})
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case lost != "":
		return fmt.Sprintf("Blob %q is damaged: its %s is missing or too short.", row.Key, lost), nil
	case have != b.Size:
		return fmt.Sprintf("Blob %q has %d bytes of data and should have %d.", row.Key, have, b.Size), nil
	}
	c.r.Blobs++
	c.r.Bytes += b.Size
	return "", nil
}
