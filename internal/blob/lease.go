package blob

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// leaseRec is the lease of a blob or container: whoever knows its ID may write,
// nobody else. What each action does in each state is that of the tables in
// Microsoft's "Lease Blob".
type leaseRec struct {
	ID string `json:"id"`
	// Seconds is how long it lasts, -1 for ever; Until is when it ends, Unix
	// nanoseconds, of one that does.
	Seconds int   `json:"s"`
	Until   int64 `json:"until,omitempty"`
	// Broken is set once it was broken, which takes until Free, Unix nanoseconds.
	Broken bool  `json:"broken,omitempty"`
	Free   int64 `json:"free,omitempty"`
}

// The states of leases, as x-ms-lease-state names them.
const (
	leaseAvailable = "available"
	leaseLeased    = "leased"
	leaseExpired   = "expired"
	leaseBreaking  = "breaking"
	leaseBroken    = "broken"
)

func (l *leaseRec) state(now int64) string {
	switch {
	case l == nil:
		return leaseAvailable
	case l.Broken && now < l.Free:
		return leaseBreaking
	case l.Broken:
		return leaseBroken
	case l.Seconds > 0 && now >= l.Until:
		return leaseExpired
	}
	return leaseLeased
}

// active reports whether the lease keeps others from writing.
func (l *leaseRec) active(now int64) bool {
	s := l.state(now)
	return s == leaseLeased || s == leaseBreaking
}

// status is the x-ms-lease-status, and duration the x-ms-lease-duration.
func (l *leaseRec) status(now int64) (status, duration string) {
	if !l.active(now) {
		return "unlocked", ""
	}
	if l.state(now) == leaseLeased {
		duration = "fixed"
		if l.Seconds < 0 {
			duration = "infinite"
		}
	}
	return "locked", duration
}

// leaseHeaders tells the state of a lease.
func (s *Service) leaseHeaders(h http.Header, l *leaseRec) {
	now := s.cfg.Clock.Now().UnixNano()
	status, duration := l.status(now)
	h["x-ms-lease-status"] = []string{status}
	h["x-ms-lease-state"] = []string{l.state(now)}
	if duration != "" {
		h["x-ms-lease-duration"] = []string{duration}
	}
}

// lease writes the state of a lease in a list.
func (x *xmlWriter) lease(l *leaseRec, now time.Time) {
	status, duration := l.status(now.UnixNano())
	x.Element("LeaseStatus", status)
	x.Element("LeaseState", l.state(now.UnixNano()))
	x.Optional("LeaseDuration", duration)
}

// held decides by its lease whether a call may use a blob or container, which kind
// names in errors. Reading takes no lease ID, but a wrong one is refused. A write
// ends a lease that has expired.
func (s *Service) held(c *call, l **leaseRec, u use, kind string) error {
	now := s.cfg.Clock.Now().UnixNano()
	given := c.r.Header.Get("x-ms-lease-id")
	active := (*l).active(now)
	switch {
	case given == "" && active && u == writing:
		return &Error{Status: http.StatusPreconditionFailed, Code: "LeaseIdMissing",
			Message: "There is currently a lease on the " + strings.ToLower(kind) + " and no lease ID was specified in the request."}
	case given == "":
		if u == writing && (*l).state(now) == leaseExpired {
			*l = nil
		}
		return nil
	case *l == nil:
		return refuse("LeaseNotPresentWith" + kind + "Operation")
	case !strings.EqualFold((*l).ID, given):
		return &Error{Status: http.StatusPreconditionFailed, Code: "LeaseIdMismatchWith" + kind + "Operation",
			Message: "The lease ID specified did not match the lease ID for the " + strings.ToLower(kind) + "."}
	case !active:
		return &Error{Status: http.StatusPreconditionFailed, Code: "LeaseLost",
			Message: "A lease ID was specified, but the lease for the " + strings.ToLower(kind) + " has expired."}
	}
	return nil
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
	return s.holds(c, b, writing)
}

// leaseAction is a request to a lease.
type leaseAction struct {
	name         string
	id, proposed string
	seconds      int
	// period is of a break, -1 when it is not given.
	period int
}

func parseLeaseAction(c *call) (*leaseAction, error) {
	h := c.r.Header
	a := &leaseAction{name: strings.ToLower(h.Get("x-ms-lease-action")), id: h.Get("x-ms-lease-id"), proposed: h.Get("x-ms-proposed-lease-id"), period: -1}
	number := func(name string, low, high int) (int, error) {
		n, err := strconv.Atoi(h.Get(name))
		if err != nil || n < low || n > high {
			return 0, badHeader(name, h.Get(name))
		}
		return n, nil
	}
	var err error
	switch a.name {
	case "":
		return nil, missingHeader("x-ms-lease-action")
	case "acquire":
		if h.Get("x-ms-lease-duration") == "" {
			return nil, missingHeader("x-ms-lease-duration")
		}
		if a.seconds, err = number("x-ms-lease-duration", -1, 60); err != nil {
			return nil, err
		}
		if a.seconds >= 0 && a.seconds < 15 {
			return nil, badHeader("x-ms-lease-duration", h.Get("x-ms-lease-duration"))
		}
	case "break":
		if h.Get("x-ms-lease-break-period") != "" {
			a.period, err = number("x-ms-lease-break-period", 0, 60)
		}
		return a, err
	case "renew", "release", "change":
		if a.id == "" {
			return nil, missingHeader("x-ms-lease-id")
		}
		if a.name == "change" && a.proposed == "" {
			return nil, missingHeader("x-ms-proposed-lease-id")
		}
	default:
		return nil, badHeader("x-ms-lease-action", a.name)
	}
	for _, name := range []string{"x-ms-lease-id", "x-ms-proposed-lease-id"} {
		if v := h.Get(name); v != "" && !isGUID(v) {
			return nil, badHeader(name, v)
		}
	}
	if a.proposed == "" {
		a.proposed = storage.RequestID()
	}
	return a, nil
}

