package template

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

func arrayFunctions() map[string]builtin {
	pure := func(f func(args []any) (any, error)) func(*scope, string, []any) (any, error) {
		return func(s *scope, _ string, args []any) (any, error) {
			for _, a := range args {
				if err := s.step(size(a)); err != nil {
					return nil, err
				}
			}
			return f(args)
		}
	}
	return map[string]builtin{
		"array": {1, 1, pure(func(a []any) (any, error) {
			if l, ok := a[0].([]any); ok {
				return l, nil
			}
			return []any{a[0]}, nil
		})},
		"concat":          {1, -1, pure(concat)},
		"contains":        {2, 2, pure(contains)},
		"createarray":     {0, -1, pure(func(a []any) (any, error) { return slices.Clone(a), nil })},
		"createobject":    {0, -1, pure(createObject)},
		"empty":           {1, 1, pure(func(a []any) (any, error) { return empty(a[0]) })},
		"first":           {1, 1, pure(func(a []any) (any, error) { return end(a[0], false) })},
		"last":            {1, 1, pure(func(a []any) (any, error) { return end(a[0], true) })},
		"flatten":         {1, 1, pure(flatten)},
		"indexof":         {2, 2, pure(func(a []any) (any, error) { return indexOf(a, false) })},
		"lastindexof":     {2, 2, pure(func(a []any) (any, error) { return indexOf(a, true) })},
		"intersection":    {2, -1, pure(intersection)},
		"items":           {1, 1, pure(items)},
		"join":            {2, 2, pure(join)},
		"length":          {1, 1, pure(length)},
		"objectkeys":      {1, 1, pure(objectKeys)},
		"range":           {2, 2, pure(rangeFunction)},
		"shallowmerge":    {1, 1, pure(shallowMerge)},
		"skip":            {2, 2, pure(func(a []any) (any, error) { return cut(a, false) })},
		"take":            {2, 2, pure(func(a []any) (any, error) { return cut(a, true) })},
		"tryget":          {2, -1, pure(tryGet)},
		"tryindexfromend": {2, 2, pure(func(a []any) (any, error) { return fromEnd(a, true) })},
		"indexfromend":    {2, 2, pure(func(a []any) (any, error) { return fromEnd(a, false) })},
		"union":           {2, -1, pure(union)},
		"null":            {0, 0, pure(func([]any) (any, error) { return nil, nil })},
	}
}

// size is what a value costs to copy.
func size(v any) int {
	switch v := v.(type) {
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	case string:
		return len(v) / 64
	}
	return 1
}

func concat(args []any) (any, error) {
	if _, ok := args[0].([]any); ok {
		var out []any
		for i := range args {
			l, err := arrayAt(args, i)
			if err != nil {
				return nil, err
			}
			out = append(out, l...)
		}
		return nonNil(out), nil
	}
	var b strings.Builder
	for i, a := range args {
		switch a.(type) {
		case []any, map[string]any:
			return nil, wrong("expects all arguments to be arrays, or all to be strings. Argument %d is of type '%s'", i+1, kind(a))
		}
		s := show(a)
		if b.Len()+len(s) > maxString {
			return nil, errTooMuch
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func nonNil(l []any) []any {
	if l == nil {
		return []any{}
	}
	return l
}

func contains(a []any) (any, error) {
	switch in := a[0].(type) {
	case string:
		return strings.Contains(in, show(a[1])), nil
	case []any:
		return slices.ContainsFunc(in, func(v any) bool { return equal(v, a[1]) }), nil
	case map[string]any:
		name, err := stringAt(a, 1)
		if err != nil {
			return nil, err
		}
		_, ok := field(in, name)
		return ok, nil
	case nil:
		return false, nil
	}
	return nil, wrong("expects argument 1 to be an array, an object or a string. It is of type '%s'", kind(a[0]))
}

func createObject(a []any) (any, error) {
	if len(a)%2 != 0 {
		return nil, wrong("expects pairs of names and values")
	}
	out := map[string]any{}
	for i := 0; i < len(a); i += 2 {
		name, err := stringAt(a, i)
		if err != nil {
			return nil, err
		}
		out[name] = a[i+1]
	}
	return out, nil
}

func empty(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return true, nil
	case string:
		return v == "", nil
	case []any:
		return len(v) == 0, nil
	case map[string]any:
		return len(v) == 0, nil
	}
	return nil, wrong("expects argument 1 to be an array, an object or a string. It is of type '%s'", kind(v))
}

func end(v any, last bool) (any, error) {
	switch v := v.(type) {
	case string:
		if v == "" {
			return "", nil
		}
		r, _ := utf8.DecodeRuneInString(v)
		if last {
			r, _ = utf8.DecodeLastRuneInString(v)
		}
		return string(r), nil
	case []any:
		if len(v) == 0 {
			return nil, nil
		}
		if last {
			return v[len(v)-1], nil
		}
		return v[0], nil
	}
	return nil, wrong("expects argument 1 to be an array or a string. It is of type '%s'", kind(v))
}

func flatten(a []any) (any, error) {
	l, err := arrayAt(a, 0)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for i := range l {
		in, err := arrayAt(l, i)
		if err != nil {
			return nil, err
		}
		out = append(out, in...)
	}
	return out, nil
}

func indexOf(a []any, last bool) (any, error) {
	switch in := a[0].(type) {
	case string:
		what, err := stringAt(a, 1)
		if err != nil {
			return nil, err
		}
		low, want := strings.ToLower(in), strings.ToLower(what)
		i := strings.Index(low, want)
		if last {
			i = strings.LastIndex(low, want)
		}
		if i < 0 {
			return int64(-1), nil
		}
		return int64(utf8.RuneCountInString(low[:i])), nil
	case []any:
		at := -1
		for i, v := range in {
			if equal(v, a[1]) {
				if at = i; !last {
					break
				}
			}
		}
		return int64(at), nil
	}
	return nil, wrong("expects argument 1 to be an array or a string. It is of type '%s'", kind(a[0]))
}

func intersection(a []any) (any, error) {
	switch first := a[0].(type) {
	case []any:
		out := first
		for i := 1; i < len(a); i++ {
			l, err := arrayAt(a, i)
			if err != nil {
				return nil, err
			}
			out = slices.DeleteFunc(slices.Clone(out), func(v any) bool {
				return !slices.ContainsFunc(l, func(w any) bool { return equal(v, w) })
			})
		}
		return nonNil(out), nil
	case map[string]any:
		out := maps.Clone(first)
		for i := 1; i < len(a); i++ {
			m, err := objectAt(a, i)
			if err != nil {
				return nil, err
			}
			maps.DeleteFunc(out, func(k string, v any) bool { w, ok := field(m, k); return !ok || !equal(v, w) })
		}
		return out, nil
	}
	return nil, wrong("expects arrays or objects. Argument 1 is of type '%s'", kind(a[0]))
}

func items(a []any) (any, error) {
	m, err := objectAt(a, 0)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, map[string]any{"key": k, "value": m[k]})
	}
	return out, nil
}

