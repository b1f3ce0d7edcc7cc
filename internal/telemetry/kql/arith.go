package kql

import "math"

// arithType returns the type of l op r, or 0 when the types do not go together.
func arithType(op string, l, r Type) Type {
	number := func(t Type) bool { return isNumber(t) }
	switch {
	case number(l) && number(r):
		if l == Real || r == Real {
			return Real
		}
		return Long
	case l == Dynamic && r == Dynamic:
		return Dynamic
	case l == Dynamic || r == Dynamic:
		other := l
		if l == Dynamic {
			other = r
		}
		switch {
		case other == Int:
			return Long
		case number(other):
			return other
		case op == "-" && other == DateTime:
			return TimeSpan
		case (op == "+" || op == "-") && (other == DateTime || other == TimeSpan):
			return other
		}
		return 0
	case op == "+":
		switch {
		case l == TimeSpan && r == TimeSpan:
			return TimeSpan
		case l == DateTime && r == TimeSpan, l == TimeSpan && r == DateTime:
			return DateTime
		}
	case op == "-":
		switch {
		case l == TimeSpan && r == TimeSpan, l == DateTime && r == DateTime:
			return TimeSpan
		case l == DateTime && r == TimeSpan:
			return DateTime
		}
	case op == "*":
		if l == TimeSpan && number(r) || number(l) && r == TimeSpan {
			return TimeSpan
		}
	case op == "/":
		switch {
		case l == TimeSpan && r == TimeSpan, l == DateTime && r == TimeSpan:
			return Real
		case l == TimeSpan && number(r):
			return TimeSpan
		}
	case op == "%":
		if (l == TimeSpan || l == DateTime) && r == TimeSpan {
			return TimeSpan
		}
	}
	return 0
}

func (b *binder) arithExpr(at int, op string, l, r *expr) *expr {
	t := arithType(op, l.typ, r.typ)
	if t == 0 {
		return b.fail(at, "", "The operator '%s' is not defined for the types %s and %s", op, l.typ, r.typ)
	}
	le, re := l.eval, r.eval
	c := op[0]
	if t == Real && l.typ == Real && r.typ == Real && c != '%' {
		return b.node(at, Real, func(f []Value) Value {
			x, y := le(f), re(f)
			if x.k == kNull || y.k == kNull {
				return Value{}
			}
			return RealValue(realArith(c, x.Real(), y.Real()))
		}, l, r)
	}
	if t != Dynamic && (l.typ == Dynamic || r.typ == Dynamic) {
		return b.node(at, t, func(f []Value) Value { return cast(arith(c, le(f), re(f)), t) }, l, r)
	}
	return b.node(at, t, func(f []Value) Value { return arith(c, le(f), re(f)) }, l, r)
}

func realArith(op byte, x, y float64) float64 {
	switch op {
	case '+':
		return x + y
	case '-':
		return x - y
	case '*':
		return x * y
	default:
		return x / y
	}
}

// arith computes a op b by the kinds of the values. What does not go together, and
// anything with null, is null. Integers wrap around.
func arith(op byte, a, b Value) Value {
	if a.k == kNull || b.k == kNull {
		return Value{}
	}
	aInt, bInt := a.k == kInt || a.k == kLong, b.k == kInt || b.k == kLong
	aNum, bNum := aInt || a.k == kReal, bInt || b.k == kReal
	switch {
	case aInt && bInt:
		return intArith(op, a.n, b.n)
	case aNum && bNum:
		x, y := a.number(), b.number()
		if op == '%' {
			return RealValue(realMod(x, y))
		}
		return RealValue(realArith(op, x, y))
	case a.k == kTimeSpan && b.k == kTimeSpan:
		switch op {
		case '/':
			return RealValue(float64(a.n) / float64(b.n))
		case '*':
			return Value{}
		}
		v := intArith(op, a.n, b.n)
		if v.k != kNull {
			v.k = kTimeSpan
		}
		return v
	case a.k == kTimeSpan && bNum:
		return scaleSpan(op, a.n, b)
	case aNum && b.k == kTimeSpan && op == '*':
		return scaleSpan(op, b.n, a)
	case a.k == kDateTime && b.k == kTimeSpan:
		switch op {
		case '+':
			return dateTicks(a.n, b.n)
		case '-':
			return dateTicks(a.n, -b.n)
		case '/':
			return RealValue(float64(a.n) / float64(b.n))
		case '%':
			v := intArith(op, a.n, b.n)
			if v.k != kNull {
				v.k = kTimeSpan
			}
			return v
		}
	case a.k == kTimeSpan && b.k == kDateTime && op == '+':
		return dateTicks(b.n, a.n)
	case a.k == kDateTime && b.k == kDateTime && op == '-':
		return Value{k: kTimeSpan, n: a.n - b.n}
	}
	return Value{}
}

// maxDateTicks is the last tick of the year 9999.
const maxDateTicks = 3_652_059*ticksPerDay - 1

// dateTicks adds ticks to a datetime. Beyond the years 1 to 9999 it is null.
func dateTicks(at, add int64) Value {
	n := at + add
	if n < 0 || n > maxDateTicks || add > 0 && n < at {
		return Value{}
	}
	return Value{k: kDateTime, n: n}
}

func scaleSpan(op byte, ticks int64, by Value) Value {
	switch {
	case op == '*' && by.k != kReal:
		return Value{k: kTimeSpan, n: ticks * by.n}
	case op == '*':
		return spanOf(float64(ticks) * by.Real())
	case op == '/' && by.k != kReal && by.n != 0:
		return Value{k: kTimeSpan, n: ticks / by.n}
	case op == '/':
		return spanOf(float64(ticks) / by.number())
	}
	return Value{}
}

func spanOf(ticks float64) Value {
	if math.IsNaN(ticks) || ticks >= math.MaxInt64 || ticks <= math.MinInt64 {
		return Value{}
	}
	return Value{k: kTimeSpan, n: int64(math.Round(ticks))}
}

func intArith(op byte, x, y int64) Value {
	switch op {
	case '+':
		return LongValue(x + y)
	case '-':
		return LongValue(x - y)
	case '*':
		return LongValue(x * y)
	}
	// The documentation does not say what an integer divided by zero is; null.
	if y == 0 {
		return Value{}
	}
	if y == -1 { // the one quotient that overflows
		if op == '/' {
			return LongValue(-x)
		}
		return LongValue(0)
	}
	if op == '/' {
		return LongValue(x / y)
	}
	// The remainder is never negative: 0 <= x % y < |y|.
	m := x % y
	if m < 0 {
		if y < 0 {
			m -= y
		} else {
			m += y
		}
	}
	return LongValue(m)
}

func realMod(x, y float64) float64 {
	m := math.Mod(x, y)
	if m < 0 {
		m += math.Abs(y)
	}
	return m
}

// binTicks rounds n down to a multiple of size, counted from an origin.
func binTicks(n, size, origin int64) int64 {
	m := (n - origin) % size
	if m < 0 {
		m += size
	}
	return n - m
}

// binValue is bin(v, size): the multiple of size at or below v.
func binValue(v, size Value) Value {
	if v.k == kNull || size.k == kNull {
		return Value{}
	}
	if v.k == kReal || size.k == kReal {
		if v.k == kDateTime || v.k == kTimeSpan || size.k == kTimeSpan {
			return Value{}
		}
		s := size.number()
		if !(s > 0) {
			return Value{}
		}
		return RealValue(math.Floor(v.number()/s) * s)
	}
	if size.n <= 0 {
		return Value{}
	}
	v.n = binTicks(v.n, size.n, 0)
	return v
}
