package storage

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/diagnostic"
	"github.com/azimuth-ml/azimuth/internal/route"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Config is what a service of storage accounts needs. All fields but Wall and
// Logger are required.
type Config struct {
	Store    store.Store
	Clock    clock.Clock
	Accounts Accounts
	Access   Access
	// TenantID is the tenant named in bearer challenges.
	TenantID string
	// Wall is as in Authorizer; nil means that clients follow Clock.
	Wall func() time.Time
	// Logger gets what went wrong inside; nil discards it.
	Logger *slog.Logger
}

// Base is what the services of a storage account do alike.
type Base struct {
	Config
	Auth *Authorizer
	// Server is the value of the header of that name.
	Server string
}

// NewBase returns the base of a service.
func NewBase(cfg Config, server string) *Base {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Wall == nil {
		cfg.Wall = cfg.Clock.Now
	}
	return &Base{Config: cfg, Server: server,
		Auth: &Authorizer{Store: cfg.Store, Clock: cfg.Clock, Wall: cfg.Wall, Access: cfg.Access, TenantID: cfg.TenantID}}
}

// Call is one request on its way through a service.
type Call struct {
	*Request
	W http.ResponseWriter
	// ID is the x-ms-request-id.
	ID    string
	Grant *Grant
	// Principal is the object ID of who sent a bearer token, or on whose behalf a
	// user delegation SAS is.
	Principal string

	base *Base
}

// Context is the request's.
func (c *Call) Context() context.Context { return c.HTTP.Context() }

// Arrive begins a call, and does what the CORS rules of the service ask for. done
// says that the call, a preflight, is answered. The call is returned beside an
// error, too.
func (b *Base) Arrive(w http.ResponseWriter, r *http.Request) (c *Call, done bool, err error) {
	w.Header()["Server"] = []string{b.Server}
	c = &Call{W: w, ID: RequestID(), base: b}
	c.Request, err = Arrive(w, r, c.ID, r.Header.Get("x-ms-version"), b.Accounts, b.Clock.Now())
	if err == nil {
		done, err = CrossOrigin(w, c.Request, b.Store)
	}
	return c, done, err
}

// Tell notes for logs that the call is the given operation, in Microsoft's words.
func (c *Call) Tell(operation string) {
	if n := diagnostic.NoteOf(c.HTTP.Context()); n != nil {
		n.Operation, n.ObjectID = operation, c.Principal
	}
}

// Fail answers a call with a refusal. document writes its body.
func (b *Base) Fail(c *Call, err error, document func(*Error)) {
	e := AsError(err)
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		name := ""
		if c.Account != nil {
			name = c.Account.Name
		}
		b.Logger.Error("storage request failed", "service", c.Service, "account", name, "method", c.HTTP.Method,
			"path", c.HTTP.URL.Path, "request", c.ID, "error", err)
	}
	RefusalHeaders(c.W.Header(), e, b.TenantID)
	if e.Status == http.StatusNotModified || c.HTTP.Method == http.MethodHead {
		c.W.WriteHeader(e.Status)
		return
	}
	document(e)
}

// FailXML is Fail with the document of the services that speak XML.
func (b *Base) FailXML(c *Call, err error) {
	b.Fail(c, err, func(e *Error) {
		c.W.Header()["Content-Type"] = []string{"application/xml"}
		c.W.WriteHeader(e.Status)
		WriteErrorDocument(c.W, e, c.ID, b.Clock.Now())
	})
}

// XML begins an answer of status 200 with a document.
func (c *Call) XML() *XML { return StartXML(c.W, http.StatusOK) }

// End sends the end of a document whose status is sent already, so that a failure
// can only be noted: it is the client's connection.
func (c *Call) End(x *XML) error {
	if err := x.Flush(); err != nil {
		c.base.Logger.Debug("response cut short", "request", c.ID, "error", err)
	}
	return nil
}

// Set sets a header of the answer, with its name as it is written, unless v is "".
func (c *Call) Set(name, v string) {
	if v != "" {
		c.W.Header()[name] = []string{v}
	}
}

// Empty answers with a status and no body.
func (c *Call) Empty(status int) error {
	if status != http.StatusNoContent {
		c.W.Header()["Content-Length"] = []string{"0"}
	}
	c.W.WriteHeader(status)
	return nil
}

// Endpoint is the URL of the service of the account.
func (c *Call) Endpoint() string {
	return "https://" + c.Account.Name + "." + c.Service + HostSuffix + "/"
}

// Roles decides whether the principal has one of the actions at the scope below
// the account. An action is written behind "Microsoft.Storage/storageAccounts/".
func (b *Base) Roles(ctx context.Context, c *Call, principal, scope string, data bool, actions ...string) error {
	c.Principal = principal
	ctx = abac.With(ctx, b.facts(c, scope))
	for _, a := range actions {
		ok, err := b.Access.Allowed(ctx, principal, "Microsoft.Storage/storageAccounts/"+a, data, c.Account.ID+scope)
		if err != nil {
			return fmt.Errorf("check roles: %w", err)
		}
		if ok {
			return nil
		}
	}
	return Refuse("AuthorizationPermissionMismatch")
}

