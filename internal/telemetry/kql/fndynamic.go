package kql

import (
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
)

// dynamicFunctions are those of property bags, and those that make dynamic
// values.
func dynamicFunctions() map[string]*function {
	return map[string]*function{
		"bag_keys": {args: "y", ret: Dynamic, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kBag {
				return Value{}
			}
			items := make([]Value, len(v.d.keys))
			for i, k := range v.d.keys {
				items[i] = StringValue(k)
			}
			return arrayValue(items)
		}},
		"bag_has_key": {args: "ys", ret: Bool, call: func(a []Value) Value {
			v := a[0]
			for _, step := range keyPath(a[1].s) {
				e := v.expand()
				switch {
				case step.k == kString && e.k == kBag && slices.Contains(e.d.keys, step.s):
					v = e.field(step.s)
				case step.k == kLong && e.k == kArray && step.n >= 0 && step.n < int64(len(e.d.items)):
					v = e.item(step.n)
				default:
					return BoolValue(false)
				}
			}
			return BoolValue(true)
		}},
		// The leftmost value of a key counts.
		"bag_merge": {args: "yy*", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			var keys []string
			var items []Value
			seen := map[string]bool{}
			for _, v := range a {
				v = v.expand()
				if v.k != kBag {
					continue
				}
				for i, k := range v.d.keys {
					if !seen[k] {
						seen[k] = true
						keys, items = append(keys, k), append(items, v.d.items[i])
					}
				}
			}
			return bagValue(keys, items)
		}},
		"bag_remove_keys": {args: "yy", ret: Dynamic, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kBag {
				return Value{}
			}
			for _, k := range elements(a[1]) {
				v = removeKey(v, keyPath(k.String()))
			}
			return v
		}},
		"bag_set_key": {args: "ysa", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kBag {
				return Value{}
			}
			return setKeyAt(v, keyPath(a[1].s), a[2])
		}},
		"bag_pack": {args: "sa*", ret: Dynamic, nulls: true, prepare: func(b *binder, args []*expr) func(a []Value) Value {
			for i := 0; i < len(args); i += 2 {
				if args[i].typ != String && args[i].typ != Dynamic {
					b.fail(args[i].at, "", "bag_pack(): argument %d must be string, not %s", i+1, args[i].typ)
				}
			}
			if len(args)%2 != 0 {
				b.fail(args[0].at, "", "bag_pack() takes names and values in pairs")
			}
			return func(a []Value) Value {
				keys, items := make([]string, len(a)/2), make([]Value, len(a)/2)
				for i := range keys {
					keys[i], items[i] = a[2*i].String(), a[2*i+1]
				}
				return bagValue(keys, items)
			}
		}},
		"pack_array": {args: "aa*", ret: Dynamic, nulls: true, call: func(a []Value) Value { return arrayValue(slices.Clone(a)) }},
		"pack_all":   {special: bindPackAll, usage: "pack_all([true])"},
		"bag_zip": {args: "yy", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			keys := a[0].expand()
			if keys.k != kArray {
				return Value{}
			}
			var names []string
			var items []Value
			for i, k := range keys.d.items {
				if k.k == kString {
					names, items = append(names, k.s), append(items, a[1].item(int64(i)))
				}
			}
			return bagValue(names, items)
		}},
		"treepath": {args: "y", ret: Dynamic, call: func(a []Value) Value {
			var paths []Value
			treePath(a[0], "", &paths, 0)
			return arrayValue(paths)
		}},
		"dynamic_to_json": {args: "y", ret: String, nulls: true, call: func(a []Value) Value {
			return StringValue(string(sortKeys(a[0], 0).appendDynamic(nil)))
		}},
		"parse_csv": {args: "s", ret: Dynamic, name: asFirst, call: func(a []Value) Value {
			r := csv.NewReader(strings.NewReader(a[0].s))
			r.LazyQuotes = true
			r.FieldsPerRecord = -1
			fields, err := r.Read()
			if err != nil {
				return arrayValue([]Value{StringValue(a[0].s)})
			}
			items := make([]Value, len(fields))
			for i, f := range fields {
				items[i] = StringValue(f)
			}
			return arrayValue(items)
		}},
	}
}

// keyPath reads a key, or a path such as $.a.b.
func keyPath(s string) []Value {
	if strings.HasPrefix(s, "$") {
		if steps, ok := jsonPath(s); ok {
			return steps
		}
	}
	return []Value{StringValue(s)}
}

// removeKey returns a bag without what is at a path.
func removeKey(v Value, path []Value) Value {
	e := v.expand()
	if e.k != kBag || len(path) == 0 || path[0].k != kString {
		return v
	}
	i := slices.Index(e.d.keys, path[0].s)
	if i < 0 {
		return v
	}
	items := slices.Clone(e.d.items)
	if len(path) > 1 {
		items[i] = removeKey(items[i], path[1:])
		return bagValue(e.d.keys, items)
	}
	return bagValue(slices.Delete(slices.Clone(e.d.keys), i, i+1), slices.Delete(items, i, i+1))
}

