package kql

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// usageOf writes how a function is called.
func usageOf(name string, f *function) string {
	if f.usage != "" {
		_, args, _ := strings.Cut(f.usage, "(")
		return name + "(" + args
	}
	words := map[byte]string{'s': "string", 'i': "integer", 'n': "number", 'r': "number", 'd': "datetime", 't': "timespan",
		'b': "bool", 'y': "dynamic", 'c': "number|datetime|timespan", 'a': "any"}
	params, repeat := f.parameters()
	var b strings.Builder
	closing := ""
	for i, p := range params {
		sep := ""
		if i > 0 {
			sep = ", "
		}
		if p.optional && !(repeat && i == len(params)-1) {
			b.WriteString(strings.TrimPrefix(" [", map[bool]string{true: " "}[i == 0]) + sep + words[p.kind])
			closing += "]"
			continue
		}
		b.WriteString(sep + words[p.kind])
	}
	if repeat {
		b.WriteString(", …")
	}
	return name + "(" + b.String() + closing + ")"
}

func list(names []string) string { return "`" + strings.Join(names, "` `") + "`\n" }

// generated are the parts of docs/kql.md that come from the engine's own tables.
func generated(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{
		"operators": list(operatorNames()),
		"joins":     list(joinKinds()),
	}
	var words []string
	for _, w := range []string{"has", "has_cs", "hasprefix", "hasprefix_cs", "hassuffix", "hassuffix_cs", "contains", "contains_cs",
		"startswith", "startswith_cs", "endswith", "endswith_cs", "in", "in~", "between"} {
		if !isWordOperator(w) || !isWordOperator("!"+w) {
			t.Errorf("%s is no operator", w)
		}
		words = append(words, w, "!"+w)
	}
	out["words"] = list(append(words, "has_any", "has_all", "matches regex"))
	var b strings.Builder
	fns := functions()
	for _, name := range slices.Sorted(maps.Keys(fns)) {
		f := fns[name]
		if f.special != nil && f.usage == "" || f.special == nil && f.call == nil && f.prepare == nil && f.fast == nil {
			t.Errorf("%s: no usage, or nothing to call", name)
		}
		fmt.Fprintf(&b, "- `%s`\n", usageOf(name, f))
	}
	out["functions"] = b.String()
	out["aggregates"] = list(slices.Sorted(maps.Keys(aggregates())))
	return out
}

// TestDocumentation holds docs/kql.md to the engine's own tables. With -update it
// writes them there.
func TestDocumentation(t *testing.T) {
	const path = "../../../docs/kql.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	for name, want := range generated(t) {
		head, rest, ok1 := strings.Cut(doc, "<!-- "+name+" -->\n")
		old, tail, ok2 := strings.Cut(rest, "<!-- end -->")
		if !ok1 || !ok2 {
			t.Errorf("%s has no part %s", path, name)
			continue
		}
		if old != want && !*update {
			t.Errorf("the part %s of %s is not what the engine has: go test ./internal/telemetry/kql -run Documentation -update", name, path)
		}
		doc = head + "<!-- " + name + " -->\n" + want + "<!-- end -->" + tail
	}
	if *update {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExamplesOfDocumentation holds that the queries in docs/kql.md are queries.
func TestExamplesOfDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/kql.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```kusto\n")
	if rest == "" {
		t.Fatal("no examples")
	}
	for rest != "" {
		var query string
		query, rest, _ = strings.Cut(rest, "```")
		if _, err := Parse(query); err != nil {
			t.Errorf("%s\n%v", query, err)
		}
		_, rest, _ = strings.Cut(rest, "```kusto\n")
	}
}
