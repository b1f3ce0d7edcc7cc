// Package glob matches texts against patterns in which "*" stands for any run of
// characters, separators included. Package path of the standard library, in which
// it does not, is for paths.
package glob

import "strings"

// Match reports whether all of s matches the pattern. Case matters.
func Match(pattern, s string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
