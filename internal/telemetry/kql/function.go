package kql

import (
	"fmt"
	"maps"
)

// nameRule says which column name an unnamed call gets.
type nameRule uint8

const (
	unnamed  nameRule = iota
	asFirst           // that of its first argument: tostring(a.b) is a_b
	prefixed          // function_argument: strlen(a) is strlen_a
)

// function is a scalar function.
type function struct {
	// args are the types of the arguments, a letter each: s string, i integer, n
	// number, r number that is made real, d datetime, t timespan, b bool, y
	// dynamic, c number, datetime or timespan, a anything. A letter with ? may be
	// left out, with the ones after it; a last letter with * may be repeated or
	// left out.
	args string
	ret  Type
	// typ finds the type of the result where it depends on the arguments. It
	// reports failures itself.
	typ  func(b *binder, at int, args []*expr) Type
	call func(a []Value) Value
	// prepare makes call for arguments of which some are known.
	prepare func(b *binder, args []*expr) func(a []Value) Value
	// fast makes the whole evaluation for arguments that allow it, or nil.
	fast func(args []*expr) func(f []Value) Value
	// special binds the call in a way of its own.
	special func(b *binder, e *callExpr, sc *scope, en *env) *expr
	usage   string // how it is called, for the documentation, where args does not say
	// nulls says that call takes nulls. Otherwise the result is null when an
	// argument is; strings are never null.
	nulls bool
	name  nameRule
}

// functions makes the table of scalar functions.
func functions() map[string]*function {
	all := map[string]*function{}
	for _, part := range []map[string]*function{
		conversionFunctions(), mathFunctions(), stringFunctions(), textFunctions(), timeFunctions(), dynamicFunctions(),
		arrayFunctions(), logicFunctions(), windowFunctions(),
	} {
		maps.Copy(all, part)
	}
	for alias, name := range map[string]string{
		"todouble": "toreal", "toboolean": "tobool", "totime": "totimespan", "iif": "iff",
		"parsejson": "parse_json", "todynamic": "parse_json", "toobject": "parse_json", "pack": "bag_pack", "pack_dictionary": "bag_pack",
		"notnull": "isnotnull", "notempty": "isnotempty", "arraylength": "array_length",
		"columnifexists": "column_ifexists", "extractjson": "extract_json", "parseurl": "parse_url", "parseurlquery": "parse_urlquery", "replace": "replace_regex", "array_strcat": "strcat_array", "array_iif": "array_iff",
	} {
		if f, ok := all[name]; ok && all[alias] == nil {
			all[alias] = f
		}
	}
	return all
}

// param is one letter of a function's args.
type param struct {
	kind     byte
	optional bool
}

// parameters reads a function's args.
func (f *function) parameters() (list []param, repeat bool) {
	for i := 0; i < len(f.args); i++ {
		switch f.args[i] {
		case '?':
			list[len(list)-1].optional = true
		case '*':
			list[len(list)-1].optional = true
			repeat = true
		default:
			list = append(list, param{kind: f.args[i]})
		}
	}
	return list, repeat
}

