package arm

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// ResourceType describes one ARM resource type. From descriptors alone the
// kernel makes routes, lists, the operations list, long-running operations,
// child cascade and the coverage page. Everything but Type is optional.
type ResourceType struct {
	// Type is the full name in Azure's casing, "Microsoft.Storage/storageAccounts".
	// A type with more than one segment after the namespace is a child: its
	// parent must exist.
	Type string
	// Scope says where a top-level resource of this type may stand. Children
	// follow their parent.
	Scope Scope
	// Name is the rule for the resource's own name.
	Name NameRule
	// Tracked types have a location and may have tags; they are listed in their
	// resource group and subscription.
	Tracked bool
	// LocationOptional lets a tracked type leave its location out; it then takes
	// that of its resource group.
	LocationOptional bool
	// Global types stand in no region: their location is "global", whatever a
	// request says.
	Global bool
	// Identity lists the managed identity kinds that the type takes:
	// "SystemAssigned", "UserAssigned". Empty: an identity is refused.
	Identity []string
	// SystemData adds createdAt, createdBy and so on to answers.
	SystemData bool
	// ETag adds the resource's etag to the body, as Microsoft.Network does.
	ETag bool
	// NoProvisioningState leaves properties.provisioningState out of answers.
	NoProvisioningState bool
	// PutStatus is the status of a PUT that creates and of one that updates;
	// zero means 201 and 200. Azure differs by type, and clients insist.
	PutStatus [2]int
	// StartStatus is the status of a PUT that creates what is not there yet when it is
	// answered, as with --realistic; zero means 201.
	StartStatus int
	// DeleteStatus is the status of a DELETE of something; zero means 200.
	DeleteStatus int
	// Latency is what --realistic adds to each operation.
	Latency Latency
	// LongRunningPut answers every PUT and PATCH with the links to an operation,
	// even one that is over: azure-ai-ml reads what such a write made from the
	// GET that follows, and nothing from the answer itself.
	LongRunningPut bool
	// Methods leaves operations out: a method that is not in it answers 405.
	// Empty means GET, PUT, PATCH, DELETE and list.
	Methods []string
	// Unimplemented lists property paths that Azure acts on and Azimuth does
	// not: a request that sets one is refused with 501. The value says what the
	// property does, for the message. A path may end in "=VALUE".
	Unimplemented map[string]string
	// DeleteBody answers a DELETE with the resource that was removed, as
	// Microsoft.Authorization does.
	DeleteBody bool
	// Unguarded types are not subject to guards: the locks themselves.
	Unguarded bool
	// Virtual types live in a data plane: the kernel stores nothing. Default
	// reads one, Put and Delete write it, List lists them.
	Virtual bool
	// ReadByAll lets whoever has a role anywhere in a subscription read a resource of
	// this type that stands in it.
	ReadByAll bool
	// Facts, when set, tells what conditions of role assignments can ask about a
	// request to write or remove a resource of this type.
	Facts func(req *Request) *abac.Facts
	// Index returns the entries under which Resources.Find finds r.
	Index func(r *Resource) []string
	// Memory names what is forgotten when a resource of this type changes: see
	// RecallOf. It is for types that nearly every request reads and few write.
	Memory string
	// SortKey orders lists of this type; by name when nil.
	SortKey func(r *Resource) string

	// Prepare, when set, works on a PUT before the write transaction begins: what
	// takes long. What it leaves in req.Prepared the other hooks find there.
	Prepare func(ctx context.Context, req *Request) error
	// Validate checks a request body before anything is written. p.Existing is
	// nil for a create.
	Validate func(ctx context.Context, p *Put) error
	// Put completes p.Resource in the write transaction: computed properties,
	// and what the resource does to others.
	Put func(ctx context.Context, p *Put) error
	// Read completes a copy of the stored resource for an answer: what changes
	// by itself. It must change nothing but the copy's Body.
	Read func(ctx context.Context, tx store.Tx, r *Resource) error
	// Delete undoes what Put did to others, in the write transaction, before
	// the resource is removed. Children are deleted first.
	Delete func(ctx context.Context, d *Delete) error
	// SetAside says that a DELETE of the resource itself keeps it to be recovered: the
	// function that it returns, if any, tells which of the resources in it are kept as
	// well. Their Delete hooks do not run; see Kernel.PurgeAside.
	SetAside func(d *Delete) func(child *Resource) (bool, error)
	// DeleteAbsent is asked when a DELETE finds nothing, for services that keep
	// what was deleted: true says that there was something to remove after all.
	// d.Resource is nil.
	DeleteAbsent func(ctx context.Context, d *Delete) (bool, error)
	// Default makes the resource that is there without ever having been PUT,
	// such as blobServices/default; nil, nil when there is none of that name.
	Default func(ctx context.Context, tx store.Tx, id ID) (*Resource, error)
	// MakeParent makes the parent that a PUT did not find, in its transaction, where
	// Azure makes it by itself. Nil where the parent must be there.
	MakeParent func(ctx context.Context, tx store.Tx, parent ID) (*Resource, error)
	// List replaces the kernel's list of a collection where Azure filters or
	// joins.
	List func(ctx context.Context, req *Request, parent ID) (*Page, error)
	// Filter returns which resources a list asks for by its query, nil for all.
	Filter func(req *Request) func(r *Resource) bool
	// Patch replaces JSON merge as the meaning of PATCH: it changes doc, the
	// stored body, by patch.
	Patch func(doc, patch Doc) error

	// Actions are the operations on one resource besides CRUD.
	Actions []Action
}

