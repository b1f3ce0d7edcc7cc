// Package arm is the protocol kernel of Azure Resource Manager: resource IDs,
// type descriptors, routing, the error envelope, long-running operations,
// paging and etags. It knows no resource provider: descriptors are handed to
// New by the composition root.
package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Host is the public name of Azure Resource Manager.
const Host = "management.azure.com"

// Authenticator says who makes a request.
type Authenticator interface {
	// AuthenticateARM verifies the request's token. Its error is an *Error, or
	// becomes a 401.
	AuthenticateARM(ctx context.Context, r *http.Request) (Caller, error)
}

// Authorizer says whether a principal may do something.
type Authorizer interface {
	// Allowed decides whether the principal holds the action (a data action
	// when data is set) at scope, any casing.
	Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error)
	// AllowedWith is AllowedInTx of a request of which conditions can ask facts.
	AllowedWith(tx store.Tx, principalID, action, scope string, facts *abac.Facts) (bool, error)
	// AssignedInTx reports whether the principal is assigned anything at scope, above
	// it or in it.
	AssignedInTx(tx store.Tx, principalID string, scope ID) (bool, error)
	// MightInTx is AllowedInTx for a request that is not known yet: what conditions
	// ask is taken for true.
	MightInTx(tx store.Tx, principalID, action, scope string) (bool, error)
	// AllowedInTx is Allowed inside the caller's transaction.
	AllowedInTx(tx store.Tx, principalID, action string, data bool, scope string) (bool, error)
}

// Identities makes and removes the directory objects of managed identities.
type Identities interface {
	// CreateIdentity returns the system-assigned identity of a resource,
	// making it if need be, in the caller's transaction.
	CreateIdentity(tx store.Tx, resourceID, name string) (Identity, error)
	// DeleteIdentity removes it. Removing none is not an error.
	DeleteIdentity(tx store.Tx, resourceID string) error
}

// Identity is a managed identity in the directory.
type Identity struct{ PrincipalID, ClientID, TenantID string }

// Config is what a Kernel needs. All fields but Realistic, Strict and Check are
// required.
type Config struct {
	Store         store.Store
	Clock         clock.Clock
	Log           *slog.Logger
	Authenticator Authenticator
	Authorizer    func(*Resources) Authorizer
	Identities    Identities
	Sealer        Sealer
	Providers     []*Provider
	// Subscription is the ID of the one subscription, SubscriptionName its
	// display name, and Tenant the directory it trusts.
	Subscription, SubscriptionName, Tenant string
	// Realistic makes operations take as long as Azure's.
	Realistic bool
	// Check, when set, is asked before a PUT or PATCH is written. --strict puts
	// the preflight rules here.
	Check func(ctx context.Context, p *Put) error
	// Activity, when set, is told of each request of a known caller that changed
	// something or tried to, once it is answered. It must not block.
	Activity func(Activity)
}

// Kernel serves management.azure.com for the providers it was given.
type Kernel struct {
	cfg   Config
	types *registry
	auth  Authorizer
	res   *Resources
	ops   store.Collection[operation]
	// waiting has a channel for each deferred operation that someone waits for.
	waiting sync.Map
}

// New checks the descriptors and returns a kernel. Call Resume before serving.
func New(cfg Config) (*Kernel, error) {
	types, err := newRegistry(cfg.Providers)
	if err != nil {
		return nil, fmt.Errorf("arm: %w", err)
	}
	k := &Kernel{cfg: cfg, types: types, res: newResources(types, cfg.Sealer), ops: operations()}
	k.auth = cfg.Authorizer(k.res)
	for _, p := range cfg.Providers {
		if p.Bind != nil {
			p.Bind(k)
		}
	}
	return k, nil
}

// Resources reaches the stored resources.
func (k *Kernel) Resources() *Resources { return k.res }

// Store is the store that the resources are in.
func (k *Kernel) Store() store.Store { return k.cfg.Store }

// Clock is the injected clock.
func (k *Kernel) Clock() clock.Clock { return k.cfg.Clock }

// Log is where services write what no caller is told.
func (k *Kernel) Log() *slog.Logger { return k.cfg.Log }

// Subscription is the ID of the one subscription.
func (k *Kernel) Subscription() string { return k.cfg.Subscription }

// Types are the descriptors, in the order of their names.
func (k *Kernel) Types() []*ResourceType { return k.types.sortedTypes() }

