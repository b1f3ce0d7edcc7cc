package table

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// The limits of a filter: its length, and how deep its parentheses go.
const (
	maxFilter      = 32 << 10
	maxFilterDepth = 100
)

// expr is a filter, or a part of one.
type expr interface {
	// holds reports whether an entity is one that the filter lets through.
	holds(e *entity) bool
}

type (
	andExpr     struct{ a, b expr }
	orExpr      struct{ a, b expr }
	notExpr     struct{ a expr }
	constExpr   bool
	compareExpr struct {
		op   string
		a, b operand
	}
	truthExpr struct{ a operand }
)

// operand is a property or a literal.
type operand struct {
	name string // of a property; "" of a literal
	lit  value
}

func (o operand) of(e *entity) (value, bool) {
	if o.name == "" {
		return o.lit, true
	}
	return e.get(o.name)
}

func (x andExpr) holds(e *entity) bool { return x.a.holds(e) && x.b.holds(e) }
func (x orExpr) holds(e *entity) bool  { return x.a.holds(e) || x.b.holds(e) }
func (x notExpr) holds(e *entity) bool { return !x.a.holds(e) }
func (x constExpr) holds(*entity) bool { return bool(x) }
func (x truthExpr) holds(e *entity) bool {
	v, ok := x.a.of(e)
	return ok && v.kind() == kindBoolean && v.Text == "true"
}

// holds of a comparison is false where the entity has no such property, or one
// that cannot be compared with the other side.
func (x compareExpr) holds(e *entity) bool {
	a, ok := x.a.of(e)
	if !ok {
		return false
	}
	b, ok := x.b.of(e)
	if !ok {
		return false
	}
	n, ok := compare(a, b)
	if !ok {
		return false
	}
	switch x.op {
	case "eq":
		return n == 0
	case "ne":
		return n != 0
	case "gt":
		return n > 0
	case "ge":
		return n >= 0
	case "lt":
		return n < 0
	}
	return n <= 0
}

// flipped is the operator with its sides changed.
func flipped(op string) string {
	switch op {
	case "gt":
		return "lt"
	case "ge":
		return "le"
	case "lt":
		return "gt"
	case "le":
		return "ge"
	}
	return op
}

// parseFilter reads a $filter of the operators that the Table service has.
func parseFilter(text string) (expr, error) {
	if len(text) > maxFilter {
		return nil, badFilter("It is too long.")
	}
	p := &filterParser{text: text}
	p.next()
	x, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.err != nil {
		return nil, p.err
	}
	if p.tok.kind != tokEnd {
		return nil, badFilter("There is more than one expression.")
	}
	return x, nil
}

func badFilter(reason string) *storage.Error {
	e := storage.Refuse("InvalidInput")
	e.Message = "The filter expression is not valid. " + reason
	return e
}

type tokenKind int

const (
	tokEnd tokenKind = iota
	tokWord
	tokLiteral
	tokOpen
	tokClose
	tokBad
)

type token struct {
	kind tokenKind
	word string
	lit  value
}

type filterParser struct {
	text string
	pos  int
	tok  token
	err  error
}

func (p *filterParser) fail(reason string) {
	if p.err == nil {
		p.err = badFilter(reason)
	}
	p.tok = token{kind: tokBad}
}

// next reads the next token.
func (p *filterParser) next() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t' || p.text[p.pos] == '\n' || p.text[p.pos] == '\r') {
		p.pos++
	}
	if p.pos == len(p.text) {
		p.tok = token{kind: tokEnd}
		return
	}
	switch c := p.text[p.pos]; {
	case c == '(':
		p.pos++
		p.tok = token{kind: tokOpen}
	case c == ')':
		p.pos++
		p.tok = token{kind: tokClose}
	case c == '\'':
		s, ok := p.quoted()
		if !ok {
			p.fail("A string has no end.")
			return
		}
		p.tok = token{kind: tokLiteral, lit: value{Text: s}}
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.':
		p.number()
	default:
		p.word()
	}
}

// quoted reads a string whose quotes within are doubled.
func (p *filterParser) quoted() (string, bool) {
	var b strings.Builder
	for i := p.pos + 1; i < len(p.text); i++ {
		if p.text[i] != '\'' {
			b.WriteByte(p.text[i])
			continue
		}
		if i+1 < len(p.text) && p.text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		p.pos = i + 1
		return b.String(), true
	}
	return "", false
}

