package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Report is what Check found.
type Report struct {
	// Manifests counts the manifests of all repositories, Blobs the files of layers,
	// configs and manifests, Bytes what those hold.
	Manifests, Blobs int
	Bytes            int64
	// Orphans counts files that nothing names. They are removed within a day.
	Orphans int
	// Problems are damaged or missing data, one sentence each.
	Problems []string
}

// Check reads every file of every registry and compares it with its digest, and
// looks for whatever manifests and tags name. It may run while the service is in use.
func (s *Service) Check(ctx context.Context) (*Report, error) {
	r := &Report{}
	err := eachRow(ctx, s, &s.tables.blobs, func(store.Tx, *blobRec) error { return nil }, func(b *blobRec) error {
		problem, err := s.checkBlob(ctx, b)
		if err != nil {
			return err
		}
		if problem != "" {
			r.Problems = append(r.Problems, problem)
			return nil
		}
		r.Blobs++
		r.Bytes += b.Size
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("check registries: %w", err)
	}
	err = eachRow(ctx, s, &s.tables.manifests, func(tx store.Tx, m *manifestRec) error {
		r.Manifests++
		problem, err := s.checkManifest(tx, m)
		if problem != "" {
			r.Problems = append(r.Problems, problem)
		}
		return err
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("check registries: %w", err)
	}
	err = eachRow(ctx, s, &s.tables.tags, func(tx store.Tx, t *tagRec) error {
		m, err := find(tx, &s.tables.manifests, key(t.UID, t.Repo, t.Digest))
		if err == nil && m == nil {
			r.Problems = append(r.Problems, fmt.Sprintf("Tag %s:%s names %s, which is missing.", t.Repo, t.Name, t.Digest))
		}
		return err
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("check registries: %w", err)
	}
	err = s.eachFile(ctx, func(uid, _ string, d digest.Digest) error {
		if d == "" {
			return nil
		}
		there, err := s.hasRow(ctx, uid, d)
		if err == nil && !there {
			r.Orphans++
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check registries: %w", err)
	}
	return r, nil
}

// eachRow calls in with every row of a table in a transaction, and then outside it.
func eachRow[T any](ctx context.Context, s *Service, c *store.Collection[T], in func(store.Tx, *T) error, outside func(*T) error) error {
	after := ""
	for {
		var rows []*T
		err := s.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
			if rows, err = list(c.All(tx, store.Range{After: after, Limit: collectBatch})); err != nil {
				return err
			}
			for _, v := range rows {
				if err := in(tx, v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, v := range rows {
			if after = c.Key(v); outside != nil {
				if err := outside(v); err != nil {
					return err
				}
			}
		}
		if len(rows) < collectBatch {
			return nil
		}
	}
}

// checkBlob compares a file with its digest. What is removed meanwhile is no problem.
func (s *Service) checkBlob(ctx context.Context, b *blobRec) (string, error) {
	d, err := parseDigest(b.Digest)
	if err != nil {
		return fmt.Sprintf("The registry blob %q has no name that is a digest.", b.Digest), nil
	}
	file, err := s.files.open(b.UID, d)
	if errors.Is(err, fs.ErrNotExist) {
		there, err := s.hasRow(ctx, b.UID, d)
		if err != nil || !there {
			return "", err
		}
		return "The registry blob " + b.Digest + " is missing.", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := d.Algorithm().Hash()
	n, err := s.files.pump(h, readerOf(ctx, file))
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return fmt.Sprintf("The registry blob %s cannot be read: %v.", b.Digest, err), nil
	case n != b.Size || digest.NewDigest(d.Algorithm(), h) != d:
		return "The bytes of the registry blob " + b.Digest + " are not those that were pushed.", nil
	}
	return "", nil
}

// checkManifest looks for what an image names. A manifest of an index may be deleted
// by itself.
func (s *Service) checkManifest(tx store.Tx, m *manifestRec) (string, error) {
	names := []string{m.Digest}
	if len(m.Parts) == 0 {
		names = append(names, m.Uses...)
	}
	for _, d := range names {
		b, err := find(tx, &s.tables.blobs, key(m.UID, d))
		if err != nil {
			return "", err
		}
		if b == nil {
			return fmt.Sprintf("Manifest %s of repository %s names %s, which is missing.", m.Digest, m.Repo, d), nil
		}
	}
	return "", nil
}

// readerOf ends when ctx does.
func readerOf(ctx context.Context, f *os.File) io.Reader { return &ctxReader{ctx, f} }

type ctxReader struct {
	ctx context.Context
	f   *os.File
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.f.Read(p)
}
