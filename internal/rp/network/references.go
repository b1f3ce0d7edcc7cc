package network

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A resource that uses another names it in its document as {"id": …}, and is
// found from there by its index entry.

func useEntry(id string) string { return "uses|" + arm.Key(id) }

// uses is the index of a type whose resources name others at paths. A path that
// ends in "[]" is a list of references.
func uses(paths ...string) func(r *arm.Resource) []string {
	return func(r *arm.Resource) []string {
		var out []string
		for _, id := range referred(r.Body, paths...) {
			out = append(out, useEntry(id))
		}
		return out
	}
}

// referred is the IDs that a document names at paths.
func referred(body arm.Doc, paths ...string) []string {
	var out []string
	add := func(v any) {
		m, _ := v.(map[string]any)
		if id := arm.Doc(m).String("id"); id != "" {
			out = append(out, id)
		}
	}
	for _, path := range paths {
		if list, ok := strings.CutSuffix(path, "[]"); ok {
			for _, v := range body.List(list) {
				add(v)
			}
			continue
		}
		add(body.Get(path))
	}
	return out
}

// usersOf is the IDs of the resources of a type that use another, in order.
func (p *provider) usersOf(tx store.Tx, typ, id string) ([]string, error) {
	var out []string
	for r, err := range p.kernel.Resources().Find(tx, typ, useEntry(id)) {
		if err != nil {
			return nil, err
		}
		out = append(out, r.ID)
	}
	slices.Sort(out)
	return out, nil
}

// showUsers lists the users of r at path, as {"id": …}; no users, no property.
func (p *provider) showUsers(tx store.Tx, r *arm.Resource, typ, path string) error {
	users, err := p.usersOf(tx, typ, r.ID)
	if err != nil {
		return err
	}
	r.Body.Delete(path)
	var list []any
	for _, id := range users {
		list = append(list, map[string]any{"id": id})
	}
	if list != nil {
		r.Body.Set(path, list)
	}
	return nil
}

// staying is the users that do not go together with what is removed.
func staying(d *arm.Delete, users []string) []string {
	return slices.DeleteFunc(slices.Clone(users), d.GoesToo)
}

// reference is a property that names another resource.
type reference struct {
	path string
	typ  string
	// join is the permission that the caller needs on the other resource.
	join string
	// anywhere allows another region.
	anywhere bool
}

// refer checks what r names at ref.path, and leaves of it the ID alone: clients
// put back what they were shown expanded. It returns nil when nothing is named.
func (p *provider) refer(ctx context.Context, put *arm.Put, r, existing *arm.Resource, location string, ref reference) (*arm.Resource, error) {
	if !r.Body.Has(ref.path) {
		r.Body.Delete(ref.path)
		return nil, nil
	}
	id := r.Body.String(ref.path + ".id")
	if id == "" {
		return nil, arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: %s of resource %s has no id.", strings.TrimPrefix(ref.path, "properties."), r.ID)
	}
	other, err := p.referTo(ctx, put, r.ID, id, location, ref)
	if err != nil {
		return nil, err
	}
	r.Body.Set(ref.path, map[string]any{"id": id})
	if existing == nil || arm.Key(existing.Body.String(ref.path+".id")) != arm.Key(id) {
		if err := put.AllowedLinked(ctx, ref.join, other.ParsedID()); err != nil {
			return nil, err
		}
	}
	return other, nil
}

// referTo loads what the resource from names: it must be there, of the right
// type and, unless anywhere, in the same region.
func (p *provider) referTo(ctx context.Context, put *arm.Put, from, id, location string, ref reference) (*arm.Resource, error) {
	parsed, err := arm.ParseID(id)
	if err != nil || !strings.EqualFold(parsed.Type(), ref.typ) {
		return nil, arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: '%s' is not the ID of a resource of type %s.", id, ref.typ)
	}
	other, err := p.kernel.Load(ctx, put.Tx, parsed)
	missing := false
	if e := (*arm.Error)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
		missing = true
	} else if err != nil {
		return nil, err
	}
	if !missing && !ref.anywhere && location != "" {
		at := other
		if strings.EqualFold(ref.typ, SubnetType) {
			if at, err = p.kernel.Load(ctx, put.Tx, parsed.Parent()); err != nil {
				return nil, err
			}
		}
		missing = arm.NormalizeLocation(at.Body.String("location")) != arm.NormalizeLocation(location)
	}
	if missing {
		return nil, arm.BadRequest("InvalidResourceReference",
			"Resource %s referenced by resource %s was not found. Please make sure that the referenced resource exists, and that both resources are in the same region.", id, from)
	}
	return other, nil
}
