package provider

import (
	"sort"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// planObject says what a block will hold after apply, as the plugin SDK that
// azurerm is written with would plan it: arguments from the configuration, then
// defaults, then what was computed before. prior is nil for a block that does not
// exist yet.
func planObject(as attributes, prior, config map[string]any) map[string]any {
	out := make(map[string]any, len(as))
	for name, a := range as {
		out[name] = planAttribute(a, prior != nil, prior[name], config[name])
	}
	return out
}

func planAttribute(a *attribute, exists bool, prior, config any) any {
	switch {
	case a.WriteOnly:
		return nil
	case a.Type == "object": // timeouts
		return config
	case isUnknown(config):
		return unknown
	case a.nested():
		return planNested(a, exists, prior, config)
	case config == nil:
		return planAbsent(a, exists, prior)
	}
	if exists && a.same(prior, config) {
		return prior
	}
	return a.normal(config)
}

// planAbsent plans an argument that is not configured.
func planAbsent(a *attribute, exists bool, prior any) any {
	if a.Default != nil {
		if exists && a.same(prior, a.Default) {
			return prior
		}
		return a.Default
	}
	if a.Computed {
		if exists {
			return prior
		}
		return unknown
	}
	if exists && isZero(prior) {
		return prior
	}
	return nil
}

// planNested plans a block, or an attribute that holds objects.
func planNested(a *attribute, exists bool, prior, configured any) any {
	config := asList(configured)
	if len(config) == 0 {
		// An attribute that is set to [] is configured; a block that is not
		// there is not.
		if a.Computed && (a.Block || configured == nil) {
			if exists {
				return prior
			}
			return unknown
		}
		if exists && isZero(prior) {
			return prior
		}
		if a.Block || configured != nil {
			return []any{}
		}
		return nil
	}
	before := asList(prior)
	used := make([]bool, len(before))
	out := make([]any, len(config))
	for i, c := range config {
		if isUnknown(c) {
			out[i] = unknown
			continue
		}
		cfg := asObject(c)
		var old map[string]any
		if a.Type == "set" {
			old = matchElement(a.Attributes, before, used, cfg)
		} else if i < len(before) {
			old = asObject(before[i])
		}
		out[i] = planObject(a.Attributes, old, cfg)
	}
	return out
}

// matchElement finds the element of a set that has the configured values, so that
// its computed ones are kept.
func matchElement(as attributes, before []any, used []bool, cfg map[string]any) map[string]any {
	for i, b := range before {
		old := asObject(b)
		if used[i] || old == nil {
			continue
		}
		fits := true
		for name, a := range as {
			if c := cfg[name]; c != nil && !a.same(old[name], c) {
				fits = false
				break
			}
		}
		if fits {
			used[i] = true
			return old
		}
	}
	return nil
}

// normal is the form in which the state keeps a configured value.
func (a *attribute) normal(v any) any {
	if s, ok := v.(string); ok && a.State == "location" {
		return normalizeLocation(s)
	}
	return v
}

// same reports whether azurerm sees no difference between two values of the
// attribute.
func (a *attribute) same(x, y any) bool {
	if isUnknown(x) || isUnknown(y) {
		return false
	}
	if equalValues(x, y) || isZero(x) && isZero(y) {
		return true
	}
	switch xs := x.(type) {
	case string:
		ys, ok := y.(string)
		if !ok {
			return false
		}
		switch a.Suppress {
		case "case":
			return strings.EqualFold(xs, ys)
		case "location":
			return normalizeLocation(xs) == normalizeLocation(ys)
		}
	case []any:
		yl, ok := y.([]any)
		if !ok || len(xs) != len(yl) {
			return false
		}
		if a.nested() {
			return a.sameElements(xs, yl)
		}
		if a.Type == "set" || a.Suppress == "order" {
			return equalStringSets(stringList(x), stringList(y))
		}
	}
	return false
}

func (a *attribute) sameElements(x, y []any) bool {
	used := make([]bool, len(y))
	for i := range x {
		found := false
		for j := range y {
			if used[j] || a.Type == "list" && i != j {
				continue
			}
			if sameObject(a.Attributes, asObject(x[i]), asObject(y[j])) {
				used[j], found = true, true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func sameObject(as attributes, x, y map[string]any) bool {
	for name, a := range as {
		if !a.same(x[name], y[name]) {
			return false
		}
	}
	return true
}

func equalStringSets(x, y []string) bool {
	x, y = append([]string(nil), x...), append([]string(nil), y...)
	sort.Strings(x)
	sort.Strings(y)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}

func normalizeLocation(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, " ", ""))
}

// replacements lists the arguments whose change makes a new resource.
func replacements(as attributes, prior, planned map[string]any, at *tftypes.AttributePath) []*tftypes.AttributePath {
	var out []*tftypes.AttributePath
	for _, name := range as.names() {
		a := as[name]
		x, y := prior[name], planned[name]
		if a.Type == "object" || a.same(x, y) {
			continue
		}
		if isUnknown(y) && a.Computed && x == nil {
			continue
		}
		path := at.WithAttributeName(name)
		if !a.nested() || isUnknown(y) {
			if a.ForceNew {
				out = append(out, path)
			}
			continue
		}
		xs, ys := asList(x), asList(y)
		if a.ForceNew && len(xs) != len(ys) {
			out = append(out, path)
			continue
		}
		if a.Type == "set" {
			// A path cannot name a set's element before apply.
			if anyForceNew(a.Attributes) {
				out = append(out, path)
			}
			continue
		}
		for i := range max(len(xs), len(ys)) {
			var xo, yo map[string]any
			if i < len(xs) {
				xo = asObject(xs[i])
			}
			if i < len(ys) {
				yo = asObject(ys[i])
			}
			inner := replacements(a.Attributes, xo, yo, path.WithElementKeyInt(i))
			if len(inner) > 0 && i >= len(ys) {
				// The element is gone, so only the whole list can be named.
				inner = []*tftypes.AttributePath{path}
			}
			out = append(out, inner...)
		}
	}
	return out
}

func anyForceNew(as attributes) bool {
	for _, a := range as {
		if a.ForceNew || anyForceNew(a.Attributes) {
			return true
		}
	}
	return false
}

// reconcile returns what was read, except that values which azurerm takes for the
// same as those of the state stay as they were in it. It keeps a refresh from
// showing changes that are none.
func reconcile(as attributes, state, read map[string]any) map[string]any {
	out := make(map[string]any, len(as))
	for name, a := range as {
		s, r := state[name], read[name]
		switch {
		case isUnknown(s):
			out[name] = r
		case a.Type == "object":
			out[name] = s
		case s == nil && a.Computed:
			out[name] = r
		case a.same(s, r):
			out[name] = s
		case a.nested() && a.Type == "list":
			out[name] = reconcileList(a, asList(s), r)
		default:
			out[name] = r
		}
	}
	return out
}

func reconcileList(a *attribute, state []any, read any) any {
	rl := asList(read)
	if rl == nil {
		return read
	}
	out := make([]any, len(rl))
	for i, r := range rl {
		if i < len(state) && asObject(state[i]) != nil && asObject(r) != nil {
			out[i] = reconcile(a.Attributes, asObject(state[i]), asObject(r))
			continue
		}
		out[i] = r
	}
	return out
}

// changed reports whether apply will find anything to do.
func changed(as attributes, prior, planned map[string]any) bool {
	for name, a := range as {
		if a.Type != "object" && !a.same(prior[name], planned[name]) {
			return true
		}
	}
	return false
}