// Scope is where a top-level type's resources stand.
type Scope int

// The scopes of top-level types.
const (
	InResourceGroup Scope = iota
	InSubscription
	InTenant
	// OnAnything is an extension type: its resources belong to any other
	// resource, resource group, subscription or the tenant.
	OnAnything
	// InGroupOrSubscription is for what Azure has at every level of the hierarchy
	// and Azimuth at these two.
	InGroupOrSubscription
)

// Latency is how long Azure takes, for --realistic.
type Latency struct{ Create, Update, Delete time.Duration }

// NameRule is the rule for names of a type.
type NameRule struct {
	// Pattern must match the whole name.
	Pattern *regexp.Regexp
	// Text states the rule, for the error.
	Text string
	// Error makes the service's own error for a bad name; optional.
	Error func(name string) *Error
}

func (n NameRule) check(typ, name string) *Error {
	if n.Pattern == nil || n.Pattern.MatchString(name) {
		return nil
	}
	if n.Error != nil {
		return n.Error(name)
	}
	return BadRequest("InvalidResourceName",
		"The resource name '%s' of type '%s' is invalid. %s", name, typ, n.Text)
}

// Action is an operation on a resource (POST …/listKeys), on a collection's
// parent, or on a provider (POST …/checkNameAvailability).
type Action struct {
	// Name is the last segment of the path, in Azure's casing; or the last two
	// joined with a slash, "accessPolicies/add".
	Name string
	// Method is the HTTP method; POST when empty.
	Method string
	// Permission is the RBAC action; "TYPE/NAME/action" when empty.
	Permission string
	// Data marks Permission as a data action.
	Data bool
	// Absent actions may be asked of what is not there.
	Absent bool
	// Handle answers.
	Handle func(ctx context.Context, req *Request) (*Response, error)
}

// Provider is a resource provider namespace: its types and the actions that
// stand on the namespace itself.
type Provider struct {
	// Namespace in Azure's casing, "Microsoft.Storage".
	Namespace string
	// Types are the resource types.
	Types []*ResourceType
	// Actions are operations on the provider at subscription or tenant scope,
	// such as checkNameAvailability. A name may contain "{}" for one
	// free segment: "locations/{}/usages".
	Actions []Action
	// Bind, when set, is given the kernel once, before it serves: for hooks that
	// get no Request.
	Bind func(k *Kernel)
	// Guard, when set, may refuse what is about to be done to a resource of any
	// provider, in the transaction that does it: management locks.
	Guard func(tx store.Tx, id ID, what Intent) error
}

// Intent is what a request is about to do to a resource.
type Intent string

// The intents that a Guard is asked about.
const (
	// IntendWrite is a PUT, a PATCH, or an action by POST.
	IntendWrite Intent = "write"
	// IntendDelete is a DELETE of the resource and everything in it.
	IntendDelete Intent = "delete"
)

// Caller is who made a request.
type Caller struct {
	// ObjectID, AppID and TenantID are the principal's IDs in the directory.
	ObjectID, AppID, TenantID string
	// Type is "User" or "ServicePrincipal".
	Type string
	// Name is the user principal name or the application ID, as activity logs
	// and error messages show it.
	Name string
}

// Request is one authenticated and authorised call of an action or list.
type Request struct {
	// ID is the resource, or the scope of a provider action or list.
	ID ID
	// Type describes ID's resource; nil for provider actions.
	Type *ResourceType
	// Args are the free segments of a provider action's name.
	Args []string
	// Query is the parsed query, Body the decoded body (nil when empty).
	Query url.Values
	Body  Doc
	// APIVersion is the api-version asked for.
	APIVersion string
	// Caller made the request.
	Caller Caller
	// HTTP is the request itself.
	HTTP *http.Request
	// Prepared is what the type's Prepare made.
	Prepared any
	// Kernel reaches resources and the store.
	Kernel *Kernel
	// Now is when the request arrived, on the injected clock.
	Now time.Time

	sees func(store.Tx, *Resource) (bool, error) // nil is everything
}