// isGUID reports whether s has one of the common forms of a GUID.
func isGUID(s string) bool {
	s = strings.Trim(s, "{}()")
	digits := 0
	for i, r := range s {
		switch {
		case '0' <= r && r <= '9', 'a' <= r && r <= 'f', 'A' <= r && r <= 'F':
			digits++
		case r == '-' && (i == 8 || i == 13 || i == 18 || i == 23):
		default:
			return false
		}
	}
	return digits == 32
}

// apply does the action to a lease. left is how long a break takes.
func (a *leaseAction) apply(l *leaseRec, now int64, kind string) (out *leaseRec, left time.Duration, err error) {
	conflict := func(code, message string) (*leaseRec, time.Duration, error) {
		return nil, 0, &Error{Status: http.StatusConflict, Code: code, Message: message}
	}
	none := "There is currently no lease on the " + kind + "."
	mismatch := "The lease ID specified did not match the lease ID for the " + kind + "."
	state := l.state(now)
	begin := func(id string, seconds int) *leaseRec {
		n := &leaseRec{ID: id, Seconds: seconds}
		if seconds > 0 {
			n.Until = now + int64(seconds)*int64(time.Second)
		}
		return n
	}
	switch a.name {
	case "acquire":
		mine := l != nil && strings.EqualFold(l.ID, a.proposed)
		switch {
		case state == leaseBreaking && mine:
			return conflict("LeaseIsBreakingAndCannotBeAcquired", "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken.")
		case state == leaseBreaking, state == leaseLeased && !mine:
			return conflict("LeaseAlreadyPresent", "There is already a lease present.")
		}
		return begin(a.proposed, a.seconds), 0, nil
	case "break":
		switch state {
		case leaseAvailable:
			return conflict("LeaseNotPresentWithLeaseOperation", none)
		case leaseBroken, leaseExpired:
			return &leaseRec{ID: l.ID, Seconds: l.Seconds, Broken: true}, 0, nil
		}
		left := time.Duration(0)
		switch {
		case state == leaseBreaking:
			left = time.Duration(l.Free - now)
		case l.Seconds > 0:
			left = time.Duration(l.Until - now)
		case a.period >= 0:
			left = time.Duration(a.period) * time.Second
		}
		if a.period >= 0 {
			left = min(left, time.Duration(a.period)*time.Second)
		}
		return &leaseRec{ID: l.ID, Seconds: l.Seconds, Broken: true, Free: now + int64(left)}, left, nil
	}
	if l == nil && a.name == "change" {
		return conflict("LeaseNotPresentWithLeaseOperation", none)
	}
	changed := a.name == "change" && l != nil && strings.EqualFold(l.ID, a.proposed)
	if l == nil || !strings.EqualFold(l.ID, a.id) && !changed {
		return conflict("LeaseIdMismatchWithLeaseOperation", mismatch)
	}
	switch {
	case a.name == "release":
		return nil, 0, nil
	case a.name == "renew" && (state == leaseBroken || state == leaseBreaking):
		return conflict("LeaseIsBrokenAndCannotBeRenewed", "The lease ID matched, but the lease has been broken explicitly and cannot be renewed.")
	case a.name == "renew":
		return begin(l.ID, l.Seconds), 0, nil
	case state == leaseBreaking:
		return conflict("LeaseIsBreakingAndCannotBeChanged", "The lease ID matched, but the lease is currently in breaking state and cannot be changed.")
	case state != leaseLeased:
		return conflict("LeaseNotPresentWithLeaseOperation", none)
	}
	n := *l
	n.ID = a.proposed
	return &n, 0, nil
}

// answerLease answers a request to a lease, which was changed to l.
func answerLease(c *call, a *leaseAction, l *leaseRec, left time.Duration, etag uint64, modified int64) error {
	h := c.w.Header()
	status := http.StatusOK
	switch a.name {
	case "acquire":
		status = http.StatusCreated
	case "break":
		status = http.StatusAccepted
		h["x-ms-lease-time"] = []string{strconv.Itoa(int((left + time.Second - 1) / time.Second))}
	}
	if l != nil && a.name != "break" {
		h["x-ms-lease-id"] = []string{l.ID}
	}
	return answer(c, status, etag, modified)
}

// leaseBlob serves Lease Blob and Path Lease. It changes neither ETag nor time.
func (s *Service) leaseBlob(c *call) error {
	a, err := parseLeaseAction(c)
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
		if b.Dir != "" {
			return notImplemented(c.op.name + " of a directory")
		}
		b.Lease, left, err = a.apply(b.Lease, s.cfg.Clock.Now().UnixNano(), "blob")
		return err
	})
	if err != nil {
		return err
	}
	return answerLease(c, a, b.Lease, left, b.ETag, b.Modified)
}

func (s *Service) leaseContainer(c *call) error {
	a, err := parseLeaseAction(c)
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
		rec.Lease, left, err = a.apply(rec.Lease, s.cfg.Clock.Now().UnixNano(), "container")
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
		return save(tx, bucketContainers, containerKey(uid, name), c)
	})
	if err != nil {
		return nil, fmt.Errorf("lease container %s: %w", name, err)
	}
	return c, nil
}
