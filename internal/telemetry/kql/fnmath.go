package kql

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
)

func mathFunctions() map[string]*function {
	real1 := func(f func(float64) float64) *function {
		return &function{args: "r", ret: Real, name: asFirst, call: func(a []Value) Value { return RealValue(f(a[0].Real())) }}
	}
	bitwise := func(f func(x, y int64) int64) *function {
		return &function{args: "ii", ret: Long, name: asFirst, call: func(a []Value) Value { return LongValue(f(a[0].n, a[1].n)) }}
	}
	return map[string]*function{
		"sqrt":    real1(math.Sqrt),
		"exp":     real1(math.Exp),
		"exp2":    real1(math.Exp2),
		"exp10":   real1(func(x float64) float64 { return math.Pow(10, x) }),
		"log":     real1(math.Log),
		"log2":    real1(math.Log2),
		"log10":   real1(math.Log10),
		"sin":     real1(math.Sin),
		"cos":     real1(math.Cos),
		"tan":     real1(math.Tan),
		"asin":    real1(math.Asin),
		"acos":    real1(math.Acos),
		"atan":    real1(math.Atan),
		"gamma":   real1(math.Gamma),
		"degrees": real1(func(x float64) float64 { return x * 180 / math.Pi }),
		"radians": real1(func(x float64) float64 { return x * math.Pi / 180 }),
		"cot":     real1(func(x float64) float64 { return 1 / math.Tan(x) }),
		"atan2": {args: "rr", ret: Real, name: asFirst, call: func(a []Value) Value {
			return RealValue(math.Atan2(a[0].Real(), a[1].Real()))
		}},
		"pow": {args: "rr", ret: Real, name: asFirst, call: func(a []Value) Value {
			return RealValue(math.Pow(a[0].Real(), a[1].Real()))
		}},
		"pi": {ret: Real, call: func([]Value) Value { return RealValue(math.Pi) }},
		"abs": {args: "c", typ: numberOrSpan, name: asFirst, call: func(a []Value) Value {
			v := a[0]
			if v.k == kReal {
				return RealValue(math.Abs(v.Real()))
			}
			if v.n < 0 {
				v.n = -v.n
			}
			return v
		}},
		"sign": {args: "r", ret: Real, call: func(a []Value) Value {
			f := a[0].Real()
			if f != 0 && !math.IsNaN(f) {
				f = math.Copysign(1, f)
			}
			return RealValue(f)
		}},
		"ceiling": {args: "n", typ: func(b *binder, at int, args []*expr) Type { return args[0].typ }, name: asFirst, call: func(a []Value) Value {
			if a[0].k == kReal {
				return RealValue(math.Ceil(a[0].Real()))
			}
			return a[0]
		}},
		"round": {args: "ni?", typ: func(b *binder, at int, args []*expr) Type { return args[0].typ }, name: asFirst, call: func(a []Value) Value {
			places := int64(0)
			if len(a) > 1 {
				places = max(-30, min(a[1].n, 30))
			}
			if v := a[0]; v.k != kReal {
				if places < 0 {
					v.n = int64(roundTo(float64(v.n), int(places)))
				}
				return v
			}
			return RealValue(roundTo(a[0].Real(), int(places)))
		}},
		"bin":    {args: "cc", typ: binType, name: asFirst, nulls: true, prepare: prepareBin, fast: fastBin},
		"floor":  {args: "cc?", typ: binType, name: asFirst, nulls: true, prepare: prepareBin},
		"bin_at": {args: "ccc", typ: binType, name: asFirst, call: binAt},
		"isnan": {args: "n", ret: Bool, call: func(a []Value) Value {
			return BoolValue(math.IsNaN(a[0].number()))
		}},
		"isinf": {args: "n", ret: Bool, call: func(a []Value) Value {
			return BoolValue(math.IsInf(a[0].number(), 0))
		}},
		"isfinite": {args: "n", ret: Bool, call: func(a []Value) Value {
			f := a[0].number()
			return BoolValue(!math.IsNaN(f) && !math.IsInf(f, 0))
		}},
		"binary_and": bitwise(func(x, y int64) int64 { return x & y }),
		"binary_or":  bitwise(func(x, y int64) int64 { return x | y }),
		"binary_xor": bitwise(func(x, y int64) int64 { return x ^ y }),
		"binary_shift_left": bitwise(func(x, y int64) int64 {
			return x << (uint64(y) & 63)
		}),
		"binary_shift_right": bitwise(func(x, y int64) int64 {
			return x >> (uint64(y) & 63)
		}),
		"binary_not":        {args: "i", ret: Long, name: asFirst, call: func(a []Value) Value { return LongValue(^a[0].n) }},
		"bitset_count_ones": {args: "i", ret: Long, name: asFirst, call: func(a []Value) Value { return LongValue(int64(bits.OnesCount64(uint64(a[0].n)))) }},
		"rand":              {special: bindRand, usage: "rand([integer])"},
		"min_of":            {args: "aa*", typ: commonType, nulls: true, call: func(a []Value) Value { return extreme(a, -1) }},
		"max_of":            {args: "aa*", typ: commonType, nulls: true, call: func(a []Value) Value { return extreme(a, 1) }},
		"hash":              {args: "ai?", ret: Long, nulls: true, call: hashValue},
	}
}