// Tenant is the ID of the directory.
func (k *Kernel) Tenant() string { return k.cfg.Tenant }

const maxBody = 4 << 20 // ARM's own limit on a request body

var apiVersionPattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-[a-zA-Z0-9.]+)?$`)

// skipPollingDelay is how go-azure-sdk, and nobody else, is told not to wait before
// it polls for the first time; Retry-After does that in operations alone.
const skipPollingDelay = "X-Go-Azure-Sdk-Skip-Polling-Delay"

// ServeHTTP implements http.Handler.
func (k *Kernel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resp, err := k.serve(r)
	if err != nil {
		if e := AsError(err); e.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(
				`Bearer authorization_uri="https://login.microsoftonline.com/%s", error="invalid_token", error_description="%s"`,
				k.cfg.Tenant, strings.ReplaceAll(e.Message, `"`, `'`)))
		} else {
			remaining(w.Header(), r)
		}
		WriteError(w, r, k.cfg.Log, err)
		return
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	if !k.cfg.Realistic && r.Method != http.MethodGet && r.Method != http.MethodHead {
		// azurerm since 4.x waits 10 s after every write before it looks, unless told.
		w.Header().Set(skipPollingDelay, "true")
	}
	remaining(w.Header(), r)
	status := resp.Status
	if status == 0 {
		status = http.StatusOK
	}
	if resp.Body == nil || status == http.StatusNoContent {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
		return
	}
	body, err := json.Marshal(resp.Body)
	if err != nil {
		WriteError(w, r, k.cfg.Log, fmt.Errorf("encode answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// remaining says how much more a caller may ask before being throttled: all of
// Azure's hourly limits, as Azimuth throttles nobody of itself.
// https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
func remaining(h http.Header, r *http.Request) {
	scope := "tenant"
	if strings.HasPrefix(strings.ToLower(strings.TrimLeft(r.URL.Path, "/")), "subscriptions/") {
		scope = "subscription"
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.Set("x-ms-ratelimit-remaining-"+scope+"-reads", "12000")
	case http.MethodDelete:
		h.Set("x-ms-ratelimit-remaining-"+scope+"-deletes", "15000")
	default:
		h.Set("x-ms-ratelimit-remaining-"+scope+"-writes", "1200")
	}
}

func (k *Kernel) serve(r *http.Request) (*Response, error) {
	// az puts "//" where a resource has no parent, and clients with a base URL
	// that ends with a slash before the path.
	urlPath := r.URL.Path
	for strings.Contains(urlPath, "//") {
		urlPath = strings.ReplaceAll(urlPath, "//", "/")
	}
	if strings.EqualFold(strings.TrimSuffix(urlPath, "/"), "/metadata/endpoints") {
		return OK(k.endpoints(r)), nil // the one public document
	}
	caller, err := k.cfg.Authenticator.AuthenticateARM(r.Context(), r)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return nil, err
		}
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, BadRequest("InvalidQueryParameter", "The query of the request is malformed: %s.", err)
	}
	req := &Request{
		Query: foldQuery(query), Caller: caller, HTTP: r, Kernel: k, Now: k.cfg.Clock.Now(),
	}
	req.APIVersion = req.Query.Get("api-version")
	p, err := parsePath(longForm(urlPath))
	if err != nil {
		if typ, ok := ownCollection(urlPath); ok {
			return nil, k.uncovered(r.Method, typ)
		}
		return nil, Errorf(http.StatusNotFound, "InvalidResourceId", "The request path '%s' is not a resource path.", r.URL.Path)
	}
	switch {
	case req.APIVersion == "":
		return nil, BadRequest("MissingApiVersionParameter",
			"The api-version query parameter (?api-version=) is required for all requests.")
	case !apiVersionPattern.MatchString(req.APIVersion):
		var versions []string
		for _, v := range apiVersions() {
			versions = append(versions, v.(string))
		}
		return nil, BadRequest("InvalidApiVersionParameter",
			"The api-version '%s' is invalid. The supported versions are '%s'.", req.APIVersion, strings.Join(versions, ","))
	}
	if err := k.known(&p.id); err != nil {
		return nil, err
	}
	if err := readBody(r, req); err != nil {
		return nil, err
	}
	resp, err := k.route(r.Context(), req, p)
	k.record(r, req, p, resp, err)
	return resp, err
}

// known refuses what is in a subscription that is not there.
func (k *Kernel) known(id *ID) error {
	if id.Subscription == "" || strings.EqualFold(id.Subscription, k.cfg.Subscription) {
		return nil
	}
	// azurerm before 4.0 asks for role definitions in a subscription named "s".
	if !strings.EqualFold(id.Type(), "Microsoft.Authorization/roleDefinitions") {
		return NotFound(ID{Subscription: id.Subscription})
	}
	id.Subscription = k.cfg.Subscription
	return nil
}

func readBody(r *http.Request, req *Request) error {
	switch r.Method {
	case http.MethodPut, http.MethodPatch, http.MethodPost:
	default:
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return BadRequest("InvalidRequestContent", "The request body could not be read: %s.", err)
	}
	if len(b) > maxBody {
		return Errorf(http.StatusRequestEntityTooLarge, "RequestContentTooLarge",
			"The request content size exceeds the maximum size of 4 MB.")
	}
	if len(b) == 0 {
		if r.Method == http.MethodPost {
			return nil
		}
		return BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'the body is empty'.")
	}
	err = json.Unmarshal(b, &req.Body)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		err = json.Unmarshal(relaxed(b), &req.Body)
	}
	if err != nil {
		return BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: '%s'.", err)
	}
	if req.Body == nil && r.Method != http.MethodPost {
		return BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'the body is null'.")
	}
	return nil
}

