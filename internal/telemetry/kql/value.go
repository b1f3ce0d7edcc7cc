package kql

import (
	"bytes"
	"math"
	"strconv"
	"time"
)

// kind is the kind of value that a Value holds. Scalars of type dynamic have the
// kind of what they hold.
type kind uint8

const (
	kNull kind = iota
	kBool
	kInt
	kLong
	kReal
	kString
	kDateTime
	kTimeSpan
	kGUID
	kArray
	kBag
	kJSON // an array or a bag that is still text
)

// Value is one scalar. The zero Value is null. A Value does not know whether it
// is static or dynamic: that is its column's type.
type Value struct {
	s string // kString, kGUID (36 characters, lower case), kJSON
	n int64  // kBool, kInt, kLong, kReal (bits), kDateTime (ticks since year 1), kTimeSpan (ticks)
	d *node  // kArray, kBag
	k kind
}

// node is an array or a property bag. It is never changed once shared.
type node struct {
	items  []Value
	keys   []string // of a bag, one per item, in order of insertion
	weight int64    // bytes, with everything below; what is shared counts each time
}

// arrayValue makes an array.
func arrayValue(items []Value) Value {
	n := &node{items: items}
	n.weigh()
	return Value{k: kArray, d: n}
}

// bagValue makes a property bag. Of equal keys the last counts.
func bagValue(keys []string, items []Value) Value {
	n := &node{keys: keys, items: items}
	n.dedupe()
	n.weigh()
	return Value{k: kBag, d: n}
}

func (n *node) weigh() {
	n.weight = 64
	for i := range n.items {
		n.weight += valueSize + n.items[i].size()
	}
	for _, k := range n.keys {
		n.weight += 16 + int64(len(k))
	}
}

const (
	ticksPerSecond = int64(time.Second / 100)
	ticksPerMilli  = ticksPerSecond / 1000
	ticksPerMicro  = ticksPerSecond / 1_000_000
	ticksPerMinute = 60 * ticksPerSecond
	ticksPerHour   = 60 * ticksPerMinute
	ticksPerDay    = 24 * ticksPerHour

	// unixEpochTicks is 1970-01-01 in ticks since 0001-01-01.
	unixEpochTicks = 719_162 * ticksPerDay
)

// BoolValue returns a value of type bool.
func BoolValue(b bool) Value {
	if b {
		return Value{k: kBool, n: 1}
	}
	return Value{k: kBool}
}

// IntValue returns a value of type int.
func IntValue(i int32) Value { return Value{k: kInt, n: int64(i)} }

// LongValue returns a value of type long.
func LongValue(i int64) Value { return Value{k: kLong, n: i} }

// RealValue returns a value of type real.
func RealValue(f float64) Value { return Value{k: kReal, n: int64(math.Float64bits(f))} }

// StringValue returns a value of type string.
func StringValue(s string) Value { return Value{k: kString, s: s} }

// DateTimeValue returns a value of type datetime. It is cut to ticks of 100 ns;
// a time outside the years 1 to 9999 is null.
func DateTimeValue(t time.Time) Value {
	sec := t.Unix()
	if sec < -62_135_596_800 || sec > 253_402_300_799 {
		return Value{}
	}
	return Value{k: kDateTime, n: unixEpochTicks + sec*ticksPerSecond + int64(t.Nanosecond())/100}
}

// UnixNanoValue returns the datetime that is ns nanoseconds after 1970.
func UnixNanoValue(ns int64) Value {
	q := ns / 100
	if ns%100 < 0 {
		q--
	}
	return Value{k: kDateTime, n: unixEpochTicks + q}
}

// TimeSpanValue returns a value of type timespan, cut to ticks of 100 ns.
func TimeSpanValue(d time.Duration) Value { return Value{k: kTimeSpan, n: int64(d) / 100} }

// GUIDValue returns a value of type guid, or null when s is not one.
func GUIDValue(s string) Value {
	g, ok := parseGUID(s)
	if !ok {
		return Value{}
	}
	return Value{k: kGUID, s: g}
}

