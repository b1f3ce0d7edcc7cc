package blob

import "strings"

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