// route finds what a path means.
func (k *Kernel) route(ctx context.Context, req *Request, p path) (*Response, error) {
	method := req.HTTP.Method
	if p.id.Subscription != "" && len(p.id.Providers) == 0 || p.id.IsZero() {
		if resp, err, ok := k.routeContainer(ctx, req, p); ok {
			return resp, err
		}
	}
	if n := len(p.id.Providers); n > 0 {
		if scope := p.id.Providers[0]; n > 1 && strings.EqualFold(scope.Namespace, "Microsoft.Management") {
			return nil, k.uncovered(method, p.id.Type()+" at a management group")
		}
		last := p.id.Providers[n-1]
		var segs []string
		for i := range last.Types {
			segs = append(segs, last.Types[i], last.Names[i])
		}
		if p.trailing != "" {
			segs = append(segs, p.trailing)
		}
		if a, args, ok := k.types.providerAction(last.Namespace, method, segs); ok {
			scope := p.id
			scope.Providers = p.id.Providers[:n-1]
			req.ID, req.Args = scope, args
			// an action without a permission is open to every principal of the tenant
			if a.Permission != "" {
				if err := k.authorize(ctx, req, a.Permission, a.Data, scope); err != nil {
					return nil, err
				}
			}
			return a.Handle(ctx, req)
		}
		if k.provider(last.Namespace) == nil {
			return nil, invalidNamespace(last.Namespace)
		}
	}
	id := k.types.canonical(p.id)
	if err := k.tenantOnly(id, p); err != nil {
		return nil, err
	}
	if p.trailing != "" {
		if !p.namespaceOnly {
			if t := k.types.lookup(id.Type()); t != nil {
				if a, ok := t.action(method, p.trailing); ok {
					return k.action(ctx, req, id, t, a)
				}
			}
		}
		typ := id.Type() + "/" + p.trailing
		parent := id
		if p.namespaceOnly {
			n := len(id.Providers) - 1
			typ = id.Providers[n].Namespace + "/" + p.trailing
			parent.Providers = id.Providers[:n]
		}
		if t := k.types.lookup(typ); t != nil && (method == http.MethodGet || method == http.MethodHead) {
			return k.list(ctx, req, parent, t)
		}
		return nil, k.uncovered(method, typ)
	}
	t := k.types.lookup(id.Type())
	if t == nil && !p.namespaceOnly {
		// an action of two segments reads like a child resource
		last := id.Providers[len(id.Providers)-1]
		parent := id.Parent()
		if pt := k.types.lookup(parent.Type()); pt != nil {
			if a, ok := pt.action(method, last.Types[len(last.Types)-1]+"/"+id.Name()); ok {
				return k.action(ctx, req, parent, pt, a)
			}
		}
	}
	if t == nil || p.namespaceOnly {
		return nil, k.uncovered(method, id.Type())
	}
	req.ID, req.Type = id, t
	if err := k.placed(id, t); err != nil {
		return nil, err
	}
	switch method {
	case http.MethodGet:
		return k.get(ctx, req)
	case http.MethodHead:
		// ARM's check for existence has no body, not even a 200
		if _, err := k.get(ctx, req); err != nil {
			return nil, err
		}
		return &Response{Status: http.StatusNoContent}, nil
	case http.MethodPut:
		return k.put(ctx, req)
	case http.MethodPatch:
		return k.patch(ctx, req)
	case http.MethodDelete:
		return k.delete(ctx, req)
	}
	return nil, Errorf(http.StatusMethodNotAllowed, "UnsupportedHttpVerb",
		"The HTTP method '%s' is not supported at '%s'.", method, req.HTTP.URL.Path)
}

