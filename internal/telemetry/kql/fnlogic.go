package kql

// logicFunctions choose between values.
func logicFunctions() map[string]*function {
	return map[string]*function{
		"not": {args: "b", ret: Bool, call: func(a []Value) Value { return BoolValue(a[0].n == 0) }},
		"isnull": {args: "a", ret: Bool, nulls: true, call: func(a []Value) Value {
			return BoolValue(a[0].k == kNull)
		}},
		"isnotnull": {args: "a", ret: Bool, nulls: true, call: func(a []Value) Value {
			return BoolValue(a[0].k != kNull)
		}},
		"iff":      {special: bindIff, usage: "iff(bool, any, any)"},
		"case":     {special: bindCase, usage: "case(bool, any, …, any)"},
		"coalesce": {special: bindCoalesce, usage: "coalesce(any, any, …)"},
		"around": {args: "ccc", ret: Bool, call: func(a []Value) Value {
			lo, hi := arith('-', a[1], a[2]), arith('+', a[1], a[2])
			if lo.k == kNull || hi.k == kNull {
				return Value{}
			}
			x, ok1 := compareValues(a[0], lo)
			y, ok2 := compareValues(a[0], hi)
			return BoolValue(ok1 && ok2 && x >= 0 && y <= 0)
		}},
		"column_ifexists": {special: bindColumnIfExists, usage: "column_ifexists(string, any)"},
	}
}

func bindIff(b *binder, e *callExpr, sc *scope, en *env) *expr {
	if len(e.args) != 3 {
		return b.fail(e.at, "", "function '%s' takes 3 arguments, not %d", e.fn, len(e.args))
	}
	return b.choose(e, sc, en)
}

func bindCase(b *binder, e *callExpr, sc *scope, en *env) *expr {
	if len(e.args) < 3 || len(e.args)%2 == 0 {
		return b.fail(e.at, "", "function 'case' takes pairs of a condition and a value, and a last value")
	}
	return b.choose(e, sc, en)
}

// choose binds a chain of conditions. Only the value that is chosen is computed.
func (b *binder) choose(e *callExpr, sc *scope, en *env) *expr {
	var conds, values []*expr
	for i, a := range e.args {
		if i%2 == 0 && i < len(e.args)-1 {
			conds = append(conds, b.condition(a.e, sc, en))
		} else {
			values = append(values, b.expr(a.e, sc, en))
		}
	}
	if b.failed() {
		return values[0]
	}
	t := commonType(b, e.at, values)
	if b.failed() {
		return values[0]
	}
	tests := make([]func([]Value) bool, len(conds))
	for i, c := range conds {
		tests[i] = c.truth()
	}
	return b.node(e.at, t, func(f []Value) Value {
		for i, test := range tests {
			if test(f) {
				return values[i].eval(f)
			}
		}
		return values[len(values)-1].eval(f)
	}, append(conds, values...)...)
}

// bindCoalesce binds coalesce(): the first value that is not null or, of strings,
// not empty.
func bindCoalesce(b *binder, e *callExpr, sc *scope, en *env) *expr {
	if len(e.args) < 2 {
		return b.fail(e.at, "", "function 'coalesce' takes at least 2 arguments, not %d", len(e.args))
	}
	values := make([]*expr, len(e.args))
	for i, a := range e.args {
		values[i] = b.expr(a.e, sc, en)
	}
	if b.failed() {
		return values[0]
	}
	t := commonType(b, e.at, values)
	if b.failed() {
		return values[0]
	}
	return b.node(e.at, t, func(f []Value) Value {
		var v Value
		for _, x := range values {
			if v = x.eval(f); !isEmpty(v) {
				break
			}
		}
		return v
	}, values...)
}

// bindColumnIfExists binds column_ifexists(name, default).
func bindColumnIfExists(b *binder, e *callExpr, sc *scope, en *env) *expr {
	if len(e.args) != 2 {
		return b.fail(e.at, "", "function 'column_ifexists' takes 2 arguments, not %d", len(e.args))
	}
	name := b.expr(e.args[0].e, nil, en)
	if b.failed() || name.val == nil || name.typ != String {
		return b.fail(e.at, "", "column_ifexists(): argument 1 must be the name of a column as a string")
	}
	if c := sc.find(name.val.s); c != nil {
		return slotExpr(c, e.at)
	}
	return b.expr(e.args[1].e, sc, en)
}
