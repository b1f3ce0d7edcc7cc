package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// What is due to be looked at.
const (
	dueUpload = "upload" // UID and ID
	dueLink   = "link"   // UID, repository and digest
	dueBlob   = "blob"   // UID and digest
)

const (
	// linkLife is how long a blob stays in a repository without a manifest that
	// names it, from when it was pushed, or a pusher last asked whether it is there.
	// Azure's own time is not known.
	linkLife = 24 * time.Hour
	// linkFresh is how long asking again changes nothing.
	linkFresh = time.Hour

	collectEvery = time.Hour
	sweepEvery   = 24 * time.Hour
	// collectBatch is how many rows are removed in one transaction, so that other
	// writers do not wait long.
	collectBatch = 256
)

// due makes the collector look at something at a time.
func due(tx store.Tx, at time.Time, kind, uid, a, b string) error {
	return tx.Put(bucketDue, key(moment(at), kind, uid, a, b), nil)
}

// reclaim wakes the collector.
func (s *Service) reclaim() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Reclaim tells that a transaction in which DeleteRegistry was called is durable.
func (s *Service) Reclaim() { s.reclaim() }

// DeleteRegistry makes a registry's images unreachable, as part of a transaction,
// and leaves removing them to the background. Call Reclaim after it.
func (s *Service) DeleteRegistry(tx store.Tx, uid string) error {
	_, err := tx.Get(bucketRegistries, uid)
	if errors.Is(err, store.ErrNotFound) {
		return nil // nothing was ever pushed
	}
	if err != nil {
		return fmt.Errorf("delete registry: %w", err)
	}
	if err := tx.Delete(bucketRegistries, uid); err != nil {
		return fmt.Errorf("delete registry: %w", err)
	}
	return tx.Put(bucketGone, uid, nil)
}

// Usage is how many bytes a registry holds. Layers that images share count once.
func (s *Service) Usage(tx store.Tx, uid string) (bytes int64, err error) {
	b, err := tx.Get(bucketRegistries, uid)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read usage: %w", err)
	}
	var u usage
	if err := json.Unmarshal(b, &u); err != nil {
		return 0, fmt.Errorf("decode usage: %w", err)
	}
	return u.Bytes, nil
}

// collect removes what nothing needs any more until ctx ends. What an earlier
// process left is first.
func (s *Service) collect(ctx context.Context) {
	tick := make(chan struct{}, 1)
	timer := s.cfg.Clock.AfterFunc(collectEvery, func() { tick <- struct{}{} })
	defer func() { timer.Stop() }()
	var swept time.Time
	for {
		err := s.collectDue(ctx)
		if now := s.cfg.Clock.Now(); err == nil && now.Sub(swept) >= sweepEvery {
			err, swept = s.sweep(ctx), now
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("collect the garbage of registries", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-tick:
			timer = s.cfg.Clock.AfterFunc(collectEvery, func() { tick <- struct{}{} })
		}
	}
}

// collectDue looks at everything that is due.
func (s *Service) collectDue(ctx context.Context) error {
	if err := s.collectGone(ctx); err != nil {
		return err
	}
	now := moment(s.cfg.Clock.Now())
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows, err := s.rows(ctx, bucketDue, "", collectBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			parts := strings.Split(row, sep)
			if parts[0] > now {
				return nil
			}
			if len(parts) == 5 {
				if err := s.lookAt(ctx, row, parts[1], parts[2], parts[3], parts[4]); err != nil {
					return fmt.Errorf("collect %s: %w", parts[1], err)
				}
				continue
			}
			if err := s.deleteRows(ctx, bucketDue, []string{row}); err != nil {
				return err
			}
		}
		if len(rows) < collectBatch {
			return nil
		}
	}
}

// rows are the first keys of a bucket.
func (s *Service) rows(ctx context.Context, bucket, prefix string, limit int) (keys []string, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
		keys = nil
		for row, err := range tx.Scan(bucket, store.Range{Prefix: prefix, Limit: limit}) {
			if err != nil {
				return err
			}
			keys = append(keys, row.Key)
		}
		return nil
	})
	return keys, err
}

