// Package fault makes requests fail on demand, so that users can test what their
// programs do when Azure does not answer as it should: errors, delays, and
// connections that are lost before or after the request has been carried out.
package fault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/glob"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The moments at which a connection can be lost.
const (
	// LostBefore is before the request is carried out: nothing has changed.
	LostBefore = "before"
	// LostAfter is after it was carried out, and before the client learns of it.
	LostAfter = "after"
)

// Fault is what happens to the requests that it matches.
type Fault struct {
	ID string `json:"id"`
	// Method is an HTTP method, or "*" for all.
	Method string `json:"method"`
	// Target is a resource type, "Microsoft.Storage/storageAccounts", in requests
	// to Azure Resource Manager, or HOST or HOST/PATH, in which * stands for
	// anything.
	Target string `json:"target"`
	// Left is how many more requests it happens to; 0 means all of them until it
	// is removed.
	Left int `json:"left,omitempty"`
	// Status is the HTTP status that is answered instead of carrying the request
	// out; 0 carries it out. Code is the error's code, by default the usual one of
	// the status.
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	// RetryAfter is what the answer says in that header, in seconds; negative for
	// none.
	RetryAfter int `json:"retryAfter"`
	// Delay is how long the request waits first, on the cloud's clock, in Go's
	// notation of durations.
	Delay string `json:"delay,omitempty"`
	// Lost is LostBefore or LostAfter when the connection is lost, else "".
	Lost string `json:"lost,omitempty"`
	// RoleDelay is how long new role assignments take to count, in Go's notation.
	// Requests do not notice it otherwise.
	RoleDelay string `json:"roleDelay,omitempty"`
	// Hits counts the requests that it has happened to.
	Hits int `json:"hits"`
	// Added is when it was added.
	Added time.Time `json:"added"`
}

// Exempt is a request header, of any value, that keeps faults from a request: the
// command line signs in with it, or nobody could remove a fault of signing in.
const Exempt = "X-Azimuth-No-Faults"

// RoleAssignments is the target of faults with a RoleDelay.
const RoleAssignments = "Microsoft.Authorization/roleAssignments"

// ErrInvalid is wrapped by Add when a fault cannot be as it is given.
var ErrInvalid = errors.New("invalid fault")

// ErrNotFound is returned by Remove for a fault that is not there.
var ErrNotFound = errors.New("fault: not found")

func (f *Fault) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch f.Method {
	case "*", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		return bad("%q is no HTTP method, nor *", f.Method)
	}
	if f.Target == "" || strings.ContainsAny(f.Target, " ?#") {
		return bad("%q is neither a resource type nor a host with a path", f.Target)
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		return bad("%d is no status of an error: they are 400 to 599", f.Status)
	}
	if f.Status != 0 && f.Lost != "" {
		return bad("a connection that is lost brings no status")
	}
	if f.Lost != "" && f.Lost != LostBefore && f.Lost != LostAfter {
		return bad("a connection is lost %s or %s, not %q", LostBefore, LostAfter, f.Lost)
	}
	if f.Left < 0 {
		return bad("it cannot happen %d times", f.Left)
	}
	if f.Code != "" && f.Status == 0 {
		return bad("a code needs a status")
	}
	for _, delay := range []string{f.Delay, f.RoleDelay} {
		if delay == "" {
			continue
		}
		if d, err := time.ParseDuration(delay); err != nil || d <= 0 || d > time.Hour {
			return bad("%q is no delay: it is one such as 2s, up to 1h", delay)
		}
	}
	if f.RoleDelay != "" {
		if f.Target != RoleAssignments || f.Method != "*" || f.Status != 0 || f.Lost != "" || f.Delay != "" || f.Left != 0 {
			return bad("a role delay is of all new role assignments, and goes with nothing else")
		}
		return nil
	}
	if f.Status == 0 && f.Lost == "" && f.Delay == "" {
		return bad("it does nothing: give a status, a delay, or when the connection is lost")
	}
	return nil
}

