package kql

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// stringFunctions are the functions of strings that need no expression of a
// pattern.
func stringFunctions() map[string]*function {
	text := func(args string, f func(a []Value) string) *function {
		return &function{args: args, ret: String, call: func(a []Value) Value { return StringValue(f(a)) }}
	}
	hash := func(f func(s string) []byte) *function {
		return &function{args: "a", ret: String, nulls: true, call: func(a []Value) Value {
			return StringValue(hex.EncodeToString(f(a[0].String())))
		}}
	}
	return map[string]*function{
		"strlen": {args: "s", ret: Long, name: prefixed, call: func(a []Value) Value {
			return LongValue(int64(utf8.RuneCountInString(a[0].s)))
		}},
		"string_size": {args: "s", ret: Long, name: prefixed, call: func(a []Value) Value { return LongValue(int64(len(a[0].s))) }},
		"tolower":     text("s", func(a []Value) string { return strings.ToLower(a[0].s) }),
		"toupper":     text("s", func(a []Value) string { return strings.ToUpper(a[0].s) }),
		"reverse": {args: "a", ret: String, nulls: true, call: func(a []Value) Value {
			r := []rune(a[0].String())
			for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
				r[i], r[j] = r[j], r[i]
			}
			return StringValue(string(r))
		}},
		"substring": {args: "sii?", ret: String, call: substring},
		"strcat": {args: "aa*", ret: String, nulls: true, call: func(a []Value) Value {
			var b strings.Builder
			for _, v := range a {
				b.WriteString(v.String())
			}
			return StringValue(b.String())
		}},
		"strcat_delim": {args: "saa*", ret: String, nulls: true, call: func(a []Value) Value {
			parts := make([]string, len(a)-1)
			for i, v := range a[1:] {
				parts[i] = v.String()
			}
			return StringValue(strings.Join(parts, a[0].s))
		}},
		"strcmp": {args: "ss", ret: Long, call: func(a []Value) Value {
			return LongValue(int64(strings.Compare(a[0].s, a[1].s)))
		}},
		"strrep": {args: "ais?", ret: String, nulls: true, prepare: strrep},
		"replace_string": text("sss", func(a []Value) string {
			if a[1].s == "" {
				return a[0].s
			}
			return strings.ReplaceAll(a[0].s, a[1].s, a[2].s)
		}),
		"replace_strings": {args: "syy", ret: String, call: replaceStrings},
		"translate":       text("sss", func(a []Value) string { return translate(a[0].s, a[1].s, a[2].s) }),
		"indexof":         {args: "aai?i?i?", ret: Long, nulls: true, call: indexOf},
		"split":           {args: "ssi?", ret: Dynamic, name: asFirst, call: split},
		"isempty":         {args: "a", ret: Bool, nulls: true, call: func(a []Value) Value { return BoolValue(isEmpty(a[0])) }},
		"isnotempty": {args: "a", ret: Bool, nulls: true, call: func(a []Value) Value {
			return BoolValue(!isEmpty(a[0]))
		}},
		"base64_encode_tostring": text("s", func(a []Value) string { return base64.StdEncoding.EncodeToString([]byte(a[0].s)) }),
		"base64_decode_tostring": {args: "s", ret: String, call: func(a []Value) Value {
			b, err := base64.StdEncoding.DecodeString(a[0].s)
			if err != nil || !utf8.Valid(b) {
				return Value{}
			}
			return StringValue(string(b))
		}},
		"hash_sha256":   hash(func(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }),
		"hash_sha1":     hash(func(s string) []byte { h := sha1.Sum([]byte(s)); return h[:] }),
		"hash_md5":      hash(func(s string) []byte { h := md5.Sum([]byte(s)); return h[:] }),
		"hash_xxhash64": {args: "ai?", ret: Long, nulls: true, call: hashValue},
		"new_guid":      {special: bindNewGUID, usage: "new_guid()"},
		"unicode_codepoints_to_string": {args: "aa*", ret: String, nulls: true, call: func(a []Value) Value {
			var b strings.Builder
			for _, v := range a {
				for _, it := range elements(v) {
					if n := castLong(it); n.k != kNull && n.n >= 0 && n.n <= utf8.MaxRune {
						b.WriteRune(rune(n.n))
					}
				}
			}
			return StringValue(b.String())
		}},
		"unicode_codepoints_from_string": {args: "s", ret: Dynamic, call: func(a []Value) Value {
			var items []Value
			for _, r := range a[0].s {
				items = append(items, LongValue(int64(r)))
			}
			return arrayValue(items)
		}},
		"has_any_index": {args: "sy", ret: Long, call: func(a []Value) Value {
			for i, it := range elements(a[1]) {
				if hasTerm(a[0].s, strings.ToLower(it.String()), indexFold, true, true) {
					return LongValue(int64(i))
				}
			}
			return LongValue(-1)
		}},
	}
}