func (s *Service) deleteRows(ctx context.Context, bucket string, keys []string) error {
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		for _, k := range keys {
			if err := tx.Delete(bucket, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// lookAt removes one thing if nothing needs it, and the row that it was due by.
func (s *Service) lookAt(ctx context.Context, row, kind, uid, a, b string) error {
	switch kind {
	case dueUpload:
		return s.lookAtUpload(ctx, row, uid, a)
	case dueLink:
		d, err := parseDigest(b)
		if err != nil {
			return s.deleteRows(ctx, bucketDue, []string{row})
		}
		return s.lookAtBlob(ctx, row, uid, a, d)
	case dueBlob:
		d, err := parseDigest(b)
		if err != nil {
			return s.deleteRows(ctx, bucketDue, []string{row})
		}
		return s.lookAtBlob(ctx, row, uid, "", d)
	}
	return s.deleteRows(ctx, bucketDue, []string{row})
}

// lookAtUpload gives up an upload that nobody has gone on with.
func (s *Service) lookAtUpload(ctx context.Context, row, uid, id string) error {
	if s.uploads.working(key(uid, id)) { // however long its client takes
		return s.cfg.Store.Update(ctx, func(tx store.Tx) error {
			if err := tx.Delete(bucketDue, row); err != nil {
				return err
			}
			return due(tx, s.cfg.Clock.Now().Add(collectEvery), dueUpload, uid, id, "")
		})
	}
	se, leave, err := s.uploads.enter(ctx, key(uid, id))
	if err != nil {
		return err
	}
	defer leave()
	gone := false
	err = s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		gone = false
		if err := tx.Delete(bucketDue, row); err != nil {
			return err
		}
		up, err := find(tx, &s.tables.uploads, key(uid, id))
		if err != nil || up == nil {
			return err
		}
		if over := up.At.Add(uploadLife); over.After(s.cfg.Clock.Now()) {
			return due(tx, over, dueUpload, uid, id, "")
		}
		gone = true
		return s.tables.uploads.Delete(tx, key(uid, id))
	})
	if err != nil {
		return err
	}
	if gone {
		s.files.remove(s.files.upload(uid, id))
		s.uploads.forget(key(uid, id), se)
	}
	return nil
}

// lookAtBlob takes a blob from a repository, unless one of its manifests names it or
// somebody made sure of it lately, and from the registry, unless another repository
// has it. That nothing needs it is seen in the transaction that takes it away.
func (s *Service) lookAtBlob(ctx context.Context, row, uid, repo string, d digest.Digest) error {
	defer s.lock(uid, d)()
	gone := false
	err := s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		gone = false
		if err := tx.Delete(bucketDue, row); err != nil {
			return err
		}
		if repo != "" {
			if kept, err := s.unlink(tx, uid, repo, d); err != nil || kept {
				return err
			}
		}
		entry := key(uid, string(d))
		linked, err := has(tx, &s.tables.links, byDigest, entry)
		if err != nil || linked {
			return err
		}
		manifest, err := has(tx, &s.tables.manifests, byDigest, entry)
		if err != nil || manifest {
			return err
		}
		b, err := find(tx, &s.tables.blobs, entry)
		if err != nil || b == nil {
			return err
		}
		if err := addUsage(tx, uid, -b.Size); err != nil {
			if e := (*apiError)(nil); !errors.As(err, &e) { // of a deleted registry everything goes
				return err
			}
		}
		gone = true
		return s.tables.blobs.Delete(tx, entry)
	})
	if err != nil {
		return err
	}
	if gone {
		s.files.remove(s.files.blob(uid, d))
	}
	return nil
}