// matches reports whether the fault is about a request.
func (f *Fault) matches(r *http.Request) bool {
	if f.RoleDelay != "" || f.Method != "*" && f.Method != r.Method {
		return false
	}
	if strings.HasPrefix(strings.ToLower(f.Target), "microsoft.") {
		return strings.EqualFold(r.Host, armHost) && resourceType(r.URL.Path) == strings.ToLower(f.Target)
	}
	host, path, slash := strings.Cut(f.Target, "/")
	if !glob.Match(strings.ToLower(host), strings.ToLower(r.Host)) {
		return false
	}
	return !slash || glob.Match("/"+path, r.URL.Path)
}

const armHost = "management.azure.com"

// resourceType is the type that a path of Azure Resource Manager names, of the
// resource itself or of a list, in lower case; "" if it names none.
func resourceType(path string) string {
	segs := strings.FieldsFunc(strings.ToLower(path), func(r rune) bool { return r == '/' })
	last := -1
	for i, s := range segs {
		if s == "providers" && i+1 < len(segs) {
			last = i
		}
	}
	if last < 0 {
		switch {
		case len(segs) >= 3 && segs[0] == "subscriptions" && segs[2] == "resourcegroups" && len(segs) <= 4:
			return "microsoft.resources/resourcegroups"
		case len(segs) <= 2 && len(segs) > 0 && segs[0] == "subscriptions":
			return "microsoft.resources/subscriptions"
		}
		return ""
	}
	out := segs[last+1]
	for i := last + 2; i < len(segs); i += 2 {
		out += "/" + segs[i]
	}
	return out
}

// Faults is the faults of a cloud. They are kept in the store and survive a
// restart. It is safe for concurrent use.
type Faults struct {
	store store.Store
	clock clock.Clock
	log   *slog.Logger
	table store.Collection[Fault]

	none atomic.Bool // spares requests the lock
	mu   sync.Mutex
	all  []*Fault // in the order in which they were added
}

