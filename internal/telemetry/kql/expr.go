package kql

import (
	"slices"
	"strings"
)

// node makes an expression of others. Of constants it is a constant.
func (b *binder) node(at int, t Type, eval func(f []Value) Value, args ...*expr) *expr {
	e := &expr{typ: t, eval: eval, slot: -1, at: at, once: true}
	constant := true
	for _, a := range args {
		e.once = e.once && a.once
		constant = constant && a.val != nil
	}
	b.combine(e, args)
	if constant && b.err == nil {
		v := eval(nil)
		b.x.grow(v.size())
		e.val = &v
		e.eval = func([]Value) Value { return v }
	}
	return e
}

// combine adds up what the parts of an expression read and cost.
func (b *binder) combine(e *expr, parts []*expr) {
	e.cost = 1
	for _, a := range parts {
		e.refs = append(e.refs, a.refs...)
		if a.val == nil {
			e.cost += a.cost
		}
	}
	if len(e.refs) > 16 {
		slices.Sort(e.refs)
		e.refs = slices.Compact(e.refs)
	}
	if e.cost > maxBound && b.err == nil {
		line, pos := place(b.text, e.at)
		b.err = &Error{Kind: KindLimit, Message: "the expression takes too many operations", Line: line, Pos: pos}
	}
}

// truth returns a condition as a function.
func (e *expr) truth() func(f []Value) bool {
	if e.test != nil {
		return e.test
	}
	eval := e.eval
	return func(f []Value) bool { v := eval(f); return v.k == kBool && v.n != 0 }
}

func slotExpr(c *col, at int) *expr {
	slot := c.slot
	return &expr{typ: c.typ, eval: func(f []Value) Value { return f[slot] }, slot: slot, refs: []int{slot}, name: c.name, at: at}
}

// expr binds a scalar expression.
func (b *binder) expr(e exprNode, sc *scope, en *env) *expr {
	if !b.spend(e.pos()) {
		return constant(e.pos(), Value{}, Dynamic)
	}
	b.depth++
	defer func() { b.depth-- }()
	switch e := e.(type) {
	case *litExpr:
		return constant(e.at, e.val, e.typ)
	case *nameExpr:
		return b.nameExpr(e, sc, en)
	case *unaryExpr:
		return b.unaryExpr(e, sc, en)
	case *logicExpr:
		return b.logicExpr(e, sc, en)
	case *binaryExpr:
		if _, ok := e.l.(*starExpr); ok && sc != nil {
			return b.anyColumn(e, sc, en)
		}
		l, r := b.expr(e.l, sc, en), b.expr(e.r, sc, en)
		if b.failed() {
			return l
		}
		if _, ok := comparisonOf(e.op); ok {
			return b.compareExprs(e.at, e.op, l, r)
		}
		switch e.op {
		case "+", "-", "*", "/", "%":
			return b.arithExpr(e.at, e.op, l, r)
		}
		return b.stringExpr(e.at, e.op, l, r)
	case *inExpr:
		return b.inExpr(e, sc, en)
	case *betweenExpr:
		return b.betweenExpr(e, sc, en)
	case *pathExpr:
		return b.pathExpr(e, sc, en)
	case *indexExpr:
		return b.indexExpr(e, sc, en)
	case *callExpr:
		return b.callExpr(e, sc, en)
	case *starExpr:
		return b.fail(e.at, "", "'*' is not allowed here")
	case *typeExpr:
		return b.fail(e.at, "", "typeof() is not allowed here")
	}
	return b.fail(e.pos(), "", "a scalar expression is expected here, not a table")
}

// anyColumn binds `* has "text"`: whether it holds for a column of type string.
func (b *binder) anyColumn(e *binaryExpr, sc *scope, en *env) *expr {
	out := &logicExpr{at: e.at, op: "or", terms: []exprNode{&litExpr{at: e.at, val: BoolValue(false), typ: Bool}}}
	for _, c := range sc.cols {
		if c.typ == String || c.typ == Dynamic {
			out.terms = append(out.terms, &binaryExpr{at: e.at, op: e.op, l: &nameExpr{at: e.at, name: c.name}, r: e.r})
		}
	}
	return b.logicExpr(out, sc, en)
}

func (b *binder) nameExpr(e *nameExpr, sc *scope, en *env) *expr {
	if c := sc.find(e.name); c != nil {
		return slotExpr(c, e.at)
	}
	if v := en.find(e.name); v != nil {
		switch {
		case v.expr != nil:
			out := *v.expr
			out.at = e.at
			return &out
		case v.fn != nil && len(v.fn.params) == 0:
			return b.expr(v.fn.body, nil, b.arguments(&callExpr{at: e.at, fn: e.name}, v.fn, v.in, en))
		}
		return b.fail(e.at, "", "'%s' is not a scalar value", e.name)
	}
	if sc != nil && sc.agg != nil && sc.agg.in.find(e.name) != nil {
		return b.fail(e.at, "", "the column '%s' is neither aggregated nor one of the group keys", e.name)
	}
	// SEM0100 is what the service answers to names that it does not know.
	return b.fail(e.at, "SEM0100", "Failed to resolve scalar expression named '%s'", e.name)
}

