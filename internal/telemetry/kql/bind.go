package kql

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// maxBound is how many nodes of the tree may be bound. Functions and tabular
// variables are bound anew at every use, so that a short text can stand for an
// enormous query.
const maxBound = 100_000

// binder resolves names and types. The first error stands: after it, methods
// return anything of the right shape.
type binder struct {
	ctx    context.Context
	src    Source
	opt    Options
	text   string
	tables map[string]Table

	functions  map[string]*function
	aggregates map[string]*aggregate
	tabular    map[*funcNode]bool // whether a function makes a table, once that is known
	err        error
	count      int
	depth      int
	op         string // the operator being bound, for messages
	// pre are the parts of the query that are answered before its rows are read:
	// toscalar() and tables in `in`.
	pre []func(x *exec)
	x   *exec
	// window is where row_number(), prev() and the like find their rows, nil where
	// the input's order is not defined.
	window  *window
	inApply int // how deep in the inner pipes of mv-apply
}

// env is a chain of variables, innermost first.
type env struct {
	up   *env
	name string
	expr *expr        // a scalar
	tab  exprNode     // a table, bound in scope at each use
	in   *env         // the scope of tab and fn
	fn   *funcNode    // a function
	bnd  func() *pipe // a table that was passed to a function
}

func (e *env) find(name string) *env {
	for ; e != nil; e = e.up {
		if e.name == name {
			return e
		}
	}
	return nil
}

// scope is the row that expressions see. left and right are the sides of a join,
// as $left and $right.
type scope struct {
	cols        []col
	lay         *layout
	left, right *scope
	agg         *aggScope // where aggregates are allowed
}

func (s *scope) find(name string) *col {
	if s == nil {
		return nil
	}
	for i := range s.cols {
		if s.cols[i].name == name {
			return &s.cols[i]
		}
	}
	return nil
}

// expr is a bound scalar expression.
type expr struct {
	typ  Type
	eval func(f []Value) Value
	// test, if not nil, is eval for a condition: whether the value is true.
	test func(f []Value) bool
	val  *Value // of a constant
	slot int    // of a plain column, else -1
	refs []int  // the slots that are read
	// once says that the value is the same for every row, though it may be known
	// only when the query runs.
	once bool
	name string // the column name that an unnamed result gets, or ""
	at   int
	// cost is how many evaluations one takes at most. What a function is called with
	// is evaluated at each place where its body uses it.
	cost int
	// bounds are conditions on datetime columns that must hold for this one to.
	bounds []bound
}

// bound is a condition on a column: column op value, where the value is the same
// for every row.
type bound struct {
	slot  int
	op    comparison
	value *expr
}

func (b *binder) failed() bool { return b.err != nil }

// fail notes the first error. Errors about names have the form of the service:
// the operator comes first.
func (b *binder) fail(at int, code, format string, args ...any) *expr {
	if b.err == nil {
		line, pos := place(b.text, at)
		msg := fmt.Sprintf(format, args...)
		if b.op != "" {
			msg = "'" + b.op + "' operator: " + msg
		}
		b.err = &Error{Kind: KindSemantic, Code: code, Message: msg, Line: line, Pos: pos, Token: tokenAt(b.text, at)}
	}
	return constant(at, Value{}, Dynamic)
}

func tokenAt(text string, at int) string {
	end := at
	for end < len(text) && isNamePart(text[end]) {
		end++
	}
	return text[at:end]
}

// spend counts a bound node, and reports whether there is still room.
func (b *binder) spend(at int) bool {
	if b.err != nil {
		return false
	}
	if b.count++; b.count > maxBound || b.depth > 4*maxDepth {
		line, pos := place(b.text, at)
		b.err = &Error{Kind: KindLimit, Message: "the query expands to too many operations", Line: line, Pos: pos}
		return false
	}
	if b.err = b.x.err; b.err == nil && b.count&0xf == 0 {
		b.err = b.ctx.Err()
	}
	return b.err == nil
}

func constant(at int, v Value, t Type) *expr {
	return &expr{typ: t, val: &v, eval: func([]Value) Value { return v }, slot: -1, once: true, at: at}
}

// table finds a table of the source.
func (b *binder) table(name string) (Table, error) {
	if t, ok := b.tables[name]; ok {
		return t, nil
	}
	t, err := b.src.Table(b.ctx, name)
	if err != nil {
		return nil, err
	}
	b.tables[name] = t
	return t, nil
}

// let adds a variable.
func (b *binder) let(n letNode, en *env) *env {
	v := &env{up: en, name: n.name, in: en}
	switch {
	case n.fn != nil:
		v.fn = n.fn
	case b.isTabular(n.value, en):
		v.tab = n.value
	default:
		v.expr = b.expr(n.value, nil, en)
	}
	return v
}