// numberOrSpan refuses datetime.
func numberOrSpan(b *binder, at int, args []*expr) Type {
	if args[0].typ == DateTime {
		b.fail(at, "", "a number or timespan is expected, not datetime")
	}
	return args[0].typ
}

// roundTo rounds half away from zero, by decimal digits where that is exact.
func roundTo(f float64, places int) float64 {
	if places == 0 {
		return math.Round(f)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return f
	}
	scale := math.Pow(10, float64(places))
	if r := math.Round(f*scale) / scale; !math.IsInf(r, 0) && !math.IsNaN(r) {
		// The shortest decimal of the result, so that 0.1+0.2 rounds to 0.3.
		if places > 0 {
			if g, err := strconv.ParseFloat(strconv.FormatFloat(r, 'f', places, 64), 64); err == nil {
				return g
			}
		}
		return r
	}
	return f
}

// binType is the type of bin(value, size): that of value, or real when a number
// is rounded to a real.
func binType(b *binder, at int, args []*expr) Type {
	v := args[0].typ
	if len(args) == 1 {
		return v
	}
	size := args[1].typ
	switch {
	case isNumber(v) && isNumber(size):
		if v == Real || size == Real {
			return Real
		}
		return v
	case (v == DateTime || v == TimeSpan) && size == TimeSpan:
		return v
	case v == DateTime && isInteger(size), v == TimeSpan && isInteger(size):
		return v // the number counts ticks
	}
	b.fail(at, "", "a value of type %s cannot be rounded to a multiple of %s", v, size)
	return v
}

func prepareBin(b *binder, args []*expr) func(a []Value) Value {
	if len(args) == 1 { // floor(x)
		return func(a []Value) Value {
			if a[0].k == kReal {
				return RealValue(math.Floor(a[0].Real()))
			}
			return a[0]
		}
	}
	return func(a []Value) Value { return binValue(a[0], a[1]) }
}

// fastBin is bin() of a whole number, datetime or timespan to a size that is
// known: the usual key of a summarize.
func fastBin(args []*expr) func(f []Value) Value {
	if len(args) != 2 || args[1].val == nil || args[0].typ == Real {
		return nil
	}
	size := *args[1].val
	if size.k == kReal || size.k == kNull || size.n <= 0 {
		return nil
	}
	eval, n := args[0].eval, size.n
	if slot := args[0].slot; slot >= 0 {
		return func(f []Value) Value {
			v := f[slot]
			if v.k != kNull {
				v.n = binTicks(v.n, n, 0)
			}
			return v
		}
	}
	return func(f []Value) Value {
		v := eval(f)
		if v.k != kNull {
			v.n = binTicks(v.n, n, 0)
		}
		return v
	}
}

// binAt is bin_at(value, size, fixed point).
func binAt(a []Value) Value {
	v, size, at := a[0], a[1], a[2]
	if v.k == kReal || size.k == kReal || at.k == kReal {
		s, o := size.number(), at.number()
		if !(s > 0) {
			return Value{}
		}
		return RealValue(math.Floor((v.number()-o)/s)*s + o)
	}
	if size.n <= 0 {
		return Value{}
	}
	v.n = binTicks(v.n, size.n, at.n)
	return v
}