func (b *binder) unaryExpr(e *unaryExpr, sc *scope, en *env) *expr {
	x := b.expr(e.x, sc, en)
	if b.failed() {
		return x
	}
	if !isNumber(x.typ) && x.typ != TimeSpan && x.typ != Dynamic {
		return b.fail(e.at, "", "The operator '%s' is not defined for the type %s", e.op, x.typ)
	}
	if e.op == "+" {
		return x
	}
	eval := x.eval
	t := x.typ
	if t == Int && x.val == nil {
		t = Long
	}
	return b.node(e.at, t, func(f []Value) Value {
		v := negate(eval(f))
		if v.k == kInt && t == Long {
			v.k = kLong
		}
		return v
	}, x)
}

func (b *binder) logicExpr(e *logicExpr, sc *scope, en *env) *expr {
	terms := make([]*expr, len(e.terms))
	tests := make([]func([]Value) bool, len(e.terms))
	for i, t := range e.terms {
		terms[i] = b.condition(t, sc, en)
		tests[i] = terms[i].truth()
	}
	if b.failed() {
		return terms[0]
	}
	stop := e.op == "or" // the value that decides
	out := b.node(e.at, Bool, func(f []Value) Value {
		null := false
		for _, t := range terms {
			v := t.eval(f)
			switch {
			case v.k != kBool:
				null = true
			case (v.n != 0) == stop:
				return BoolValue(stop)
			}
		}
		if null {
			return Value{}
		}
		return BoolValue(!stop)
	}, terms...)
	if !stop {
		for _, t := range terms {
			out.bounds = append(out.bounds, t.bounds...)
		}
	}
	switch {
	case out.val != nil:
	case len(tests) == 2 && stop:
		a, c := tests[0], tests[1]
		out.test = func(f []Value) bool { return a(f) || c(f) }
	case len(tests) == 2:
		a, c := tests[0], tests[1]
		out.test = func(f []Value) bool { return a(f) && c(f) }
	default:
		out.test = func(f []Value) bool {
			for _, t := range tests {
				if t(f) == stop {
					return stop
				}
			}
			return !stop
		}
	}
	return out
}

// condition binds an expression that must be a bool, or a dynamic that may hold
// one.
func (b *binder) condition(e exprNode, sc *scope, en *env) *expr {
	x := b.expr(e, sc, en)
	switch {
	case b.failed() || x.typ == Bool:
		return x
	case x.typ == Dynamic || isInteger(x.typ):
		return castExpr(x, Bool)
	}
	return b.fail(x.at, "", "a condition must be of type bool, not %s", x.typ)
}

func (b *binder) betweenExpr(e *betweenExpr, sc *scope, en *env) *expr {
	x, lo, hi := b.expr(e.x, sc, en), b.expr(e.lo, sc, en), b.expr(e.hi, sc, en)
	if b.failed() {
		return x
	}
	// datetime between (start .. timespan) ends that long after its start.
	if x.typ == DateTime && lo.typ == DateTime && hi.typ == TimeSpan {
		hi = b.arithExpr(e.at, "+", lo, hi)
	}
	for _, bound := range []*expr{lo, hi} {
		if !comparable(cLt, x.typ, bound.typ) || x.typ == Bool {
			return b.fail(e.at, "", "Cannot compare values of types %s and %s. Try adding explicit casts", x.typ, bound.typ)
		}
	}
	from, to := b.compareExprs(e.at, ">=", x, lo), b.compareExprs(e.at, "<=", x, hi)
	not := e.not
	out := b.node(e.at, Bool, func(f []Value) Value {
		a, c := from.eval(f), to.eval(f)
		if a.k == kNull || c.k == kNull {
			return Value{}
		}
		return BoolValue((a.n != 0 && c.n != 0) != not)
	}, from, to)
	if !not {
		out.bounds = append(from.bounds, to.bounds...)
	}
	if !not && from.test != nil && to.test != nil {
		a, c := from.test, to.test
		out.test = func(f []Value) bool { return a(f) && c(f) }
	}
	return out
}

