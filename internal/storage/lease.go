package storage

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Lease is the lease of a blob or container: whoever knows its ID may write,
// nobody else. What each action does in each state is that of the tables in
// Microsoft's "Lease Blob".
type Lease struct {
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
	LeaseAvailable = "available"
	LeaseLeased    = "leased"
	LeaseExpired   = "expired"
	LeaseBreaking  = "breaking"
	LeaseBroken    = "broken"
)

// State is the x-ms-lease-state at now, Unix nanoseconds.
func (l *Lease) State(now int64) string {
	switch {
	case l == nil:
		return LeaseAvailable
	case l.Broken && now < l.Free:
		return LeaseBreaking
	case l.Broken:
		return LeaseBroken
	case l.Seconds > 0 && now >= l.Until:
		return LeaseExpired
	}
	return LeaseLeased
}

// Active reports whether the lease keeps others from writing.
func (l *Lease) Active(now int64) bool {
	s := l.State(now)
	return s == LeaseLeased || s == LeaseBreaking
}

// Status is the x-ms-lease-status, and duration the x-ms-lease-duration.
func (l *Lease) Status(now int64) (status, duration string) {
	if !l.Active(now) {
		return "unlocked", ""
	}
	if l.State(now) == LeaseLeased {
		duration = "fixed"
		if l.Seconds < 0 {
			duration = "infinite"
		}
	}
	return "locked", duration
}

// Held decides by a lease whether a request that gives the lease ID may use what
// the lease is of, which kind names in errors. Reading takes no lease ID, but a
// wrong one is refused. clear says that a write ends a lease that has expired.
func (l *Lease) Held(given, kind string, write bool, now int64) (clear bool, err error) {
	active := l.Active(now)
	switch {
	case given == "" && active && write:
		return false, &Error{Status: http.StatusPreconditionFailed, Code: "LeaseIdMissing",
			Message: "There is currently a lease on the " + strings.ToLower(kind) + " and no lease ID was specified in the request."}
	case given == "":
		return write && l.State(now) == LeaseExpired, nil
	case l == nil:
		return false, Refuse("LeaseNotPresentWith" + kind + "Operation")
	case !strings.EqualFold(l.ID, given):
		return false, &Error{Status: http.StatusPreconditionFailed, Code: "LeaseIdMismatchWith" + kind + "Operation",
			Message: "The lease ID specified did not match the lease ID for the " + strings.ToLower(kind) + "."}
	case !active:
		return false, &Error{Status: http.StatusPreconditionFailed, Code: "LeaseLost",
			Message: "A lease ID was specified, but the lease for the " + strings.ToLower(kind) + " has expired."}
	}
	return false, nil
}

// LeaseAction is a request to a lease.
type LeaseAction struct {
	// Name is acquire, renew, change, release or break.
	Name         string
	id, proposed string
	// Seconds is how long an acquired lease lasts, -1 for ever.
	Seconds int
	// period is of a break, -1 when it is not given.
	period int
}

