package telemetry

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// The functions in this file take apart JSON that json.Valid has accepted,
// without making values of what nobody asks for: half of the cost of taking in
// telemetry would be that. On text that is not valid they return something, and
// do not fail.

// space skips white space.
func space(p []byte, i int) int {
	for i < len(p) && (p[i] == ' ' || p[i] == '\n' || p[i] == '\t' || p[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the place behind the string that begins at i.
func skipString(p []byte, i int) int {
	for i++; i < len(p); {
		n := bytes.IndexByte(p[i:], '"')
		if n < 0 {
			return len(p)
		}
		i += n
		escapes := 0
		for j := i - 1; j >= 0 && p[j] == '\\'; j-- {
			escapes++
		}
		i++
		if escapes%2 == 0 {
			return i
		}
	}
	return len(p)
}

// skipValue returns the place behind the value that begins at i.
func skipValue(p []byte, i int) int {
	if i >= len(p) {
		return len(p)
	}
	switch p[i] {
	case '"':
		return skipString(p, i)
	case '{', '[':
		for depth := 0; i < len(p); {
			switch p[i] {
			case '"':
				i = skipString(p, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
		return len(p)
	}
	for i < len(p) && p[i] != ',' && p[i] != '}' && p[i] != ']' && p[i] > ' ' {
		i++
	}
	return i
}

// fields calls f with each name, unescaped only where that is needed, and value
// of an object. Anything else has none.
func fields(p []byte, f func(name, value []byte)) {
	i := space(p, 0)
	if i >= len(p) || p[i] != '{' {
		return
	}
	for i++; i < len(p); {
		i = space(p, i)
		if i >= len(p) || p[i] != '"' {
			return
		}
		end := skipString(p, i)
		name := p[i:end]
		i = space(p, end)
		if i >= len(p) || p[i] != ':' {
			return
		}
		i = space(p, i+1)
		end = skipValue(p, i)
		if end <= i {
			return
		}
		f(text(name), p[i:end])
		i = space(p, end)
		if i >= len(p) || p[i] != ',' {
			return
		}
		i++
	}
}

// elements calls f with each element of an array.
func elements(p []byte, f func(value []byte)) {
	i := space(p, 0)
	if i >= len(p) || p[i] != '[' {
		return
	}
	for i++; i < len(p); {
		i = space(p, i)
		if i >= len(p) || p[i] == ']' {
			return
		}
		end := skipValue(p, i)
		if end <= i {
			return
		}
		f(p[i:end])
		i = space(p, end)
		if i >= len(p) || p[i] != ',' {
			return
		}
		i++
	}
}

// text is the value of a JSON string; of anything else it is the JSON itself,
// and nothing of null. It is valid UTF-8.
func text(v []byte) []byte {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		if bytes.IndexByte(v, '\\') < 0 {
			v = v[1 : len(v)-1]
		} else {
			var s string
			if json.Unmarshal(v, &s) != nil {
				return nil
			}
			return []byte(s)
		}
	} else if string(v) == "null" {
		return nil
	}
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
	}
	return v
}

// number is the value of a JSON number, or of a string that holds one.
func number(v []byte) (float64, bool) {
	f, err := strconv.ParseFloat(string(text(v)), 64)
	return f, err == nil
}

// object is v if it is a JSON object with something in it, or nil.
func object(v []byte) []byte {
	if len(v) < 2 || v[0] != '{' || space(v, 1) == len(v)-1 {
		return nil
	}
	if !utf8.Valid(v) {
		return bytes.ToValidUTF8(v, []byte("\uFFFD"))
	}
	return v
}

// appendQuoted appends a JSON string.
func appendQuoted(out, s []byte) []byte {
	plain := true
	for _, c := range s {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		out = append(out, '"')
		out = append(out, s...)
		return append(out, '"')
	}
	b, err := json.Marshal(string(s))
	if err != nil { // strings can always be encoded
		return append(out, `""`...)
	}
	return append(out, b...)
}