func (b *binder) pathExpr(e *pathExpr, sc *scope, en *env) *expr {
	if n, ok := e.x.(*nameExpr); ok && sc != nil && sc.left != nil && (n.name == "$left" || n.name == "$right") {
		side := sc.left
		if n.name == "$right" {
			side = sc.right
		}
		if c := side.find(e.name); c != nil {
			return slotExpr(c, e.at)
		}
		return b.fail(e.at, "SEM0100", "Failed to resolve scalar expression named '%s.%s'", n.name, e.name)
	}
	x := b.expr(e.x, sc, en)
	if b.failed() {
		return x
	}
	if x.typ != Dynamic {
		return b.fail(e.at, "", "'.%s' needs a value of type dynamic, not %s", e.name, x.typ)
	}
	key, eval := e.name, x.eval
	out := b.node(e.at, Dynamic, func(f []Value) Value {
		v := eval(f)
		return v.field(key)
	}, x)
	out.name = pathName(x.name, key)
	return out
}

// pathName is the column name of a.b: a_b.
func pathName(left, right string) string {
	if left == "" {
		return right
	}
	return left + "_" + right
}

func (b *binder) indexExpr(e *indexExpr, sc *scope, en *env) *expr {
	x, i := b.expr(e.x, sc, en), b.expr(e.i, sc, en)
	if b.failed() {
		return x
	}
	if x.typ != Dynamic {
		return b.fail(e.at, "", "'[…]' needs a value of type dynamic, not %s", x.typ)
	}
	xe, ie := x.eval, i.eval
	var out *expr
	switch {
	case i.typ == String:
		out = b.node(e.at, Dynamic, func(f []Value) Value { return xe(f).field(ie(f).s) }, x, i)
	case isInteger(i.typ), i.typ == Bool:
		out = b.node(e.at, Dynamic, func(f []Value) Value {
			n := ie(f)
			if n.k == kNull {
				return Value{}
			}
			return xe(f).item(n.n)
		}, x, i)
	case i.typ == Dynamic:
		out = b.node(e.at, Dynamic, func(f []Value) Value {
			switch n := ie(f); n.k {
			case kString:
				return xe(f).field(n.s)
			case kInt, kLong:
				return xe(f).item(n.n)
			}
			return Value{}
		}, x, i)
	default:
		return b.fail(e.at, "", "an index must be a number or a string, not %s", i.typ)
	}
	if i.val != nil && (i.typ == String || isInteger(i.typ)) {
		out.name = pathName(x.name, i.val.String())
	}
	return out
}

// callExpr binds a call: of a variable that is a function, of toscalar(), of an
// aggregate where those may stand, or of a scalar function.
func (b *binder) callExpr(e *callExpr, sc *scope, en *env) *expr {
	if v := en.find(e.fn); v != nil && v.fn != nil {
		if b.isTabularFunc(v.fn, v.in) {
			return b.fail(e.at, "", "a scalar expression is expected here, not the table of '%s()'", e.fn)
		}
		return b.inlined(e, v, sc, en)
	}
	if e.fn == "toscalar" {
		return b.toscalar(e, en)
	}
	if agg, ok := b.aggregates[e.fn]; ok {
		if sc != nil && sc.agg != nil {
			return b.aggregate(e, agg, sc, en)
		}
		if _, both := b.functions[e.fn]; !both {
			return b.fail(e.at, "", "the aggregate '%s()' is not allowed here", e.fn)
		}
	}
	fn, ok := b.functions[e.fn]
	if !ok {
		// SEM0260 is what the service answers to functions that it does not know.
		return b.fail(e.at, "SEM0260", "Unknown function: '%s'.", e.fn)
	}
	if fn.special != nil {
		return fn.special(b, e, sc, en)
	}
	args := make([]*expr, len(e.args))
	for i, a := range e.args {
		args[i] = b.expr(a.e, sc, en)
	}
	return b.call(e, fn, args)
}

// inlined binds the body of a scalar function in place of its call.
func (b *binder) inlined(e *callExpr, v *env, sc *scope, en *env) *expr {
	// Arguments may be columns. They are bound where the call stands, then are
	// variables of the body.
	f := v.fn
	scope := v.in
	if len(e.args) > len(f.params) {
		return b.fail(e.at, "", "function '%s' takes at most %s, not %d", e.fn, count(len(f.params), "argument"), len(e.args))
	}
	for i, p := range f.params {
		var x *expr
		arg := e.arg(p.name, i)
		switch {
		case p.typ == 0:
			if arg == nil {
				return b.fail(e.at, "", "function '%s': the argument '%s' is missing", e.fn, p.name)
			}
			cols := p.schema
			scope = &env{up: scope, name: p.name, bnd: func() *pipe { return b.restrict(b.pipe(arg, en), cols, arg.pos()) }}
			continue
		case arg != nil:
			x = b.expr(arg, sc, en)
		case p.def != nil:
			x = constant(p.def.at, p.def.val, p.def.typ)
		default:
			return b.fail(e.at, "", "function '%s': the argument '%s' is missing", e.fn, p.name)
		}
		if b.failed() {
			return x
		}
		scope = &env{up: scope, name: p.name, expr: b.convertTo(x, p.typ, e.fn)}
	}
	for _, l := range f.lets {
		// A let in a function may use its parameters, which may be columns.
		switch {
		case l.fn == nil && !b.isTabular(l.value, scope):
			scope = &env{up: scope, name: l.name, expr: b.expr(l.value, nil, scope)}
		default:
			scope = b.let(l, scope)
		}
	}
	out := *b.expr(f.body, nil, scope)
	out.name = ""
	return &out
}