// call binds a call of a scalar function whose arguments are bound.
func (b *binder) call(e *callExpr, f *function, args []*expr) *expr {
	if b.failed() {
		return constant(e.at, Value{}, Dynamic)
	}
	params, repeat := f.parameters()
	least := 0
	for _, p := range params {
		if !p.optional {
			least++
		}
	}
	switch {
	case len(args) < least && least == len(params) && !repeat, len(args) > len(params) && !repeat && least == len(params):
		return b.fail(e.at, "", "function '%s' takes %s, not %d", e.fn, count(least, "argument"), len(args))
	case len(args) < least:
		return b.fail(e.at, "", "function '%s' takes at least %s, not %d", e.fn, count(least, "argument"), len(args))
	case len(args) > len(params) && !repeat:
		return b.fail(e.at, "", "function '%s' takes at most %s, not %d", e.fn, count(len(params), "argument"), len(args))
	}
	for i := range args {
		p := params[min(i, len(params)-1)]
		if args[i] = b.argument(e.fn, i, args[i], p.kind); b.failed() {
			return args[i]
		}
	}
	t := f.ret
	if f.typ != nil {
		if t = f.typ(b, e.at, args); b.failed() {
			return constant(e.at, Value{}, Dynamic)
		}
	}
	call := f.call
	if f.prepare != nil {
		if call = f.prepare(b, args); b.failed() {
			return constant(e.at, Value{}, Dynamic)
		}
	}
	var eval func(f []Value) Value
	if f.fast != nil {
		eval = f.fast(args)
	}
	if eval == nil {
		eval = b.evalCall(call, args, f.nulls, t)
	}
	out := b.node(e.at, t, eval, args...)
	out.name = resultName(f.name, e.fn, args)
	return out
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func resultName(rule nameRule, fn string, args []*expr) string {
	if len(args) == 0 {
		return ""
	}
	switch rule {
	case asFirst:
		return args[0].name
	case prefixed:
		return fn + "_" + args[0].name
	}
	return ""
}

// evalCall makes a closure that evaluates the arguments into a slice of its own:
// a plan is run by one goroutine, and a call is never inside itself.
func (b *binder) evalCall(call func(a []Value) Value, args []*expr, nulls bool, t Type) func(f []Value) Value {
	if t == String || t == Dynamic {
		inner, x := call, b.x
		call = func(a []Value) Value {
			if x.err != nil {
				return Value{}
			}
			return x.checked(inner(a))
		}
	}
	evals := make([]func([]Value) Value, len(args))
	text := make([]bool, len(args))
	for i, a := range args {
		evals[i] = a.eval
		text[i] = a.typ == String
	}
	if len(args) == 1 {
		eval, isText := evals[0], text[0]
		return func(f []Value) Value {
			var a [1]Value
			a[0] = eval(f)
			if a[0].k == kNull {
				if isText {
					a[0].k = kString
				} else if !nulls {
					return Value{}
				}
			}
			return call(a[:])
		}
	}
	buf := make([]Value, len(args))
	return func(f []Value) Value {
		for i, eval := range evals {
			buf[i] = eval(f)
			if buf[i].k == kNull {
				if text[i] {
					buf[i].k = kString
				} else if !nulls {
					return Value{}
				}
			}
		}
		return call(buf)
	}
}

// argument checks and converts one argument. Dynamic values are cast to what is
// wanted, as the service does.
func (b *binder) argument(fn string, i int, e *expr, kind byte) *expr {
	want, to := "", Type(0)
	ok := true
	switch kind {
	case 'a':
		return e
	case 's':
		want, to, ok = "string", String, e.typ == String
	case 'i':
		want, to, ok = "an integer", Long, isInteger(e.typ)
		if e.typ == Bool {
			return castExpr(e, Long)
		}
	case 'n':
		want, to, ok = "a number", Real, isNumber(e.typ)
	case 'r':
		if isNumber(e.typ) {
			return castExpr(e, Real)
		}
		want, to, ok = "a number", Real, false
	case 'd':
		want, to, ok = "datetime", DateTime, e.typ == DateTime
	case 't':
		want, to, ok = "timespan", TimeSpan, e.typ == TimeSpan
	case 'b':
		want, to, ok = "bool", Bool, e.typ == Bool
	case 'y':
		want, ok = "dynamic", e.typ == Dynamic
	case 'c':
		if e.typ == Dynamic {
			return castExpr(e, Real)
		}
		want, ok = "a number, datetime or timespan", isNumber(e.typ) || e.typ == DateTime || e.typ == TimeSpan
	}
	if ok {
		return e
	}
	if e.typ == Dynamic && to != 0 {
		return castExpr(e, to)
	}
	return b.fail(e.at, "", "%s(): argument %d must be %s, not %s", fn, i+1, want, e.typ)
}

// conversionFunctions are the to…() functions and gettype().
func conversionFunctions() map[string]*function {
	to := func(t Type) *function {
		return &function{args: "a", ret: t, nulls: true, name: asFirst, call: func(a []Value) Value { return cast(a[0], t) }}
	}
	return map[string]*function{
		"tostring":   to(String),
		"toint":      to(Int),
		"tolong":     to(Long),
		"toreal":     to(Real),
		"tobool":     to(Bool),
		"todatetime": to(DateTime),
		"totimespan": to(TimeSpan),
		"toguid":     to(GUID),
		"tohex":      {args: "ii?", ret: String, name: asFirst, prepare: toHex},
		"parse_json": {args: "a", ret: Dynamic, nulls: true, name: asFirst,
			prepare: func(b *binder, args []*expr) func(a []Value) Value {
				if args[0].typ != String {
					return func(a []Value) Value { return a[0] }
				}
				return func(a []Value) Value { return parseJSONText(a[0].s) }
			}},
		"gettype": {args: "a", ret: String, nulls: true,
			prepare: func(b *binder, args []*expr) func(a []Value) Value {
				t := args[0].typ
				return func(a []Value) Value { return StringValue(typeOfValue(a[0], t)) }
			}},
	}
}

// toHex is tohex(number, least width), in two's complement of the type's width.
func toHex(_ *binder, args []*expr) func(a []Value) Value {
	mask := ^uint64(0)
	if args[0].typ == Int {
		mask = 1<<32 - 1
	}
	return func(a []Value) Value {
		width := int64(0)
		if len(a) > 1 {
			width = max(0, min(a[1].n, 64))
		}
		return StringValue(fmt.Sprintf("%0*x", width, uint64(a[0].n)&mask))
	}
}

// parseJSONText is parse_json(): text that is not JSON is a string.
func parseJSONText(s string) Value {
	if skipJSONSpace(s, 0) == len(s) {
		return Value{}
	}
	if v, ok := parseJSON(s); ok {
		return v
	}
	return StringValue(s)
}