// placed checks that a resource of type t may stand where id says.
func (k *Kernel) placed(id ID, t *ResourceType) error {
	top := t
	for top.isChild() {
		top = k.types.lookup(top.parentType())
	}
	ok := true
	switch top.Scope {
	case InResourceGroup:
		ok = len(id.Providers) == 1 && id.ResourceGroup != "" || t.Type == TypeResourceGroup
	case InSubscription:
		ok = len(id.Providers) == 1 && id.ResourceGroup == "" && id.Subscription != ""
	case InTenant:
		ok = len(id.Providers) == 1 && id.Subscription == ""
	case InGroupOrSubscription:
		ok = len(id.Providers) == 1 && id.Subscription != ""
	}
	if !ok {
		return BadRequest("InvalidResourceLocation", "A resource of type '%s' cannot stand at '%s'.", t.Type, id)
	}
	return nil
}

// tenantOnly refuses at the tenant what Azure has there and Azimuth below it.
func (k *Kernel) tenantOnly(id ID, p path) error {
	if id.Subscription != "" || len(id.Providers) != 1 {
		return nil
	}
	part := id.Providers[0]
	name := p.trailing
	if len(part.Types) > 0 {
		name = part.Types[0]
	}
	if t := k.types.lookup(part.Namespace + "/" + name); t != nil && t.Scope == InGroupOrSubscription {
		return NotImplemented("'%s' at the tenant", t.Type)
	}
	return nil
}

// ownCollection returns the type of what a path names that Resource Manager
// itself serves below a subscription or group, without a provider in the path.
// Azimuth has none of them.
func ownCollection(path string) (typ string, ok bool) {
	segs := strings.Split(strings.ToLower(strings.Trim(path, "/")), "/")
	if len(segs) < 3 || segs[0] != "subscriptions" {
		return "", false
	}
	segs = segs[2:]
	if len(segs) > 2 && segs[0] == "resourcegroups" {
		segs = segs[2:]
	}
	switch segs[0] {
	case "tagnames":
		return "Microsoft.Resources/tagNames", true
	}
	return "", false
}

// longForm writes the path of a group's deployments, which clients of operations
// ask for without a provider in it, and that of a namespace's features, which has two,
// like that of any resource.
func longForm(path string) string {
	segs := strings.Split(path, "/")
	if len(segs) == 8 && strings.EqualFold(strings.Join(segs[3:6], "/"), "providers/Microsoft.Features/providers") && strings.EqualFold(segs[7], "features") {
		return strings.Join([]string{"", segs[1], segs[2], "providers", segs[6], "Microsoft.Features", "features"}, "/")
	}
	if len(segs) > 5 && strings.EqualFold(segs[1], "subscriptions") && strings.EqualFold(segs[3], "resourceGroups") && strings.EqualFold(segs[5], "deployments") {
		return strings.Join(slices.Insert(segs, 5, "providers", "Microsoft.Resources"), "/")
	}
	return path
}

// uncovered is the answer for what Azimuth does not have.
func (k *Kernel) uncovered(method, typ string) error {
	return NotImplemented("%s of '%s'", method, typ)
}

// authorize refuses what the caller may not do.
func (k *Kernel) authorize(ctx context.Context, req *Request, action string, data bool, scope ID) error {
	ok, err := k.auth.Allowed(ctx, req.Caller.ObjectID, action, data, scope.String())
	return decided(ok, err, req, action, scope)
}

// authorizeIn is authorize inside the caller's transaction.
func (k *Kernel) authorizeIn(tx store.Tx, req *Request, action string, data bool, scope ID) error {
	ok, err := k.auth.AllowedInTx(tx, req.Caller.ObjectID, action, data, scope.String())
	return decided(ok, err, req, action, scope)
}