// facts tells the conditions of role assignments about a call to what is at scope
// below its account: the attributes of "Actions and attributes for Azure role
// assignment conditions for Azure Queue Storage". Tables and files have none.
func (b *Base) facts(c *Call, scope string) *abac.Facts {
	return &abac.Facts{Attribute: func(_ store.Tx, a abac.Attribute) ([]string, error) {
		switch (abac.Attribute{Source: a.Source, Name: a.Name}) {
		case abac.Attribute{Source: abac.FromResource, Name: abac.AccountName}:
			return []string{c.Account.Name}, nil
		case abac.Attribute{Source: abac.FromResource, Name: abac.QueueName}:
			if name, ok := strings.CutPrefix(scope, "/queueServices/default/queues/"); ok {
				return []string{name}, nil
			}
		case abac.Attribute{Source: abac.FromEnvironment, Name: abac.UTCNow}:
			return []string{b.Clock.Now().UTC().Format(time.RFC3339Nano)}, nil
		}
		return nil, nil
	}}
}

// AnonymousRefusal is the answer to who did not sign a request to a service that
// anonymous callers never reach.
func AnonymousRefusal(c *Call) error {
	if c.Version < "2019-12-12" {
		return Refuse("ResourceNotFound")
	}
	return Refuse("NoAuthenticationInformation")
}

// GetProperties serves Get Service Properties.
func (b *Base) GetProperties(c *Call) error {
	p := DefaultProperties(c.Service)
	err := b.Store.View(c.Context(), func(tx store.Tx) error {
		kept, err := LoadProperties(tx, c.Account.UID, c.Service)
		if kept != nil {
			p.Merge(kept)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read %s service properties: %w", c.Service, err)
	}
	x, err := WriteProperties(c.W, p)
	if err != nil {
		return err
	}
	return c.End(x)
}

// SetProperties serves Set Service Properties.
func (b *Base) SetProperties(c *Call) error {
	var in ServiceProperties
	if err := ReadXML(c.HTTP, &in); err != nil {
		return err
	}
	if err := in.Check(c.Service); err != nil {
		return err
	}
	err := b.Store.Update(c.Context(), func(tx store.Tx) error {
		kept, err := LoadProperties(tx, c.Account.UID, c.Service)
		if err != nil {
			return err
		}
		if kept == nil {
			kept = &ServiceProperties{}
		}
		kept.Merge(&in)
		return SaveProperties(tx, c.Account.UID, c.Service, kept)
	})
	if err != nil {
		return fmt.Errorf("set %s service properties: %w", c.Service, err)
	}
	return c.Empty(http.StatusAccepted)
}

// GetStats serves Get Service Stats, which tells how far the secondary endpoint
// is.
func (b *Base) GetStats(c *Call) error {
	if !c.Secondary {
		return BadQuery("comp", "stats", "The statistics are at the secondary endpoint.")
	}
	x := c.XML()
	x.Raw("<StorageServiceStats><GeoReplication><Status>live</Status>")
	x.Element("LastSyncTime", HTTPTime(b.Clock.Now().UnixNano()))
	x.Raw("</GeoReplication></StorageServiceStats>")
	return c.End(x)
}

// Row is one operation of a service, of whose calls C is the type: how a request
// asks for it, who may do it, and what does it.
type Row[C any] struct {
	// Name is Microsoft's, for example "Put Message".
	Name string
	// Level is what the request is about, a word of the service's own.
	Level string
	// Methods, Restype and Comp are those of the request.
	Methods, Restype, Comp string
	// Header, when set, must be on the request for this row to match, and Query in
	// its query.
	Header, Query string
	Need          Need
	// Actions are RBAC actions of which a principal needs one, behind
	// "Microsoft.Storage/storageAccounts/"; Data says that they are data actions.
	// Without any, a bearer token cannot do the operation.
	Actions []string
	Data    bool
	// Do is nil for what is not implemented.
	Do func(C) error
}

// Operation is a row of a coverage list.
type Operation struct {
	// Name is Microsoft's name of the operation.
	Name string
	// Implemented is false when the operation answers 501.
	Implemented bool
}

// ListOperations lists the rows, each name once.
func ListOperations[C any](rows []Row[C]) []Operation {
	var out []Operation
	for _, r := range rows {
		o := Operation{Name: r.Name, Implemented: r.Do != nil}
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

// RoutesOf is what the rows can be asked, at the target of each level.
func RoutesOf[C any](rows []Row[C], targets map[string]string) (all []route.Route) {
	for _, row := range rows {
		r := route.Route{Operation: row.Name, Target: targets[row.Level] + RouteQuery("restype", row.Restype, "comp", row.Comp, row.Query, "true")}
		if row.Header != "" {
			r.Header = map[string]string{row.Header: "*"}
		}
		for _, r.Method = range strings.Fields(row.Methods) {
			all = append(all, r)
		}
	}
	return all
}

// RouteQuery writes names and values as a query, without those that lack a name
// or a value.
func RouteQuery(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] != "" && pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// FindOperation returns the row that a request asks for, or the error that says
// why there is none.
func FindOperation[C any](rows []Row[C], level string, r *http.Request, q url.Values) (*Row[C], error) {
	restype, comp := strings.ToLower(q.Get("restype")), strings.ToLower(q.Get("comp"))
	known := false
	for i := range rows {
		row := &rows[i]
		if row.Level != level || row.Restype != restype || strings.ToLower(row.Comp) != comp {
			continue
		}
		known = true
		if !HasWord(row.Methods, r.Method) || row.Header != "" && r.Header.Get(row.Header) == "" || row.Query != "" && q.Get(row.Query) == "" {
			continue
		}
		return row, nil
	}
	switch {
	case known:
		return nil, Refuse("UnsupportedHttpVerb")
	case comp != "":
		return nil, BadQuery("comp", q.Get("comp"), "")
	case restype != "":
		return nil, BadQuery("restype", q.Get("restype"), "")
	}
	return nil, Refuse("UnsupportedHttpVerb")
}
