package kql

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tEnd     tokenKind = iota
	tName              // an identifier or a keyword
	tQuoted            // a bracketed name: ['a name']
	tLiteral           // a number, string, or typed literal such as datetime(…)
	tDynamic           // dynamic( … ), its text in raw
	tPunct             // an operator or a separator; words such as !has are here too
)

type token struct {
	kind tokenKind
	at   int    // offset of its first byte in the text
	end  int    // offset after its last byte
	text string // of a name, quoted name or punctuation; of dynamic, what is in the parentheses
	val  Value  // of a literal
	typ  Type   // of a literal
}

// maxQueryBytes is how long the text of a query may be.
const maxQueryBytes = 256 << 10

// lexer turns the text into tokens. It reads the whole of it at once: a token
// depends on no context but its own text.
type lexer struct {
	s    string
	at   int
	toks []token
}

func lex(s string) ([]token, error) {
	if len(s) > maxQueryBytes {
		return nil, &Error{Kind: KindLimit, Message: fmt.Sprintf("the query is longer than %d bytes", maxQueryBytes)}
	}
	l := &lexer{s: s}
	for {
		l.skipSpace()
		if l.at >= len(s) {
			l.toks = append(l.toks, token{kind: tEnd, at: len(s), end: len(s)})
			return l.toks, nil
		}
		if err := l.next(); err != nil {
			return nil, err
		}
	}
}

// syntaxError says that the text cannot be read on at an offset, in the form of
// the service.
func syntaxError(s string, at, end int, detail string) *Error {
	line, pos := place(s, at)
	tok := s[at:min(end, len(s))]
	if tok == "" {
		tok = "<EOF>"
	}
	if r := []rune(tok); len(r) > 40 {
		tok = string(r[:40])
	}
	msg := fmt.Sprintf("Query could not be parsed at '%s' %s", tok, lineAndPos(line, pos))
	if detail != "" {
		msg += ": " + detail
	}
	// SYN0002 with this message is what the service answers to text that its
	// parser cannot go on with.
	return &Error{Kind: KindSyntax, Code: "SYN0002", Message: msg, Line: line, Pos: pos, Token: tok}
}

// place turns a byte offset into a line, from 1, and a position in it, from 0.
func place(s string, at int) (line, pos int) {
	if at > len(s) {
		at = len(s)
	}
	line = 1 + strings.Count(s[:at], "\n")
	start := strings.LastIndexByte(s[:at], '\n') + 1
	return line, utf8.RuneCountInString(s[start:at])
}

func (l *lexer) skipSpace() {
	for l.at < len(l.s) {
		c := l.s[l.at]
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f':
			l.at++
		case c == '/' && strings.HasPrefix(l.s[l.at:], "//"):
			if i := strings.IndexByte(l.s[l.at:], '\n'); i >= 0 {
				l.at += i + 1
			} else {
				l.at = len(l.s)
			}
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(l.s[l.at:])
			if !isSpaceRune(r) {
				return
			}
			l.at += n
		default:
			return
		}
	}
}

func isSpaceRune(r rune) bool {
	switch {
	case r == 0xA0, r == 0x1680, r == 0x180E, r >= 0x2000 && r <= 0x200B, r == 0x202F, r == 0x205F, r == 0x3000, r == 0xFEFF:
		return true
	}
	return false
}

func isNameStart(c byte) bool {
	return c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isNamePart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.s) {
		return l.s[l.at+n]
	}
	return 0
}

func (l *lexer) emit(t token, end int) {
	t.at, t.end = l.at, end
	l.toks = append(l.toks, t)
	l.at = end
}