// isTabular reports whether an expression is a table, without binding it.
func (b *binder) isTabular(e exprNode, en *env) bool {
	switch e := e.(type) {
	case *pipeExpr, *datatableExpr, *wildcardExpr:
		return true
	case *nameExpr:
		if v := en.find(e.name); v != nil {
			return v.tab != nil || v.bnd != nil
		}
		// A table that may not be read is one all the same: binding it says why.
		_, err := b.table(e.name)
		var unknown *UnknownTableError
		return !errors.As(err, &unknown)
	case *callExpr:
		if v := en.find(e.fn); v != nil && v.fn != nil {
			return b.isTabularFunc(v.fn, v.in)
		}
		return e.fn == "materialize" || e.fn == "table"
	}
	return false
}

func (b *binder) isTabularFunc(f *funcNode, en *env) bool {
	if known, ok := b.tabular[f]; ok {
		return known
	}
	is := b.tabularBody(f, en)
	b.tabular[f] = is
	return is
}

func (b *binder) tabularBody(f *funcNode, en *env) bool {
	for _, p := range f.params {
		v := &env{up: en, name: p.name}
		if p.typ == 0 {
			v.tab = &starExpr{}
		}
		en = v
	}
	for _, l := range f.lets {
		v := &env{up: en, name: l.name, in: en, fn: l.fn}
		if l.fn == nil && b.isTabular(l.value, en) {
			v.tab = l.value
		}
		en = v
	}
	return b.isTabular(f.body, en)
}

// arguments binds the parameters of a function to what it is called with, and
// then its let statements.
func (b *binder) arguments(c *callExpr, f *funcNode, in, en *env) *env {
	if len(c.args) > len(f.params) {
		b.fail(c.at, "", "function '%s' takes at most %s, not %d", c.fn, count(len(f.params), "argument"), len(c.args))
		return in
	}
	given := make([]exprNode, len(f.params))
	for i, a := range c.args {
		at := i
		if a.name() != "" {
			at = -1
			for j, p := range f.params {
				if p.name == a.name() {
					at = j
				}
			}
		}
		if at < 0 || given[at] != nil {
			b.fail(c.at, "", "function '%s' has no parameter '%s'", c.fn, a.name())
			return in
		}
		given[at] = a.e
	}
	scope := in
	for i, p := range f.params {
		v := &env{up: scope, name: p.name, in: en}
		switch {
		case p.typ == 0 && given[i] != nil:
			arg, cols := given[i], p.schema
			v.bnd = func() *pipe { return b.restrict(b.pipe(arg, en), cols, arg.pos()) }
		case given[i] != nil:
			v.expr = b.convertTo(b.expr(given[i], nil, en), p.typ, c.fn)
		case p.def != nil:
			v.expr = b.convertTo(constant(p.def.at, p.def.val, p.def.typ), p.typ, c.fn)
		default:
			b.fail(c.at, "", "function '%s': the argument '%s' is missing", c.fn, p.name)
			return in
		}
		scope = v
	}
	for _, l := range f.lets {
		scope = b.let(l, scope)
	}
	return scope
}

// restrict leaves of a table the columns that a parameter declares.
func (b *binder) restrict(p *pipe, want []Column, at int) *pipe {
	if len(want) == 0 || b.failed() {
		return p
	}
	var cols []col
	for _, w := range want {
		c := (&scope{cols: p.cols}).find(w.Name)
		if c == nil || c.typ != w.Type {
			b.fail(at, "", "the table has no column '%s' of type %s", w.Name, w.Type)
			return p
		}
		cols = append(cols, *c)
	}
	p.cols = cols
	return p
}

// convertTo checks that an argument has the type of its parameter. A long fits
// where an int or real is wanted; dynamic is cast.
func (b *binder) convertTo(e *expr, t Type, fn string) *expr {
	switch {
	case e.typ == t:
		return e
	case e.typ == Dynamic, t == Dynamic, isNumber(e.typ) && isNumber(t):
		return castExpr(e, t)
	}
	return b.fail(e.at, "", "function '%s': a value of type %s is expected, not %s", fn, t, e.typ)
}

func isNumber(t Type) bool { return t == Int || t == Long || t == Real }

func isInteger(t Type) bool { return t == Int || t == Long }

// castExpr makes e a value of type t, null where that is not possible.
func castExpr(e *expr, t Type) *expr {
	if e.typ == t {
		return e
	}
	eval := e.eval
	out := *e
	out.typ, out.slot, out.test = t, -1, nil
	if t == Dynamic {
		if e.typ == String {
			out.eval = func(f []Value) Value {
				v := eval(f)
				if v.k == kNull {
					return StringValue("")
				}
				return v
			}
		}
	} else {
		out.eval = func(f []Value) Value { return cast(eval(f), t) }
	}
	if e.val != nil {
		v := out.eval(nil)
		out.val = &v
		out.eval = func([]Value) Value { return v }
	}
	return &out
}

