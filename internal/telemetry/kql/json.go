package kql

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth bounds how deep JSON may nest.
const maxJSONDepth = 128

// parseJSON reads JSON text. What is an array or a bag stays text until it is
// looked into. Text that is not JSON is false.
func parseJSON(s string) (Value, bool) {
	i := skipJSONSpace(s, 0)
	end, ok := skipJSON(s, i, 0)
	if !ok || skipJSONSpace(s, end) != len(s) {
		return Value{}, false
	}
	return jsonScalar(s[i:end]), true
}

// jsonScalar returns the value of valid JSON text without space around it.
func jsonScalar(s string) Value {
	switch s[0] {
	case '{', '[':
		return Value{k: kJSON, s: s}
	case '"':
		return StringValue(jsonString(s))
	case 't':
		return BoolValue(true)
	case 'f':
		return BoolValue(false)
	case 'n':
		return Value{}
	}
	return jsonNumber(s)
}

func jsonNumber(s string) Value {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return LongValue(n)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return Value{}
	}
	return RealValue(f)
}

// expand parses an array or bag that is text, so that it has a node. Other
// values stay as they are.
func (v Value) expand() Value {
	if v.k != kJSON {
		return v
	}
	s := v.s
	if len(s) == 0 || s[0] != '{' && s[0] != '[' {
		return Value{}
	}
	n := &node{}
	out := Value{k: kArray, d: n}
	closing := byte(']')
	if s[0] == '{' {
		out.k, closing = kBag, '}'
	}
	for i := skipJSONSpace(s, 1); i < len(s) && s[i] != closing; {
		if out.k == kBag {
			end, ok := skipJSONString(s, i)
			if !ok {
				return Value{}
			}
			n.keys = append(n.keys, jsonString(s[i:end]))
			i = skipJSONSpace(s, end)
			if i >= len(s) || s[i] != ':' {
				return Value{}
			}
			i = skipJSONSpace(s, i+1)
		}
		end, ok := skipJSON(s, i, 0)
		if !ok {
			return Value{}
		}
		n.items = append(n.items, jsonScalar(s[i:end]))
		i = skipJSONSpace(s, end)
		if i < len(s) && s[i] == ',' {
			i = skipJSONSpace(s, i+1)
		}
	}
	if out.k == kBag {
		n.dedupe()
	}
	n.weigh()
	return out
}

// dedupe keeps the last of equal keys.
func (n *node) dedupe() {
	if len(n.keys) < 2 {
		return
	}
	seen := make(map[string]int, len(n.keys))
	dup := false
	for i, k := range n.keys {
		if _, ok := seen[k]; ok {
			dup = true
		}
		seen[k] = i
	}
	if !dup {
		return
	}
	w := 0
	for i, k := range n.keys {
		if seen[k] == i {
			n.keys[w], n.items[w] = k, n.items[i]
			w++
		}
	}
	n.keys, n.items = n.keys[:w], n.items[:w]
}

// field returns the value of a key of a bag, or null.
func (v Value) field(key string) Value {
	switch v.k {
	case kBag:
		for i, k := range v.d.keys {
			if k == key {
				return v.d.items[i]
			}
		}
	case kJSON:
		return jsonField(v.s, key)
	}
	return Value{}
}

// jsonField finds a key in the text of an object without building anything.
func jsonField(s, key string) Value {
	if len(s) == 0 || s[0] != '{' {
		return Value{}
	}
	for i := skipJSONSpace(s, 1); i < len(s) && s[i] != '}'; {
		end, ok := skipJSONString(s, i)
		if !ok {
			return Value{}
		}
		name := s[i+1 : end-1]
		match := name == key
		if !match && strings.IndexByte(name, '\\') >= 0 {
			match = jsonString(s[i:end]) == key
		}
		i = skipJSONSpace(s, end)
		if i >= len(s) || s[i] != ':' {
			return Value{}
		}
		i = skipJSONSpace(s, i+1)
		end, ok = skipJSON(s, i, 0)
		if !ok {
			return Value{}
		}
		if match {
			return jsonScalar(s[i:end])
		}
		i = skipJSONSpace(s, end)
		if i < len(s) && s[i] == ',' {
			i = skipJSONSpace(s, i+1)
		}
	}
	return Value{}
}

// item returns an element of an array, counted from the end when i is negative,
// or null.
func (v Value) item(i int64) Value {
	v = v.expand()
	if v.k != kArray {
		return Value{}
	}
	if i < 0 {
		i += int64(len(v.d.items))
	}
	if i < 0 || i >= int64(len(v.d.items)) {
		return Value{}
	}
	return v.d.items[i]
}

func skipJSONSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// skipJSON returns the offset after the JSON value at i, and whether it is one.
func skipJSON(s string, i, depth int) (int, bool) {
	if i >= len(s) || depth > maxJSONDepth {
		return i, false
	}
	switch c := s[i]; c {
	case '"':
		return skipJSONString(s, i)
	case '{', '[':
		closing := c + 2 // ] is two after [, and } two after {
		i = skipJSONSpace(s, i+1)
		if i < len(s) && s[i] == closing {
			return i + 1, true
		}
		for {
			var ok bool
			if c == '{' {
				if i, ok = skipJSONString(s, i); !ok {
					return i, false
				}
				i = skipJSONSpace(s, i)
				if i >= len(s) || s[i] != ':' {
					return i, false
				}
				i = skipJSONSpace(s, i+1)
			}
			if i, ok = skipJSON(s, i, depth+1); !ok {
				return i, false
			}
			i = skipJSONSpace(s, i)
			if i >= len(s) {
				return i, false
			}
			if s[i] == closing {
				return i + 1, true
			}
			if s[i] != ',' {
				return i, false
			}
			i = skipJSONSpace(s, i+1)
		}
	case 't':
		return i + 4, strings.HasPrefix(s[i:], "true")
	case 'f':
		return i + 5, strings.HasPrefix(s[i:], "false")
	case 'n':
		return i + 4, strings.HasPrefix(s[i:], "null")
	}
	return skipJSONNumber(s, i)
}

func skipJSONNumber(s string, i int) (int, bool) {
	digits := func() bool {
		start := i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		return i > start
	}
	if s[i] == '-' {
		i++
	}
	if !digits() {
		return i, false
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return i, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
}

func skipJSONString(s string, i int) (int, bool) {
	if i >= len(s) || s[i] != '"' {
		return i, false
	}
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1, true
		}
	}
	return i, false
}

// jsonString decodes a JSON string with its quotes.
func jsonString(s string) string {
	s = s[1 : len(s)-1]
	n := strings.IndexByte(s, '\\')
	if n < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'u':
			r, ok := jsonRune(s[i+1:])
			if !ok {
				b = utf8.AppendRune(b, utf8.RuneError)
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) && strings.HasPrefix(s[i+1:], `\u`) {
				if low, ok := jsonRune(s[i+3:]); ok {
					r = utf16.DecodeRune(r, low)
					i += 6
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func jsonRune(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:4], 16, 32)
	return rune(n), err == nil
}

// appendCompact appends JSON text without the space between its parts.
func appendCompact(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		switch s[i] {
		case '"':
			end, ok := skipJSONString(s, i)
			if !ok {
				end = len(s)
			}
			i = end
		case ' ', '\n', '\t', '\r':
			dst = append(dst, s[start:i]...)
			i++
			start = i
		default:
			i++
		}
	}
	return append(dst, s[start:]...)
}

// parseDynamicLiteral reads what stands in dynamic(…): JSON, in which strings may
// have any form of the language's string literals, and which may hold other
// literals, such as datetime(…) and 1d.
func parseDynamicLiteral(text string, depth int) (Value, error) {
	toks, err := lex(text)
	if err != nil {
		return Value{}, err
	}
	p := &parser{text: text, toks: toks}
	v := p.dynamic(depth)
	if p.err == nil && p.tok().kind != tEnd {
		p.failHere("")
	}
	return v, p.err
}

func (p *parser) dynamic(depth int) Value {
	if depth > maxJSONDepth {
		p.failHere("nested too deeply")
		return Value{}
	}
	t := p.tok()
	switch {
	case t.kind == tQuoted: // ["text"] reads as one token
		p.i++
		return arrayValue([]Value{StringValue(t.text)})
	case t.kind == tDynamic:
		// Each level is read again from its text, so there are few.
		v, err := parseDynamicLiteral(t.text, depth+maxJSONDepth/16)
		if err != nil {
			p.failHere(err.Error())
		}
		p.i++
		return v
	case p.isPunct("-") && p.peek(1).kind == tLiteral:
		p.skip(2)
		return negate(p.toks[p.i-1].val)
	case t.kind == tLiteral:
		p.i++
		return t.val
	case p.acceptWord("null"):
		return Value{}
	case p.accept("["):
		var items []Value
		for p.err == nil && !p.accept("]") {
			items = append(items, p.dynamic(depth+1))
			if !p.isPunct("]") {
				p.expect(",")
			}
		}
		return arrayValue(items)
	case p.accept("{"):
		n := &node{}
		for p.err == nil && !p.accept("}") {
			key := p.tok()
			if key.kind == tLiteral && key.typ == String {
				n.keys = append(n.keys, key.val.s)
				p.i++
			} else {
				n.keys = append(n.keys, p.name())
			}
			p.expect(":")
			n.items = append(n.items, p.dynamic(depth+1))
			if !p.isPunct("}") {
				p.expect(",")
			}
		}
		return bagValue(n.keys, n.items)
	}
	p.failHere("")
	return Value{}
}
