package network

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// inline is a child type whose resources also stand in their parent's document:
// subnets in networks, rules in security groups, routes in tables.
type inline struct {
	typ *arm.ResourceType
	// path is where the parent's document has them.
	path string
	// keep leaves the children alone when a PUT of the parent does not name
	// them. Subnets are kept; of the others a PUT says what there is.
	keep bool
	// complete checks a child and fills in what Azure fills in. siblings are the
	// parent's other children.
	complete func(ctx context.Context, put *arm.Put, c child) error
}

// child is one child that is being written.
type child struct {
	parent, r *arm.Resource
	// existing is what is stored now; nil for a create.
	existing *arm.Resource
	siblings []*arm.Resource
}

func (in inline) segment() string {
	return in.typ.Type[strings.LastIndexByte(in.typ.Type, '/')+1:]
}

// putChild is a PUT of the child itself.
func (p *provider) putChild(ctx context.Context, put *arm.Put, in inline) error {
	c := child{parent: put.Parent, r: put.Resource, existing: put.Existing}
	for r, err := range p.kernel.Resources().Children(put.Tx, put.ID.Parent(), in.typ.Type) {
		if err != nil {
			return err
		}
		if arm.Key(r.ID) != put.ID.Key() {
			c.siblings = append(c.siblings, r)
		}
	}
	if err := in.complete(ctx, put, c); err != nil {
		return err
	}
	return p.touch(put.Tx, put.Parent.ID)
}

// touch gives a resource a new etag: its document lists what has changed.
func (p *provider) touch(tx store.Tx, id string) error {
	return p.kernel.Resources().Update(tx, id, func(r *arm.Resource) error {
		r.ETag = uuid.NewString()
		return nil
	})
}

// putChildren takes the children out of a parent's document and writes them.
func (p *provider) putChildren(ctx context.Context, put *arm.Put, in inline) error {
	stored := map[string]*arm.Resource{}
	for r, err := range p.kernel.Resources().Children(put.Tx, put.ID, in.typ.Type) {
		if err != nil {
			return err
		}
		stored[strings.ToLower(r.Name())] = r
	}
	list, given := put.Resource.Body.Get(in.path).([]any)
	put.Resource.Body.Delete(in.path)
	if !given && (in.keep || put.HTTP.Method == http.MethodPatch) {
		return nil
	}
	var want []*arm.Resource
	seen := map[string]bool{}
	for _, v := range list {
		r, old, err := p.inlineChild(put, in, v, stored)
		if err != nil {
			return err
		}
		key := arm.Key(r.ID)
		if seen[key] {
			return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: '%s' is named twice in %s.", r.Name(), in.segment())
		}
		seen[key] = true
		var was arm.Doc
		if old != nil {
			was = old.Body
		}
		if err := in.typ.CheckUnimplemented(r.Body, was); err != nil {
			return err
		}
		if err := in.complete(ctx, put, child{parent: put.Resource, r: r, existing: old, siblings: want}); err != nil {
			return err
		}
		want = append(want, r)
	}
	for _, r := range stored {
		if seen[arm.Key(r.ID)] {
			continue
		}
		after, err := p.kernel.DeleteInTx(ctx, put.Tx, put.Request, r)
		if err != nil {
			return err
		}
		put.After(after)
	}
	for _, r := range want {
		if err := p.kernel.Resources().Put(put.Tx, r); err != nil {
			return err
		}
	}
	return nil
}

// inlineChild is a child as a parent's document has it, and what is stored of it.
func (p *provider) inlineChild(put *arm.Put, in inline, v any, stored map[string]*arm.Resource) (r, old *arm.Resource, err error) {
	m, _ := v.(map[string]any)
	doc := arm.Doc(m).Clone()
	name := doc.String("name")
	if !in.typ.Name.Pattern.MatchString(name) {
		return nil, nil, arm.BadRequest("InvalidResourceName", "Resource name '%s' is invalid. %s", name, in.typ.Name.Text)
	}
	r = &arm.Resource{
		ID: put.ID.Child(in.segment(), name).String(), UID: uuid.NewString(),
		Body: arm.Doc{"properties": doc.Get("properties")}, Private: arm.Doc{},
		Created: put.Now, CreatedBy: put.Resource.ModifiedBy, Modified: put.Now, ModifiedBy: put.Resource.ModifiedBy, ETag: uuid.NewString(),
	}
	if r.Body.Object("properties") == nil {
		r.Body["properties"] = map[string]any{}
	}
	r.Body.Delete("properties.provisioningState")
	if old = stored[strings.ToLower(name)]; old != nil {
		r.ID, r.UID, r.Created, r.CreatedBy = old.ID, old.UID, old.Created, old.CreatedBy
	}
	return r, old, nil
}

// readChildren puts the children into a parent's document.
func (p *provider) readChildren(ctx context.Context, tx store.Tx, r *arm.Resource, in inline) error {
	list, err := p.kernel.RenderChildren(ctx, tx, r.ParsedID(), in.typ.Type)
	if err != nil {
		return err
	}
	r.Body.Set(in.path, list)
	return nil
}

// deleteChild makes the parent's document new when a child goes by itself.
func (p *provider) deleteChild(_ context.Context, d *arm.Delete) error {
	if d.Cascade {
		return nil
	}
	parent := d.Resource.ParsedID().Parent().String()
	there, err := p.kernel.Resources().Exists(d.Tx, parent)
	if err != nil || !there {
		return err
	}
	return p.touch(d.Tx, parent)
}

// oneOf refuses a string at path that is none of values, and writes it as Azure
// does.
func oneOf(body arm.Doc, path string, values ...string) error {
	s := body.String(path)
	i := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, s) })
	if i < 0 {
		// Azure's words differ from property to property
		e := arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: '%s' is not a value of %s. The values are %s.",
			s, strings.TrimPrefix(path, "properties."), strings.Join(values, ", "))
		e.Target = path
		return e
	}
	body.Set(path, values[i])
	return nil
}

// resourceGUID gives a resource the GUID by which Azure's own services know it.
func resourceGUID(put *arm.Put) {
	put.Force("properties.resourceGuid")
	put.Resource.Body.Default("properties.resourceGuid", uuid.NewString())
}
