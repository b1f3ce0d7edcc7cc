package provider

import "strings"

// field says where an argument or attribute lives in a resource's document. Build
// one with in, out, send, block, blocks, constant or ours.
type field struct {
	attr string
	// path is the dotted place of the value in the document, or in the enclosing
	// block's object. "" in a block means the enclosing object itself.
	path   string
	fields []field
	many   bool
	conv   conversion
	flow   flow
	value  any // of a constant
	// always sends a value even if it is empty or not configured.
	always bool
	empty  any // what always sends for null
	// absent is the state for a document without the property, where the
	// schema's default is not it.
	absent any
	// there decides if a block's object counts as present.
	there  func(map[string]any) bool
	majors []int
}

type flow int

const (
	both flow = iota
	readOnly
	sendOnly
	fixed
	handled
)

// conversion turns a state value into a document value and back. A nil result
// means there is none.
type conversion struct {
	send func(any) any
	read func(any) any
}

// in maps an argument to a property, both ways.
func in(attr, path string) field { return field{attr: attr, path: path} }

// out maps a property that only the service sets.
func out(attr, path string) field { return field{attr: attr, path: path, flow: readOnly} }

// send maps an argument that the service does not give back: the state keeps what
// was configured.
func send(attr, path string) field { return field{attr: attr, path: path, flow: sendOnly} }

// block maps a block that occurs at most once to an object.
func block(attr, path string, fields ...field) field {
	return field{attr: attr, path: path, fields: fields}
}

// blocks maps blocks to an array of objects.
func blocks(attr, path string, fields ...field) field {
	return field{attr: attr, path: path, fields: fields, many: true}
}

// constant is a property with no argument.
func constant(path string, v any) field { return field{path: path, value: v, flow: fixed} }

// within puts the paths of fields into an object.
func within(path string, fields ...field) []field {
	out := make([]field, len(fields))
	for i, f := range fields {
		f.path = path + "." + f.path
		out[i] = f
	}
	return out
}

// ours names arguments that a hook of the type, or the provider itself, handles.
func ours(attrs ...string) field { return field{attr: strings.Join(attrs, " "), flow: handled} }

// as converts the values of the field.
func (f field) as(c conversion) field { f.conv = c; return f }

// only limits a field to major versions, for arguments that share a name but not
// a meaning.
func (f field) only(majors ...int) field { f.majors = majors; return f }

// sentAs sends v, which may be null, where nothing is configured, and sends empty
// values.
func (f field) sentAs(v any) field { f.always, f.empty = true, v; return f }

// orElse is the state where the document has no value.
func (f field) orElse(v any) field { f.absent = v; return f }

// ifThere says when a block's object counts as present.
func (f field) ifThere(there func(map[string]any) bool) field { f.there = there; return f }

func (f field) applies(major int) bool {
	if f.majors == nil {
		return true
	}
	for _, m := range f.majors {
		if m == major {
			return true
		}
	}
	return false
}

// codec converts between states and documents of one major version.
type codec struct {
	major int
	// explicit sends null for what is not configured, so that an update removes
	// it.
	explicit bool
}

// encode writes the arguments of obj into doc.
func (c codec) encode(fields []field, as attributes, obj, doc map[string]any) {
	for _, f := range fields {
		if !f.applies(c.major) {
			continue
		}
		if f.flow == fixed {
			setPath(doc, f.path, f.value)
			continue
		}
		a := as[f.attr]
		if a == nil || f.flow == readOnly || f.flow == handled {
			continue
		}
		v := dropUnknown(obj[f.attr])
		if f.fields != nil {
			c.encodeBlock(f, a, asList(v), doc)
			continue
		}
		c.encodeValue(f, v, doc)
	}
}

func (c codec) encodeValue(f field, v any, doc map[string]any) {
	switch v.(type) {
	case bool, float64:
	default:
		if isZero(v) && !f.always {
			v = nil
		}
	}
	if v != nil && f.conv.send != nil {
		v = f.conv.send(v)
	}
	if v == nil && f.always {
		v = f.empty
	}
	if v == nil && !c.explicit && !f.always {
		return
	}
	if v == nil && getPath(doc, f.path) != nil {
		return
	}
	setPath(doc, f.path, cloneValue(v))
}

