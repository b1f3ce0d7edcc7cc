package entra

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Page sizes of Microsoft Graph's lists of directory objects.
const (
	graphPage    = 100
	maxGraphPage = 999
)

// condition is a filter of Microsoft Graph: equalities and prefixes, all of which
// must hold.
type condition []comparison

type comparison struct {
	property string
	prefix   bool // startswith instead of eq
	value    string
}

// parseFilter reads the filters that clients use, joined by "and":
//
//	property eq 'value'    property eq true
//	startswith(property,'value')
//	property/any(x:x eq 'value')
//
// It reports false for any other.
func parseFilter(filter string) (condition, bool) {
	var out condition
	for rest := strings.TrimSpace(filter); rest != ""; {
		c, tail, ok := parseComparison(rest)
		if !ok {
			return nil, false
		}
		out = append(out, c)
		if rest = strings.TrimSpace(tail); rest == "" {
			break
		}
		word, more, _ := strings.Cut(rest, " ")
		if !strings.EqualFold(word, "and") || strings.TrimSpace(more) == "" {
			return nil, false
		}
		rest = strings.TrimSpace(more)
	}
	return out, true
}

func parseComparison(s string) (c comparison, rest string, ok bool) {
	if args, found := strings.CutPrefix(s, "startswith("); found {
		c.prefix = true
		if c.property, rest, ok = strings.Cut(args, ","); !ok || !isProperty(strings.TrimSpace(c.property)) {
			return c, "", false
		}
		c.property = strings.TrimSpace(c.property)
		if c.value, rest, ok = parseText(strings.TrimSpace(rest)); !ok {
			return c, "", false
		}
		rest, ok = strings.CutPrefix(strings.TrimSpace(rest), ")")
		return c, rest, ok
	}
	if i := strings.Index(s, "/any("); i >= 0 && isProperty(s[:i]) {
		c.property = s[:i]
		variable, tail, found := strings.Cut(s[i+len("/any("):], ":")
		if variable = strings.TrimSpace(variable); !found || !isProperty(variable) {
			return c, "", false
		}
		inner, tail, found := parseEquals(strings.TrimSpace(tail))
		if !found || inner.property != variable {
			return c, "", false
		}
		c.value = inner.value
		rest, ok = strings.CutPrefix(strings.TrimSpace(tail), ")")
		return c, rest, ok
	}
	return parseEquals(s)
}

// parseEquals reads property eq 'value'.
func parseEquals(s string) (c comparison, rest string, ok bool) {
	property, rest, ok := strings.Cut(s, " ")
	if !ok || !isProperty(property) {
		return c, "", false
	}
	rest, ok = strings.CutPrefix(strings.TrimSpace(rest), "eq ")
	if !ok {
		return c, "", false
	}
	c.property, rest = property, strings.TrimSpace(rest)
	for _, word := range []string{"true", "false"} {
		if tail, found := strings.CutPrefix(rest, word); found && (tail == "" || tail[0] == ' ' || tail[0] == ')') {
			c.value = word
			return c, tail, true
		}
	}
	c.value, rest, ok = parseText(rest)
	return c, rest, ok
}

// parseText reads a text in quotes, in which a quote is doubled.
func parseText(s string) (value, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "'")
	if !ok {
		return "", "", false
	}
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '\'')
		if i < 0 {
			return "", "", false
		}
		out.WriteString(s[:i])
		if s = s[i+1:]; !strings.HasPrefix(s, "'") {
			return out.String(), s, true
		}
		out.WriteByte('\'')
		s = s[1:]
	}
}

func isProperty(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return s != ""
}

