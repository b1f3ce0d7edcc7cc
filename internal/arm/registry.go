package arm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// registry is every provider and type there is, by lower-case name.
type registry struct {
	providers map[string]*Provider
	types     map[string]*ResourceType
	actions   map[string][]Action // by lower-case namespace
}

func newRegistry(providers []*Provider) (*registry, error) {
	r := &registry{
		providers: map[string]*Provider{},
		types:     map[string]*ResourceType{},
		actions:   map[string][]Action{},
	}
	for _, p := range providers {
		ns := strings.ToLower(p.Namespace)
		if have := r.providers[ns]; have != nil {
			// one namespace may be served by several packages
			merged := *have
			merged.Types = append(slices.Clone(have.Types), p.Types...)
			merged.Actions = append(slices.Clone(have.Actions), p.Actions...)
			r.providers[ns] = &merged
		} else {
			r.providers[ns] = p
		}
		for _, t := range p.Types {
			key := strings.ToLower(t.Type)
			if !strings.HasPrefix(key, ns+"/") {
				return nil, fmt.Errorf("type %s is not in namespace %s", t.Type, p.Namespace)
			}
			if r.types[key] != nil {
				return nil, fmt.Errorf("type %s is described twice", t.Type)
			}
			r.types[key] = t
		}
		r.actions[ns] = append(r.actions[ns], p.Actions...)
	}
	for ns, p := range r.providers {
		r.actions[ns] = append(r.actions[ns], providerActions(p.Namespace)...)
	}
	for key, t := range r.types {
		if strings.Count(key, "/") > 1 && r.types[key[:strings.LastIndexByte(key, '/')]] == nil {
			return nil, fmt.Errorf("type %s has no parent type", t.Type)
		}
	}
	return r, nil
}

func (r *registry) lookup(typ string) *ResourceType { return r.types[strings.ToLower(typ)] }

func (r *registry) sortedTypes() []*ResourceType {
	var out []*ResourceType
	for _, k := range slices.Sorted(maps.Keys(r.types)) {
		out = append(out, r.types[k])
	}
	return out
}

// isChild reports whether the type stands in another resource.
func (t *ResourceType) isChild() bool { return strings.Count(t.Type, "/") > 1 }

// parentType is the type that a child stands in.
func (t *ResourceType) parentType() string { return t.Type[:strings.LastIndexByte(t.Type, '/')] }

// actionBase is the type as RBAC actions name it.
func (t *ResourceType) actionBase() string {
	if t.Type == TypeResourceGroup {
		return resourceGroupActions
	}
	return t.Type
}

func (t *ResourceType) allows(method string) bool {
	return len(t.Methods) == 0 || slices.Contains(t.Methods, method)
}

// canonical writes id with types in Azure's casing.
func (r *registry) canonical(id ID) ID {
	out := id
	out.Providers = slices.Clone(id.Providers)
	for i, p := range out.Providers {
		p.Types = slices.Clone(p.Types)
		typ := p.Namespace
		for j, seg := range p.Types {
			typ += "/" + seg
			if t := r.lookup(typ); t != nil {
				names := strings.Split(t.Type, "/")
				p.Namespace = names[0]
				p.Types[j] = names[len(names)-1]
			}
		}
		out.Providers[i] = p
	}
	return out
}

// providerAction finds the action of a namespace for the segments that follow
// it, and the values of its free segments.
func (r *registry) providerAction(namespace, method string, segs []string) (Action, []string, bool) {
	actions := r.actions[strings.ToLower(namespace)]
	if actions == nil {
		if n := azureNamespace(namespace); n != "" {
			actions = providerActions(n)
		}
	}
	for _, a := range actions {
		var want []string
		if a.Name != "" {
			want = strings.Split(a.Name, "/")
		}
		if len(want) != len(segs) || a.method() != method {
			continue
		}
		var args []string
		ok := true
		for i, w := range want {
			switch {
			case w == "{}":
				args = append(args, segs[i])
			case !strings.EqualFold(w, segs[i]):
				ok = false
			}
		}
		if ok {
			return a, args, true
		}
	}
	return Action{}, nil, false
}

func (a Action) method() string {
	if a.Method == "" {
		return "POST"
	}
	return a.Method
}

func (t *ResourceType) action(method, name string) (Action, bool) {
	for _, a := range t.Actions {
		if strings.EqualFold(a.Name, name) && a.method() == method {
			return a, true
		}
	}
	return Action{}, false
}
