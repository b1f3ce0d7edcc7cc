package kql

import "slices"

// maxItems is how many elements an array may have that an expression makes; the
// documentation gives it for range().
const maxItems = 1 << 20

// arrayFunctions are those of arrays and of sets, which are arrays too.
func arrayFunctions() map[string]*function {
	array := func(args string, f func(items []Value, a []Value) Value) *function {
		return &function{args: args, ret: Dynamic, nulls: true, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kArray {
				return Value{}
			}
			return f(v.d.items, a)
		}}
	}
	return map[string]*function{
		"array_length": {args: "y", ret: Long, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kArray {
				return Value{}
			}
			return LongValue(int64(len(v.d.items)))
		}},
		"array_concat": {args: "yy*", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			var items []Value
			for _, v := range a {
				if v = v.expand(); v.k == kArray {
					items = append(items, v.d.items...)
				}
			}
			return arrayValue(items)
		}},
		"array_slice": array("yii", func(items, a []Value) Value {
			n := int64(len(items))
			from, to := a[1].n, a[2].n
			if from < 0 {
				from += n
			}
			if to < 0 {
				to += n
			}
			from, to = max(0, from), min(to+1, n)
			if from >= to {
				return arrayValue(nil)
			}
			return arrayValue(items[from:to])
		}),
		"array_reverse": array("y", func(items, _ []Value) Value {
			out := slices.Clone(items)
			slices.Reverse(out)
			return arrayValue(out)
		}),
		"array_sum": {args: "y", ret: Real, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kArray {
				return Value{}
			}
			sum := 0.0
			for _, it := range v.d.items {
				n := cast(it, Real)
				if n.k == kNull {
					return n
				}
				sum += n.Real()
			}
			return RealValue(sum)
		}},
		"array_index_of": {args: "yai?i?i?", ret: Long, nulls: true, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kArray {
				return Value{}
			}
			start, length, occurrence := int64(0), int64(-1), int64(1)
			for i, p := range []*int64{&start, &length, &occurrence} {
				if len(a) > i+2 {
					*p = a[i+2].n
				}
			}
			n := int64(len(v.d.items))
			if start < 0 {
				start = max(0, start+n)
			}
			end := n
			if length >= 0 && length < n-start {
				end = start + length
			}
			want := keyOf(a[1])
			for i := start; i < end; i++ {
				if keyOf(v.d.items[i]) == want {
					if occurrence--; occurrence == 0 {
						return LongValue(i)
					}
				}
			}
			return LongValue(-1)
		}},
		"array_sort_asc":     {args: "ya?", ret: Dynamic, nulls: true, prepare: arraySort(true)},
		"array_sort_desc":    {args: "ya?", ret: Dynamic, nulls: true, prepare: arraySort(false)},
		"array_rotate_left":  array("yi", func(items, a []Value) Value { return rotate(items, a[1].n) }),
		"array_rotate_right": array("yi", func(items, a []Value) Value { return rotate(items, -a[1].n) }),
		"array_shift_left":   array("yia?", func(items, a []Value) Value { return shift(items, a[1].n, a[2:]) }),
		"array_shift_right":  array("yia?", func(items, a []Value) Value { return shift(items, -a[1].n, a[2:]) }),
		"array_iff": array("yaa", func(items, a []Value) Value {
			out := make([]Value, len(items))
			pick := func(v Value, i int) Value {
				if e := v.expand(); e.k == kArray {
					return e.item(int64(i))
				}
				return v
			}
			for i, it := range items {
				c := castBool(it)
				switch {
				case c.k == kNull:
				case c.n != 0:
					out[i] = pick(a[1], i)
				default:
					out[i] = pick(a[2], i)
				}
			}
			return arrayValue(out)
		}),
		"array_split": array("ya", func(items, a []Value) Value {
			var parts []Value
			from := int64(0)
			for _, at := range elements(a[1]) {
				i := castLong(at).n
				if i < 0 {
					i += int64(len(items))
				}
				i = max(from, min(i, int64(len(items))))
				parts = append(parts, arrayValue(items[from:i]))
				from = i
			}
			return arrayValue(append(parts, arrayValue(items[from:])))
		}),
		"strcat_array": {args: "ys", ret: String, nulls: true, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kArray {
				return StringValue(v.String())
			}
			var out []byte
			for i, it := range v.d.items {
				if i > 0 {
					out = append(out, a[1].s...)
				}
				out = it.appendText(out)
			}
			return StringValue(string(out))
		}},
		"zip": {args: "yyy*", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			n := 0
			lists := make([][]Value, len(a))
			for i, v := range a {
				lists[i] = elements(v)
				n = max(n, len(lists[i]))
			}
			out := make([]Value, n)
			for i := range out {
				row := make([]Value, len(lists))
				for j, l := range lists {
					if i < len(l) {
						row[j] = l[i]
					}
				}
				out[i] = arrayValue(row)
			}
			return arrayValue(out)
		}},
		"range": {args: "ccc?", ret: Dynamic, prepare: rangeArray},
		"repeat": {args: "ai", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			if a[1].k == kNull || a[1].n < 0 || a[1].n > maxItems {
				return Value{}
			}
			items := make([]Value, a[1].n)
			for i := range items {
				items[i] = a[0]
			}
			return arrayValue(items)
		}},
		"set_union": {args: "yyy*", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			out := newSet()
			for _, v := range a {
				for _, it := range setItems(v) {
					out.add(it)
				}
			}
			return arrayValue(out.items)
		}},
		"set_intersect": {args: "yyy*", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			items := setOf(a[0]).items
			for _, v := range a[1:] {
				other := setOf(v)
				items = slices.DeleteFunc(slices.Clone(items), func(it Value) bool { return !other.has(it) })
			}
			return arrayValue(items)
		}},
		"set_difference": {args: "yyy*", ret: Dynamic, nulls: true, call: func(a []Value) Value {
			items := setOf(a[0]).items
			for _, v := range a[1:] {
				other := setOf(v)
				items = slices.DeleteFunc(slices.Clone(items), other.has)
			}
			return arrayValue(items)
		}},
		"set_has_element": {args: "ya", ret: Bool, nulls: true, call: func(a []Value) Value {
			v := a[0].expand()
			if v.k != kArray {
				return Value{}
			}
			want := keyOf(a[1])
			return BoolValue(slices.ContainsFunc(v.d.items, func(it Value) bool { return keyOf(it) == want }))
		}},
		"jaccard_index": {args: "yy", ret: Real, call: func(a []Value) Value {
			x, y := setOf(a[0]), setOf(a[1])
			both := 0
			for _, it := range x.items {
				if y.has(it) {
					both++
				}
			}
			return RealValue(float64(both) / float64(len(x.items)+len(y.items)-both))
		}},
	}
}

