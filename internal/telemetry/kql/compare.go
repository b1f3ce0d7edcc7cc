package kql

import (
	"cmp"
	"math"
	"strings"
)

// compareValues orders two values that are not null. Numbers compare with each
// other; other kinds only with their own.
func compareValues(a, b Value) (int, bool) {
	switch {
	case a.k == b.k:
	case (a.k == kInt || a.k == kLong || a.k == kReal || a.k == kBool) && (b.k == kInt || b.k == kLong || b.k == kReal || b.k == kBool):
		if a.k != kReal && b.k != kReal {
			return cmp.Compare(a.n, b.n), true
		}
		return compareReals(a.number(), b.number()), true
	case (a.k == kArray || a.k == kBag || a.k == kJSON) && (b.k == kArray || b.k == kBag || b.k == kJSON):
		return strings.Compare(string(a.appendDynamic(nil)), string(b.appendDynamic(nil))), true
	case a.k == kString && b.k == kGUID || a.k == kGUID && b.k == kString:
		return strings.Compare(a.s, b.s), true
	default:
		return 0, false
	}
	switch a.k {
	case kReal:
		return compareReals(a.Real(), b.Real()), true
	case kString, kGUID:
		return strings.Compare(a.s, b.s), true
	case kArray, kBag, kJSON:
		return strings.Compare(string(a.appendDynamic(nil)), string(b.appendDynamic(nil))), true
	}
	return cmp.Compare(a.n, b.n), true
}

// number is the value of anything that counts as a number in comparisons.
func (v Value) number() float64 {
	if v.k == kReal {
		return v.Real()
	}
	return float64(v.n)
}

func compareReals(a, b float64) int { return cmp.Compare(a, b) }

// comparison is one of the six operators.
type comparison uint8

const (
	cEq comparison = iota
	cNe
	cLt
	cLe
	cGt
	cGe
)

func (c comparison) holds(n int) bool {
	switch c {
	case cEq:
		return n == 0
	case cNe:
		return n != 0
	case cLt:
		return n < 0
	case cLe:
		return n <= 0
	case cGt:
		return n > 0
	default:
		return n >= 0
	}
}

func (c comparison) flip() comparison {
	switch c {
	case cLt:
		return cGt
	case cLe:
		return cGe
	case cGt:
		return cLt
	case cGe:
		return cLe
	}
	return c
}

func comparisonOf(op string) (comparison, bool) {
	switch op {
	case "==":
		return cEq, true
	case "!=":
		return cNe, true
	case "<":
		return cLt, true
	case "<=":
		return cLe, true
	case ">":
		return cGt, true
	case ">=":
		return cGe, true
	}
	return 0, false
}

// apply compares two values, null as the documentation has it: a comparison with
// null is null, but for equality with one null, which is false, and inequality
// with one, which is true.
func (c comparison) apply(a, b Value) Value {
	if a.k == kNull || b.k == kNull {
		if a.k == b.k || c != cEq && c != cNe {
			return Value{}
		}
		return BoolValue(c == cNe)
	}
	if a.k == kReal && math.IsNaN(a.Real()) || b.k == kReal && math.IsNaN(b.Real()) {
		return BoolValue(c == cNe)
	}
	n, ok := compareValues(a, b)
	if !ok {
		// A dynamic value of another kind. The documentation is silent; unequal.
		return BoolValue(c == cNe)
	}
	return BoolValue(c.holds(n))
}

