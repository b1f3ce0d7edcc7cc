package arm

import (
	"fmt"
	"net/http"
	"strings"
)

// Filter is the part of OData that resource lists are asked with: comparisons,
// substringof and startswith, joined with and, which binds closer, and or.
type Filter struct {
	anyOf []clause
}

// clause is terms that all must hold.
type clause []term

// term is one condition; function is "eq", "ne", "substringof" or "startswith".
type term struct{ function, name, value string }

// ParseFilter reads a $filter; the empty one matches everything.
func ParseFilter(s string) (Filter, error) {
	f := Filter{}
	if strings.TrimSpace(s) == "" {
		return f, nil
	}
	for _, part := range splitOutside(s, " or ") {
		var c clause
		for _, text := range splitOutside(part, " and ") {
			t, err := parseTerm(strings.TrimSpace(text), s)
			if err != nil {
				return f, err
			}
			c = append(c, t)
		}
		f.anyOf = append(f.anyOf, c)
	}
	return f, nil
}

func parseTerm(text, whole string) (term, error) {
	bad := BadRequest("InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string.", whole)
	t := term{}
	if name, rest, ok := strings.Cut(text, "("); ok && strings.HasSuffix(rest, ")") && !strings.ContainsAny(name, "' ") {
		args := splitOutside(strings.TrimSuffix(rest, ")"), ",")
		if len(args) != 2 {
			return t, bad
		}
		t.function = strings.ToLower(name)
		a, b := strings.TrimSpace(args[0]), strings.TrimSpace(args[1])
		switch t.function {
		case "substringof":
			a, b = b, a
		case "startswith":
		default:
			return t, Errorf(http.StatusNotImplemented, "NotImplementedByAzimuth", "Azimuth does not implement '%s' in $filter.", name)
		}
		var ok bool
		if t.value, ok = unquote(b); !ok {
			return t, bad
		}
		t.name = a
	} else {
		words := strings.SplitN(text, " ", 3)
		if len(words) != 3 {
			return t, bad
		}
		var ok bool
		if t.value, ok = unquote(strings.TrimSpace(words[2])); !ok {
			return t, bad
		}
		t.name, t.function = words[0], strings.ToLower(words[1])
		if t.function != "eq" && t.function != "ne" {
			return t, Errorf(http.StatusNotImplemented, "NotImplementedByAzimuth", "Azimuth does not implement '%s' in $filter.", words[1])
		}
	}
	name := strings.ToLower(t.name)
	switch name {
	case "resourcetype", "name", "location", "resourcegroup", "tagname", "tagvalue", "identity/principalid", "kind":
	default:
		return t, Errorf(http.StatusNotImplemented, "NotImplementedByAzimuth", "Azimuth does not implement $filter on '%s'.", t.name)
	}
	t.name = name
	return t, nil
}

// unquote reads a string in single quotes, two of which are one in it.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return "", false
	}
	return strings.ReplaceAll(s[1:len(s)-1], "''", "'"), true
}

// splitOutside splits at a separator, in any case, where no quotes are around it.
func splitOutside(s, separator string) []string {
	var out []string
	quoted, start, n := false, 0, len(separator)
	for i := 0; i < len(s); i++ {
		if s[i] == '\'' {
			quoted = !quoted
		}
		if !quoted && len(s)-i >= n && strings.EqualFold(s[i:i+n], separator) {
			out = append(out, s[start:i])
			start = i + n
			i += n - 1
		}
	}
	return append(out, s[start:])
}

// Match reports whether r, shown as doc, passes the filter.
func (f Filter) Match(r *Resource, doc Doc) bool {
	if len(f.anyOf) == 0 {
		return true
	}
	for _, c := range f.anyOf {
		if c.match(r.ParsedID(), doc) {
			return true
		}
	}
	return false
}

func (c clause) match(id ID, doc Doc) bool {
	for _, t := range c {
		if !t.match(id, doc, c) {
			return false
		}
	}
	return true
}

func (t term) match(id ID, doc Doc, all clause) bool {
	switch t.name {
	case "tagname":
		return t.matchTag(doc.Object("tags"), all)
	case "tagvalue": // together with the name
		return true
	}
	return t.holds(property(id, doc, t.name))
}

// matchTag says whether a tag has the name and, where the clause has one, the value.
func (t term) matchTag(tags Doc, all clause) bool {
	for name, v := range tags {
		if !t.holds(name) {
			continue
		}
		ok := true
		for _, other := range all {
			if other.name == "tagvalue" && fmt.Sprint(v) != other.value {
				ok = false
			}
		}
		if ok {
			return true
		}
	}
	return false
}

func (t term) holds(v string) bool {
	switch t.function {
	case "ne":
		return !strings.EqualFold(v, t.value)
	case "substringof":
		return strings.Contains(strings.ToLower(v), strings.ToLower(t.value))
	case "startswith":
		return strings.HasPrefix(strings.ToLower(v), strings.ToLower(t.value))
	}
	return strings.EqualFold(v, t.value)
}

func property(id ID, doc Doc, name string) string {
	switch name {
	case "resourcetype":
		return id.Type()
	case "name":
		return id.Name()
	case "location":
		return doc.String("location")
	case "resourcegroup":
		return id.ResourceGroup
	case "identity/principalid":
		return doc.String("identity.principalId")
	}
	return doc.String(name)
}
