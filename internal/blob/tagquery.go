package blob

import (
	"errors"
	"strings"
)

// tagQuery is the where parameter of Find Blobs by Tags: conditions that all must
// hold, of which at least one is about a tag.
type tagQuery []tagCondition

type tagCondition struct {
	key   string // "@container", or a tag's
	op    string // =, <, <=, > or >=
	value string
}

const containerTerm = "@container"

func (c tagCondition) holds(v string) bool {
	switch c.op {
	case "=":
		return v == c.value
	case "<":
		return v < c.value
	case "<=":
		return v <= c.value
	case ">":
		return v > c.value
	default:
		return v >= c.value
	}
}

// parseTagQuery reads conditions of the form "key" op 'value', joined by AND. A
// key without spaces needs no quotes.
func parseTagQuery(s string) (tagQuery, error) {
	bad := func(reason string) (tagQuery, error) { return nil, badQuery("where", s, reason) }
	var q tagQuery
	tags := false
	rest := strings.TrimSpace(s)
	for {
		var c tagCondition
		var ok bool
		if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
			if c.key, rest, ok = strings.Cut(quoted, `"`); !ok {
				return bad("A key has no closing quote.")
			}
		} else {
			end := strings.IndexAny(rest, " =<>'\"")
			if end <= 0 {
				return bad("A key is missing.")
			}
			c.key, rest = rest[:end], rest[end:]
		}
		rest = strings.TrimLeft(rest, " ")
		for _, op := range []string{"<=", ">=", "=", "<", ">"} {
			if after, found := strings.CutPrefix(rest, op); found {
				c.op, rest = op, strings.TrimLeft(after, " ")
				break
			}
		}
		if c.op == "" {
			return bad("An operator is missing.")
		}
		if rest, ok = strings.CutPrefix(rest, "'"); !ok {
			return bad("A value must be in single quotes.")
		}
		if c.value, rest, ok = strings.Cut(rest, "'"); !ok {
			return bad("A value has no closing quote.")
		}
		switch {
		case c.key == containerTerm && c.op != "=":
			return bad("@container is compared with = only.")
		case c.key == containerTerm:
		case c.key == "" || len(c.key) > maxTagKey || !validTagText(c.key), len(c.value) > maxTagValue, !validTagText(c.value):
			return bad("No tag can have that key or value.")
		default:
			tags = true
		}
		if q = append(q, c); len(q) > 2*maxTags {
			return bad("There are too many conditions.")
		}
		rest = strings.TrimLeft(rest, " ")
		if rest == "" {
			break
		}
		word, after, _ := strings.Cut(rest, " ")
		if !strings.EqualFold(word, "AND") {
			return bad("Conditions are joined by AND.")
		}
		rest = strings.TrimLeft(after, " ")
	}
	if !tags {
		return bad("There is no condition on a tag.")
	}
	return q, nil
}

// lead is the condition whose rows of the index are read.
func (q tagQuery) lead() (best tagCondition) {
	for _, c := range q {
		if c.key != containerTerm && (best.key == "" || best.op != "=" && c.op == "=") {
			best = c
		}
	}
	return best
}

// inContainer reports whether blobs of a container can match.
func (q tagQuery) inContainer(name string) bool {
	for _, c := range q {
		if c.key == containerTerm && c.value != name {
			return false
		}
	}
	return true
}

// match reports whether a blob with these tags matches, and which of the tags the
// query is about.
func (q tagQuery) match(tags map[string]string) (about map[string]string, ok bool) {
	about = map[string]string{}
	for _, c := range q {
		if c.key == containerTerm {
			continue
		}
		v, has := tags[c.key]
		if !has || !c.holds(v) {
			return nil, false
		}
		about[c.key] = v
	}
	return about, true
}

// tagExpression reports whether a blob with these tags meets a condition.
type tagExpression func(tags map[string]string) bool

// maxTagExpression bounds a condition on tags in bytes, and with it how deep it
// can be nested.
const maxTagExpression = 4 << 10

var errTagExpression = errors.New("not a condition on tags")

// parseTagExpression reads x-ms-if-tags: comparisons joined by AND and OR, of which
// AND binds stronger, and parentheses.
func parseTagExpression(s string) (tagExpression, error) {
	if len(s) > maxTagExpression {
		return nil, errTagExpression
	}
	p := &tagParser{rest: s}
	e := p.either()
	if p.skip(); p.bad || p.rest != "" {
		return nil, errTagExpression
	}
	return e, nil
}

// tagParser reads an expression by recursive descent.
type tagParser struct {
	rest string
	bad  bool
}

func (p *tagParser) skip() { p.rest = strings.TrimLeft(p.rest, " ") }

func (p *tagParser) take(token string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

// word takes a keyword, in any case.
func (p *tagParser) word(w string) bool {
	p.skip()
	if len(p.rest) <= len(w) || !strings.EqualFold(p.rest[:len(w)], w) || !strings.ContainsAny(p.rest[len(w):][:1], " (\"") {
		return false
	}
	p.rest = p.rest[len(w):]
	return true
}

func (p *tagParser) either() tagExpression {
	e := p.both()
	for !p.bad && p.word("OR") {
		a, b := e, p.both()
		e = func(tags map[string]string) bool { return a(tags) || b(tags) }
	}
	return e
}

func (p *tagParser) both() tagExpression {
	e := p.comparison()
	for !p.bad && p.word("AND") {
		a, b := e, p.comparison()
		e = func(tags map[string]string) bool { return a(tags) && b(tags) }
	}
	return e
}

func (p *tagParser) comparison() tagExpression {
	if p.take("(") {
		e := p.either()
		p.bad = p.bad || !p.take(")")
		return e
	}
	var c tagCondition
	ok := true
	if p.take(`"`) {
		c.key, p.rest, ok = strings.Cut(p.rest, `"`)
	} else {
		end := strings.IndexAny(p.rest, " =<>'\"()")
		if ok = end > 0; ok {
			c.key, p.rest = p.rest[:end], p.rest[end:]
		}
	}
	for _, op := range []string{"<=", ">=", "<>", "=", "<", ">"} {
		if ok && p.take(op) {
			c.op = op
			break
		}
	}
	if ok = ok && c.op != "" && p.take("'"); ok {
		c.value, p.rest, ok = strings.Cut(p.rest, "'")
	}
	if !ok || c.key == "" || !validTagText(c.key) || !validTagText(c.value) {
		p.bad = true
	}
	return func(tags map[string]string) bool {
		v, has := tags[c.key]
		if c.op == "<>" {
			return v != c.value
		}
		return has && c.holds(v)
	}
}
