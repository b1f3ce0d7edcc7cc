package provider

import (
	"context"
	"fmt"
)

// dataSource is what a data source needs besides its schema.
type dataSource struct {
	name string
	// id, apiVersion and fields read an ARM document whose ID is composed of
	// arguments.
	id         idForm
	apiVersion versions
	fields     []field
	// what names the thing in "was not found".
	what string
	// decode completes the state.
	decode func(o *operation, doc, state map[string]any) error
	// read replaces all of the above.
	read func(o *operation, config map[string]any) (map[string]any, error)
}

// readData returns the state of a data source.
func (s *session) readData(ctx context.Context, ds *dataSource, k *kind, config map[string]any) (map[string]any, error) {
	o := &operation{session: s, ctx: ctx, kind: k, config: config,
		typ: &resourceType{name: ds.name, id: ds.id, apiVersion: ds.apiVersion}}
	state := fillObject(k.Attributes, cloneObject(config))
	if ds.read != nil {
		read, err := ds.read(o, config)
		if err != nil {
			return nil, err
		}
		for n, v := range read {
			if k.Attributes[n] != nil {
				state[n] = v
			}
		}
		return state, nil
	}
	o.id = ds.id.build(s.subscription, config)
	doc, err := s.get(ctx, o.id, o.version())
	if isNotFound(err) {
		return nil, fmt.Errorf("%s %q was not found", ds.what, o.id)
	}
	if err != nil {
		return nil, fmt.Errorf("retrieving %q: %w", o.id, err)
	}
	state["id"] = o.id
	o.codec(false).decode(ds.fields, k.Attributes, doc, state)
	if ds.decode != nil {
		if err := ds.decode(o, doc, state); err != nil {
			return nil, err
		}
	}
	return state, nil
}