func (c codec) encodeBlock(f field, a *attribute, elems []any, doc map[string]any) {
	if f.many {
		if len(elems) == 0 && !f.always && !c.explicit {
			return
		}
		arr := make([]any, 0, len(elems))
		// an array is replaced whole, so that nothing has to be removed from it
		whole := codec{major: c.major}
		for _, e := range elems {
			o := map[string]any{}
			whole.encode(f.fields, a.Attributes, asObject(e), o)
			arr = append(arr, o)
		}
		setPath(doc, f.path, arr)
		return
	}
	if len(elems) == 0 {
		switch {
		case f.path == "" && c.explicit:
			c.encode(f.fields, a.Attributes, nil, doc)
		case f.always || c.explicit && f.path != "":
			setPath(doc, f.path, cloneValue(f.empty))
		}
		return
	}
	// An element written as {} arrives as null members; it is still there.
	o := map[string]any{}
	if f.path == "" {
		o = doc
	} else if prev := asObject(getPath(doc, f.path)); prev != nil {
		o = prev
	}
	c.encode(f.fields, a.Attributes, asObject(elems[0]), o)
	if f.path != "" {
		setPath(doc, f.path, o)
	}
}

// decode reads doc into obj, which holds the state before: what the document does
// not say stays.
func (c codec) decode(fields []field, as attributes, doc, obj map[string]any) {
	for _, f := range fields {
		a := as[f.attr]
		if a == nil || !f.applies(c.major) || f.flow == sendOnly || f.flow == handled || f.flow == fixed {
			continue
		}
		raw := any(doc)
		if f.path != "" {
			raw = getPath(doc, f.path)
		}
		if f.fields != nil {
			obj[f.attr] = c.decodeBlock(f, a, raw, asList(obj[f.attr]))
			continue
		}
		v := raw
		if v != nil && f.conv.read != nil {
			v = f.conv.read(v)
		}
		if v == nil {
			v = f.absent
		}
		if v == nil {
			v = a.Default
		}
		if v == nil && a.Type == "map" && f.flow == readOnly {
			v = map[string]any{}
		}
		obj[f.attr] = v
	}
}

func (c codec) decodeBlock(f field, a *attribute, raw any, before []any) any {
	var elems []any
	if f.many {
		elems = asList(raw)
	} else if o := asObject(raw); o != nil && (f.there == nil && f.path != "" || f.there != nil && f.there(o)) {
		elems = []any{o}
	}
	out := make([]any, 0, len(elems))
	for i, e := range elems {
		o := map[string]any{}
		if i < len(before) && a.Type == "list" {
			o = cloneObject(asObject(dropUnknown(before[i])))
		}
		if o == nil {
			o = map[string]any{}
		}
		c.decode(f.fields, a.Attributes, asObject(e), o)
		out = append(out, fillObject(a.Attributes, o))
	}
	return out
}

// fillObject gives o every attribute of as.
func fillObject(as attributes, o map[string]any) map[string]any {
	for name := range as {
		if _, ok := o[name]; !ok {
			o[name] = nil
		}
	}
	return o
}

// getPath reads a dotted path.
func getPath(doc map[string]any, path string) any {
	var v any = doc
	for part := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}

// setPath writes a dotted path and makes the objects on the way.
func setPath(doc map[string]any, path string, v any) {
	m := doc
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		next, ok := m[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[part] = next
		}
		m = next
	}
	m[parts[len(parts)-1]] = v
}

// mergeDocument lays patch over base as a JSON merge patch does: null removes,
// objects merge, everything else replaces. Objects whose keys are the user's own
// names are replaced too, else nothing could be taken out of them.
func mergeDocument(base, patch map[string]any) map[string]any {
	if base == nil {
		base = map[string]any{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(base, k)
		case map[string]any:
			if k == "tags" || k == "userAssignedIdentities" || k == "metadata" {
				base[k] = v
				continue
			}
			merged := mergeDocument(asObject(base[k]), v)
			if len(merged) == 0 && len(v) > 0 {
				// Everything that was in it is gone.
				delete(base, k)
				continue
			}
			base[k] = merged
		default:
			base[k] = v
		}
	}
	return base
}

// diffDocument is the merge patch that makes after of before. Only the outermost
// objects are compared inside; what is within properties is sent whole.
func diffDocument(before, after map[string]any) map[string]any {
	patch := map[string]any{}
	for k, v := range after {
		if k == "properties" {
			if p := diffDocument(asObject(before[k]), asObject(v)); len(p) > 0 {
				patch[k] = p
			}
			continue
		}
		if !equalValues(before[k], v) {
			patch[k] = v
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			patch[k] = nil
		}
	}
	return patch
}

// mappedAttributes are the argument names that fields cover.
func mappedAttributes(fields []field, major int) map[string]*field {
	out := map[string]*field{}
	for i := range fields {
		f := &fields[i]
		if !f.applies(major) || f.attr == "" {
			continue
		}
		for name := range strings.FieldsSeq(f.attr) {
			out[name] = f
		}
	}
	return out
}
