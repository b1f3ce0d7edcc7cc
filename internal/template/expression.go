package template

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Expressions are what stands between the brackets of "[concat('a', 'b')]".
// https://learn.microsoft.com/azure/azure-resource-manager/templates/template-expressions

// node is a part of a parsed expression.
type node interface{}

type (
	literal struct{ value any }
	call    struct {
		// name is as it was written; namespace is that of a user's function, or "".
		namespace, name string
		args            []node
	}
	// access is OBJECT.name, OBJECT[index] and, when safe, OBJECT.?name and
	// OBJECT[?index], which are null where there is nothing.
	access struct {
		object, index node
		safe          bool
	}
)

// limits of what is parsed: longer expressions are refused by Azure, too; the
// depth is Azimuth's own bound on recursion.
const (
	maxExpression = 24576 // characters, as Azure documents
	maxDepth      = 200
)

// isExpression says whether a string of a template is an expression, and gives
// what is in its brackets; text is what the string means when it is not.
func isExpression(s string) (inner, text string, ok bool) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return "", s, false
	}
	if strings.HasPrefix(s, "[[") {
		return "", s[1:], false
	}
	return s[1 : len(s)-1], "", true
}

// parseExpression parses what is in the brackets.
func parseExpression(s string) (node, error) {
	if utf8.RuneCountInString(s) > maxExpression {
		return nil, invalid("The template language expression has more than %d characters.", maxExpression)
	}
	p := &parser{text: s}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.at < len(s) {
		return nil, p.unexpected()
	}
	return n, nil
}

type parser struct {
	text  string
	at    int
	depth int
}

func (p *parser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// peek is the next character that is no space, or 0 at the end.
func (p *parser) peek() byte {
	p.space()
	if p.at >= len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *parser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.at++
	return true
}

func (p *parser) unexpected() error {
	if p.at >= len(p.text) {
		return invalid("The template language expression '%s' is not valid: it ends too early.", shorten(p.text))
	}
	return invalid("The template language expression '%s' is not valid: the character at position %d is not expected.", shorten(p.text), p.at+1)
}

func shorten(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

func (p *parser) expression() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, invalid("The template language expression is nested too deep.")
	}
	defer func() { p.depth-- }()
	n, err := p.primary()
	if err != nil {
		return nil, err
	}
	for {
		switch p.peek() {
		case '.':
			p.at++
			safe := p.take('?')
			name := p.identifier()
			if name == "" {
				return nil, p.unexpected()
			}
			n = access{n, literal{name}, safe}
		case '[':
			p.at++
			safe := p.take('?')
			index, err := p.expression()
			if err != nil {
				return nil, err
			}
			if !p.take(']') {
				return nil, p.unexpected()
			}
			n = access{n, index, safe}
		default:
			return n, nil
		}
	}
}

func (p *parser) primary() (node, error) {
	c := p.peek()
	switch {
	case c == '\'':
		return p.stringLiteral()
	case c >= '0' && c <= '9' || c == '-' || c == '+':
		start := p.at
		p.at++
		for p.at < len(p.text) && (p.text[p.at] >= '0' && p.text[p.at] <= '9' || p.text[p.at] == '.') {
			p.at++
		}
		word := p.text[start:p.at]
		if i, err := strconv.ParseInt(word, 10, 64); err == nil {
			return literal{i}, nil
		}
		if f, err := strconv.ParseFloat(word, 64); err == nil {
			return literal{f}, nil
		}
		return nil, invalid("The template language expression '%s' is not valid: '%s' is not a number.", shorten(p.text), word)
	}
	name := p.identifier()
	if name == "" {
		return nil, p.unexpected()
	}
	c1 := call{name: name}
	if p.peek() == '.' { // a user's function: namespace.name(…)
		p.at++
		c1.namespace, c1.name = name, p.identifier()
	}
	if c1.name == "" || !p.take('(') {
		return nil, p.unexpected()
	}
	if p.take(')') {
		return c1, nil
	}
	for {
		arg, err := p.expression()
		if err != nil {
			return nil, err
		}
		c1.args = append(c1.args, arg)
		if p.take(')') {
			return c1, nil
		}
		if !p.take(',') {
			return nil, p.unexpected()
		}
	}
}

// identifier takes a name, or nothing.
func (p *parser) identifier() string {
	p.space()
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= utf8.RuneSelf
		if !letter && (p.at == start || c < '0' || c > '9') {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}

// stringLiteral takes a string in single quotes; two of them are one in it.
func (p *parser) stringLiteral() (node, error) {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		if p.text[i] != '\'' {
			b.WriteByte(p.text[i])
			continue
		}
		if i+1 < len(p.text) && p.text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		p.at = i + 1
		return literal{b.String()}, nil
	}
	p.at = len(p.text)
	return nil, p.unexpected()
}

// calls visits every call in n, outermost first.
func calls(n node, visit func(call)) {
	switch n := n.(type) {
	case call:
		visit(n)
		for _, a := range n.args {
			calls(a, visit)
		}
	case access:
		calls(n.object, visit)
		calls(n.index, visit)
	}
}
