package mlflow

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// filter is a conjunction of comparisons, the whole of MLflow's search language:
//
//	metrics.loss < 0.5 AND params."batch size" = '32' AND tags.team ILIKE 'A%'
//	AND attributes.status IN ('FINISHED', 'FAILED')
type filter []comparison

type comparison struct {
	kind, name string // "metric", "param", "tag" or "attribute"
	op         string
	text       string
	number     float64
	numeric    bool
	list       []string // of IN
}

// value is what something has for a comparison's left side.
type value struct {
	text    string
	number  float64
	numeric bool
	ok      bool
}

// values is something that filters match.
type values interface {
	value(kind, name string) (value, error)
}

func (f filter) match(v values) (bool, error) {
	for i := range f {
		left, err := v.value(f[i].kind, f[i].name)
		if err != nil {
			return false, err
		}
		ok, err := f[i].holds(left)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (c *comparison) holds(left value) (bool, error) {
	if !left.ok {
		return false, nil
	}
	if left.numeric {
		if !c.numeric {
			return false, invalid("Expected numeric value for %s '%s'. Found %s", c.kind, c.name, c.text)
		}
		switch c.op {
		case "=":
			return left.number == c.number, nil
		case "!=":
			return left.number != c.number, nil
		case ">":
			return left.number > c.number, nil
		case ">=":
			return left.number >= c.number, nil
		case "<":
			return left.number < c.number, nil
		case "<=":
			return left.number <= c.number, nil
		}
		return false, invalid("Invalid comparator '%s' for %s '%s'", c.op, c.kind, c.name)
	}
	if c.numeric {
		return false, invalid("Expected a quoted string value for %s '%s'", c.kind, c.name)
	}
	switch c.op {
	case "=":
		return left.text == c.text, nil
	case "!=":
		return left.text != c.text, nil
	case "LIKE":
		return like(left.text, c.text), nil
	case "ILIKE":
		return like(lower(left.text), lower(c.text)), nil
	case "IN":
		return slices.Contains(c.list, left.text), nil
	case "NOT IN":
		return !slices.Contains(c.list, left.text), nil
	}
	return false, invalid("Invalid comparator '%s' for %s '%s'", c.op, c.kind, c.name)
}

// like matches SQL's patterns: % is any text, _ any one character.
func like(s, pattern string) bool {
	text, p := []rune(s), []rune(pattern)
	i, j, star, mark := 0, 0, -1, 0
	for i < len(text) {
		switch {
		case j < len(p) && p[j] == '%':
			star, mark = j, i
			j++
		case j < len(p) && (p[j] == '_' || p[j] == text[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j] == '%' {
		j++
	}
	return j == len(p)
}

type token struct {
	text string
	kind byte // 'w' word, 'n' number, 's' string, 'q' quoted name, 'o' operator
}

func scan(s string) ([]token, error) {
	var out []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'' || c == '"' || c == '`':
			j := strings.IndexByte(s[i+1:], c)
			if j < 0 {
				return nil, invalid("Invalid filter '%s': a quote is not closed.", s)
			}
			kind := byte('s')
			if c == '`' {
				kind = 'q'
			}
			out = append(out, token{s[i+1 : i+1+j], kind})
			i += j + 2
		case strings.IndexByte("(),", c) >= 0:
			out = append(out, token{string(c), 'o'})
			i++
		case strings.IndexByte("=<>!", c) >= 0:
			j := i + 1
			if j < len(s) && s[j] == '=' {
				j++
			}
			out = append(out, token{s[i:j], 'o'})
			i = j
		case c == '-' || c == '+' || c >= '0' && c <= '9':
			j := i + 1
			for j < len(s) && (strings.IndexByte("0123456789.eE", s[j]) >= 0 || (s[j] == '-' || s[j] == '+') && (s[j-1] == 'e' || s[j-1] == 'E')) {
				j++
			}
			out = append(out, token{s[i:j], 'n'})
			i = j
		default:
			j := i
			for j < len(s) && (s[j] == '_' || s[j] == '.' || s[j] == '-' || s[j] == '/' || s[j] == ':' || s[j] == '@' || s[j] >= 0x80 || unicode.IsLetter(rune(s[j])) || unicode.IsDigit(rune(s[j]))) {
				j++
			}
			if j == i {
				return nil, invalid("Invalid filter '%s': '%c' is not understood.", s, c)
			}
			out = append(out, token{s[i:j], 'w'})
			i = j
		}
	}
	return out, nil
}

type parser struct {
	whole string
	toks  []token
}

func (p *parser) next() (token, bool) {
	if len(p.toks) == 0 {
		return token{}, false
	}
	t := p.toks[0]
	p.toks = p.toks[1:]
	return t, true
}

func (p *parser) bad(what string) error {
	return invalid("Invalid clause(s) in filter string '%s': %s", p.whole, what)
}

// parseFilter reads a filter over the given kinds of names. Whatever it does not
// understand is an error that says what.
func parseFilter(s string, kinds ...string) (filter, error) {
	toks, err := scan(s)
	if err != nil {
		return nil, err
	}
	p := &parser{s, toks}
	var f filter
	for len(p.toks) > 0 {
		if len(f) > 0 {
			if t, _ := p.next(); t.kind != 'w' || !strings.EqualFold(t.text, "AND") {
				return nil, p.bad("expected AND before '" + t.text + "'; OR and parentheses are not part of the language")
			}
		}
		c, err := p.comparison(kinds)
		if err != nil {
			return nil, err
		}
		f = append(f, c)
	}
	return f, nil
}

func (p *parser) name(kinds []string) (kind, name string, err error) {
	t, ok := p.next()
	if !ok || t.kind != 'w' {
		return "", "", p.bad("expected a name such as metrics.accuracy and found '" + t.text + "'")
	}
	prefix, name, dotted := strings.Cut(t.text, ".")
	if !dotted {
		kind, name = "attribute", t.text
	} else {
		switch lower(prefix) {
		case "metric", "metrics":
			kind = "metric"
		case "param", "params", "parameter", "parameters":
			kind = "param"
		case "tag", "tags":
			kind = "tag"
		case "attribute", "attributes", "attr", "run":
			kind = "attribute"
		default:
			return "", "", p.bad("'" + prefix + "' is none of metrics, params, tags and attributes")
		}
		if name == "" { // metrics."a name" or metrics.`a name`
			if t, ok := p.next(); ok && (t.kind == 's' || t.kind == 'q') {
				name = t.text
			}
		}
	}
	if name == "" {
		return "", "", p.bad("a name is missing after '" + t.text + "'")
	}
	if !slices.Contains(kinds, kind) {
		return "", "", p.bad("'" + t.text + "' cannot be searched for here")
	}
	return kind, name, nil
}

func (p *parser) comparison(kinds []string) (c comparison, err error) {
	if c.kind, c.name, err = p.name(kinds); err != nil {
		return c, err
	}
	op, ok := p.next()
	if !ok {
		return c, p.bad("nothing follows '" + c.name + "'")
	}
	c.op = strings.ToUpper(op.text)
	if c.op == "NOT" {
		if in, _ := p.next(); strings.EqualFold(in.text, "IN") {
			c.op = "NOT IN"
		}
	}
	switch c.op {
	case "IN", "NOT IN":
		c.list, err = p.list()
		return c, err
	case "=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE":
	default:
		return c, p.bad("'" + op.text + "' is not an operator")
	}
	v, ok := p.next()
	switch {
	case ok && v.kind == 's':
		c.text = v.text
	case ok && v.kind == 'n':
		c.numeric = true
		if c.number, err = strconv.ParseFloat(v.text, 64); err != nil {
			return c, p.bad("'" + v.text + "' is not a number")
		}
	default:
		return c, p.bad("expected a quoted string or a number and found '" + v.text + "'")
	}
	return c, nil
}

func (p *parser) list() ([]string, error) {
	if t, _ := p.next(); t.text != "(" {
		return nil, p.bad("IN needs a list in parentheses")
	}
	var out []string
	for {
		v, ok := p.next()
		if !ok || v.kind != 's' {
			return nil, p.bad("a list holds quoted strings")
		}
		out = append(out, v.text)
		switch t, _ := p.next(); t.text {
		case ",":
		case ")":
			return out, nil
		default:
			return nil, p.bad("a list is not closed")
		}
	}
}

// ordering is one key to sort by.
type ordering struct {
	kind, name string
	descending bool
}

func parseOrder(list []string) ([]ordering, error) {
	var out []ordering
	for _, s := range list {
		toks, err := scan(s)
		if err != nil {
			return nil, err
		}
		p := &parser{s, toks}
		var o ordering
		if o.kind, o.name, err = p.name([]string{"metric", "param", "tag", "attribute"}); err != nil {
			return nil, err
		}
		if t, ok := p.next(); ok {
			switch strings.ToUpper(t.text) {
			case "ASC":
			case "DESC":
				o.descending = true
			default:
				return nil, invalid("Invalid order_by clause '%s'", s)
			}
		}
		if len(p.toks) > 0 {
			return nil, invalid("Invalid order_by clause '%s'", s)
		}
		out = append(out, o)
	}
	return out, nil
}