// unlink takes a blob from a repository if nothing there needs it.
func (s *Service) unlink(tx store.Tx, uid, repo string, d digest.Digest) (kept bool, err error) {
	k := key(uid, repo, string(d))
	l, err := find(tx, &s.tables.links, k)
	if err != nil || l == nil {
		return false, err
	}
	used, err := has(tx, &s.tables.manifests, byUse, k)
	if err != nil || used {
		return true, err // deleting the manifest makes it due again
	}
	if over := l.At.Add(linkLife); over.After(s.cfg.Clock.Now()) {
		return true, due(tx, over, dueLink, uid, repo, string(d))
	}
	return false, s.tables.links.Delete(tx, k)
}

// collectGone removes what deleted registries had.
func (s *Service) collectGone(ctx context.Context) error {
	uids, err := s.rows(ctx, bucketGone, "", collectBatch)
	if err != nil {
		return err
	}
	for _, uid := range uids {
		for _, bucket := range s.tables.buckets() {
			for {
				rows, err := s.rows(ctx, bucket, key(uid, ""), collectBatch)
				if err != nil {
					return err
				}
				if err := s.deleteRows(ctx, bucket, rows); err != nil {
					return err
				}
				if len(rows) < collectBatch {
					break
				}
			}
		}
		// UIDs are names that ARM made, but this removes a directory
		if uid == "" || uid != filepath.Base(uid) || strings.HasPrefix(uid, ".") {
			return fmt.Errorf("remove registry: %q is not a directory's name", uid)
		}
		if err := os.RemoveAll(filepath.Join(s.files.dir, uid)); err != nil {
			return fmt.Errorf("remove registry: %w", err)
		}
		if err := s.deleteRows(ctx, bucketGone, []string{uid}); err != nil {
			return err
		}
	}
	return nil
}

// buckets are all whose keys begin with a UID, indexes included.
func (t *tables) buckets() []string {
	out := []string{t.repositories.Name, t.blobs.Name, t.uploads.Name}
	for _, name := range []string{byDigest, byTime, bySubject, byUse, ""} {
		for _, c := range []string{t.manifests.Name, t.tags.Name, t.links.Name} {
			if name == "" {
				out = append(out, c)
			} else {
				out = append(out, c+"/"+name)
			}
		}
	}
	return out
}

// sweep removes files that no row names: what was being written, or about to be
// removed, when an earlier process ended.
func (s *Service) sweep(ctx context.Context) error {
	return s.eachFile(ctx, func(uid, path string, d digest.Digest) error {
		if d == "" {
			return s.sweepUpload(ctx, uid, path)
		}
		known, err := s.hasRow(ctx, uid, d)
		if err != nil || known {
			return err
		}
		defer s.lock(uid, d)() // who places it now holds this
		if known, err = s.hasRow(ctx, uid, d); err != nil || known {
			return err
		}
		s.files.remove(path)
		return nil
	})
}

func (s *Service) hasRow(ctx context.Context, uid string, d digest.Digest) (there bool, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
		b, err := find(tx, &s.tables.blobs, key(uid, string(d)))
		there = b != nil
		return err
	})
	return there, err
}

func (s *Service) sweepUpload(ctx context.Context, uid, path string) error {
	id := filepath.Base(path)
	if strings.HasPrefix(id, s.files.manifests) {
		return nil // it is being taken right now
	}
	var up *uploadRec
	err := s.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
		up, err = find(tx, &s.tables.uploads, key(uid, id))
		return err
	})
	if err == nil && up == nil {
		s.files.remove(path)
	}
	return err
}

// eachFile calls f with every file there is: d is empty for one that is not whole.
func (s *Service) eachFile(ctx context.Context, f func(uid, path string, d digest.Digest) error) error {
	return filepath.WalkDir(s.files.dir, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return fmt.Errorf("read registry directory: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(s.files.dir, path)
		if err != nil {
			return fmt.Errorf("read registry directory: %w", err)
		}
		parts := strings.Split(filepath.ToSlash(rel), "/")
		switch {
		case len(parts) == 3 && parts[1] == "uploads":
			return f(parts[0], path, "")
		case len(parts) == 5 && parts[1] == "blobs":
			if d, err := parseDigest(parts[2] + ":" + parts[4]); err == nil {
				return f(parts[0], path, d)
			}
		}
		return nil
	})
}
