package blob

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// leaseRec is the lease of a blob or container.
type leaseRec = storage.Lease

// leaseHeaders tells the state of a lease.
func (s *Service) leaseHeaders(h http.Header, l *leaseRec) {
	now := s.cfg.Clock.Now().UnixNano()
	status, duration := l.Status(now)
	h["x-ms-lease-status"] = []string{status}
	h["x-ms-lease-state"] = []string{l.State(now)}
	if duration != "" {
		h["x-ms-lease-duration"] = []string{duration}
	}
}

// lease writes the state of a lease in a list.
func (x *xmlWriter) lease(l *leaseRec, now time.Time) {
	status, duration := l.Status(now.UnixNano())
	x.Element("LeaseStatus", status)
	x.Element("LeaseState", l.State(now.UnixNano()))
	x.Optional("LeaseDuration", duration)
}

// held decides by its lease whether a call may use a blob or container, which kind
// names in errors. A write ends a lease that has expired.
func (s *Service) held(c *call, l **leaseRec, u use, kind string) error {
	clear, err := (*l).Held(c.r.Header.Get("x-ms-lease-id"), kind, u == writing, s.cfg.Clock.Now().UnixNano())
	if clear {
		*l = nil
	}
	return err
}

// holds is held for a blob, which may be nil.
func (s *Service) holds(c *call, b *blobRec, u use) error {
	if b == nil {
		var none *leaseRec
		return s.held(c, &none, u, "Blob")
	}
	return s.held(c, &b.Lease, u, "Blob")
}

// mayChange decides about a write that changes or removes b.
func (s *Service) mayChange(c *call, cond conditions, b *blobRec) error {
	if err := cond.of(writing, b); err != nil {
		return err
	}
	if err := s.holds(c, b, writing); err != nil {
		return err
	}
	return settled(b)
}

// answerLease answers a request to a lease, which was changed to l.
func answerLease(c *call, a *storage.LeaseAction, l *leaseRec, left time.Duration, etag uint64, modified int64) error {
	h := c.w.Header()
	status := http.StatusOK
	switch a.Name {
	case "acquire":
		status = http.StatusCreated
	case "break":
		status = http.StatusAccepted
		h["x-ms-lease-time"] = []string{strconv.Itoa(int((left + time.Second - 1) / time.Second))}
	}
	if l != nil && a.Name != "break" {
		h["x-ms-lease-id"] = []string{l.ID}
	}
	return answer(c, status, etag, modified)
}

// leaseBlob serves Lease Blob and Path Lease. It changes neither ETag nor time.
func (s *Service) leaseBlob(c *call) error {
	a, err := storage.ParseLeaseAction(c.r.Header)
	if err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	var left time.Duration
	b, err := s.eng.mark(c.r.Context(), c.ref(), func(b *blobRec) (err error) {
		if err := cond.of(writing, b); err != nil {
			return err
		}
		b.Lease, left, err = a.Apply(b.Lease, s.cfg.Clock.Now().UnixNano(), "blob")
		return err
	})
	if err != nil {
		return err
	}
	return answerLease(c, a, b.Lease, left, b.ETag, b.Modified)
}

func (s *Service) leaseContainer(c *call) error {
	a, err := storage.ParseLeaseAction(c.r.Header)
	if err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	var left time.Duration
	rec, err := s.eng.markContainer(c.r.Context(), c.acct.UID, c.container, func(rec *containerRec) (err error) {
		if err := cond.check(writing, rec.ETag, rec.Modified); err != nil {
			return err
		}
		rec.Lease, left, err = a.Apply(rec.Lease, s.cfg.Clock.Now().UnixNano(), "container")
		return err
	})
	if err != nil {
		return err
	}
	return answerLease(c, a, rec.Lease, left, rec.ETag, rec.Modified)
}

// markContainer changes a container's lease. The ETag stays.
func (e *engine) markContainer(ctx context.Context, uid, name string, change func(*containerRec) error) (c *containerRec, err error) {
	err = e.store.Update(ctx, func(tx store.Tx) error {
		if c, err = findContainer(tx, uid, name); err != nil {
			return err
		}
		if err := change(c); err != nil {
			return err
		}
		return storage.Save(tx, bucketContainers, containerKey(uid, name), c)
	})
	if err != nil {
		return nil, fmt.Errorf("lease container %s: %w", name, err)
	}
	return c, nil
}
