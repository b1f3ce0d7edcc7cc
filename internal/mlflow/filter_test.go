package mlflow

import (
	"math"
	"slices"
	"testing"
)

func TestOrderOfKeys(t *testing.T) {
	floats := []float64{math.Inf(-1), -1e300, -1, -1e-300, 0, 1e-300, 0.5, 1, 1e300, math.Inf(1)}
	for i := range len(floats) - 1 {
		if a, b := orderedFloat(floats[i]), orderedFloat(floats[i+1]); a >= b {
			t.Errorf("%g is written %s, %g %s", floats[i], a, floats[i+1], b)
		}
	}
	ints := []int64{math.MinInt64, -2, -1, 0, 1, 255, 256, math.MaxInt64}
	for i := range len(ints) - 1 {
		if a, b := ascending(ints[i]), ascending(ints[i+1]); a >= b {
			t.Errorf("%d is written %s, %d %s", ints[i], a, ints[i+1], b)
		}
		if a, b := descending(ints[i]), descending(ints[i+1]); a <= b {
			t.Errorf("descending, %d is written %s, %d %s", ints[i], a, ints[i+1], b)
		}
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		s, pattern string
		want       bool
	}{
		{"abc", "abc", true}, {"abc", "a%", true}, {"abc", "%c", true}, {"abc", "%b%", true}, {"abc", "a_c", true}, {"abc", "a_", false},
		{"", "%", true}, {"", "", true}, {"a", "", false}, {"aXbXc", "a%b%c", true}, {"mississippi", "m%iss%ip%i", true}, {"ab", "%%%", true}, {"é", "_", true},
	} {
		if got := like(c.s, c.pattern); got != c.want {
			t.Errorf("like(%q, %q) = %t", c.s, c.pattern, got)
		}
	}
}

func TestClean(t *testing.T) {
	for p, want := range map[string]bool{
		"": true, "a": true, "a/b": true, "a/": true, "..": false, "../a": false, "a/../b": false, "/a": false, "a//b": false, "./a": false, "a/..": false, ".": true,
	} {
		if _, ok := clean(p); ok != want {
			t.Errorf("clean(%q) = %t", p, ok)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"metrics.a > 1 and params.`b c` = 'x'", "attributes.status IN ('A','B')", "tags.x NOT IN ('a')", "x", "a = -1e-5", "metrics.\"", "'", "tags.é = 'ü'",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := parseFilter(s, "metric", "param", "tag", "attribute")
		if err != nil {
			return
		}
		for _, c := range parsed {
			if c.name == "" || !slices.Contains([]string{"metric", "param", "tag", "attribute"}, c.kind) {
				t.Errorf("%q gives %+v", s, c)
			}
		}
		if _, err := parsed.match(&experimentValues{&experiment{}}); err != nil {
			return
		}
	})
}

func FuzzLike(f *testing.F) {
	f.Add("mississippi", "m%iss%ip%i")
	f.Fuzz(func(t *testing.T, s, pattern string) { like(s, pattern) })
}