// compareExprs binds a comparison.
func (b *binder) compareExprs(at int, op string, l, r *expr) *expr {
	c, _ := comparisonOf(op)
	if !comparable(c, l.typ, r.typ) {
		// The service's words for comparisons such as string == long.
		return b.fail(at, "", "Cannot compare values of types %s and %s. Try adding explicit casts", l.typ, r.typ)
	}
	if l.typ == String && r.typ == String {
		return b.compareStrings(at, c, l, r)
	}
	// A string that meets a bool is read as one: `success == false` in queries of
	// Application Insights, where success is a string.
	switch {
	case l.typ == String && r.typ == Bool:
		l = castExpr(l, Bool)
	case l.typ == Bool && r.typ == String:
		r = castExpr(r, Bool)
	}
	// Strings have no null; in a dynamic they do.
	l, r = stringNotNull(l), stringNotNull(r)
	if l.val != nil && r.val == nil {
		l, r, c = r, l, c.flip()
	}
	if l.once && !r.once {
		l, r, c = r, l, c.flip()
	}
	le, re := l.eval, r.eval
	e := b.node(at, Bool, func(f []Value) Value { return c.apply(le(f), re(f)) }, l, r)
	if l.slot >= 0 && r.once && l.typ == DateTime && r.typ == DateTime {
		e.bounds = []bound{{slot: l.slot, op: c, value: r}}
	}
	if r.val != nil && l.slot >= 0 && l.typ != Dynamic && r.typ != Dynamic && l.typ != GUID {
		e.test = slotTest(l, r, c)
	}
	return e
}

// slotTest compares a column with a constant, without any call in between.
func slotTest(l, r *expr, c comparison) func(f []Value) bool {
	slot, v := l.slot, *r.val
	if v.k == kNull {
		return func(f []Value) bool { return c == cNe && f[slot].k != kNull }
	}
	if l.typ == Real || r.typ == Real {
		want := v.number()
		return func(f []Value) bool {
			p := &f[slot]
			if p.k == kNull {
				return c == cNe
			}
			got := p.number()
			if got != got {
				return c == cNe
			}
			switch c {
			case cEq:
				return got == want
			case cNe:
				return got != want
			case cLt:
				return got < want
			case cLe:
				return got <= want
			case cGt:
				return got > want
			default:
				return got >= want
			}
		}
	}
	want := v.n
	switch c {
	case cEq:
		return func(f []Value) bool { p := &f[slot]; return p.n == want && p.k != kNull }
	case cNe:
		return func(f []Value) bool { p := &f[slot]; return p.n != want || p.k == kNull }
	case cLt:
		return func(f []Value) bool { p := &f[slot]; return p.n < want && p.k != kNull }
	case cLe:
		return func(f []Value) bool { p := &f[slot]; return p.n <= want && p.k != kNull }
	case cGt:
		return func(f []Value) bool { p := &f[slot]; return p.n > want && p.k != kNull }
	default:
		return func(f []Value) bool { p := &f[slot]; return p.n >= want && p.k != kNull }
	}
}

func (b *binder) compareStrings(at int, c comparison, l, r *expr) *expr {
	le, re := l.eval, r.eval
	eq := c == cEq
	e := b.node(at, Bool, func(f []Value) Value { return BoolValue((le(f).s == re(f).s) == eq) }, l, r)
	if l.val != nil {
		l, r = r, l
	}
	if l.slot >= 0 && r.val != nil {
		slot, want := l.slot, r.val.s
		e.test = func(f []Value) bool { return (f[slot].s == want) == eq }
	}
	return e
}

// stringNotNull makes the null of a string column the empty string, for where it
// meets a dynamic value.
func stringNotNull(e *expr) *expr {
	if e.typ != String || e.val != nil {
		return e
	}
	out := *e
	eval := e.eval
	out.eval = func(f []Value) Value {
		v := eval(f)
		if v.k == kNull {
			v.k = kString
		}
		return v
	}
	return &out
}

// comparable says which types compare, after the public grammar's table of
// operators and the service's refusals.
func comparable(c comparison, l, r Type) bool {
	numeric := func(t Type) bool { return isNumber(t) || t == Bool }
	switch {
	case l == Dynamic || r == Dynamic:
		return true
	case numeric(l) && numeric(r):
		return true
	case l == String || l == GUID:
		// There is no order of strings: strcmp() compares them.
		return (c == cEq || c == cNe) && (l == r || l == GUID && r == String || l == String && (r == GUID || r == Bool))
	case l == Bool && r == String:
		return c == cEq || c == cNe
	}
	return l == r
}
