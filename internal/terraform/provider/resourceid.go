package provider

import (
	"fmt"
	"strings"
)

// idForm is the shape of a type's resource IDs.
type idForm struct {
	// pattern has literal segments and {attribute} ones, as in
	// "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.KeyVault/vaults/{name}".
	// {} is a segment that no argument holds.
	pattern string
	// parent is the argument that holds the ID of the enclosing resource, if the
	// type has one; the pattern's last two segments come after it.
	parent string
}

// build composes the ID of a resource from its arguments.
func (f idForm) build(subscription string, state map[string]any) string {
	segs := strings.Split(strings.TrimPrefix(f.pattern, "/"), "/")
	prefix := ""
	if f.parent != "" {
		prefix = strings.TrimSuffix(asString(state[f.parent]), "/")
		segs = segs[len(segs)-2:]
	}
	var b strings.Builder
	b.WriteString(prefix)
	for i, s := range segs {
		b.WriteByte('/')
		switch {
		case s == "{}" && i == 1:
			b.WriteString(subscription)
		case strings.HasPrefix(s, "{"):
			b.WriteString(asString(state[strings.Trim(s, "{}")]))
		default:
			b.WriteString(s)
		}
	}
	return b.String()
}

// parse reads the arguments that an ID holds. Literal segments must be spelled as
// azurerm spells them.
func (f idForm) parse(id string) (map[string]any, error) {
	return f.match(id, func(a, b string) bool { return a == b })
}

// parseFold is parse for IDs that a service gave, which may be in any case.
func (f idForm) parseFold(id string) (map[string]any, error) {
	return f.match(id, strings.EqualFold)
}

func (f idForm) match(id string, same func(a, b string) bool) (map[string]any, error) {
	want := strings.Split(strings.TrimPrefix(f.pattern, "/"), "/")
	got := strings.Split(strings.TrimPrefix(id, "/"), "/")
	if !strings.HasPrefix(id, "/") || len(got) != len(want) {
		return nil, fmt.Errorf("parsing %q: the number of segments didn't match; expected %s", id, f.example())
	}
	out := map[string]any{}
	for i, w := range want {
		switch {
		case got[i] == "":
			return nil, fmt.Errorf("parsing %q: segment %d is empty; expected %s", id, i, f.example())
		case strings.HasPrefix(w, "{"):
			if name := strings.Trim(w, "{}"); name != "" {
				out[name] = got[i]
			}
		case !same(w, got[i]):
			return nil, fmt.Errorf("parsing %q: segment %d is %q where %q is expected (case matters); expected %s", id, i, got[i], w, f.example())
		}
	}
	if f.parent != "" {
		out[f.parent] = "/" + strings.Join(got[:len(got)-2], "/")
	}
	return out, nil
}

func (f idForm) example() string {
	segs := strings.Split(f.pattern, "/")
	for i, s := range segs {
		if s == "{}" {
			segs[i] = "{" + strings.TrimSuffix(segs[i-1], "s") + "}"
		}
	}
	return strings.Join(segs, "/")
}

// matchPattern reports whether an ID has the literal segments of a pattern in
// which * stands for a name.
func matchPattern(pattern, id string) bool {
	want := strings.Split(strings.TrimPrefix(pattern, "/"), "/")
	got := strings.Split(strings.TrimPrefix(id, "/"), "/")
	if !strings.HasPrefix(id, "/") || len(want) != len(got) {
		return false
	}
	for i := range want {
		if got[i] == "" || want[i] != "*" && want[i] != got[i] {
			return false
		}
	}
	return true
}

// canonicalID spells the segments of a resource ID that Azure names as azurerm
// does. Names keep their case.
func canonicalID(id string) string {
	segs := strings.Split(id, "/")
	for i := 1; i < len(segs); i += 2 {
		for _, known := range []string{"subscriptions", "resourceGroups", "providers"} {
			if strings.EqualFold(segs[i], known) {
				segs[i] = known
			}
		}
	}
	out := strings.Join(segs, "/")
	for _, known := range []string{
		"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/",
		"/providers/Microsoft.Insights/components/",
		"/providers/Microsoft.KeyVault/vaults/",
		"/providers/Microsoft.OperationalInsights/workspaces/",
		"/providers/Microsoft.Storage/storageAccounts/",
		"/providers/Microsoft.ContainerRegistry/registries/",
		"/providers/Microsoft.Network/virtualNetworks/",
	} {
		if i := strings.Index(strings.ToLower(out), strings.ToLower(known)); i >= 0 {
			out = out[:i] + known + out[i+len(known):]
		}
	}
	return out
}

// lastSegment is the name at the end of an ID.
func lastSegment(id string) string {
	return id[strings.LastIndexByte(id, '/')+1:]
}

// segmentAfter is the segment that follows a literal one, in any case, or "".
func segmentAfter(id, literal string) string {
	segs := strings.Split(id, "/")
	for i := 0; i+1 < len(segs); i++ {
		if strings.EqualFold(segs[i], literal) {
			return segs[i+1]
		}
	}
	return ""
}