// Sees reports whether the caller of a list sees a resource in it: who may list a
// part of a subscription alone does not see the rest.
func (req *Request) Sees(tx store.Tx, r *Resource) (bool, error) {
	if req.sees == nil {
		return true, nil
	}
	return req.sees(tx, r)
}

// Response is a successful answer.
type Response struct {
	// Status is the HTTP status; 200 when zero.
	Status int
	// Body is encoded as JSON; nil sends no body.
	Body any
	// Header is added to the answer.
	Header http.Header
}

// OK is a 200 with a body.
func OK(body any) *Response { return &Response{Body: body} }

// Page is one page of a list.
type Page struct {
	// Value is the items, as they go on the wire.
	Value []Doc
	// Next is an opaque token for the rest, or "".
	Next string
}

// Put is a create or update in progress.
type Put struct {
	*Request
	// Tx is the write transaction.
	Tx store.Tx
	// Resource is what will be stored: the body that came, with the kernel's
	// fields filled in.
	Resource *Resource
	// Existing is what is stored now; nil for a create.
	Existing *Resource
	// Parent is the parent resource; nil for a top-level type.
	Parent *Resource

	after    []func()
	deferred bool
}

// Defer makes the write a long-running operation that lasts until the service
// calls Kernel.EndOperation with Resource.Operation.
func (p *Put) Defer() { p.deferred = true }

// AllowedLinked refuses the write unless the caller also holds action on the
// resources that the body names: joining a subnet, for example.
func (p *Put) AllowedLinked(ctx context.Context, action string, linked ID) error {
	ok, err := p.Kernel.auth.AllowedInTx(p.Tx, p.Caller.ObjectID, action, false, linked.String())
	if err != nil {
		return fmt.Errorf("authorize %s: %w", action, err)
	}
	if !ok {
		return Errorf(http.StatusForbidden, "LinkedAuthorizationFailed",
			"The client '%s' with object id '%s' has permission to perform action '%s/write' on scope '%s'; however, it does not have permission to perform action(s) '%s' on the linked scope(s) '%s' (respectively) or the linked scope(s) are invalid.",
			p.Caller.Name, p.Caller.ObjectID, p.Type.actionBase(), p.ID, action, linked)
	}
	return nil
}

// After runs f once the write is durable.
func (p *Put) After(f func()) { p.after = append(p.after, f) }

// Creating reports whether the resource is new.
func (p *Put) Creating() bool { return p.Existing == nil }

// Keep copies values at paths from the existing resource where the request
// left them out: what Azure computes once, and what it keeps.
func (p *Put) Keep(paths ...string) {
	if p.Existing == nil {
		return
	}
	for _, path := range paths {
		if v := p.Existing.Body.Get(path); v != nil && !p.Resource.Body.Has(path) {
			p.Resource.Body.Set(path, clone(v))
		}
	}
}

// Force copies values at paths from the existing resource whatever the request
// says: what the service computes once and a client cannot change.
func (p *Put) Force(paths ...string) {
	if p.Existing == nil {
		return
	}
	for _, path := range paths {
		if v := p.Existing.Body.Get(path); v != nil {
			p.Resource.Body.Set(path, clone(v))
		}
	}
}

// Immutable refuses a request that changes a value at paths.
func (p *Put) Immutable(paths ...string) error {
	if p.Existing == nil {
		return nil
	}
	for _, path := range paths {
		was, is := p.Existing.Body.Get(path), p.Resource.Body.Get(path)
		if is != nil && was != nil && !sameValue(was, is) {
			e := Errorf(http.StatusConflict, "PropertyChangeNotAllowed",
				"Changing property '%s' is not allowed. It is %s.", path, fmt.Sprintf("%v", was))
			e.Target = path
			return e
		}
	}
	return nil
}

// Delete is a removal in progress.
type Delete struct {
	*Request
	// Tx is the write transaction.
	Tx store.Tx
	// Resource is what is being removed.
	Resource *Resource
	// Cascade is set when something that contains it is removed.
	Cascade bool
	// Root is what is being removed as a whole: Resource, or what contains it.
	Root ID

	after *[]func()
}

// GoesToo reports whether the resource with the given ID is removed as well, so
// that its use of this one is no reason to keep it.
func (d *Delete) GoesToo(id string) bool {
	root, key := d.Root.Key(), Key(id)
	return key == root || strings.HasPrefix(key, root+"/")
}

// After runs f once the removal is durable.
func (d *Delete) After(f func()) { *d.after = append(*d.after, f) }
