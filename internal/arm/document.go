package arm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Doc is a JSON object. Paths in its methods are property names joined with
// dots; names are matched without regard to case, as ARM does, and existing
// casing is kept.
type Doc map[string]any

// Get returns the value at path, or nil.
func (d Doc) Get(path string) any {
	var v any = map[string]any(d)
	for name := range strings.SplitSeq(path, ".") {
		m, ok := asMap(v)
		if !ok {
			return nil
		}
		k, ok := field(m, name)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// Has reports whether path is there and not null.
func (d Doc) Has(path string) bool { return d.Get(path) != nil }

// String returns the string at path, or "".
func (d Doc) String(path string) string {
	s, _ := d.Get(path).(string)
	return s
}

// Bool returns the boolean at path, or def when there is none.
func (d Doc) Bool(path string, def bool) bool {
	if b, ok := d.Get(path).(bool); ok {
		return b
	}
	return def
}

// Int returns the number at path, or def when there is none.
func (d Doc) Int(path string, def int) int {
	switch n := d.Get(path).(type) {
	case float64:
		return int(n)
	case int:
		return n
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return int(i)
		}
	}
	return def
}

// Object returns the object at path, or nil. Changes to it change d.
func (d Doc) Object(path string) Doc {
	m, _ := asMap(d.Get(path))
	return m
}

// List returns the array at path, or nil.
func (d Doc) List(path string) []any {
	l, _ := d.Get(path).([]any)
	return l
}

// Set puts v at path, making objects on the way.
func (d Doc) Set(path string, v any) {
	names := strings.Split(path, ".")
	m := map[string]any(d)
	for _, name := range names[:len(names)-1] {
		k, ok := field(m, name)
		if !ok {
			k = name
		}
		next, ok := asMap(m[k])
		if !ok {
			next = map[string]any{}
			m[k] = next
		}
		m = next
	}
	last := names[len(names)-1]
	if k, ok := field(m, last); ok {
		last = k
	}
	m[last] = v
}

// Default puts v at path unless a value is there.
func (d Doc) Default(path string, v any) {
	if !d.Has(path) {
		d.Set(path, v)
	}
}

// Delete removes path.
func (d Doc) Delete(path string) {
	parent, last := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		parent, last = path[:i], path[i+1:]
	}
	m := map[string]any(d)
	if parent != "" {
		m = d.Object(parent)
	}
	if k, ok := field(m, last); ok {
		delete(m, k)
	}
}

// Clone is a deep copy.
func (d Doc) Clone() Doc {
	if d == nil {
		return nil
	}
	m, _ := asMap(clone(map[string]any(d)))
	return m
}

// Merge applies patch to d as RFC 7396 says: objects merge, null removes,
// anything else replaces.
func (d Doc) Merge(patch Doc) {
	for _, name := range slices.Sorted(maps.Keys(patch)) {
		v := patch[name]
		k, ok := field(d, name)
		if !ok {
			k = name
		}
		if v == nil {
			delete(d, k)
			continue
		}
		if sub, ok := asMap(v); ok {
			old, ok := asMap(d[k])
			if !ok {
				old = map[string]any{}
				d[k] = old
			}
			Doc(old).Merge(sub)
			continue
		}
		d[k] = clone(v)
	}
}

// Decode converts the value at path ("" for all of d) into out, a pointer to a
// typed value. The error is an InvalidRequestContent that names the property.
func (d Doc) Decode(path string, out any) error {
	var v any = map[string]any(d)
	if path != "" {
		v = d.Get(path)
	}
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		e := BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: '%s'.", err)
		e.Target = path
		return e
	}
	return nil
}

func asMap(v any) (map[string]any, bool) {
	switch m := v.(type) {
	case map[string]any:
		return m, m != nil
	case Doc:
		return m, m != nil
	}
	return nil, false
}

func clone(v any) any {
	switch x := v.(type) {
	case Doc:
		return clone(map[string]any(x))
	case map[string]any:
		m := make(map[string]any, len(x))
		for k, v := range x {
			m[k] = clone(v)
		}
		return m
	case []any:
		l := make([]any, len(x))
		for i, v := range x {
			l[i] = clone(v)
		}
		return l
	}
	return v
}

// field finds name in m without regard to case, exact matches first.
func field(m map[string]any, name string) (string, bool) {
	if _, ok := m[name]; ok {
		return name, true
	}
	for k := range m {
		if strings.EqualFold(k, name) {
			return k, true
		}
	}
	return "", false
}