func (p *filterParser) number() {
	start := p.pos
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		sign := (c == '-' || c == '+') && (p.pos == start || p.text[p.pos-1] == 'e' || p.text[p.pos-1] == 'E')
		if (c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && !sign {
			break
		}
		p.pos++
	}
	text := p.text[start:p.pos]
	k := kindInt32
	switch {
	case p.pos < len(p.text) && (p.text[p.pos] == 'L' || p.text[p.pos] == 'l'):
		p.pos++
		k = kindInt64
	case p.pos < len(p.text) && strings.ContainsRune("dDfFmM", rune(p.text[p.pos])):
		p.pos++
		k = kindDouble
	case strings.ContainsAny(text, ".eE"):
		k = kindDouble
	}
	if text == "-" && strings.HasPrefix(p.text[p.pos:], "Infinity") {
		p.pos += len("Infinity")
		text, k = "-Infinity", kindDouble
	}
	v, err := makeValue("", k, text)
	if err != nil && k == kindInt32 {
		v, err = makeValue("", kindInt64, text)
	}
	if err != nil {
		p.fail("'" + text + "' is no number.")
		return
	}
	p.tok = token{kind: tokLiteral, lit: *v}
}

func (p *filterParser) word() {
	start := p.pos
	for p.pos < len(p.text) {
		r, n := utf8.DecodeRuneInString(p.text[p.pos:])
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		p.pos += n
	}
	w := p.text[start:p.pos]
	if w == "" {
		p.fail("It has a character that means nothing there.")
		return
	}
	if p.pos < len(p.text) && p.text[p.pos] == '\'' {
		p.typed(w)
		return
	}
	switch w {
	case "true", "false":
		p.tok = token{kind: tokLiteral, lit: value{Kind: kindBoolean, Text: w}}
	case "NaN", "Infinity", "INF":
		if w == "INF" {
			w = "Infinity"
		}
		p.tok = token{kind: tokLiteral, lit: value{Kind: kindDouble, Text: w}}
	default:
		p.tok = token{kind: tokWord, word: w}
	}
}

// typed reads a literal with its type before it.
func (p *filterParser) typed(prefix string) {
	s, ok := p.quoted()
	if !ok {
		p.fail("A literal has no end.")
		return
	}
	var v *value
	var err error
	switch strings.ToLower(prefix) {
	case "datetime":
		v, err = makeValue("", kindDateTime, s)
	case "guid":
		v, err = makeValue("", kindGUID, s)
	case "x", "binary":
		var b []byte
		if b, err = hex.DecodeString(s); err == nil {
			v = &value{Kind: kindBinary, Text: base64.StdEncoding.EncodeToString(b)}
		}
	default:
		p.fail("There is no type '" + prefix + "'.")
		return
	}
	if err != nil {
		p.fail("'" + s + "' is not of the type " + prefix + ".")
		return
	}
	p.tok = token{kind: tokLiteral, lit: *v}
}

func (p *filterParser) is(word string) bool { return p.tok.kind == tokWord && p.tok.word == word }

func (p *filterParser) or(depth int) (expr, error) {
	a, err := p.and(depth)
	for err == nil && p.is("or") {
		p.next()
		var b expr
		if b, err = p.and(depth); err == nil {
			a = orExpr{a, b}
		}
	}
	return a, err
}

func (p *filterParser) and(depth int) (expr, error) {
	a, err := p.not(depth)
	for err == nil && p.is("and") {
		p.next()
		var b expr
		if b, err = p.not(depth); err == nil {
			a = andExpr{a, b}
		}
	}
	return a, err
}

func (p *filterParser) not(depth int) (expr, error) {
	if depth > maxFilterDepth {
		return nil, badFilter("It is too deep.")
	}
	if p.is("not") {
		p.next()
		a, err := p.not(depth + 1)
		return notExpr{a}, err
	}
	if p.tok.kind == tokOpen {
		p.next()
		x, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.tok.kind != tokClose {
			return nil, p.wrong("A parenthesis is not closed.")
		}
		p.next()
		return x, nil
	}
	return p.comparison()
}

func (p *filterParser) wrong(reason string) error {
	if p.err != nil {
		return p.err
	}
	return badFilter(reason)
}

func (p *filterParser) operand() (operand, error) {
	switch p.tok.kind {
	case tokLiteral:
		o := operand{lit: p.tok.lit}
		p.next()
		return o, nil
	case tokWord:
		if strings.Contains(" and or not eq ne gt ge lt le ", " "+p.tok.word+" ") {
			return operand{}, badFilter("A property or a value is missing.")
		}
		o := operand{name: p.tok.word}
		p.next()
		if p.tok.kind == tokOpen {
			return operand{}, badFilter("The Table service has no functions.")
		}
		return o, nil
	}
	return operand{}, p.wrong("A property or a value is missing.")
}

func (p *filterParser) comparison() (expr, error) {
	a, err := p.operand()
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokWord || !strings.Contains(" eq ne gt ge lt le ", " "+p.tok.word+" ") {
		if p.err != nil {
			return nil, p.err
		}
		if a.name == "" {
			if a.lit.kind() != kindBoolean {
				return nil, badFilter("A value alone is no condition.")
			}
			return constExpr(a.lit.Text == "true"), nil
		}
		return truthExpr{a}, nil
	}
	op := p.tok.word
	p.next()
	b, err := p.operand()
	if err != nil {
		return nil, err
	}
	return compareExpr{op: op, a: a, b: b}, nil
}