func (l *lexer) next() error {
	c := l.s[l.at]
	switch {
	case c == '"' || c == '\'' || c == '@' && (l.peek(1) == '"' || l.peek(1) == '\'') || strings.HasPrefix(l.s[l.at:], "```") || strings.HasPrefix(l.s[l.at:], "~~~"):
		return l.str(l.at)
	case (c == 'h' || c == 'H') && (l.peek(1) == '"' || l.peek(1) == '\'' || l.peek(1) == '@' && (l.peek(2) == '"' || l.peek(2) == '\'')):
		// An obfuscated literal differs in the service's own logs alone.
		return l.str(l.at + 1)
	case isDigit(c):
		return l.number()
	case isNameStart(c):
		return l.name()
	case c == '[' && (l.peek(1) == '\'' || l.peek(1) == '"') && l.quotedName():
		return nil
	case c == '!':
		for i := 1; ; i++ {
			if !isNamePart(l.peek(i)) {
				if i == 1 {
					break
				}
				word := l.s[l.at : l.at+i]
				if l.peek(i) == '~' {
					word += "~"
				}
				if !isWordOperator(word) {
					return syntaxError(l.s, l.at, l.at+len(word), "no such operator")
				}
				l.emit(token{kind: tPunct, text: word}, l.at+len(word))
				return nil
			}
		}
	}
	for _, p := range [...]string{"==", "=~", "!=", "!~", "<>", "<=", ">=", "..", "=>"} {
		if strings.HasPrefix(l.s[l.at:], p) {
			l.emit(token{kind: tPunct, text: p}, l.at+2)
			return nil
		}
	}
	if strings.IndexByte("()[]{},;|.:=<>+-*/%", c) >= 0 {
		l.emit(token{kind: tPunct, text: l.s[l.at : l.at+1]}, l.at+1)
		return nil
	}
	_, n := utf8.DecodeRuneInString(l.s[l.at:])
	return syntaxError(l.s, l.at, l.at+n, "")
}

// quotedName reads ['name'] and reports whether it was one. What is not may be
// an element of a dynamic value: a['name'] is read by the parser from the same
// token.
func (l *lexer) quotedName() bool {
	v, end, err := scanString(l.s, l.at+1)
	if err != nil {
		return false
	}
	for end < len(l.s) && l.s[end] == ' ' {
		end++
	}
	if end >= len(l.s) || l.s[end] != ']' {
		return false
	}
	l.emit(token{kind: tQuoted, text: v}, end+1)
	return true
}

func (l *lexer) name() error {
	i := l.at
	for i < len(l.s) && (isNamePart(l.s[i]) || i == l.at) {
		i++
	}
	word := l.s[l.at:i]
	if i < len(l.s) && l.s[i] == '~' && word == "in" {
		l.emit(token{kind: tPunct, text: "in~"}, i+1)
		return nil
	}
	switch word {
	case "true", "false", "True", "False", "TRUE", "FALSE":
		l.emit(token{kind: tLiteral, val: BoolValue(word[0]|0x20 == 't'), typ: Bool}, i)
		return nil
	case "datetime", "date", "timespan", "time", "guid", "uuid", "uniqueid", "int", "long", "real", "double", "bool", "boolean", "decimal", "dynamic":
		j := i
		for j < len(l.s) && (l.s[j] == ' ' || l.s[j] == '\t') {
			j++
		}
		if j < len(l.s) && l.s[j] == '(' {
			return l.typed(word, j+1)
		}
	}
	l.emit(token{kind: tName, text: word}, i)
	return nil
}

// typed reads type(text).
func (l *lexer) typed(word string, start int) error {
	if word == "dynamic" {
		end, ok := matchParen(l.s, start)
		if !ok {
			return syntaxError(l.s, l.at, start, "the parenthesis is not closed")
		}
		l.emit(token{kind: tDynamic, text: l.s[start:end], typ: Dynamic}, end+1)
		return nil
	}
	n := strings.IndexByte(l.s[start:], ')')
	if n < 0 {
		return syntaxError(l.s, l.at, start, "the parenthesis is not closed")
	}
	raw := strings.TrimSpace(l.s[start : start+n])
	end := start + n + 1
	if len(raw) >= 2 && (raw[0] == '"' || raw[0] == '\'') && raw[len(raw)-1] == raw[0] {
		raw = raw[1 : len(raw)-1]
	}
	v, t, ok := typedLiteral(word, raw)
	if !ok {
		return syntaxError(l.s, l.at, end, "not a literal of type "+word)
	}
	l.emit(token{kind: tLiteral, val: v, typ: t}, end)
	return nil
}

