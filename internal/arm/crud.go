package arm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Load returns the resource with the given ID: the stored one, or its type's
// Default. It is an *Error when there is none. Use it in hooks and actions.
func (k *Kernel) Load(ctx context.Context, tx store.Tx, id ID) (*Resource, error) {
	r, err := k.res.Get(tx, id.Key())
	if err == nil {
		return r, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if t := k.types.lookup(id.Type()); t != nil && t.Default != nil {
		if t.isChild() {
			if _, err := k.Load(ctx, tx, id.Parent()); err != nil {
				return nil, err
			}
		}
		r, err := t.Default(ctx, tx, id)
		if err != nil || r != nil {
			return r, err
		}
	}
	if g, ok := id.Group(); ok && id.Type() != TypeResourceGroup {
		if there, err := k.res.Exists(tx, g.Key()); err != nil || !there {
			return nil, cmpErr(err, NotFound(g))
		}
		if t := k.types.lookup(id.Type()); t != nil && t.isChild() {
			if _, err := k.Load(ctx, tx, id.Parent()); err != nil {
				return nil, err
			}
		}
	}
	return nil, NotFound(id)
}

// defaulted is the type's Default, or nil when it says that there is none.
func defaulted(ctx context.Context, tx store.Tx, t *ResourceType, id ID) (*Resource, error) {
	r, err := t.Default(ctx, tx, id)
	if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
		return nil, nil
	}
	return r, err
}

