package abac

import (
	"fmt"
	"strings"
)

// The marks that Azure puts into attributes of tags.
const (
	keyMark  = "<$key_case_sensitive$>"
	keysMark = "&$keys$&"
)

// Parse reads a condition. Its errors are *SyntaxError.
func Parse(text string) (*Condition, error) {
	if len(text) > MaxLength {
		return nil, &SyntaxError{Offset: MaxLength, Reason: fmt.Sprintf("a condition has at most %d characters", MaxLength)}
	}
	p := &parser{text: text}
	if err := p.next(); err != nil {
		return nil, err
	}
	root, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != end {
		return nil, p.bad("%s is too much", p.tok)
	}
	return &Condition{root: root, attributes: p.attributes}, nil
}

// kind is a kind of token.
type kind int

const (
	end kind = iota
	word
	text
	attribute
	symbol
)

type token struct {
	kind kind
	// text is the word, the string without its quotes, the symbol, or what stands
	// in the brackets of an attribute.
	text   string
	source Source
	at     int
}

func (t token) String() string {
	switch t.kind {
	case end:
		return "the end"
	case text:
		return "'" + t.text + "'"
	case attribute:
		return "@" + string(t.source) + "[" + t.text + "]"
	}
	return t.text
}

func (t token) is(keyword string) bool { return t.kind == word && strings.EqualFold(t.text, keyword) }

func (t token) symbol(s string) bool { return t.kind == symbol && t.text == s }

type parser struct {
	text       string
	pos        int
	tok        token
	attributes []Attribute
}

func (p *parser) bad(format string, args ...any) error {
	return &SyntaxError{Offset: p.tok.at, Reason: fmt.Sprintf(format, args...)}
}

func wordChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == ':' || c == '.' || c == '_'
}

// next reads the next token.
func (p *parser) next() error {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
	p.tok = token{at: p.pos}
	if p.pos == len(p.text) {
		return nil
	}
	rest := p.text[p.pos:]
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "||"):
		p.tok.kind, p.tok.text = symbol, rest[:2]
		p.pos += 2
	case strings.IndexByte("(){}!,", c) >= 0:
		p.tok.kind, p.tok.text = symbol, rest[:1]
		p.pos++
	case c == '\'':
		// No way to write a quote in a string is documented: the next one ends it.
		s, _, closed := strings.Cut(rest[1:], "'")
		if !closed {
			return p.bad("a string is not closed")
		}
		p.tok.kind, p.tok.text = text, s
		p.pos += len(s) + 2
	case c == '@':
		return p.attribute(rest)
	case wordChar(c):
		n := 1
		for n < len(rest) && wordChar(rest[n]) {
			n++
		}
		p.tok.kind, p.tok.text = word, rest[:n]
		p.pos += n
	default:
		return p.bad("%q means nothing here", string([]rune(rest)[:1]))
	}
	return nil
}

func (p *parser) attribute(rest string) error {
	name, inner, found := strings.Cut(rest[1:], "[")
	inner, _, closed := strings.Cut(inner, "]")
	if !found || !closed || strings.TrimSpace(inner) == "" {
		return p.bad("an attribute is written @Source[name]")
	}
	for _, s := range []Source{FromRequest, FromResource, FromPrincipal, FromEnvironment} {
		if strings.EqualFold(name, string(s)) {
			p.tok.kind, p.tok.source, p.tok.text = attribute, s, inner
			p.pos += 1 + len(name) + 1 + len(inner) + 1
			return nil
		}
	}
	return p.bad("there is no source of attributes @%s: they are Request, Resource, Principal and Environment", name)
}