// typedLiteral reads the text of a literal such as datetime(text).
func typedLiteral(word, raw string) (Value, Type, bool) {
	t := typeNamed(word)
	if t == 0 {
		return Value{}, 0, false // decimal
	}
	if raw == "null" || raw == "" && t != DateTime {
		return Value{}, t, raw == "null"
	}
	var v Value
	switch t {
	case DateTime:
		v = parseDateTime(raw)
	case TimeSpan:
		v = parseTimeSpan(raw)
	case GUID:
		v = GUIDValue(raw)
	case Bool:
		switch strings.ToLower(raw) {
		case "true", "1":
			v = BoolValue(true)
		case "false", "0":
			v = BoolValue(false)
		}
	case Int, Long:
		n, err := strconv.ParseInt(raw, 0, 64)
		if err == nil && (t == Long || n >= math.MinInt32 && n <= math.MaxInt32) {
			v = Value{k: kLong, n: n}
			if t == Int {
				v.k = kInt
			}
		}
	case Real:
		v = parseReal(raw)
	}
	return v, t, v.k != kNull
}

// typeNamed returns the type that a name stands for, or 0.
func typeNamed(word string) Type {
	switch word {
	case "bool", "boolean":
		return Bool
	case "int":
		return Int
	case "long":
		return Long
	case "real", "double":
		return Real
	case "string":
		return String
	case "datetime", "date":
		return DateTime
	case "timespan", "time":
		return TimeSpan
	case "dynamic":
		return Dynamic
	case "guid", "uuid", "uniqueid":
		return GUID
	}
	return 0
}

// matchParen returns the offset of the parenthesis that closes the one before
// start, past strings.
func matchParen(s string, start int) (int, bool) {
	depth := 1
	for i := start; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i, true
			}
		case '"', '\'':
			_, end, err := scanString(s, i)
			if err != nil {
				return 0, false
			}
			i = end - 1
		}
	}
	return 0, false
}

func (l *lexer) str(start int) error {
	v, end, err := scanString(l.s, start)
	if err != nil {
		return err
	}
	// Literals that follow each other, with nothing but space and comments in
	// between, are one.
	if n := len(l.toks); n > 0 && l.toks[n-1].kind == tLiteral && l.toks[n-1].typ == String {
		l.toks[n-1].val.s += v
		l.toks[n-1].end = end
		l.at = end
		return nil
	}
	l.emit(token{kind: tLiteral, val: StringValue(v), typ: String}, end)
	return nil
}

// scanString reads the string literal at an offset and returns its value and the
// offset after it.
func scanString(s string, at int) (string, int, error) {
	for _, fence := range [...]string{"```", "~~~"} {
		if strings.HasPrefix(s[at:], fence) {
			n := strings.Index(s[at+3:], fence)
			if n < 0 {
				return "", 0, syntaxError(s, at, at+3, "the string is not closed")
			}
			return s[at+3 : at+3+n], at + n + 6, nil
		}
	}
	if s[at] == '@' {
		quote := s[at+1]
		var b strings.Builder
		for i := at + 2; i < len(s); i++ {
			if s[i] == '\n' {
				break
			}
			if s[i] == quote {
				if i+1 < len(s) && s[i+1] == quote {
					i++
				} else {
					return b.String(), i + 1, nil
				}
			}
			b.WriteByte(s[i])
		}
		return "", 0, syntaxError(s, at, at+2, "the string is not closed")
	}
	quote := s[at]
	if n := strings.IndexByte(s[at+1:], quote); n >= 0 && strings.IndexByte(s[at+1:at+1+n], '\\') < 0 && strings.IndexByte(s[at+1:at+1+n], '\n') < 0 {
		return s[at+1 : at+1+n], at + n + 2, nil
	}
	var b strings.Builder
	for i := at + 1; i < len(s) && s[i] != '\n'; {
		if s[i] == quote {
			return b.String(), i + 1, nil
		}
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		n, ok := unescape(&b, s[i:])
		if !ok {
			return "", 0, syntaxError(s, i, min(i+2, len(s)), "no such escape")
		}
		i += n
	}
	return "", 0, syntaxError(s, at, at+1, "the string is not closed")
}