func join(a []any) (any, error) {
	l, err := arrayAt(a, 0)
	if err != nil {
		return nil, err
	}
	by, err := stringAt(a, 1)
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(l))
	n := 0
	for i, v := range l {
		parts[i] = show(v)
		if n += len(parts[i]) + len(by); n > maxString {
			return nil, errTooMuch
		}
	}
	return strings.Join(parts, by), nil
}

func length(a []any) (any, error) {
	switch v := a[0].(type) {
	case string:
		return int64(utf8.RuneCountInString(v)), nil
	case []any:
		return int64(len(v)), nil
	case map[string]any:
		return int64(len(v)), nil
	}
	return nil, wrong("expects argument 1 to be an array, an object or a string. It is of type '%s'", kind(a[0]))
}

func objectKeys(a []any) (any, error) {
	m, err := objectAt(a, 0)
	if err != nil {
		return nil, err
	}
	return anys(slices.Sorted(maps.Keys(m))), nil
}

func rangeFunction(a []any) (any, error) {
	start, err := intAt(a, 0)
	if err != nil {
		return nil, err
	}
	n, err := intAt(a, 1)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > 10000 || start > 2147483647 || start+n > 2147483647 {
		return nil, wrong("expects a count from 0 to 10000 and a sum that is no greater than 2147483647")
	}
	out := make([]any, n)
	for i := range out {
		out[i] = start + int64(i)
	}
	return out, nil
}

func shallowMerge(a []any) (any, error) {
	l, err := arrayAt(a, 0)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for i := range l {
		m, err := objectAt(l, i)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, m)
	}
	return out, nil
}

func cut(a []any, take bool) (any, error) {
	n, err := intAt(a, 1)
	if err != nil {
		return nil, err
	}
	bound := func(length int) int { return int(min(max(n, 0), int64(length))) }
	switch v := a[0].(type) {
	case string:
		r := []rune(v)
		if i := bound(len(r)); take {
			return string(r[:i]), nil
		} else {
			return string(r[i:]), nil
		}
	case []any:
		if i := bound(len(v)); take {
			return v[:i:i], nil
		} else {
			return v[i:], nil
		}
	}
	return nil, wrong("expects argument 1 to be an array or a string. It is of type '%s'", kind(a[0]))
}

func tryGet(a []any) (any, error) {
	v := a[0]
	for _, i := range a[1:] {
		var ok bool
		if v, ok = at(v, i); !ok {
			return nil, nil
		}
	}
	return v, nil
}

func fromEnd(a []any, try bool) (any, error) {
	l, err := arrayAt(a, 0)
	if err != nil {
		return nil, err
	}
	n, err := intAt(a, 1)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > int64(len(l)) {
		if try {
			return nil, nil
		}
		return nil, wrong("was asked for element %d from the end of %d", n, len(l))
	}
	return l[int64(len(l))-n], nil
}

// union keeps one of equal elements of arrays, and merges objects deeply.
func union(a []any) (any, error) {
	switch a[0].(type) {
	case []any:
		out := []any{}
		for i := range a {
			l, err := arrayAt(a, i)
			if err != nil {
				return nil, err
			}
			for _, v := range l {
				if !slices.ContainsFunc(out, func(w any) bool { return equal(v, w) }) {
					out = append(out, v)
				}
			}
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for i := range a {
			m, err := objectAt(a, i)
			if err != nil {
				return nil, err
			}
			out = merged(out, m)
		}
		return out, nil
	}
	return nil, wrong("expects arrays or objects. Argument 1 is of type '%s'", kind(a[0]))
}

func merged(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	for k, v := range b {
		x, xok := out[k].(map[string]any)
		y, yok := v.(map[string]any)
		if xok && yok {
			out[k] = merged(x, y)
			continue
		}
		out[k] = v
	}
	return out
}