// elements are the items of an array, or the value itself.
func elements(v Value) []Value {
	if e := v.expand(); e.k == kArray {
		return e.d.items
	}
	return []Value{v}
}

func isEmpty(v Value) bool {
	return v.k == kNull || v.k == kString && v.s == ""
}

// runeAt returns the byte offset of a character, at most the length.
func runeAt(s string, n int64) int {
	if n <= 0 {
		return 0
	}
	if int64(len(s)) <= n && utf8.RuneCountInString(s) <= int(n) {
		return len(s)
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

func substring(a []Value) Value {
	s, start := a[0].s, a[1].n
	if start < 0 {
		start = max(0, start+int64(utf8.RuneCountInString(s)))
	}
	s = s[runeAt(s, start):]
	if len(a) > 2 && a[2].n >= 0 {
		s = s[:runeAt(s, a[2].n)]
	}
	return StringValue(s)
}

func split(a []Value) Value {
	var parts []string
	if a[1].s == "" {
		parts = []string{a[0].s}
	} else {
		parts = strings.Split(a[0].s, a[1].s)
	}
	if len(a) > 2 {
		i := a[2].n
		if i < 0 || i >= int64(len(parts)) {
			return arrayValue(nil)
		}
		parts = parts[i : i+1]
	}
	items := make([]Value, len(parts))
	for i, p := range parts {
		items[i] = StringValue(p)
	}
	return arrayValue(items)
}

// indexOf is indexof(text, what, start, length, occurrence), in characters.
func indexOf(a []Value) Value {
	s, what := a[0].String(), a[1].String()
	arg := func(i int, def int64) int64 {
		if i < len(a) {
			return a[i].n
		}
		return def
	}
	start, length, occurrence := arg(2, 0), arg(3, -1), arg(4, 1)
	if length < -1 || occurrence < 1 {
		return Value{}
	}
	if start < 0 {
		// The documentation says both that this is null and, by example, that it
		// counts from the end; the example is followed.
		start = max(0, start+int64(utf8.RuneCountInString(s)))
	}
	// After each occurrence the same length is searched anew, which is what the
	// documentation's examples show.
	for at := runeAt(s, start); ; {
		to := len(s)
		if length >= 0 {
			to = at + runeAt(s[at:], length)
		}
		i := strings.Index(s[at:to], what)
		if i < 0 {
			return LongValue(-1)
		}
		at += i
		if occurrence--; occurrence == 0 {
			return LongValue(int64(utf8.RuneCountInString(s[:at])))
		}
		if at++; at > len(s) {
			return LongValue(-1)
		}
	}
}

// strrep is strrep(text, times, delimiter). The documentation bounds times at
// 1024.
func strrep(b *binder, _ []*expr) func(a []Value) Value {
	x := b.x
	return func(a []Value) Value {
		n := int(max(0, min(a[1].n, 1024)))
		s, delim := a[0].String(), ""
		if len(a) > 2 {
			delim = a[2].s
		}
		switch {
		case n == 0:
			return StringValue("")
		case (len(s)+len(delim))*n > maxValue:
			x.fail(&Error{Kind: KindLimit, Message: "strrep() makes a string that is too long"})
			return Value{}
		}
		return StringValue(strings.Repeat(s+delim, n-1) + s)
	}
}

// replaceStrings replaces each string in turn in what none before it has put in.
// What is not a string is left out, with its counterpart.
func replaceStrings(a []Value) Value {
	from, to := elements(a[1]), elements(a[2])
	parts := []string{a[0].s} // every second one was put in
	for i, f := range from {
		if len(to) == 0 || len(to) > 1 && i >= len(to) {
			break
		}
		with := to[0]
		if len(to) > 1 {
			with = to[i]
		}
		if f.k != kString || f.s == "" || with.k != kString {
			continue
		}
		var next []string
		for j, part := range parts {
			if j%2 == 1 {
				next = append(next, part)
				continue
			}
			for k, rest := range strings.Split(part, f.s) {
				if k > 0 {
					next = append(next, with.s)
				}
				next = append(next, rest)
			}
		}
		parts = next
	}
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	if size > maxValue {
		parts = []string{strings.Repeat(" ", maxValue+1)} // the caller refuses it
	}
	return StringValue(strings.Join(parts, ""))
}

// translate replaces characters. The last replacement stands for those that have
// none of their own.
func translate(search, replacement, s string) string {
	from, to := []rune(search), []rune(replacement)
	table := make(map[rune]rune, len(from))
	for i, r := range from {
		if _, ok := table[r]; ok {
			continue
		}
		switch {
		case len(to) == 0:
			table[r] = -1
		case i < len(to):
			table[r] = to[i]
		default:
			table[r] = to[len(to)-1]
		}
	}
	return strings.Map(func(r rune) rune {
		if n, ok := table[r]; ok {
			return n
		}
		return r
	}, s)
}