// unescape writes what the escape at the start of s stands for, and returns its
// length.
func unescape(b *strings.Builder, s string) (int, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hex := func(n int) (int, bool) {
		if len(s) < 2+n {
			return 0, false
		}
		r, err := strconv.ParseUint(s[2:2+n], 16, 32)
		if err != nil || r > utf8.MaxRune {
			return 0, false
		}
		b.WriteRune(rune(r))
		return 2 + n, true
	}
	switch c := s[1]; c {
	case '\\', '"', '\'', '/':
		b.WriteByte(c)
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case 'a':
		b.WriteByte('\a')
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'v':
		b.WriteByte('\v')
	case '0':
		b.WriteByte(0)
	case 'x':
		return hex(2)
	case 'u':
		return hex(4)
	case 'U':
		return hex(8)
	default:
		return 0, false
	}
	return 2, true
}

// number reads a long, a real or a timespan, or an identifier that begins with
// digits.
func (l *lexer) number() error {
	i := l.at
	if l.s[i] == '0' && (l.peek(1) == 'x' || l.peek(1) == 'X') {
		i += 2
		for i < len(l.s) && isNamePart(l.s[i]) {
			i++
		}
		n, err := strconv.ParseUint(l.s[l.at+2:i], 16, 64)
		if err != nil {
			return syntaxError(l.s, l.at, i, "not a number")
		}
		l.emit(token{kind: tLiteral, val: LongValue(int64(n)), typ: Long}, i)
		return nil
	}
	for i < len(l.s) && isDigit(l.s[i]) {
		i++
	}
	isReal := false
	if i+1 < len(l.s) && l.s[i] == '.' && isDigit(l.s[i+1]) {
		isReal = true
		for i++; i < len(l.s) && isDigit(l.s[i]); {
			i++
		}
	}
	j := i
	for j < len(l.s) && isNamePart(l.s[j]) {
		j++
	}
	word := l.s[i:j]
	switch {
	case word == "":
		if !isReal && i < len(l.s) && l.s[i] == '.' && (i+1 >= len(l.s) || l.s[i+1] != '.') {
			i++ // 1. is a real
			isReal = true
		}
	case word[0] == 'e' || word[0] == 'E':
		k := i + 1
		if k < len(l.s) && (l.s[k] == '+' || l.s[k] == '-') {
			k++
		}
		if k < len(l.s) && isDigit(l.s[k]) {
			for k < len(l.s) && isDigit(l.s[k]) {
				k++
			}
			if k < len(l.s) && isNamePart(l.s[k]) {
				return syntaxError(l.s, l.at, k+1, "not a number")
			}
			i, isReal = k, true
			break
		}
		fallthrough
	default:
		if unit := timeUnit(word); unit != 0 {
			v, ok := scaleTime(l.s[l.at:i], unit)
			if !ok {
				return syntaxError(l.s, l.at, j, "the timespan is too long")
			}
			l.emit(token{kind: tLiteral, val: v, typ: TimeSpan}, j)
			return nil
		}
		if isReal {
			return syntaxError(l.s, l.at, j, "not a number")
		}
		l.emit(token{kind: tName, text: l.s[l.at:j]}, j)
		return nil
	}
	text := l.s[l.at:i]
	if isReal {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return syntaxError(l.s, l.at, i, "not a number")
		}
		l.emit(token{kind: tLiteral, val: RealValue(f), typ: Real}, i)
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return syntaxError(l.s, l.at, i, "the number is too large")
	}
	l.emit(token{kind: tLiteral, val: LongValue(n), typ: Long}, i)
	return nil
}

// isWordOperator reports whether a word, with its leading !, is a binary
// operator.
func isWordOperator(word string) bool {
	switch strings.TrimPrefix(word, "!") {
	case "has", "has_cs", "hasprefix", "hasprefix_cs", "hassuffix", "hassuffix_cs", "contains", "contains_cs",
		"startswith", "startswith_cs", "endswith", "endswith_cs", "in", "in~", "between":
		return true
	}
	return false
}
