package arm

import (
	"fmt"
	"strings"
	"unicode"
)

// ID is a parsed ARM resource ID: the tenant ("/"), a subscription, a resource
// group, or a resource of any of these. IDs compare without regard to case: use
// Key for that. The zero ID is the tenant.
type ID struct {
	Subscription  string
	ResourceGroup string
	// Providers is empty for a tenant, subscription or resource group. A second
	// and further part is an extension resource, such as a role assignment, of
	// what stands before it.
	Providers []ProviderPart
}

// ProviderPart is one "/providers/NAMESPACE/TYPE/NAME[/TYPE/NAME…]" of an ID.
// Types and Names have the same length.
type ProviderPart struct {
	Namespace string
	Types     []string
	Names     []string
}

const (
	// TypeTenant, TypeSubscription and TypeResourceGroup are the types of IDs
	// without a provider part.
	TypeTenant        = "Microsoft.Resources/tenants"
	TypeSubscription  = "Microsoft.Resources/subscriptions"
	TypeResourceGroup = "Microsoft.Resources/resourceGroups"
)

// ParseID parses an absolute resource ID. The error says what is wrong with it.
func ParseID(s string) (ID, error) {
	p, err := parsePath(s)
	if err != nil {
		return ID{}, err
	}
	if p.trailing != "" || p.namespaceOnly {
		return ID{}, fmt.Errorf("%q is not a resource ID: it ends in the middle", s)
	}
	return p.id, nil
}

// path is a parsed request path: an ID and what may follow it.
type path struct {
	id ID
	// trailing is a last segment without a name: a collection or an action.
	trailing string
	// collection is set when trailing follows a namespace, so that it can only
	// be a collection or an action of the provider.
	namespaceOnly bool
}

func parsePath(s string) (path, error) {
	var p path
	if !strings.HasPrefix(s, "/") {
		return p, fmt.Errorf("%q is not a resource ID: it does not begin with a slash", s)
	}
	segs := strings.Split(strings.Trim(s, "/"), "/")
	if len(segs) == 1 && segs[0] == "" {
		return p, nil
	}
	for _, seg := range segs {
		if seg == "" {
			return p, fmt.Errorf("%q is not a resource ID: it has an empty segment", s)
		}
		// the store's indexes separate their parts with NUL
		if strings.ContainsFunc(seg, unicode.IsControl) {
			return p, fmt.Errorf("%q is not a resource ID: it has a control character", s)
		}
	}
	take := func(word string) (string, bool) {
		if len(segs) >= 2 && strings.EqualFold(segs[0], word) {
			v := segs[1]
			segs = segs[2:]
			return v, true
		}
		return "", false
	}
	if v, ok := take("subscriptions"); ok {
		p.id.Subscription = v
		if v, ok := take("resourceGroups"); ok {
			p.id.ResourceGroup = v
		}
	}
	for {
		ns, ok := take("providers")
		if !ok {
			break
		}
		part := ProviderPart{Namespace: ns}
		for len(segs) >= 2 && !(strings.EqualFold(segs[0], "providers")) {
			part.Types = append(part.Types, segs[0])
			part.Names = append(part.Names, segs[1])
			segs = segs[2:]
		}
		if len(part.Types) == 0 {
			switch len(segs) {
			case 0:
			case 1:
				p.trailing = segs[0]
			default:
				return p, fmt.Errorf("%q is not a resource ID", s)
			}
			p.id.Providers = append(p.id.Providers, part)
			p.namespaceOnly = true
			return p, nil
		}
		p.id.Providers = append(p.id.Providers, part)
	}
	switch len(segs) {
	case 0:
		return p, nil
	case 1:
		p.trailing = segs[0]
		return p, nil
	}
	return p, fmt.Errorf("%q is not a resource ID", s)
}

// String writes the ID as ARM does, with names in the casing they were given.
func (id ID) String() string {
	var b strings.Builder
	if id.Subscription != "" {
		b.WriteString("/subscriptions/" + id.Subscription)
		if id.ResourceGroup != "" {
			b.WriteString("/resourceGroups/" + id.ResourceGroup)
		}
	}
	for _, p := range id.Providers {
		b.WriteString("/providers/" + p.Namespace)
		for i, t := range p.Types {
			b.WriteString("/" + t + "/" + p.Names[i])
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// Key is the form under which IDs are compared and stored.
func (id ID) Key() string { return strings.ToLower(id.String()) }

// Key is ID.Key for an ID in text form that is known to be well formed.
func Key(id string) string { return strings.ToLower(strings.TrimSuffix(id, "/")) }

// Type is the full resource type, "Microsoft.Storage/storageAccounts".
func (id ID) Type() string {
	if n := len(id.Providers); n > 0 {
		p := id.Providers[n-1]
		return p.Namespace + "/" + strings.Join(p.Types, "/")
	}
	switch {
	case id.ResourceGroup != "":
		return TypeResourceGroup
	case id.Subscription != "":
		return TypeSubscription
	}
	return TypeTenant
}

// Name is the last name of the ID; "" for the tenant.
func (id ID) Name() string {
	if n := len(id.Providers); n > 0 {
		names := id.Providers[n-1].Names
		if len(names) == 0 {
			return ""
		}
		return names[len(names)-1]
	}
	if id.ResourceGroup != "" {
		return id.ResourceGroup
	}
	return id.Subscription
}

// FullName is the name as ARM shows that of a nested resource: "vnet/subnet".
func (id ID) FullName() string {
	if n := len(id.Providers); n > 0 {
		return strings.Join(id.Providers[n-1].Names, "/")
	}
	return id.Name()
}

// IsZero reports whether id is the tenant.
func (id ID) IsZero() bool { return id.Subscription == "" && len(id.Providers) == 0 }

// Parent is the resource, resource group, subscription or tenant that id is
// directly in. The tenant's parent is the tenant.
func (id ID) Parent() ID {
	n := len(id.Providers)
	if n == 0 {
		if id.ResourceGroup != "" {
			return ID{Subscription: id.Subscription}
		}
		return ID{}
	}
	out := id
	out.Providers = append([]ProviderPart(nil), id.Providers[:n-1]...)
	last := id.Providers[n-1]
	if k := len(last.Types); k > 1 {
		out.Providers = append(out.Providers, ProviderPart{last.Namespace, last.Types[:k-1], last.Names[:k-1]})
	}
	return out
}

// Child is the resource of the given type and name directly in id. A type with
// a slash, "Microsoft.Network/virtualNetworks", begins a new provider part.
func (id ID) Child(typ, name string) ID {
	out := id
	out.Providers = append([]ProviderPart(nil), id.Providers...)
	if ns, t, ok := strings.Cut(typ, "/"); ok {
		out.Providers = append(out.Providers, ProviderPart{ns, []string{t}, []string{name}})
		return out
	}
	n := len(out.Providers)
	last := out.Providers[n-1]
	out.Providers[n-1] = ProviderPart{
		last.Namespace,
		append(append([]string(nil), last.Types...), typ),
		append(append([]string(nil), last.Names...), name),
	}
	return out
}

// Group is the ID of the resource group that id is in, or false.
func (id ID) Group() (ID, bool) {
	if id.ResourceGroup == "" {
		return ID{}, false
	}
	return ID{Subscription: id.Subscription, ResourceGroup: id.ResourceGroup}, true
}

// Lineage is id and everything it is in, innermost first, the tenant last: the
// scopes at which a role assignment or lock applies to id.
func (id ID) Lineage() []ID {
	out := []ID{id}
	for !id.IsZero() {
		id = id.Parent()
		out = append(out, id)
	}
	return out
}