// bindRand binds rand(): a real from 0 to 1, or with a number an integer below
// it. It is new in every row.
func bindRand(b *binder, e *callExpr, sc *scope, en *env) *expr {
	if len(e.args) > 1 {
		return b.fail(e.at, "", "function 'rand' takes at most 1 argument, not %d", len(e.args))
	}
	out := &expr{typ: Real, slot: -1, at: e.at, eval: func([]Value) Value { return RealValue(rand.Float64()) }}
	if len(e.args) == 1 {
		n := b.argument("rand", 0, b.expr(e.args[0].e, sc, en), 'i')
		eval := n.eval
		out.typ, out.refs = Long, n.refs
		out.eval = func(f []Value) Value {
			v := eval(f)
			if v.n <= 0 {
				return Value{}
			}
			return LongValue(rand.Int64N(v.n))
		}
	}
	return out
}

// commonType is the one type of all arguments; numbers of different types are
// the widest.
func commonType(b *binder, at int, args []*expr) Type {
	t := args[0].typ
	for _, a := range args[1:] {
		switch {
		case a.typ == t:
		case isNumber(a.typ) && isNumber(t):
			if a.typ == Real || t == Real {
				t = Real
			} else {
				t = Long
			}
		case t == Dynamic && a.val != nil && a.val.k == kNull, a.typ == Dynamic && a.val != nil && a.val.k == kNull:
			if t == Dynamic {
				t = a.typ
			}
		case a.typ == Dynamic || t == Dynamic:
			t = Dynamic
		default:
			b.fail(at, "", "the arguments must be of one type, not %s and %s", t, a.typ)
			return t
		}
	}
	for i, a := range args {
		if a.typ != t && isNumber(a.typ) && isNumber(t) {
			args[i] = castExpr(a, t)
		}
	}
	return t
}

func extreme(a []Value, sign int) Value {
	var best Value
	for _, v := range a {
		if v.k == kNull {
			continue
		}
		if best.k == kNull {
			best = v
		} else if n, ok := compareValues(v, best); ok && n*sign > 0 {
			best = v
		}
	}
	return best
}

// hashValue is hash(value, modulus): the hash of a string's bytes, and, by the
// documentation's examples, of the eight bytes of a number of ticks. For other
// types that is an assumption.
func hashValue(a []Value) Value {
	text := ""
	switch v := a[0]; v.k {
	case kInt, kLong, kReal, kDateTime, kTimeSpan, kBool:
		text = string(binary.LittleEndian.AppendUint64(nil, uint64(v.n)))
	default:
		text = v.String()
	}
	n := int64(xxhash64(text))
	if len(a) > 1 {
		if a[1].k == kNull || a[1].n <= 0 {
			return Value{}
		}
		n = int64(uint64(n) % uint64(a[1].n))
	}
	return LongValue(n)
}

// xxhash64 is the 64-bit xxHash with seed 0, which hash() is documented to be.
func xxhash64(s string) uint64 {
	const (
		p1 uint64 = 0x9E3779B185EBCA87
		p2 uint64 = 0xC2B2AE3D27D4EB4F
		p3 uint64 = 0x165667B19E3779F9
		p4 uint64 = 0x85EBCA77C2B2AE63
		p5 uint64 = 0x27D4EB2F165667C5
	)
	u64 := func(i int) uint64 {
		var n uint64
		for j := range 8 {
			n |= uint64(s[i+j]) << (8 * j)
		}
		return n
	}
	round := func(acc, in uint64) uint64 { return bits.RotateLeft64(acc+in*p2, 31) * p1 }
	merge := func(h, v uint64) uint64 { return (h^round(0, v))*p1 + p4 }
	i := 0
	h := p5
	if len(s) >= 32 {
		one := p1
		v := [4]uint64{one + p2, p2, 0, -one}
		for ; i+32 <= len(s); i += 32 {
			for j := range v {
				v[j] = round(v[j], u64(i+8*j))
			}
		}
		h = bits.RotateLeft64(v[0], 1) + bits.RotateLeft64(v[1], 7) + bits.RotateLeft64(v[2], 12) + bits.RotateLeft64(v[3], 18)
		for j := range v {
			h = merge(h, v[j])
		}
	}
	h += uint64(len(s))
	for ; i+8 <= len(s); i += 8 {
		h = bits.RotateLeft64(h^round(0, u64(i)), 27)*p1 + p4
	}
	if i+4 <= len(s) {
		n := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24
		h = bits.RotateLeft64(h^n*p1, 23)*p2 + p3
		i += 4
	}
	for ; i < len(s); i++ {
		h = bits.RotateLeft64(h^uint64(s[i])*p5, 11) * p1
	}
	h ^= h >> 33
	h *= p2
	h ^= h >> 29
	h *= p3
	return h ^ h>>32
}
