package kql

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// stringExpr binds a binary operator on strings.
func (b *binder) stringExpr(at int, op string, l, r *expr) *expr {
	name := strings.TrimPrefix(op, "!")
	not := name != op
	if op == "!~" {
		name = "=~"
	}
	for _, side := range []*expr{l, r} {
		if side.typ != String && side.typ != Dynamic {
			return b.fail(at, "", "The operator '%s' is not defined for the type %s", op, side.typ)
		}
	}
	l, r = textExpr(l), textExpr(r)
	var match func(s, pattern string) bool
	if name == "matches regex" {
		re, err := compileRegex(r)
		if err != nil {
			return b.fail(r.at, "", "'%s' is not a regular expression: %v", r.val.s, err)
		}
		match = func(s, pattern string) bool {
			m := re(pattern)
			return m != nil && m.MatchString(s)
		}
	} else if match = matcher(name, r); match == nil {
		return b.fail(at, "", "unknown operator '%s'", op)
	}
	le, re := l.eval, r.eval
	e := b.node(at, Bool, func(f []Value) Value { return BoolValue(match(le(f).s, re(f).s) != not) }, l, r)
	if r.val != nil && e.val == nil {
		pattern := r.val.s
		if l.slot >= 0 {
			slot := l.slot
			e.test = func(f []Value) bool { return match(f[slot].s, pattern) != not }
		} else {
			e.test = func(f []Value) bool { return match(le(f).s, pattern) != not }
		}
	}
	return e
}

// textExpr is tostring() of what is dynamic.
func textExpr(e *expr) *expr {
	if e.typ == String {
		return e
	}
	return castExpr(e, String)
}

// matcher returns the function of an operator. When the pattern is known, it is
// prepared once, and the function's own pattern is not looked at.
func matcher(name string, r *expr) func(s, pattern string) bool {
	cs := strings.HasSuffix(name, "_cs")
	known := ""
	fold := !cs
	if r.val != nil {
		known = r.val.s
		if fold && !hasLetter(known) {
			fold = false // case makes no difference
		}
		if fold {
			known = strings.ToLower(known)
		}
	}
	prepare := func(pattern string) string {
		switch {
		case r.val != nil:
			return known
		case fold:
			return strings.ToLower(pattern)
		}
		return pattern
	}
	index := indexFrom
	if fold {
		index = indexFold
	}
	switch strings.TrimSuffix(name, "_cs") {
	case "=~":
		return func(s, p string) bool { return strings.EqualFold(s, p) }
	case "contains":
		if !fold {
			return func(s, p string) bool { return strings.Contains(s, prepare(p)) }
		}
		return func(s, p string) bool { return indexFold(s, prepare(p), 0) >= 0 }
	case "startswith":
		return func(s, p string) bool {
			p = prepare(p)
			if fold {
				return hasPrefixFold(s, p)
			}
			return strings.HasPrefix(s, p)
		}
	case "endswith":
		return func(s, p string) bool {
			p = prepare(p)
			if fold {
				return hasSuffixFold(s, p)
			}
			return strings.HasSuffix(s, p)
		}
	case "has":
		return func(s, p string) bool { return hasTerm(s, prepare(p), index, true, true) }
	case "hasprefix":
		return func(s, p string) bool { return hasTerm(s, prepare(p), index, true, false) }
	case "hassuffix":
		return func(s, p string) bool { return hasTerm(s, prepare(p), index, false, true) }
	}
	return nil
}

