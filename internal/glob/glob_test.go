package glob

import "testing"

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "a/b", true}, {"a*", "a/b", true}, {"*b", "a/b", true}, {"a*b*c", "aXbYc", true}, {"a*b*c", "abc", true},
		{"a*bc*c", "abc", false}, {"a", "A", false}, {"", "", true}, {"", "x", false}, {"a*a", "a", false}, {"**", "x", true},
	} {
		if got := Match(tc.pattern, tc.s); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.pattern, tc.s, got)
		}
	}
}
