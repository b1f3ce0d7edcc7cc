package provider

import (
	"context"
	"fmt"
	"maps"
)

// dataSource is what a data source needs besides its schema. Either it reads a
// resource of a type, or it has a function of its own.
type dataSource struct {
	name string
	// of is the type of which it reads a resource, and what names one in "was not
	// found". More fields and a hook add what the type itself does not have.
	of     *resourceType
	what   string
	fields []field
	decode func(o *operation, doc, state map[string]any) error
	// read replaces all of the above.
	read func(o *operation, config map[string]any) (map[string]any, error)
}

// readData returns the state of a data source.
func (s *session) readData(ctx context.Context, ds *dataSource, k *kind, config map[string]any) (map[string]any, error) {
	o := &operation{session: s, ctx: ctx, typ: ds.of, kind: k, config: config, planned: config}
	state := fillObject(k.Attributes, cloneObject(config))
	if ds.read != nil {
		read, err := ds.read(o, config)
		if err != nil {
			return nil, err
		}
		maps.Copy(state, read)
		return state, nil
	}
	o.id = ds.of.id.build(s.subscription, config)
	doc, err := s.get(ctx, o.id, o.version())
	if isNotFound(err) {
		return nil, ds.notFound(o.id)
	}
	if err != nil {
		return nil, fmt.Errorf("retrieving %q: %w", o.id, err)
	}
	state["id"] = o.id
	o.codec(false).decode(ds.of.fields, k.Attributes, doc, state)
	o.codec(false).decode(ds.fields, k.Attributes, doc, state)
	decodeAliases(ds.of.aliases, o.major, state)
	for _, decode := range []func(*operation, map[string]any, map[string]any) error{ds.of.decode, ds.decode} {
		if decode == nil {
			continue
		}
		if err := decode(o, doc, state); err != nil {
			return nil, err
		}
	}
	return state, nil
}

func (ds *dataSource) notFound(id string) error {
	return fmt.Errorf("%s %q was not found", ds.what, id)
}