func hasLetter(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c >= 'a' && c <= 'z' || c >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

func indexFrom(s, sub string, from int) int {
	i := strings.Index(s[from:], sub)
	if i < 0 {
		return -1
	}
	return i + from
}

// indexFold finds sub, which is in lower case, without regard to case.
func indexFold(s, sub string, from int) int {
	if sub == "" {
		return from
	}
	for i := range len(sub) {
		if sub[i] >= utf8.RuneSelf {
			// Letters beyond ASCII: slower, and right where upper and lower case
			// have the same length.
			lower := strings.ToLower(s)
			if len(lower) != len(s) {
				if strings.Contains(lower, sub) {
					return from
				}
				return -1
			}
			return indexFrom(lower, sub, from)
		}
	}
	first := sub[0]
	upper := first
	if first >= 'a' && first <= 'z' {
		upper = first - 'a' + 'A'
	}
	last := len(s) - len(sub)
outer:
	for i := from; i <= last; i++ {
		if c := s[i]; c != first && c != upper {
			continue
		}
		for j := 1; j < len(sub); j++ {
			c := s[i+j]
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c != sub[j] {
				continue outer
			}
		}
		return i
	}
	return -1
}

func hasPrefixFold(s, lower string) bool {
	if len(s) >= len(lower) && strings.EqualFold(s[:len(lower)], lower) {
		return true
	}
	return len(lower) > 0 && lower[0] >= utf8.RuneSelf && strings.HasPrefix(strings.ToLower(s), lower)
}

func hasSuffixFold(s, lower string) bool {
	return len(s) >= len(lower) && strings.EqualFold(s[len(s)-len(lower):], lower)
}

// hasTerm reports whether sub occurs in s as a term: a maximal run of letters and
// digits begins where it begins (head), and ends where it ends (tail). Where sub
// itself has another character at that end, any neighbour will do.
func hasTerm(s, sub string, index func(s, sub string, from int) int, head, tail bool) bool {
	if sub == "" {
		return true
	}
	first, _ := utf8.DecodeRuneInString(sub)
	last, _ := utf8.DecodeLastRuneInString(sub)
	head, tail = head && isTermRune(first), tail && isTermRune(last)
	for from := 0; ; {
		i := index(s, sub, from)
		if i < 0 {
			return false
		}
		end := min(i+len(sub), len(s))
		if !(head && endsInTerm(s[:i])) && !(tail && beginsWithTerm(s[end:])) {
			return true
		}
		from = i + 1
		if from > len(s)-len(sub) {
			return false
		}
	}
}

func endsInTerm(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isTermRune(r)
}

func beginsWithTerm(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isTermRune(r)
}

func isTermRune(r rune) bool {
	if r < utf8.RuneSelf {
		return isDigit(byte(r)) || r|0x20 >= 'a' && r|0x20 <= 'z'
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// hasTerms binds has_any and has_all.
func (b *binder) hasTerms(e *inExpr, l *expr, set *valueSet, rest []*expr, deferred bool) *expr {
	all := e.op == "has_all"
	le := textExpr(l).eval
	match := func(s, term string) bool { return hasTerm(s, strings.ToLower(term), indexFold, true, true) }
	eval := func(f []Value) Value {
		s := le(f).s
		terms := set.list
		if len(rest) > 0 {
			more := &valueSet{}
			for _, r := range rest {
				more.addAll(r.eval(f))
			}
			terms = append(terms[:len(terms):len(terms)], more.list...)
		}
		for _, t := range terms {
			if match(s, t) != all {
				return BoolValue(!all)
			}
		}
		return BoolValue(all)
	}
	out := b.node(e.at, Bool, eval, append([]*expr{l}, rest...)...)
	if deferred {
		out.val, out.eval = nil, eval
	}
	return out
}

// compileRegex returns a function from a pattern to its expression, nil for one
// that is none. A known pattern is compiled once; of others the last is kept.
func compileRegex(pattern *expr) (func(string) *regexp.Regexp, error) {
	if pattern.val != nil {
		re, err := regexp.Compile(pattern.val.s)
		return func(string) *regexp.Regexp { return re }, err
	}
	var last string
	var re *regexp.Regexp
	var known bool
	return func(p string) *regexp.Regexp {
		if !known || p != last {
			re, _ = regexp.Compile(p)
			last, known = p, true
		}
		return re
	}, nil
}