// holds reports whether an object, as Graph shows it, meets the condition.
func (c condition) holds(doc map[string]any) bool {
	for _, cmp := range c {
		met := false
		values, many := doc[cmp.property].([]string)
		if !many {
			values = []string{text(doc[cmp.property])}
		}
		for _, v := range values {
			if cmp.prefix {
				met = met || len(v) >= len(cmp.value) && strings.EqualFold(v[:len(cmp.value)], cmp.value)
			} else {
				met = met || strings.EqualFold(v, cmp.value)
			}
		}
		if !met {
			return false
		}
	}
	return true
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// equals returns the value that a property must have, if the condition says so.
func (c condition) equals(property string) (string, bool) {
	for _, cmp := range c {
		if cmp.property == property && !cmp.prefix && cmp.value != "" {
			return cmp.value, true
		}
	}
	return "", false
}

// lookup is a list of a set by one of its indexes: the narrowest that the
// condition gives.
type lookup struct {
	index  string
	prefix string
}

// by chooses the index to read: unique names first, then the display name.
func (c condition) by(typ string, unique map[string]string) lookup {
	for property, index := range unique {
		if v, ok := c.equals(property); ok {
			return lookup{index, store.Exact(strings.ToLower(v))}
		}
	}
	for _, cmp := range c {
		if cmp.property == "displayName" {
			if cmp.prefix {
				return lookup{byName, nameEntry(typ, cmp.value)}
			}
			return lookup{byName, store.Exact(nameEntry(typ, cmp.value))}
		}
	}
	return lookup{byName, nameEntry(typ, "")}
}

// listPrincipals lists the users, groups or service principals that a filter
// names.
func listPrincipals(set, typ string, unique map[string]string) func(*graphCall) (int, any, error) {
	return func(c *graphCall) (int, any, error) {
		return listObjects(c, set, &c.d.tables.principals, typ, unique, func(p *principal) map[string]any {
			if p.Type != typ {
				return nil
			}
			return graphObject(p)
		}, func(p *principal) string { return nameEntry(p.Type, p.DisplayName) })
	}
}

// listObjects lists a set, a page at a time. show returns nil for what is not of
// the set; entry is an object's entry in the index by name.
func listObjects[T any](c *graphCall, set string, table *store.Collection[T], typ string, unique map[string]string,
	show func(*T) map[string]any, entry func(*T) string) (int, any, error) {
	q := c.r.URL.Query()
	for name := range q {
		switch name {
		case "$filter", "$top", "$select", "$skiptoken", "$count":
		default:
			return 0, nil, notInGraph("the query parameter " + name)
		}
	}
	cond, ok := parseFilter(q.Get("$filter"))
	if !ok {
		return 0, nil, notInGraph(fmt.Sprintf("the filter %q on %s", q.Get("$filter"), set))
	}
	size := graphPage
	if s := q.Get("$top"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxGraphPage {
			return 0, nil, badGraph("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", s, maxGraphPage)
		}
		size = n
	}
	after, err := base64.RawURLEncoding.DecodeString(q.Get("$skiptoken"))
	if err != nil {
		return 0, nil, badGraph("Skip token is not valid.")
	}
	look := cond.by(typ, unique)
	value := []any{}
	out := map[string]any{"@odata.context": graphAudience + "/v1.0/$metadata#" + set}
	var last *T
	for v, err := range table.By(c.tx, look.index, store.Range{Prefix: look.prefix, After: string(after)}) {
		if err != nil {
			return 0, nil, err
		}
		doc := show(v)
		if doc == nil || !cond.holds(doc) {
			continue
		}
		if len(value) == size { // a page is only ever full when read by name
			out["@odata.nextLink"] = nextLink(c.r.URL, table.Position(entry(last), last))
			break
		}
		delete(doc, "@odata.type") // a list of one type does not say it
		selectOnly(doc, q.Get("$select"))
		value = append(value, doc)
		last = v
	}
	out["value"] = value
	if strings.EqualFold(q.Get("$count"), "true") && q.Get("$skiptoken") == "" && out["@odata.nextLink"] == nil {
		out["@odata.count"] = len(value)
	} else if q.Has("$count") {
		return 0, nil, notInGraph("$count of a list that does not fit one page")
	}
	return http.StatusOK, out, nil
}

func nextLink(u *url.URL, position string) string {
	q := u.Query()
	q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(position)))
	return graphAudience + u.Path + "?" + q.Encode()
}
