package template

import (
	"math"
	"strconv"
	"strings"
)

func numberFunctions() map[string]builtin {
	arithmetic := func(f func(a, b int64) (int64, error)) builtin {
		return builtin{2, 2, func(_ *scope, _ string, args []any) (any, error) {
			a, err := intAt(args, 0)
			if err != nil {
				return nil, err
			}
			b, err := intAt(args, 1)
			if err != nil {
				return nil, err
			}
			return f(a, b)
		}}
	}
	compare := func(f func(c int) bool) builtin {
		return builtin{2, 2, func(_ *scope, _ string, args []any) (any, error) {
			c, err := order(args)
			return f(c), err
		}}
	}
	constant := func(v any) builtin {
		return builtin{0, 0, func(*scope, string, []any) (any, error) { return v, nil }}
	}
	return map[string]builtin{
		"add": arithmetic(func(a, b int64) (int64, error) { return a + b, nil }),
		"sub": arithmetic(func(a, b int64) (int64, error) { return a - b, nil }),
		"mul": arithmetic(func(a, b int64) (int64, error) { return a * b, nil }),
		"div": arithmetic(func(a, b int64) (int64, error) {
			if b == 0 {
				return 0, wrong("cannot divide by zero")
			}
			return a / b, nil
		}),
		"mod": arithmetic(func(a, b int64) (int64, error) {
			if b == 0 {
				return 0, wrong("cannot divide by zero")
			}
			return a % b, nil
		}),
		"int":             {1, 1, toInt},
		"float":           {1, 1, toFloat},
		"bool":            {1, 1, toBool},
		"min":             {1, -1, func(_ *scope, _ string, args []any) (any, error) { return extreme(args, false) }},
		"max":             {1, -1, func(_ *scope, _ string, args []any) (any, error) { return extreme(args, true) }},
		"equals":          {2, 2, func(_ *scope, _ string, a []any) (any, error) { return equal(a[0], a[1]), nil }},
		"less":            compare(func(c int) bool { return c < 0 }),
		"lessorequals":    compare(func(c int) bool { return c <= 0 }),
		"greater":         compare(func(c int) bool { return c > 0 }),
		"greaterorequals": compare(func(c int) bool { return c >= 0 }),
		"not": {1, 1, func(_ *scope, _ string, a []any) (any, error) {
			b, ok := a[0].(bool)
			if !ok {
				return nil, wrong("expects a boolean. It was given a value of type '%s'", kind(a[0]))
			}
			return !b, nil
		}},
		"true":  constant(true),
		"false": constant(false),
	}
}

// order compares two numbers, or two strings by their bytes.
func order(args []any) (int, error) {
	number := func(v any) (float64, bool) {
		switch v := v.(type) {
		case int64:
			return float64(v), true
		case float64:
			return v, true
		}
		return 0, false
	}
	a, aok := number(args[0])
	b, bok := number(args[1])
	if aok && bok {
		switch {
		case a < b:
			return -1, nil
		case a > b:
			return 1, nil
		}
		return 0, nil
	}
	s, sok := args[0].(string)
	t, tok := args[1].(string)
	if sok && tok {
		return strings.Compare(s, t), nil
	}
	return 0, wrong("expects two numbers or two strings. They are of types '%s' and '%s'", kind(args[0]), kind(args[1]))
}

func toInt(_ *scope, _ string, a []any) (any, error) {
	switch v := a[0].(type) {
	case int64:
		return v, nil
	case float64:
		if math.Abs(v) < 1<<62 {
			return int64(v), nil
		}
	case string:
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
			return n, nil
		}
	}
	return nil, wrong("expects an integer, or a string that is one. It was given '%s'", shorten(show(a[0])))
}

func toFloat(_ *scope, _ string, a []any) (any, error) {
	switch v := a[0].(type) {
	case int64:
		return float64(v), nil
	case float64:
		return v, nil
	case string:
		if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f, nil
		}
	}
	return nil, wrong("expects a number, or a string that is one. It was given '%s'", shorten(show(a[0])))
}

func toBool(_ *scope, _ string, a []any) (any, error) {
	switch v := a[0].(type) {
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	case string:
		switch strings.ToLower(v) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
	}
	return nil, wrong("expects a boolean, or a string or integer that is one. It was given '%s'", shorten(show(a[0])))
}

func extreme(args []any, most bool) (any, error) {
	if l, ok := args[0].([]any); ok && len(args) == 1 {
		args = l
	}
	if len(args) == 0 {
		return nil, wrong("expects at least one integer")
	}
	best, err := intAt(args, 0)
	for i := range args {
		n, e := intAt(args, i)
		if e != nil {
			err = e
			break
		}
		if most == (n > best) && n != best {
			best = n
		}
	}
	return best, err
}