// arg returns the argument of a parameter, by name or else by position.
func (e *callExpr) arg(name string, i int) exprNode {
	for _, a := range e.args {
		if a.name() == name {
			return a.e
		}
	}
	if i < len(e.args) && e.args[i].name() == "" {
		return e.args[i].e
	}
	return nil
}

// toscalar binds toscalar(table): the first value of the first row, known once
// the query runs.
func (b *binder) toscalar(e *callExpr, en *env) *expr {
	if len(e.args) != 1 {
		return b.fail(e.at, "", "toscalar() takes one argument")
	}
	if !b.isTabular(e.args[0].e, en) {
		x := b.expr(e.args[0].e, nil, en)
		if x.once || b.failed() {
			return x
		}
		cell := new(Value) // of rand() and the like there is one value then
		b.pre = append(b.pre, func(*exec) { *cell = x.eval(nil) })
		return &expr{typ: x.typ, eval: func([]Value) Value { return *cell }, slot: -1, once: true, at: e.at}
	}
	op := b.op
	p := b.pipe(e.args[0].e, en)
	b.op = op
	if b.failed() || len(p.cols) == 0 {
		return b.fail(e.at, "", "toscalar() needs a table with a column")
	}
	p.cols = p.cols[:1]
	p.needAll()
	p.prune()
	cell := new(Value)
	slot := p.cols[0].slot
	b.pre = append(b.pre, func(x *exec) {
		p.run(x, &funcSink{onPush: func(f []Value) bool { *cell = f[slot]; return false }})
	})
	return &expr{typ: p.cols[0].typ, eval: func([]Value) Value { return *cell }, slot: -1, once: true, at: e.at}
}

// inExpr binds in, !in, in~, !in~, has_any and has_all. The list may be of
// scalars, arrays, or one table, whose first column counts.
func (b *binder) inExpr(e *inExpr, sc *scope, en *env) *expr {
	l := b.expr(e.l, sc, en)
	if b.failed() {
		return l
	}
	fold := strings.HasSuffix(e.op, "~")
	not := e.op[0] == '!'
	terms := e.op == "has_any" || e.op == "has_all"
	if (fold || terms) && l.typ != String && l.typ != Dynamic {
		return b.fail(e.at, "", "The operator '%s' is not defined for the type %s", e.op, l.typ)
	}
	set := &valueSet{fold: fold}
	var rest []*expr // what is not known before the rows
	check := func(t Type, at int) bool {
		if t != Dynamic && l.typ != Dynamic && !comparable(cEq, l.typ, t) {
			b.fail(at, "", "Cannot compare values of types %s and %s. Try adding explicit casts", l.typ, t)
			return false
		}
		return true
	}
	deferred := len(e.list) == 1 && b.isTabular(e.list[0], en)
	if deferred {
		op := b.op
		p := b.pipe(e.list[0], en)
		b.op = op
		if b.failed() || len(p.cols) == 0 || !check(p.cols[0].typ, e.at) {
			return b.fail(e.at, "", "'%s' needs a table with a column", e.op)
		}
		p.cols = p.cols[:1]
		p.needAll()
		p.prune()
		slot := p.cols[0].slot
		isString := p.cols[0].typ == String
		b.pre = append(b.pre, func(x *exec) {
			p.run(x, &funcSink{onPush: func(f []Value) bool {
				v := f[slot]
				if isString && v.k == kNull {
					v = StringValue("")
				}
				return set.add(v) == 0 || x.grow(2*valueSize+v.size()) && x.tick()
			}})
		})
	} else {
		for _, n := range e.list {
			x := b.expr(n, sc, en)
			if b.failed() || !check(x.typ, x.at) {
				return x
			}
			if x.val != nil {
				set.addAll(*x.val)
			} else {
				rest = append(rest, x)
			}
		}
	}
	if terms {
		return b.hasTerms(e, l, set, rest, deferred)
	}
	le := stringNotNull(l).eval
	eval := func(f []Value) Value {
		v := le(f)
		found := set.has(v)
		for _, r := range rest {
			if found {
				break
			}
			found = (&valueSet{fold: fold}).with(r.eval(f)).has(v)
		}
		return BoolValue(found != not)
	}
	out := b.node(e.at, Bool, eval, append([]*expr{l}, rest...)...)
	if deferred { // the table's rows are not known yet
		out.val, out.eval = nil, eval
	}
	return out
}