// Open reads the faults that are in the store.
func Open(ctx context.Context, st store.Store, c clock.Clock, log *slog.Logger) (*Faults, error) {
	f := &Faults{store: st, clock: c, log: log, table: store.Collection[Fault]{
		Name: "fault", Key: func(f *Fault) string { return f.Added.UTC().Format("20060102T150405.000000000") + "|" + f.ID },
	}}
	err := st.View(ctx, func(tx store.Tx) error {
		for one, err := range f.table.All(tx, store.Range{}) {
			if err != nil {
				return err
			}
			f.all = append(f.all, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	f.none.Store(len(f.all) == 0)
	return f, nil
}

// List returns the faults, the one that was added first first.
func (s *Faults) List() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Fault{}
	for _, f := range s.all {
		out = append(out, *f)
	}
	return out
}

// Add adds a fault and returns it with its ID. Errors about the fault itself wrap
// ErrInvalid.
func (s *Faults) Add(ctx context.Context, f Fault) (Fault, error) {
	f.Method = strings.ToUpper(f.Method)
	if err := f.check(); err != nil {
		return Fault{}, err
	}
	f.ID, f.Added, f.Hits = uuid.NewString()[:8], s.clock.Now(), 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.store.Update(ctx, func(tx store.Tx) error { return s.table.Put(tx, &f) }); err != nil {
		return Fault{}, fmt.Errorf("add a fault: %w", err)
	}
	kept := f
	s.all = append(s.all, &kept)
	s.none.Store(false)
	return f, nil
}

// Remove removes the fault with an ID, or all when it is "".
func (s *Faults) Remove(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keep, gone []*Fault
	for _, f := range s.all {
		if id == "" || f.ID == id {
			gone = append(gone, f)
		} else {
			keep = append(keep, f)
		}
	}
	if id != "" && len(gone) == 0 {
		return ErrNotFound
	}
	err := s.store.Update(ctx, func(tx store.Tx) error {
		for _, f := range gone {
			if err := s.table.Delete(tx, s.table.Key(f)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove faults: %w", err)
	}
	s.all = keep
	s.none.Store(len(keep) == 0)
	return nil
}

// RoleDelay is how long role assignments take to count: the longest that was
// added, or 0.
func (s *Faults) RoleDelay() time.Duration {
	if s.none.Load() {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out time.Duration
	for _, f := range s.all {
		if d, err := time.ParseDuration(f.RoleDelay); err == nil {
			out = max(out, d)
		}
	}
	return out
}

// take returns the fault that happens to a request, counted, or nil.
func (s *Faults) take(r *http.Request) *Fault {
	if s.none.Load() || r.Header.Get(Exempt) != "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.all {
		if !f.matches(r) {
			continue
		}
		f.Hits++
		hit := *f
		if f.Left > 0 {
			if f.Left--; f.Left == 0 {
				s.all = append(append([]*Fault{}, s.all[:i]...), s.all[i+1:]...)
			}
			hit.Left = f.Left
			s.keep(r.Context(), f)
		}
		return &hit
	}
	return nil
}

// keep stores how often a fault is still to happen.
func (s *Faults) keep(ctx context.Context, f *Fault) {
	err := s.store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		if f.Left == 0 {
			return s.table.Delete(tx, s.table.Key(f))
		}
		return s.table.Put(tx, f)
	})
	if err != nil {
		s.log.Error("count a fault", "fault", f.ID, "error", err)
	}
}

// Handler has faults happen to what next serves.
func (s *Faults) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := s.take(r)
		if f == nil {
			next.ServeHTTP(w, r)
			return
		}
		s.log.Info("a fault happens", "fault", f.ID, "method", r.Method, "host", r.Host, "path", r.URL.Path)
		w.Header().Set("X-Azimuth-Fault", f.ID)
		if f.Delay != "" {
			d, err := time.ParseDuration(f.Delay)
			if err == nil {
				err = clock.Sleep(r.Context(), s.clock, d)
			}
			if err != nil {
				return // the client has gone
			}
		}
		switch {
		case f.Lost == LostBefore:
			panic(http.ErrAbortHandler)
		case f.Lost == LostAfter:
			next.ServeHTTP(&deaf{header: http.Header{}}, r)
			panic(http.ErrAbortHandler)
		case f.Status != 0:
			f.answer(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// deaf takes an answer that nobody will hear.
type deaf struct{ header http.Header }

func (d *deaf) Header() http.Header         { return d.header }
func (d *deaf) Write(b []byte) (int, error) { return len(b), nil }
func (d *deaf) WriteHeader(int)             {}

// code is what services call a status, unless the fault says otherwise.
func (f *Fault) code() string {
	if f.Code != "" {
		return f.Code
	}
	switch f.Status {
	case http.StatusTooManyRequests:
		return "TooManyRequests"
	case http.StatusInternalServerError:
		return "InternalServerError"
	case http.StatusServiceUnavailable:
		return "ServerBusy"
	case http.StatusGatewayTimeout:
		return "GatewayTimeout"
	case http.StatusForbidden:
		return "AuthorizationFailed"
	}
	return strings.ReplaceAll(http.StatusText(f.Status), " ", "")
}

// answer writes the error in the shape of the service that is asked: the storage
// services speak XML, all others JSON.
func (f *Fault) answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Ms-Request-Id", uuid.NewString())
	h.Set("X-Ms-Error-Code", f.code())
	if f.RetryAfter >= 0 {
		h.Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	const message = "This fault was added with azimuth fault add."
	body := fmt.Sprintf(`{"error":{"code":%q,"message":%q}}`, f.code(), message)
	h.Set("Content-Type", "application/json; charset=utf-8")
	if strings.HasSuffix(r.Host, ".core.windows.net") && !strings.Contains(r.Host, ".dfs.") && !strings.Contains(r.Host, ".table.") {
		h.Set("Content-Type", "application/xml")
		body = `<?xml version="1.0" encoding="utf-8"?><Error><Code>` + xmlText(f.code()) + `</Code><Message>` + message + `</Message></Error>`
	}
	w.WriteHeader(f.Status)
	if r.Method != http.MethodHead {
		// an error here is the client's, which has gone
		_, _ = w.Write([]byte(body))
	}
}

func xmlText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