// orderedSet keeps distinct values in the order in which they came.
type orderedSet struct {
	seen  map[setKey]struct{}
	items []Value
}

func newSet() *orderedSet { return &orderedSet{seen: map[setKey]struct{}{}} }

func setOf(v Value) *orderedSet {
	s := newSet()
	for _, it := range setItems(v) {
		s.add(it)
	}
	return s
}

func setItems(v Value) []Value {
	if v = v.expand(); v.k == kArray {
		return v.d.items
	}
	return nil
}

func (s *orderedSet) add(v Value) bool {
	k := keyOf(v)
	if _, ok := s.seen[k]; ok {
		return false
	}
	s.seen[k] = struct{}{}
	s.items = append(s.items, v)
	return true
}

func (s *orderedSet) has(v Value) bool {
	_, ok := s.seen[keyOf(v)]
	return ok
}

// arraySort is array_sort_asc(array, nulls last). Sorting several arrays along is
// not supported: it has several results.
func arraySort(asc bool) func(b *binder, args []*expr) func(a []Value) Value {
	return func(b *binder, args []*expr) func(a []Value) Value {
		if len(args) > 1 && args[1].typ != Bool {
			b.fail(args[1].at, "", "sorting several arrays at once is not supported")
			return nil
		}
		return func(a []Value) Value {
			v := a[0].expand()
			if v.k != kArray {
				return Value{}
			}
			return arrayValue(sortItems(v.d.items, asc, len(a) < 2 || a[1].Bool()))
		}
	}
}