func cmpErr(err error, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (k *Kernel) get(ctx context.Context, req *Request) (*Response, error) {
	var body Doc
	// one transaction for the decision and the answer
	err := k.cfg.Store.View(ctx, func(tx store.Tx) error {
		if err := k.authorizeRead(tx, req); err != nil {
			return err
		}
		if !req.Type.allows(http.MethodGet) {
			return k.uncovered("GET", req.Type.Type)
		}
		r, err := k.res.seen(tx, req.ID.Key())
		if errors.Is(err, store.ErrNotFound) {
			r, err = k.Load(ctx, tx, req.ID)
		}
		if err != nil {
			return err
		}
		body, err = k.render(ctx, tx, req.Type, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return OK(body), nil
}

// render is the resource as it goes on the wire.
func (k *Kernel) render(ctx context.Context, tx store.Tx, t *ResourceType, r *Resource) (Doc, error) {
	out := *r
	out.Body = r.Body.Clone()
	if !t.NoProvisioningState {
		out.Body.Default("properties.provisioningState", "Succeeded")
	}
	if t.Read != nil {
		if err := t.Read(ctx, tx, &out); err != nil {
			return nil, fmt.Errorf("read %s: %w", r.ID, err)
		}
	}
	if r.State != "" && k.cfg.Clock.Now().Before(r.ReadyAt) {
		out.Body.Set("properties.provisioningState", r.State)
	}
	id := out.ParsedID()
	body := out.Body
	body["id"], body["name"], body["type"] = out.ID, id.Name(), t.Type
	if t.ETag {
		body["etag"] = `W/"` + out.ETag + `"`
	}
	if t.SystemData {
		body["systemData"] = map[string]any{
			"createdAt": Timestamp(out.Created), "createdBy": out.CreatedBy.Name, "createdByType": out.CreatedBy.Type,
			"lastModifiedAt": Timestamp(out.Modified), "lastModifiedBy": out.ModifiedBy.Name, "lastModifiedByType": out.ModifiedBy.Type,
		}
	}
	return body, nil
}

// Render is the resource with the given ID as GET answers it, for actions and
// services that show resources.
func (k *Kernel) Render(ctx context.Context, tx store.Tx, r *Resource) (Doc, error) {
	t := k.types.lookup(r.ParsedID().Type())
	if t == nil {
		return nil, fmt.Errorf("render %s: no such type", r.ID)
	}
	return k.render(ctx, tx, t, r)
}

// RenderChildren is the resources of a type directly in parent, as GET answers
// them, for documents that list what they contain. It is never nil.
func (k *Kernel) RenderChildren(ctx context.Context, tx store.Tx, parent ID, typ string) ([]any, error) {
	out := []any{}
	t := k.types.lookup(typ)
	if t == nil {
		return out, nil // nobody provides any
	}
	for r, err := range k.res.Children(tx, parent, typ) {
		if err != nil {
			return nil, err
		}
		doc, err := k.render(ctx, tx, t, r)
		if err != nil {
			return nil, err
		}
		out = append(out, map[string]any(doc))
	}
	return out, nil
}

func (k *Kernel) put(ctx context.Context, req *Request) (*Response, error) {
	if err := k.authorizeChange(ctx, req, "/write"); err != nil {
		return nil, err
	}
	if !req.Type.allows(http.MethodPut) {
		return nil, k.uncovered("PUT", req.Type.Type)
	}
	if req.Type.Prepare != nil {
		if err := req.Type.Prepare(ctx, req); err != nil {
			return nil, err
		}
	}
	return k.write(ctx, req, func(*Resource) (Doc, error) { return req.Body.Clone(), nil }, true)
}

func (k *Kernel) patch(ctx context.Context, req *Request) (*Response, error) {
	if err := k.authorizeChange(ctx, req, "/write"); err != nil {
		return nil, err
	}
	if !req.Type.allows(http.MethodPatch) {
		return nil, k.uncovered("PATCH", req.Type.Type)
	}
	return k.write(ctx, req, func(old *Resource) (Doc, error) {
		if old == nil {
			return nil, NotFound(req.ID)
		}
		doc := old.Body.Clone()
		if req.Type.Patch != nil {
			return doc, req.Type.Patch(doc, req.Body)
		}
		patch := req.Body.Clone()
		if tags := patch.Object("tags"); tags != nil {
			doc.Delete("tags") // tags are replaced whole
		}
		doc.Merge(patch)
		return doc, nil
	}, false)
}

// write is PUT and PATCH: body makes the new document from the existing
// resource, which is nil for a create.
func (k *Kernel) write(ctx context.Context, req *Request, body func(*Resource) (Doc, error), mayCreate bool) (*Response, error) {
	var resp *Response
	var after []func()
	err := k.cfg.Store.Update(ctx, func(tx store.Tx) (err error) {
		resp, after, err = k.writeIn(ctx, tx, req, body, mayCreate)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, f := range after {
		f()
	}
	return resp, nil
}

// writeIn is write in the caller's transaction, after which after is to be called.
func (k *Kernel) writeIn(ctx context.Context, tx store.Tx, req *Request, body func(*Resource) (Doc, error), mayCreate bool) (resp *Response, after []func(), err error) {
	t := req.Type
	if err := k.guard(tx, t, req.ID, IntendWrite); err != nil {
		return nil, nil, err
	}
	p, err := k.preparePut(ctx, tx, req, body, mayCreate)
	if err != nil {
		return nil, nil, err
	}
	r := p.Resource
	if t.Put != nil {
		if err := t.Put(ctx, p); err != nil {
			return nil, nil, err
		}
	}
	if k.cfg.Check != nil {
		if err := k.cfg.Check(ctx, p); err != nil {
			return nil, nil, err
		}
	}
	r.State, r.ReadyAt = "", time.Time{}
	if err := k.startPutOperation(tx, p); err != nil {
		return nil, nil, err
	}
	if !t.Virtual {
		if err := k.res.Put(tx, r); err != nil {
			return nil, nil, err
		}
	}
	doc, err := k.render(ctx, tx, t, r)
	if err != nil {
		return nil, nil, err
	}
	return k.putResponse(req, p, doc), p.after, nil
}

func (k *Kernel) preparePut(ctx context.Context, tx store.Tx, req *Request, body func(*Resource) (Doc, error), mayCreate bool) (*Put, error) {
	t, id := req.Type, req.ID
	p := &Put{Request: req, Tx: tx}
	existing, err := k.res.Get(tx, id.Key())
	switch {
	case err == nil:
		p.Existing = existing
	case errors.Is(err, store.ErrNotFound):
		if err := k.checkRegistered(tx, id); err != nil {
			return nil, err
		}
		if err := k.checkContainers(ctx, tx, req, p); err != nil {
			return nil, err
		}
		if err := t.Name.check(t.Type, id.Name()); err != nil {
			return nil, err
		}
		if t.Default != nil && (!mayCreate || t.Virtual) {
			if p.Existing, err = defaulted(ctx, tx, t, id); err != nil {
				return nil, err
			}
		}
	default:
		return nil, err
	}
	if t.isChild() && p.Parent == nil {
		if p.Parent, err = k.Load(ctx, tx, id.Parent()); err != nil {
			return nil, err
		}
	}
	if err := checkETag(req, p.Existing); err != nil {
		return nil, err
	}
	doc, err := body(p.Existing)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"id", "name", "type", "etag", "systemData"} {
		doc.Delete(name)
	}
	if props, there := doc["properties"]; there {
		if _, ok := asMap(props); !ok && props != nil {
			return nil, BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'properties is not an object'.")
		}
	}
	doc.Delete("properties.provisioningState")
	r := &Resource{
		ID: id.String(), UID: newUID(), Body: doc, Private: Doc{},
		Created: req.Now, CreatedBy: author(req.Caller), Modified: req.Now, ModifiedBy: author(req.Caller), ETag: newUID(),
	}
	if e := p.Existing; e != nil {
		r.ID, r.UID, r.Created, r.CreatedBy = e.ID, e.UID, e.Created, e.CreatedBy
		r.Private = e.Private.Clone()
	}
	p.Resource = r
	if err := k.checkCommon(tx, p); err != nil {
		return nil, err
	}
	if t.Validate != nil {
		if err := t.Validate(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := k.assignIdentity(tx, p); err != nil {
		return nil, err
	}
	return p, nil
}

// checkContainers makes sure that what a new resource stands in is there.
func (k *Kernel) checkContainers(ctx context.Context, tx store.Tx, req *Request, p *Put) error {
	t, id := req.Type, req.ID
	if g, ok := id.Group(); ok && t.Type != TypeResourceGroup {
		there, err := k.res.Exists(tx, g.Key())
		if err != nil {
			return err
		}
		if !there {
			return NotFound(g)
		}
	}
	switch {
	case t.isChild():
		parent, err := k.Load(ctx, tx, id.Parent())
		if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound && e.Code == "ResourceNotFound" {
			if t.MakeParent != nil {
				p.Parent, err = k.makeParent(ctx, tx, t, id.Parent())
				return err
			}
			return Errorf(http.StatusNotFound, "ParentResourceNotFound",
				"Can not perform requested operation on nested resource. Parent resource '%s' not found.", id.Parent().FullName())
		}
		if err != nil {
			return err
		}
		p.Parent = parent
	case t.Scope == OnAnything:
		if scope := id.Parent(); len(scope.Providers) > 0 {
			if k.types.lookup(scope.Type()) == nil {
				return k.uncovered("PUT on", scope.Type())
			}
			if _, err := k.Load(ctx, tx, scope); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeParent makes the parent of a resource, whose own parent must be there.
func (k *Kernel) makeParent(ctx context.Context, tx store.Tx, t *ResourceType, parent ID) (*Resource, error) {
	if _, err := k.Load(ctx, tx, parent.Parent()); err != nil {
		return nil, err
	}
	if err := k.types.lookup(t.parentType()).Name.check(t.parentType(), parent.Name()); err != nil {
		return nil, err
	}
	r, err := t.MakeParent(ctx, tx, parent)
	if err != nil {
		return nil, err
	}
	return r, k.res.Put(tx, r)
}

func (k *Kernel) checkCommon(tx store.Tx, p *Put) error {
	t, doc := p.Type, p.Resource.Body
	var was Doc
	if p.Existing != nil {
		was = p.Existing.Body
	}
	if err := t.CheckUnimplemented(doc, was); err != nil {
		return err
	}
	if tags, there := doc["tags"]; there && tags != nil {
		if err := CheckTags(tags); err != nil {
			return err
		}
	}
	if !t.Tracked {
		return nil
	}
	loc := doc.String("location")
	switch {
	case t.Global:
		doc["location"] = "global"
	case p.Existing != nil:
		was := p.Existing.Body.String("location")
		if loc != "" && NormalizeLocation(loc) != NormalizeLocation(was) {
			return Errorf(http.StatusConflict, "InvalidResourceLocation",
				"The resource '%s' already exists in location '%s' in resource group '%s'. A resource with the same name cannot be created in location '%s'. Please select a new resource name.",
				p.ID.Name(), was, p.ID.ResourceGroup, loc)
		}
		doc["location"] = p.Existing.Body["location"]
	case loc == "" && t.LocationOptional:
		g, _ := p.ID.Group()
		group, err := k.res.Get(tx, g.Key())
		if err != nil {
			return err
		}
		doc["location"] = group.Body["location"]
	case loc == "":
		return BadRequest("LocationRequired", "The location property is required for this definition.")
	case !knownLocation(NormalizeLocation(loc)):
		return BadRequest("LocationNotAvailableForResourceType",
			"The provided location '%s' is not available for resource type '%s'. List of available regions for the resource type is '%s'.",
			loc, t.Type, strings.Join(Locations(), ","))
	}
	return nil
}

// CheckTags refuses what cannot be the tags of a resource.
func CheckTags(tags any) error {
	m, ok := asMap(tags)
	if !ok {
		return BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'tags is not an object'.")
	}
	if len(m) > 50 {
		return BadRequest("InvalidTags", "The resource has %d tags; 50 is the most.", len(m))
	}
	for name, v := range m {
		s, ok := v.(string)
		if !ok || len(name) > 512 || len(s) > 256 || name == "" {
			return BadRequest("InvalidTagNameOrValue", "The tag '%s' is invalid: a tag has a name of 1 to 512 and a value of up to 256 characters.", name)
		}
	}
	return nil
}

// CheckUnimplemented refuses a body that sets what Unimplemented lists, unless
// was, the stored body, has it already. The kernel calls it for requests; a
// type that takes others inline calls theirs.
func (t *ResourceType) CheckUnimplemented(doc, was Doc) error {
	for _, path := range slices.Sorted(maps.Keys(t.Unimplemented)) {
		what := t.Unimplemented[path]
		path, want, valued := strings.Cut(path, "=")
		v := doc.Get(path)
		if v == nil || v == false || v == "" || was != nil && sameValue(v, was.Get(path)) {
			continue
		}
		if l, ok := v.([]any); ok && len(l) == 0 {
			continue
		}
		if valued && !sameValue(v, want) {
			continue
		}
		e := NotImplemented("property '%s' of '%s' (%s)", path, t.Type, what)
		e.Target = path
		return e
	}
	return nil
}

// checkETag honours If-Match and If-None-Match.
func checkETag(req *Request, existing *Resource) error {
	failed := func(text string) error {
		return Errorf(http.StatusPreconditionFailed, "PreconditionFailed", "%s", text)
	}
	if v := req.HTTP.Header.Get("If-Match"); v != "" {
		if existing == nil {
			return failed("The condition If-Match was not met: the resource is not there.")
		}
		if v != "*" && strings.Trim(strings.TrimPrefix(v, "W/"), `"`) != existing.ETag {
			return failed("The condition If-Match was not met: the resource has changed.")
		}
	}
	if req.HTTP.Header.Get("If-None-Match") == "*" && existing != nil {
		return failed("The condition If-None-Match was not met: the resource is there.")
	}
	return nil
}

func (k *Kernel) assignIdentity(tx store.Tx, p *Put) error {
	doc, t := p.Resource.Body, p.Type
	if p.Existing != nil && !doc.Has("identity") {
		p.Keep("identity") // a PUT without identity leaves it alone
		return nil
	}
	if !doc.Has("identity") {
		return nil
	}
	kind := doc.String("identity.type")
	var want []string
	for part := range strings.SplitSeq(kind, ",") {
		part = strings.TrimSpace(part)
		i := slices.IndexFunc(t.Identity, func(s string) bool { return strings.EqualFold(s, part) })
		switch {
		case strings.EqualFold(part, "None") || part == "":
		case i < 0:
			return BadRequest("InvalidIdentityType", "The identity type '%s' is not supported for resource type '%s'.", kind, t.Type)
		default:
			want = append(want, t.Identity[i])
		}
	}
	if slices.Contains(want, "SystemAssigned") {
		id, err := k.cfg.Identities.CreateIdentity(tx, p.Resource.ID, p.ID.FullName())
		if err != nil {
			return fmt.Errorf("create identity: %w", err)
		}
		doc.Set("identity.principalId", id.PrincipalID)
		doc.Set("identity.tenantId", id.TenantID)
	} else {
		doc.Delete("identity.principalId")
		doc.Delete("identity.tenantId")
		if p.Existing != nil && strings.Contains(p.Existing.Body.String("identity.type"), "SystemAssigned") {
			if err := k.cfg.Identities.DeleteIdentity(tx, p.Resource.ID); err != nil {
				return fmt.Errorf("delete identity: %w", err)
			}
		}
	}
	users := doc.Object("identity.userAssignedIdentities")
	if users == nil {
		doc.Delete("identity.userAssignedIdentities")
	}
	if slices.Contains(want, "UserAssigned") && len(users) == 0 {
		return BadRequest("InvalidIdentity", "The identity type 'UserAssigned' needs at least one entry in userAssignedIdentities.")
	}
	for uid, v := range users {
		if v == nil && p.Existing != nil { // null removes one on update
			delete(users, uid)
			continue
		}
		r, err := k.res.Get(tx, uid)
		if errors.Is(err, store.ErrNotFound) {
			return BadRequest("FailedIdentityOperation", "Identity operation for resource '%s' failed with error 'Failed to perform resource identity operation. The identity '%s' was not found.'", p.Resource.ID, uid)
		}
		if err != nil {
			return err
		}
		users[uid] = map[string]any{
			"principalId": r.Body.String("properties.principalId"),
			"clientId":    r.Body.String("properties.clientId"),
		}
	}
	if len(want) == 0 {
		doc["identity"] = map[string]any{"type": "None"}
	}
	return nil
}

func (k *Kernel) putResponse(req *Request, p *Put, doc Doc) *Response {
	status := p.Type.PutStatus[1]
	if status == 0 || req.HTTP.Method == http.MethodPatch {
		status = http.StatusOK
	}
	if p.Existing == nil {
		if status = p.Type.PutStatus[0]; status == 0 {
			status = http.StatusCreated
		}
	}
	resp := &Response{Status: status, Body: doc}
	if p.Resource.State != "" || p.Type.LongRunningPut || p.deferred {
		resp.Header = k.operationHeader(req, p.Resource.Operation)
		if p.Existing == nil {
			if resp.Status = p.Type.StartStatus; resp.Status == 0 {
				resp.Status = http.StatusCreated
			}
		}
	}
	return resp
}

func (k *Kernel) delete(ctx context.Context, req *Request) (*Response, error) {
	if err := k.authorizeChange(ctx, req, "/delete"); err != nil {
		return nil, err
	}
	if !req.Type.allows(http.MethodDelete) {
		return nil, k.uncovered("DELETE", req.Type.Type)
	}
	return k.startDelete(ctx, req)
}

// remove deletes a resource and everything in it, deepest first, in tx.
func (k *Kernel) remove(ctx context.Context, tx store.Tx, req *Request, r *Resource, after *[]func()) error {
	var below []string // IDs alone: a workspace may hold very many jobs
	for c, err := range k.res.Below(tx, r.ParsedID()) {
		if err != nil {
			return err
		}
		below = append(below, c.ID)
	}
	slices.SortStableFunc(below, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	var keep func(*Resource) (bool, error)
	if t := k.types.lookup(r.ParsedID().Type()); t != nil && t.SetAside != nil {
		keep = t.SetAside(&Delete{Request: req, Tx: tx, Resource: r, Root: r.ParsedID(), after: after})
	}
	for _, id := range below {
		c, err := k.res.Get(tx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue // it went with another
		}
		if err != nil {
			return err
		}
		if keep != nil {
			ok, err := keep(c)
			if err != nil {
				return err
			}
			if ok {
				if err := k.res.setAside(tx, id); err != nil {
					return err
				}
				if err := k.res.Remove(tx, id); err != nil {
					return err
				}
				continue
			}
		}
		if err := k.removeOne(ctx, tx, req, c, r.ParsedID(), after); err != nil {
			return err
		}
	}
	if keep != nil {
		if err := k.res.setAside(tx, r.ID); err != nil {
			return err
		}
	}
	return k.removeOne(ctx, tx, req, r, r.ParsedID(), after)
}

func (k *Kernel) removeOne(ctx context.Context, tx store.Tx, req *Request, r *Resource, root ID, after *[]func()) error {
	id := r.ParsedID()
	t := k.types.lookup(id.Type())
	if t != nil && t.Delete != nil {
		sub := *req
		sub.ID, sub.Type = id, t
		if err := t.Delete(ctx, &Delete{Request: &sub, Tx: tx, Resource: r, Cascade: Key(r.ID) != root.Key(), Root: root, after: after}); err != nil {
			return err
		}
	}
	if strings.Contains(r.Body.String("identity.type"), "SystemAssigned") {
		if err := k.cfg.Identities.DeleteIdentity(tx, r.ID); err != nil {
			return fmt.Errorf("delete identity of %s: %w", r.ID, err)
		}
	}
	return k.res.Remove(tx, r.ID)
}

// DeleteInTx removes a resource and everything in it in the caller's
// transaction, with hooks. It is for services that remove their own resources.
// The returned function must be called once the transaction is durable.
func (k *Kernel) DeleteInTx(ctx context.Context, tx store.Tx, req *Request, r *Resource) (func(), error) {
	var after []func()
	err := k.remove(ctx, tx, req, r, &after)
	return func() {
		for _, f := range after {
			f()
		}
	}, err
}
