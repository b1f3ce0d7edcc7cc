package kql

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// lineAndPos writes a place as the service does: [line,position].
func lineAndPos(line, pos int) string {
	return "on line [" + strconv.Itoa(line) + "," + strconv.Itoa(pos) + "]"
}

// appendText appends v as tostring() writes it.
func (v Value) appendText(dst []byte) []byte {
	switch v.k {
	case kNull:
		return dst
	case kBool:
		return strconv.AppendBool(dst, v.n != 0)
	case kInt, kLong:
		return strconv.AppendInt(dst, v.n, 10)
	case kReal:
		return appendReal(dst, v.Real())
	case kDateTime:
		return appendDateTime(dst, v.n)
	case kTimeSpan:
		return appendTimeSpan(dst, v.n)
	case kArray, kBag, kJSON:
		return v.appendDynamic(dst)
	default:
		return append(dst, v.s...)
	}
}

// appendDynamic appends v as JSON text, the form in which a dynamic value is
// shown and stored. Scalars that JSON lacks are strings in it.
func (v Value) appendDynamic(dst []byte) []byte {
	switch v.k {
	case kNull:
		return append(dst, "null"...)
	case kBool:
		return strconv.AppendBool(dst, v.n != 0)
	case kInt, kLong:
		return strconv.AppendInt(dst, v.n, 10)
	case kReal:
		if f := v.Real(); math.IsNaN(f) || math.IsInf(f, 0) {
			return appendJSONString(dst, v.String())
		}
		return appendJSONReal(dst, v.Real())
	case kJSON:
		return appendCompact(dst, v.s)
	case kArray:
		dst = append(dst, '[')
		for i, it := range v.d.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = it.appendDynamic(dst)
		}
		return append(dst, ']')
	case kBag:
		dst = append(dst, '{')
		for i, it := range v.d.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONString(dst, v.d.keys[i])
			dst = append(dst, ':')
			dst = it.appendDynamic(dst)
		}
		return append(dst, '}')
	default:
		return appendJSONString(dst, v.String())
	}
}

// appendReal writes a real as the .NET runtime does by default, which is what
// answers of the service look like: the shortest digits that read back the same.
func appendReal(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-5 || a >= 1e15) {
		return strconv.AppendFloat(dst, f, 'E', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendDateTime writes ticks as ISO 8601 with seven digits, which is how the
// documentation shows datetime values.
func appendDateTime(dst []byte, ticks int64) []byte {
	t := ticksTime(ticks)
	y, mo, d := t.Date()
	h, mi, s := t.Clock()
	dst = pad(dst, int64(y), 4)
	dst = append(dst, '-')
	dst = pad(dst, int64(mo), 2)
	dst = append(dst, '-')
	dst = pad(dst, int64(d), 2)
	dst = append(dst, 'T')
	dst = pad(dst, int64(h), 2)
	dst = append(dst, ':')
	dst = pad(dst, int64(mi), 2)
	dst = append(dst, ':')
	dst = pad(dst, int64(s), 2)
	dst = append(dst, '.')
	dst = pad(dst, ticks%ticksPerSecond, 7)
	return append(dst, 'Z')
}

// appendTimeSpan writes ticks as [-][d.]hh:mm:ss[.fffffff].
func appendTimeSpan(dst []byte, ticks int64) []byte {
	u := uint64(ticks)
	if ticks < 0 {
		dst = append(dst, '-')
		u = -u
	}
	if days := u / uint64(ticksPerDay); days > 0 {
		dst = strconv.AppendUint(dst, days, 10)
		dst = append(dst, '.')
	}
	u %= uint64(ticksPerDay)
	dst = pad(dst, int64(u)/ticksPerHour, 2)
	dst = append(dst, ':')
	dst = pad(dst, int64(u)%ticksPerHour/ticksPerMinute, 2)
	dst = append(dst, ':')
	dst = pad(dst, int64(u)%ticksPerMinute/ticksPerSecond, 2)
	if f := int64(u) % ticksPerSecond; f != 0 {
		dst = append(dst, '.')
		dst = pad(dst, f, 7)
	}
	return dst
}

// pad appends n, which is not negative, with leading zeros to width.
func pad(dst []byte, n int64, width int) []byte {
	var buf [20]byte
	i := len(buf)
	for n > 0 || width > 0 {
		i--
		buf[i] = byte('0' + n%10)
		n /= 10
		width--
	}
	return append(dst, buf[i:]...)
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// parseGUID reads 32 hexadecimal digits with hyphens anywhere and braces around,
// and returns the usual 36 characters in lower case.
func parseGUID(s string) (string, bool) {
	if len(s) >= 2 && s[0] == '{' && s[len(s)-1] == '}' {
		s = s[1 : len(s)-1]
	}
	if len(s) < 32 || len(s) > 64 {
		return "", false
	}
	out := make([]byte, 0, 36)
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '-':
			continue
		case c >= 'A' && c <= 'F':
			c += 'a' - 'A'
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
		default:
			return "", false
		}
		if n := len(out); n == 8 || n == 13 || n == 18 || n == 23 {
			out = append(out, '-')
		}
		out = append(out, c)
	}
	return string(out), len(out) == 36
}