// sortItems sorts an array; nulls are last, or first when nullsLast is false.
func sortItems(items []Value, asc, nullsLast bool) []Value {
	out := slices.Clone(items)
	slices.SortStableFunc(out, func(a, b Value) int {
		switch {
		case a.k == kNull && b.k == kNull:
			return 0
		case a.k == kNull || b.k == kNull:
			if (a.k == kNull) == nullsLast {
				return 1
			}
			return -1
		}
		n, ok := compareValues(a, b)
		if !ok {
			n = int(a.k) - int(b.k)
		}
		if !asc {
			n = -n
		}
		return n
	})
	return out
}

func rotate(items []Value, by int64) Value {
	n := int64(len(items))
	if n == 0 {
		return arrayValue(nil)
	}
	by = (by%n + n) % n
	return arrayValue(slices.Concat(items[by:], items[:by]))
}

func shift(items []Value, by int64, fill []Value) Value {
	out := make([]Value, len(items))
	var v Value
	if len(fill) > 0 {
		v = fill[0]
	}
	for i := range out {
		j := int64(i) + by
		if j >= 0 && j < int64(len(items)) {
			out[i] = items[j]
		} else {
			out[i] = v
		}
	}
	return arrayValue(out)
}

// rangeArray is range(start, stop, step).
func rangeArray(b *binder, args []*expr) func(a []Value) Value {
	t := rangeType(b, args)
	if b.failed() {
		return nil
	}
	return func(a []Value) Value {
		step := defaultStep(t)
		if len(a) > 2 {
			step = a[2]
		}
		n := rangeCount(a[0], a[1], step)
		if n < 0 {
			return Value{}
		}
		items := make([]Value, min(n, maxItems)) // the documentation cuts it off there
		for i := range items {
			items[i] = rangeItem(a[0], step, int64(i))
		}
		return arrayValue(items)
	}
}

// rangeType is the type of the values from args[0] to args[1], by steps of
// args[2] if it is there.
func rangeType(b *binder, args []*expr) Type {
	from, to := args[0].typ, args[1].typ
	t := from
	switch {
	case isNumber(from) && isNumber(to):
		t = Long
		if from == Real || to == Real || len(args) > 2 && args[2].typ == Real {
			t = Real
		}
		for i := range args {
			if isNumber(args[i].typ) {
				args[i] = castExpr(args[i], t)
			}
		}
		if len(args) > 2 && !isNumber(args[2].typ) {
			t = 0
		}
	case from == to && (from == DateTime || from == TimeSpan):
		if len(args) > 2 && args[2].typ != TimeSpan {
			t = 0
		}
	default:
		t = 0
	}
	if t == 0 {
		b.fail(args[0].at, "", "a range goes over numbers, datetimes or timespans, with a step of the same kind")
		return Long
	}
	return t
}

// defaultStep is the step of range() without one: 1, or an hour.
func defaultStep(t Type) Value {
	switch t {
	case Real:
		return RealValue(1)
	case DateTime, TimeSpan:
		return Value{k: kTimeSpan, n: ticksPerHour}
	}
	return LongValue(1)
}

// rangeCount is how many values a range has, or -1 for a step of zero and for
// values that are null.
func rangeCount(from, to, step Value) int64 {
	if from.k == kNull || to.k == kNull || step.k == kNull {
		return -1
	}
	if from.k == kReal {
		s := step.Real()
		n := (to.Real() - from.Real()) / s
		if s == 0 || n != n {
			return -1
		}
		if n < 0 {
			return 0
		}
		if n >= 1<<52 {
			return 1 << 52
		}
		return int64(n) + 1
	}
	if step.n == 0 {
		return -1
	}
	if step.n > 0 && from.n > to.n || step.n < 0 && from.n < to.n {
		return 0
	}
	width, s := uint64(to.n)-uint64(from.n), uint64(step.n)
	if step.n < 0 {
		width, s = -width, -s
	}
	return int64(min(width/s, 1<<62)) + 1
}

func rangeItem(from, step Value, i int64) Value {
	if from.k == kReal {
		return RealValue(from.Real() + float64(i)*step.Real())
	}
	from.n += i * step.n
	return from
}