// expression reads what is joined by one kind of AND or OR. Both side by side
// are refused: their order "is ambiguous", and Azure asks for parentheses.
func (p *parser) expression(depth int) (expression, error) {
	if depth > maxDepth {
		return nil, p.bad("expressions stand in each other more than %d deep", maxDepth)
	}
	first, err := p.term(depth)
	if err != nil {
		return nil, err
	}
	all := []expression{first}
	joined := ""
	for {
		how := ""
		switch {
		case p.tok.is("AND") || p.tok.symbol("&&"):
			how = "AND"
		case p.tok.is("OR") || p.tok.symbol("||"):
			how = "OR"
		}
		switch {
		case how == "" && joined == "AND":
			return conjunction(all), nil
		case how == "" && joined == "OR":
			return disjunction(all), nil
		case how == "":
			return first, nil
		case joined != "" && how != joined:
			return nil, p.bad("AND and OR stand side by side: put parentheses around what belongs together")
		}
		joined = how
		if err := p.next(); err != nil {
			return nil, err
		}
		e, err := p.term(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
}

func (p *parser) term(depth int) (expression, error) {
	if depth > maxDepth {
		return nil, p.bad("expressions stand in each other more than %d deep", maxDepth)
	}
	switch {
	case p.tok.is("NOT") || p.tok.symbol("!"):
		if err := p.next(); err != nil {
			return nil, err
		}
		e, err := p.term(depth + 1)
		return negation{e}, err
	case p.tok.symbol("("):
		if err := p.next(); err != nil {
			return nil, err
		}
		e, err := p.expression(depth + 1)
		if err != nil {
			return nil, err
		}
		return e, p.expect(")")
	case p.tok.is("ActionMatches"):
		patterns, err := p.patterns()
		return actionMatches(patterns), err
	case p.tok.is("SubOperationMatches"):
		patterns, err := p.patterns()
		return subOperationMatches(patterns), err
	case p.tok.is("Exists"):
		if err := p.next(); err != nil {
			return nil, err
		}
		if p.tok.kind != attribute {
			return nil, p.bad("Exists is of an attribute, not of %s", p.tok)
		}
		a, err := p.readAttribute()
		return exists(a), err
	}
	return p.comparison()
}

func (p *parser) expect(s string) error {
	if !p.tok.symbol(s) {
		return p.bad("%s is not %s", p.tok, s)
	}
	return p.next()
}

// patterns reads {'a', 'b'} behind the name of a function.
func (p *parser) patterns() ([]string, error) {
	name := p.tok.text
	if err := p.next(); err != nil {
		return nil, err
	}
	at := p.tok
	values, err := p.set()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range values {
		if v.kind != text || v.text == "" {
			p.tok = at
			return nil, p.bad("%s takes strings, not %s", name, v)
		}
		out = append(out, strings.ToLower(v.text))
	}
	return out, nil
}

// set reads {a, b}, which is not empty.
func (p *parser) set() ([]token, error) {
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	var out []token
	for {
		if p.tok.kind != text && p.tok.kind != word {
			return nil, p.bad("%s is no value", p.tok)
		}
		out = append(out, p.tok)
		if err := p.next(); err != nil {
			return nil, err
		}
		if p.tok.symbol(",") {
			if err := p.next(); err != nil {
				return nil, err
			}
			continue
		}
		return out, p.expect("}")
	}
}

// readAttribute takes the attribute that is the token.
func (p *parser) readAttribute() (Attribute, error) {
	a := Attribute{Source: p.tok.source}
	name := strings.TrimSpace(p.tok.text)
	switch {
	case strings.HasSuffix(name, keysMark):
		a.Name = strings.ToLower(name)
	case strings.HasSuffix(name, keyMark):
		head, key, _ := strings.Cut(strings.TrimSuffix(name, keyMark), ":")
		if key == "" {
			return a, p.bad("%s names no key", p.tok)
		}
		a.Name, a.Key = strings.ToLower(head), key
	default:
		a.Name = strings.ToLower(name)
	}
	p.attributes = append(p.attributes, a)
	return a, p.next()
}

// operand is one side of a comparison: an attribute, or values.
type operand struct {
	attribute *Attribute
	values    []string
	set       bool
}

// operand reads one side, whose values are of a type.
func (p *parser) operand(typ valueType) (operand, error) {
	switch {
	case p.tok.kind == attribute:
		a, err := p.readAttribute()
		return operand{attribute: &a}, err
	case p.tok.symbol("{"):
		at := p.tok
		tokens, err := p.set()
		if err != nil {
			return operand{}, err
		}
		out := operand{set: true}
		for _, t := range tokens {
			if err := typ.check(t); err != nil {
				p.tok = at
				return operand{}, p.bad("%s", err)
			}
			out.values = append(out.values, t.text)
		}
		return out, nil
	case p.tok.kind == text || p.tok.kind == word:
		if err := typ.check(p.tok); err != nil {
			return operand{}, p.bad("%s", err)
		}
		out := operand{values: []string{p.tok.text}}
		return out, p.next()
	}
	return operand{}, p.bad("%s is neither an attribute nor a value", p.tok)
}

// comparison reads LEFT OPERATOR RIGHT.
func (p *parser) comparison() (expression, error) {
	at := p.tok
	left, err := p.operand(anyValue)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != word {
		return nil, p.bad("%s is no operator", p.tok)
	}
	c := &comparison{left: left}
	name := p.tok.text
	if q, rest, cross := strings.Cut(name, ":"); cross {
		if c.over, cross = quantifierOf(q); !cross {
			return nil, p.bad("there is no operator %s", name)
		}
		name = rest
	}
	op, ok := operatorOf(name)
	if !ok || c.over != single && op.typ != stringValue && op.typ != numericValue && op.typ != guidValue {
		return nil, p.bad("there is no operator %s", p.tok.text)
	}
	c.operator = op
	for _, v := range left.values {
		if err := op.typ.check(token{kind: text, text: v}); err != nil {
			p.tok = at
			return nil, p.bad("%s", err)
		}
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	at = p.tok
	if c.right, err = p.operand(op.typ); err != nil {
		return nil, err
	}
	if c.over == single && (len(left.values) > 1 || len(c.right.values) > 1) {
		p.tok = at
		return nil, p.bad("%s compares one value with one: several take an operator such as ForAnyOfAnyValues:%s", op.name, op.name)
	}
	return c, nil
}
