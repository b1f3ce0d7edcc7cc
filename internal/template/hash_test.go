package template

import "testing"

// The values are what Azure gives, as people who asked it wrote down:
// https://stackoverflow.com/questions/43295720 and the README of
// https://github.com/JasonWhall/go-azure-uniquestring.
func TestUniqueString(t *testing.T) {
	if h := hash64([]byte("hello-world")); h != 571013382255652050 {
		t.Errorf("hash = %d", h)
	}
	for want, args := range map[string][]string{"zcztcwvu6iyg6": {"tyeth"}, "a7wkljktk6wne": {"hello", "world"}} {
		if got := uniqueString(args); got != want {
			t.Errorf("uniqueString(%q) = %s, want %s", args, got, want)
		}
	}
}