// ParseLeaseAction reads the headers of a request to a lease.
func ParseLeaseAction(h http.Header) (*LeaseAction, error) {
	a := &LeaseAction{Name: strings.ToLower(h.Get("x-ms-lease-action")), id: h.Get("x-ms-lease-id"), proposed: h.Get("x-ms-proposed-lease-id"), period: -1}
	number := func(name string, low, high int) (int, error) {
		n, err := strconv.Atoi(h.Get(name))
		if err != nil || n < low || n > high {
			return 0, BadHeader(name, h.Get(name))
		}
		return n, nil
	}
	var err error
	switch a.Name {
	case "":
		return nil, MissingHeader("x-ms-lease-action")
	case "acquire":
		if h.Get("x-ms-lease-duration") == "" {
			return nil, MissingHeader("x-ms-lease-duration")
		}
		if a.Seconds, err = number("x-ms-lease-duration", -1, 60); err != nil {
			return nil, err
		}
		if a.Seconds >= 0 && a.Seconds < 15 {
			return nil, BadHeader("x-ms-lease-duration", h.Get("x-ms-lease-duration"))
		}
	case "break":
		if h.Get("x-ms-lease-break-period") != "" {
			a.period, err = number("x-ms-lease-break-period", 0, 60)
		}
		return a, err
	case "renew", "release", "change":
		if a.id == "" {
			return nil, MissingHeader("x-ms-lease-id")
		}
		if a.Name == "change" && a.proposed == "" {
			return nil, MissingHeader("x-ms-proposed-lease-id")
		}
	default:
		return nil, BadHeader("x-ms-lease-action", a.Name)
	}
	for _, name := range []string{"x-ms-lease-id", "x-ms-proposed-lease-id"} {
		if v := h.Get(name); v != "" && !isGUID(v) {
			return nil, BadHeader(name, v)
		}
	}
	if a.proposed == "" {
		a.proposed = RequestID()
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

// Apply does the action to a lease. left is how long a break takes.
func (a *LeaseAction) Apply(l *Lease, now int64, kind string) (out *Lease, left time.Duration, err error) {
	conflict := func(code, message string) (*Lease, time.Duration, error) {
		return nil, 0, &Error{Status: http.StatusConflict, Code: code, Message: message}
	}
	none := "There is currently no lease on the " + kind + "."
	mismatch := "The lease ID specified did not match the lease ID for the " + kind + "."
	state := l.State(now)
	begin := func(id string, seconds int) *Lease {
		n := &Lease{ID: id, Seconds: seconds}
		if seconds > 0 {
			n.Until = now + int64(seconds)*int64(time.Second)
		}
		return n
	}
	switch a.Name {
	case "acquire":
		mine := l != nil && strings.EqualFold(l.ID, a.proposed)
		switch {
		case state == LeaseBreaking && mine:
			return conflict("LeaseIsBreakingAndCannotBeAcquired", "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken.")
		case state == LeaseBreaking, state == LeaseLeased && !mine:
			return conflict("LeaseAlreadyPresent", "There is already a lease present.")
		}
		return begin(a.proposed, a.Seconds), 0, nil
	case "break":
		switch state {
		case LeaseAvailable:
			return conflict("LeaseNotPresentWithLeaseOperation", none)
		case LeaseBroken, LeaseExpired:
			return &Lease{ID: l.ID, Seconds: l.Seconds, Broken: true}, 0, nil
		}
		left := time.Duration(0)
		switch {
		case state == LeaseBreaking:
			left = time.Duration(l.Free - now)
		case l.Seconds > 0:
			left = time.Duration(l.Until - now)
		case a.period >= 0:
			left = time.Duration(a.period) * time.Second
		}
		if a.period >= 0 {
			left = min(left, time.Duration(a.period)*time.Second)
		}
		return &Lease{ID: l.ID, Seconds: l.Seconds, Broken: true, Free: now + int64(left)}, left, nil
	}
	if l == nil && a.Name == "change" {
		return conflict("LeaseNotPresentWithLeaseOperation", none)
	}
	changed := a.Name == "change" && l != nil && strings.EqualFold(l.ID, a.proposed)
	if l == nil || !strings.EqualFold(l.ID, a.id) && !changed {
		return conflict("LeaseIdMismatchWithLeaseOperation", mismatch)
	}
	switch {
	case a.Name == "release":
		return nil, 0, nil
	case a.Name == "renew" && (state == LeaseBroken || state == LeaseBreaking):
		return conflict("LeaseIsBrokenAndCannotBeRenewed", "The lease ID matched, but the lease has been broken explicitly and cannot be renewed.")
	case a.Name == "renew":
		return begin(l.ID, l.Seconds), 0, nil
	case state == LeaseBreaking:
		return conflict("LeaseIsBreakingAndCannotBeChanged", "The lease ID matched, but the lease is currently in breaking state and cannot be changed.")
	case state != LeaseLeased:
		return conflict("LeaseNotPresentWithLeaseOperation", none)
	}
	n := *l
	n.ID = a.proposed
	return &n, 0, nil
}