// setKeyAt returns a bag with a value at a path, whose bags are made as needed.
func setKeyAt(v Value, path []Value, to Value) Value {
	if len(path) == 0 || path[0].k != kString {
		return to
	}
	e := v.expand()
	if e.k != kBag {
		e = bagValue(nil, nil)
	}
	i := slices.Index(e.d.keys, path[0].s)
	keys, items := slices.Clone(e.d.keys), slices.Clone(e.d.items)
	if i < 0 {
		i = len(keys)
		keys, items = append(keys, path[0].s), append(items, Value{})
	}
	items[i] = setKeyAt(items[i], path[1:], to)
	return bagValue(keys, items)
}

// bindPackAll binds pack_all(ignore empty): a bag of all columns.
func bindPackAll(b *binder, e *callExpr, sc *scope, en *env) *expr {
	if sc == nil || sc.agg != nil {
		return b.fail(e.at, "", "pack_all() is not allowed here")
	}
	skip := false
	if len(e.args) == 1 {
		x := b.expr(e.args[0].e, sc, en)
		if x.val == nil || x.typ != Bool {
			return b.fail(e.at, "", "pack_all(): the argument must be true or false")
		}
		skip = x.val.Bool()
	}
	args := make([]*expr, len(sc.cols))
	for i := range sc.cols {
		args[i] = stringNotNull(slotExpr(&sc.cols[i], e.at))
	}
	x := b.x
	names := make([]string, len(sc.cols))
	for i, c := range sc.cols {
		names[i] = c.name
	}
	return b.node(e.at, Dynamic, func(f []Value) Value {
		keys, items := make([]string, 0, len(args)), make([]Value, 0, len(args))
		for i, a := range args {
			v := a.eval(f)
			if skip && isEmpty(v) {
				continue
			}
			keys, items = append(keys, names[i]), append(items, v)
		}
		return x.checked(bagValue(keys, items))
	}, args...)
}

// treePath lists the paths to all leaves of a value.
func treePath(v Value, prefix string, paths *[]Value, depth int) {
	v = v.expand()
	if v.d == nil || depth > maxJSONDepth || len(*paths) > maxItems {
		return
	}
	for i, it := range v.d.items {
		path := prefix + "[0]"
		if v.k == kBag {
			path = prefix + "['" + v.d.keys[i] + "']"
		} else if i > 0 {
			continue
		}
		*paths = append(*paths, StringValue(path))
		treePath(it, path, paths, depth+1)
	}
}

// sortKeys puts the keys of all bags in order.
func sortKeys(v Value, depth int) Value {
	v = v.expand()
	if v.d == nil || depth > maxJSONDepth {
		return v
	}
	items := make([]Value, len(v.d.items))
	for i, it := range v.d.items {
		items[i] = sortKeys(it, depth+1)
	}
	if v.k == kArray {
		return arrayValue(items)
	}
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(v.d.keys[i], v.d.keys[j]) })
	keys, sorted := make([]string, len(order)), make([]Value, len(order))
	for i, o := range order {
		keys[i], sorted[i] = v.d.keys[o], items[o]
	}
	return bagValue(keys, sorted)
}

// bindExtractJSON binds extract_json(path, text, typeof(type)).
func bindExtractJSON(b *binder, e *callExpr, sc *scope, en *env) *expr {
	t := String
	args := e.args
	if len(args) == 3 {
		te, ok := args[2].e.(*typeExpr)
		if !ok {
			return b.fail(args[2].e.pos(), "", "extract_json(): argument 3 must be typeof(…)")
		}
		t, args = te.typ, args[:2]
	}
	bound := make([]*expr, len(args))
	for i, a := range args {
		bound[i] = b.expr(a.e, sc, en)
	}
	f := &function{args: "sa", ret: t, nulls: true, call: func(a []Value) Value {
		steps, ok := jsonPath(a[0].s)
		if !ok {
			return Value{}
		}
		v := a[1]
		if v.k == kString {
			v = parseJSONText(v.s)
		}
		for _, s := range steps {
			if s.k == kString {
				v = v.field(s.s)
			} else {
				v = v.item(s.n)
			}
		}
		if v.k == kNull {
			return v
		}
		return cast(v, t)
	}}
	return b.call(&callExpr{at: e.at, fn: e.fn}, f, bound)
}

// jsonPath reads $.a.b[0]['c'].
func jsonPath(s string) ([]Value, bool) {
	s, ok := strings.CutPrefix(s, "$")
	if !ok {
		return nil, false
	}
	var steps []Value
	for s != "" {
		switch s[0] {
		case '.':
			end := strings.IndexAny(s[1:], ".[")
			if end < 0 {
				end = len(s) - 1
			}
			steps, s = append(steps, StringValue(s[1:1+end])), s[1+end:]
		case '[':
			end := strings.IndexByte(s, ']')
			if end < 0 {
				return nil, false
			}
			part := s[1:end]
			s = s[end+1:]
			if len(part) > 1 && (part[0] == '\'' || part[0] == '"') {
				steps = append(steps, StringValue(part[1:len(part)-1]))
				continue
			}
			n, err := strconv.ParseInt(part, 10, 32)
			if err != nil {
				return nil, false
			}
			steps = append(steps, LongValue(n))
		default:
			return nil, false
		}
	}
	return steps, true
}
