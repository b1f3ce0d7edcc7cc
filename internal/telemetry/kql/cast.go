package kql

import (
	"math"
	"strconv"
	"strings"
)

// cast converts v to a type as the to…() functions do. What cannot be converted
// is null.
func cast(v Value, t Type) Value {
	if t == Dynamic {
		return v
	}
	if v.k == kNull {
		if t == String {
			return StringValue("")
		}
		return v
	}
	switch t {
	case String:
		if v.k == kString {
			return v
		}
		return StringValue(v.String())
	case Bool:
		return castBool(v)
	case Int:
		n := castLong(v)
		if n.k == kNull || n.n < math.MinInt32 || n.n > math.MaxInt32 {
			return Value{}
		}
		return Value{k: kInt, n: n.n}
	case Long:
		return castLong(v)
	case Real:
		switch v.k {
		case kReal:
			return v
		case kInt, kLong, kBool:
			return RealValue(float64(v.n))
		case kString:
			return parseReal(v.s)
		case kDateTime, kTimeSpan:
			// The documentation is silent; the number of ticks.
			return RealValue(float64(v.n))
		}
	case DateTime:
		switch v.k {
		case kDateTime:
			return v
		case kString:
			return parseDateTime(v.s)
		case kLong, kInt:
			// Ticks since year 1, as the documentation counts them.
			return dateTicks(v.n, 0)
		}
	case TimeSpan:
		switch v.k {
		case kTimeSpan:
			return v
		case kString:
			return parseTimeSpan(v.s)
		case kLong, kInt:
			return Value{k: kTimeSpan, n: v.n}
		}
	case GUID:
		switch v.k {
		case kGUID:
			return v
		case kString:
			return GUIDValue(strings.TrimSpace(v.s))
		}
	}
	return Value{}
}

func castBool(v Value) Value {
	switch v.k {
	case kBool:
		return v
	case kInt, kLong:
		return BoolValue(v.n != 0)
	case kReal:
		return BoolValue(v.Real() != 0)
	case kString:
		switch strings.ToLower(strings.TrimSpace(v.s)) {
		case "true":
			return BoolValue(true)
		case "false":
			return BoolValue(false)
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(v.s), 10, 64); err == nil {
			return BoolValue(n != 0)
		}
	}
	return Value{}
}

func castLong(v Value) Value {
	switch v.k {
	case kLong:
		return v
	case kInt, kBool, kDateTime, kTimeSpan:
		return LongValue(v.n)
	case kReal:
		f := v.Real()
		if math.IsNaN(f) || f >= math.MaxInt64 || f <= math.MinInt64 {
			return Value{}
		}
		return LongValue(int64(f))
	case kString:
		s := strings.TrimSpace(v.s)
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return LongValue(n)
		}
		if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
			if n, err := strconv.ParseUint(s[2:], 16, 64); err == nil {
				return LongValue(int64(n))
			}
			return Value{}
		}
		// A decimal part is cut off.
		if f := parseReal(s); f.k != kNull {
			return castLong(f)
		}
	}
	return Value{}
}

// typeOfValue is what gettype() answers.
func typeOfValue(v Value, t Type) string {
	switch v.k {
	case kNull:
		if t == Dynamic {
			return "null"
		}
		return t.String()
	case kBool:
		return "bool"
	case kInt:
		return "int"
	case kLong:
		return "long"
	case kReal:
		return "real"
	case kString:
		return "string"
	case kDateTime:
		return "datetime"
	case kTimeSpan:
		return "timespan"
	case kGUID:
		return "guid"
	case kArray:
		return "array"
	case kBag:
		return "dictionary"
	}
	if len(v.s) > 0 && v.s[0] == '[' {
		return "array"
	}
	return "dictionary"
}