// JSONValue returns a value of type dynamic of JSON text, which must be valid: an
// array or object is not looked at before a query looks into it. Empty text is
// null.
func JSONValue(text string) Value {
	if text != "" && (text[0] == '{' || text[0] == '[') {
		return Value{k: kJSON, s: text}
	}
	v, _ := parseJSON(text)
	return v
}

// IsNull reports whether v is null. A null in a column of type string counts as
// the empty string.
func (v Value) IsNull() bool { return v.k == kNull }

// Bool returns the value of a bool, and false for anything else.
func (v Value) Bool() bool { return v.k == kBool && v.n != 0 }

// Long returns the value of an int or long, and 0 for anything else.
func (v Value) Long() int64 {
	if v.k == kLong || v.k == kInt {
		return v.n
	}
	return 0
}

// Real returns the value of a real, int or long, and 0 for anything else.
func (v Value) Real() float64 {
	switch v.k {
	case kReal:
		return math.Float64frombits(uint64(v.n))
	case kLong, kInt:
		return float64(v.n)
	default:
		return 0
	}
}

// Time returns the value of a datetime in UTC, and the zero time for anything
// else.
func (v Value) Time() time.Time {
	if v.k != kDateTime {
		return time.Time{}
	}
	return ticksTime(v.n)
}

func ticksTime(ticks int64) time.Time {
	t := ticks - unixEpochTicks
	sec, rest := t/ticksPerSecond, t%ticksPerSecond
	if rest < 0 {
		sec, rest = sec-1, rest+ticksPerSecond
	}
	return time.Unix(sec, rest*100).UTC()
}

// Duration returns the value of a timespan, and 0 for anything else. What a
// time.Duration cannot hold becomes the nearest that it can.
func (v Value) Duration() time.Duration {
	switch {
	case v.k != kTimeSpan:
		return 0
	case v.n > math.MaxInt64/100:
		return math.MaxInt64
	case v.n < math.MinInt64/100:
		return math.MinInt64
	default:
		return time.Duration(v.n * 100)
	}
}

// String returns the value as tostring() does: null is the empty string.
func (v Value) String() string {
	switch v.k {
	case kString, kGUID:
		return v.s
	case kNull:
		return ""
	default:
		return string(v.appendText(nil))
	}
}

// AppendJSON appends the value as the query API writes a cell of a column of type
// t: numbers, booleans and null as themselves, everything else as a string
// (a dynamic as its JSON text, a datetime with as many digits of its second as
// count), and reals that JSON cannot hold as "NaN", "Infinity" and "-Infinity".
func (v Value) AppendJSON(dst []byte, t Type) []byte {
	switch v.k {
	case kNull:
		if t == String {
			return append(dst, `""`...)
		}
		return append(dst, "null"...)
	case kBool, kInt, kLong, kReal:
		if t == Dynamic {
			dst = append(dst, '"')
			dst = v.appendText(dst)
			return append(dst, '"')
		}
		if f := v.Real(); v.k == kReal && (math.IsNaN(f) || math.IsInf(f, 0)) {
			dst = append(dst, '"')
			dst = v.appendText(dst)
			return append(dst, '"')
		}
		if v.k == kReal {
			return appendJSONReal(dst, v.Real())
		}
		return v.appendText(dst)
	case kString, kGUID:
		return appendJSONString(dst, v.s)
	case kDateTime:
		dst = append(dst, '"')
		dst = appendDateTime(dst, v.n)
		if t == DateTime {
			dst = bytes.TrimRight(dst[:len(dst)-1], "0")
			dst = append(bytes.TrimSuffix(dst, []byte(".")), 'Z')
		}
		return append(dst, '"')
	default:
		return appendJSONString(dst, v.String())
	}
}

// appendJSONReal writes a real that JSON can hold, with a point, as the
// documentation shows reals in arrays.
func appendJSONReal(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.AppendFloat(dst, f, 'f', 1, 64)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}