// pipe binds a tabular expression.
func (b *binder) pipe(e exprNode, en *env) *pipe {
	if !b.spend(e.pos()) {
		return b.emptyPipe()
	}
	b.depth++
	defer func() { b.depth-- }()
	switch e := e.(type) {
	case *pipeExpr:
		for i := range e.ops {
			if e.ops[i].name == "invoke" {
				return b.invoke(e, i, en)
			}
		}
		var p *pipe
		ops := e.ops
		if e.src != nil {
			// The service names the first operator when it does not know the table.
			b.op = ops[0].name
			p = b.pipe(e.src, en)
		} else {
			b.op = ops[0].name
			p = b.source(&ops[0], en)
			ops = ops[1:]
		}
		b.operators(p, ops, en)
		return p
	case *datatableExpr:
		return b.datatable(e)
	case *nameExpr:
		return b.tableName(e, en)
	case *callExpr:
		return b.tableCall(e, en)
	case *pathExpr:
		if root, ok := e.x.(*callExpr); ok { // workspace("x").Table
			return b.tableCall(root, en)
		}
	}
	b.fail(e.pos(), "", "a table is expected here")
	return b.emptyPipe()
}

// invoke binds `T | invoke f(…)`: f is called with all that comes before as its
// first argument, and what comes after goes on with its table.
func (b *binder) invoke(e *pipeExpr, at int, en *env) *pipe {
	call, ok := e.ops[at].args[0].e.(*callExpr)
	if !ok {
		b.op = "invoke"
		b.fail(e.ops[at].at, "", "a call of a function is expected here")
		return b.emptyPipe()
	}
	if v := en.find(call.fn); v == nil || v.fn == nil {
		b.op = "invoke"
		b.fail(call.at, "SEM0260", "Unknown function: '%s'.", call.fn)
		return b.emptyPipe()
	}
	var before exprNode = &pipeExpr{at: e.at, src: e.src, ops: e.ops[:at]}
	if at == 0 {
		before = e.src
	}
	whole := *call
	whole.args = append([]argNode{{e: before}}, call.args...)
	p := b.tableCall(&whole, en)
	b.operators(p, e.ops[at+1:], en)
	return p
}

func (b *binder) operators(p *pipe, ops []opNode, en *env) {
	for i := range ops {
		if b.failed() {
			return
		}
		b.op = ops[i].name
		b.window = nil
		if as := b.operator(p, &ops[i], en); as != nil {
			en = as
		}
	}
	b.op = ""
}

func (b *binder) emptyPipe() *pipe {
	return &pipe{src: &rowsLeaf{}, lay: &layout{}}
}

func (b *binder) tableName(e *nameExpr, en *env) *pipe {
	if v := en.find(e.name); v != nil {
		switch {
		case v.bnd != nil:
			return v.bnd()
		case v.tab != nil:
			p := b.pipe(v.tab, v.in)
			p.name = e.name
			return p
		case v.fn != nil:
			return b.tableCall(&callExpr{at: e.at, fn: e.name}, en)
		}
		b.fail(e.at, "", "'%s' is not a table", e.name)
		return b.emptyPipe()
	}
	t, err := b.table(e.name)
	if err != nil {
		b.unknownTable(e.at, e.name, err)
		return b.emptyPipe()
	}
	return b.scan(t, e.name)
}

func (b *binder) unknownTable(at int, name string, err error) {
	var unknown *UnknownTableError
	if !errors.As(err, &unknown) {
		if b.err == nil {
			b.err = fmt.Errorf("find table %s: %w", name, err)
		}
		return
	}
	// SEM0100 is what the service answers to names that it does not know.
	b.fail(at, "SEM0100", "Failed to resolve table or column expression named '%s'", name)
}

func (b *binder) tableCall(e *callExpr, en *env) *pipe {
	if v := en.find(e.fn); v != nil && v.fn != nil {
		p := b.pipe(v.fn.body, b.arguments(e, v.fn, v.in, en))
		p.name = e.fn
		return p
	}
	switch e.fn {
	case "materialize":
		if len(e.args) == 1 {
			return b.pipe(e.args[0].e, en)
		}
	case "table":
		if len(e.args) == 1 {
			if x := b.expr(e.args[0].e, nil, en); x.val != nil && x.typ == String {
				return b.tableName(&nameExpr{at: e.at, name: x.val.s}, nil)
			}
		}
	case "workspace", "app", "resource", "cluster", "database", "externaldata", "external_table":
		b.fail(e.at, "", "'%s()' is not supported: a query reads the tables of one workspace", e.fn)
		return b.emptyPipe()
	}
	if _, ok := b.functions[e.fn]; ok {
		b.fail(e.at, "", "a table is expected here, not the scalar function '%s'", e.fn)
	} else {
		b.fail(e.at, "SEM0260", "Unknown function: '%s'.", e.fn)
	}
	return b.emptyPipe()
}

// uniqueName returns name, or name with the first number after it that is free.
func uniqueName(name string, taken map[string]bool) string {
	out := name
	for i := 1; taken[out]; i++ {
		out = fmt.Sprintf("%s%d", name, i)
	}
	taken[out] = true
	return out
}

// matchPattern reports whether a name matches a pattern with *.
func matchPattern(pattern, name string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == name
	}
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(name, parts[0]) {
		return false
	}
	name = name[len(parts[0]):]
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return strings.HasSuffix(name, last)
}
