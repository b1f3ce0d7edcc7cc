package blob

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// goneContainer is a container that soft delete keeps, with all that is in it.
type goneContainer struct {
	containerRec
	// Version tells it from others that had its name.
	Version string `json:"version"`
	// Deleted is when it was deleted, and Until when it goes for good, Unix
	// nanoseconds.
	Deleted int64 `json:"gone"`
	Until   int64 `json:"until"`
}

// goneKey sorts behind the container of the name and before longer names.
func goneKey(uid, name, version string) string {
	return containerKey(uid, name) + pastMark + version
}

// dropContainer removes a container, or lets soft delete keep it.
func (e *engine) dropContainer(tx store.Tx, uid string, c *containerRec) error {
	if err := tx.Delete(bucketContainers, containerKey(uid, c.Name)); err != nil {
		return err
	}
	policy, err := retentionOf(tx, uid)
	if err != nil {
		return err
	}
	if policy.ContainerDays == 0 {
		return e.discardContainer(tx, c)
	}
	now, at := e.stamp()
	g := &goneContainer{containerRec: *c, Version: fmt.Sprintf("%016X", at), Deleted: now,
		Until: now + int64(policy.ContainerDays)*int64(24*time.Hour)}
	g.Lease = nil
	key := goneKey(uid, c.Name, g.Version)
	if err := tx.Put(bucketGoneDue, dueKey(g.Until, key), []byte{}); err != nil {
		return err
	}
	return storage.Save(tx, bucketGone, key, g)
}

// forgetGone removes the row of a container that soft delete kept.
func forgetGone(tx store.Tx, key string, g *goneContainer) error {
	if err := tx.Delete(bucketGoneDue, dueKey(g.Until, key)); err != nil {
		return err
	}
	return tx.Delete(bucketGone, key)
}

// restoreContainer brings a deleted container back under its name.
func (e *engine) restoreContainer(ctx context.Context, uid, name, version string) (c *containerRec, err error) {
	now, etag := e.stamp()
	err = e.store.Update(ctx, func(tx store.Tx) error {
		live, err := storage.Load[containerRec](tx, bucketContainers, containerKey(uid, name))
		if err != nil {
			return err
		}
		key := goneKey(uid, name, version)
		g, err := storage.Load[goneContainer](tx, bucketGone, key)
		switch {
		case err != nil:
			return err
		case g == nil:
			return refuse("ContainerNotFound")
		case live != nil:
			return refuse("ContainerAlreadyExists")
		}
		if err := forgetGone(tx, key, g); err != nil {
			return err
		}
		c = &g.containerRec
		c.ETag, c.Modified = etag, now
		return storage.Save(tx, bucketContainers, containerKey(uid, name), c)
	})
	if err != nil {
		return nil, fmt.Errorf("restore container %s: %w", name, err)
	}
	return c, nil
}

// expireGone gives up containers that soft delete has kept long enough.
func (e *engine) expireGone(ctx context.Context) error {
	limit := dueKey(e.clock.Now().UnixNano(), "")
	for {
		n := 0
		err := e.store.Update(ctx, func(tx store.Tx) error {
			var due []string
			for row, err := range tx.Scan(bucketGoneDue, store.Range{Limit: reapBatch}) {
				if err != nil {
					return err
				}
				if row.Key < limit {
					due = append(due, row.Key)
				}
			}
			n = len(due)
			for _, d := range due {
				_, key, _ := strings.Cut(d, "/")
				g, err := storage.Load[goneContainer](tx, bucketGone, key)
				if err != nil {
					return err
				}
				if g == nil || dueKey(g.Until, key) != d {
					// Nothing bears this row out. It must not hold up the others.
					if err := tx.Delete(bucketGoneDue, d); err != nil {
						return err
					}
					continue
				}
				if err := forgetGone(tx, key, g); err != nil {
					return err
				}
				if err := e.discardContainer(tx, &g.containerRec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("expire deleted containers: %w", err)
		}
		if n > 0 {
			e.reaper.Kick()
		}
		if n < reapBatch {
			return nil
		}
	}
}

// reapGone gives up the containers of a deleted account that soft delete kept,
// one batch of them.
func (e *engine) reapGone(tx store.Tx, row store.Entry) error {
	g, err := storage.Decode[goneContainer](bucketGone, row.Key, row.Value)
	if err != nil {
		return err
	}
	if err := forgetGone(tx, row.Key, g); err != nil {
		return err
	}
	return e.discardContainer(tx, &g.containerRec)
}

// listWithGone is listContainers with those that soft delete keeps, each behind
// the one that has its name now.
func (e *engine) listWithGone(ctx context.Context, uid, prefix, after string, limit int) (cs []*goneContainer, next string, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		r := store.Range{Prefix: containerKey(uid, prefix), Limit: limit + 1}
		if after != "" {
			r.After = containerKey(uid, after)
		}
		var keys []string
		var rows [2][]store.Entry
		for i, bucket := range []string{bucketContainers, bucketGone} {
			for row, err := range tx.Scan(bucket, r) {
				if err != nil {
					return err
				}
				rows[i] = append(rows[i], row)
			}
		}
		for len(rows[0])+len(rows[1]) > 0 {
			i, bucket := 0, bucketContainers
			if len(rows[0]) == 0 || len(rows[1]) > 0 && rows[1][0].Key < rows[0][0].Key {
				i, bucket = 1, bucketGone
			}
			row := rows[i][0]
			rows[i] = rows[i][1:]
			if len(cs) == limit {
				next = strings.TrimPrefix(keys[limit-1], containerKey(uid, ""))
				return nil
			}
			g, err := storage.Decode[goneContainer](bucket, row.Key, row.Value)
			if err != nil {
				return err
			}
			cs, keys = append(cs, g), append(keys, row.Key)
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list containers: %w", err)
	}
	return cs, next, nil
}

func (s *Service) restoreContainer(c *call) error {
	name, version := c.r.Header.Get("x-ms-deleted-container-name"), c.r.Header.Get("x-ms-deleted-container-version")
	switch {
	case name == "":
		return missingHeader("x-ms-deleted-container-name")
	case version == "":
		return missingHeader("x-ms-deleted-container-version")
	case name != c.container:
		return notImplemented("Restore Container under another name")
	}
	rec, err := s.eng.restoreContainer(c.r.Context(), c.acct.UID, name, version)
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, rec.ETag, rec.Modified)
}