// authorizeRead refuses who may not read the resource that is asked for.
func (k *Kernel) authorizeRead(tx store.Tx, req *Request) error {
	refused := k.authorizeIn(tx, req, req.Type.actionBase()+"/read", false, req.ID)
	if e := (*Error)(nil); refused == nil || !req.Type.ReadByAll || !errors.As(refused, &e) {
		return refused
	}
	ok, err := k.auth.AssignedInTx(tx, req.Caller.ObjectID, ID{Subscription: req.ID.Subscription})
	if err != nil || ok {
		return err
	}
	return refused
}

// authorizeChange refuses who may not write or remove the resource that is asked
// for.
func (k *Kernel) authorizeChange(ctx context.Context, req *Request, verb string) error {
	return k.cfg.Store.View(ctx, func(tx store.Tx) error { return k.authorizeChangeIn(tx, req, verb) })
}

// authorizeChangeIn is authorizeChange inside the caller's transaction.
func (k *Kernel) authorizeChangeIn(tx store.Tx, req *Request, verb string) error {
	action := req.Type.actionBase() + verb
	if req.Type.Facts == nil {
		return k.authorizeIn(tx, req, action, false, req.ID)
	}
	ok, err := k.auth.AllowedWith(tx, req.Caller.ObjectID, action, req.ID.String(), req.Type.Facts(req))
	if err == nil && !ok {
		return Errorf(http.StatusForbidden, "AuthorizationFailed",
			"The client '%s' with object id '%s' does not have authorization or an ABAC condition not fulfilled to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
			req.Caller.Name, req.Caller.ObjectID, action, req.ID)
	}
	return decided(ok, err, req, action, req.ID)
}

// decided is the answer to a decision: nil, or Azure's refusal.
func decided(ok bool, err error, req *Request, action string, scope ID) error {
	if err != nil {
		return fmt.Errorf("authorize %s: %w", action, err)
	}
	if !ok {
		return Errorf(http.StatusForbidden, "AuthorizationFailed",
			"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
			req.Caller.Name, req.Caller.ObjectID, action, scope)
	}
	return nil
}

// Authorize refuses what the caller of req may not do, for actions that need a
// second permission. It opens a transaction: hooks use Put.AllowedLinked.
func (k *Kernel) Authorize(ctx context.Context, req *Request, action string, scope ID) error {
	return k.authorize(ctx, req, action, false, scope)
}

func (k *Kernel) action(ctx context.Context, req *Request, id ID, t *ResourceType, a Action) (*Response, error) {
	req.ID, req.Type = id, t
	perm := a.Permission
	if perm == "" {
		perm = t.actionBase() + "/" + a.Name + "/action"
	}
	if err := k.authorize(ctx, req, perm, a.Data, id); err != nil {
		return nil, err
	}
	// an action on what is not there is a 404, whatever it does
	if err := k.cfg.Store.View(ctx, func(tx store.Tx) error {
		if a.method() == http.MethodPost {
			if err := k.guard(tx, t, id, IntendWrite); err != nil {
				return err
			}
		}
		if a.Absent {
			return k.placed(id, t)
		}
		_, err := k.Load(ctx, tx, id)
		return err
	}); err != nil {
		return nil, err
	}
	return a.Handle(ctx, req)
}

// guard asks the providers' guards whether something may be done.
func (k *Kernel) guard(tx store.Tx, t *ResourceType, id ID, what Intent) error {
	if t.Unguarded {
		return nil
	}
	for _, p := range k.cfg.Providers {
		if p.Guard == nil {
			continue
		}
		if err := p.Guard(tx, id, what); err != nil {
			return err
		}
	}
	return nil
}

// newUID is a fresh identifier for resources, operations and etags.
func newUID() string { return uuid.NewString() }

// foldQuery makes query parameter names lower-case: ARM does not mind their
// case.
func foldQuery(q url.Values) url.Values {
	out := url.Values{}
	for name, v := range q {
		name = strings.ToLower(name)
		out[name] = append(out[name], v...)
	}
	return out
}

func author(c Caller) Author {
	if c.Type == "User" {
		return Author{c.Name, "User"}
	}
	return Author{c.Name, "Application"}
}

// Timestamp writes a time as ARM does.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// Holds reports whether a principal may do action at scope, in the caller's
// transaction: for what services do as somebody else than the caller, such as a
// managed identity.
func (k *Kernel) Holds(tx store.Tx, principalID, action string, scope ID) (bool, error) {
	return k.auth.AllowedInTx(tx, principalID, action, false, scope.String())
}
