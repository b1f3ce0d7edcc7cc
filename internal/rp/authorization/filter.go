package authorization

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// terms is a $filter of this namespace: comparisons by name, and functions such
// as atScope() and assignedTo('…') with their argument, joined by "and". Names
// are lower case.
type terms map[string]string

// parseTerms reads a $filter and refuses names that are not known.
func parseTerms(s string, known ...string) (terms, error) {
	t := terms{}
	if strings.TrimSpace(s) == "" {
		return t, nil
	}
	for _, term := range splitAnd(s) {
		name, value, ok := parseTerm(term)
		if !ok {
			return nil, arm.BadRequest("InvalidFilter", "The filter '%s' is not valid.", s)
		}
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			return nil, arm.NotImplemented("$filter with '%s' here", strings.TrimSpace(term))
		}
		t[name] = value
	}
	return t, nil
}

func (t terms) has(name string) bool { _, ok := t[name]; return ok }

// parseTerm reads "name eq 'value'", "name()" or "name('value')".
func parseTerm(s string) (name, value string, ok bool) {
	s = strings.TrimSpace(s)
	if head, arg, call := strings.Cut(s, "("); call && !strings.ContainsAny(head, " '") {
		arg, closed := strings.CutSuffix(arg, ")")
		if !closed || head == "" {
			return "", "", false
		}
		if arg = strings.TrimSpace(arg); arg == "" {
			return strings.ToLower(head) + "()", "", true
		}
		value, ok = unquote(arg)
		return strings.ToLower(head) + "()", value, ok
	}
	words := strings.SplitN(s, " ", 3)
	if len(words) != 3 || !strings.EqualFold(words[1], "eq") {
		return "", "", false
	}
	value, ok = unquote(strings.TrimSpace(words[2]))
	return strings.ToLower(words[0]), value, ok
}

func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return "", false
	}
	return strings.ReplaceAll(s[1:len(s)-1], "''", "'"), true
}

// splitAnd splits at " and " outside quotes.
func splitAnd(s string) []string {
	var out []string
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		if s[i] == '\'' {
			quoted = !quoted
		}
		if !quoted && len(s)-i >= 5 && strings.EqualFold(s[i:i+5], " and ") {
			out = append(out, s[start:i])
			start = i + 5
			i += 4
		}
	}
	return append(out, s[start:])
}
