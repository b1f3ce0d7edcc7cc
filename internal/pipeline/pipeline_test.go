package pipeline_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/pipeline"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want pipeline.Binding
		ok   bool
		err  string
	}{
		{"", pipeline.Binding{}, false, ""},
		{"hello", pipeline.Binding{}, false, ""},
		{"${HOME} {{x}}", pipeline.Binding{}, false, ""},
		{"${{parent.inputs.rate}}", pipeline.Binding{Kind: pipeline.Input, Name: "rate"}, true, ""},
		{" ${{ parent.outputs.model }} ", pipeline.Binding{Kind: pipeline.Output, Name: "model"}, true, ""},
		{"${{parents.outputs.model}}", pipeline.Binding{Kind: pipeline.Output, Name: "model"}, true, ""},
		{"${{parent.jobs.a_1.outputs.o}}", pipeline.Binding{Kind: pipeline.StepOutput, Step: "a_1", Name: "o"}, true, ""},
		{"${{parent.jobs.a.inputs.o}}", pipeline.Binding{}, false, "is not known"},
		{"${{parent.inputs.a.path}}", pipeline.Binding{}, false, "is not known"},
		{"${{parent.inputs.}}", pipeline.Binding{}, false, "is not known"},
		{"${{parent.inputs.a-b}}", pipeline.Binding{}, false, "is not known"},
		{"${{inputs.a}}", pipeline.Binding{}, false, "is not known"},
		{"${{}}", pipeline.Binding{}, false, "is not known"},
		{"run-${{parent.inputs.a}}", pipeline.Binding{}, false, "inside a text"},
		{"${{parent.inputs.a}}${{parent.inputs.b}}", pipeline.Binding{}, false, "inside a text"},
	} {
		got, ok, err := pipeline.Parse(c.text)
		if got != c.want || ok != c.ok || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Parse(%q) = %v, %v, %v, want %v, %v, %q", c.text, got, ok, err, c.want, c.ok, c.err)
		}
		if again, _, err := pipeline.Parse(got.String()); ok && (err != nil || again != got) {
			t.Errorf("%q does not lead back to %v: %v, %v", got, got, again, err)
		}
	}
}

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		reads map[string][]string
		want  string
		cycle string
	}{
		{"none", map[string][]string{}, "", ""},
		{"alone", map[string][]string{"b": nil, "a": nil}, "a b", ""},
		{"chain", map[string][]string{"a": {"b"}, "b": {"c"}, "c": nil}, "c b a", ""},
		{"diamond", map[string][]string{"d": {"b", "c"}, "b": {"a"}, "c": {"a"}, "a": nil}, "a b c d", ""},
		{"twice", map[string][]string{"b": {"a", "a"}, "a": nil}, "a b", ""},
		{"unknown", map[string][]string{"a": {"x"}}, "a", ""},
		{"itself", map[string][]string{"a": {"a"}}, "", "the step a reads its own output"},
		{"two", map[string][]string{"b": {"a"}, "a": {"b"}}, "", "a → b → a"},
		{"behind", map[string][]string{"a": {"z"}, "z": {"y"}, "y": {"x"}, "x": {"z"}}, "", "x → z → y → x"},
	} {
		got, err := pipeline.Order(c.reads)
		var loop *pipeline.CycleError
		if c.cycle == "" && (err != nil || strings.Join(got, " ") != c.want) || c.cycle != "" && (!errors.As(err, &loop) || !strings.Contains(err.Error(), c.cycle)) {
			t.Errorf("%s: %v, %v, want %q %q", c.name, got, err, c.want, c.cycle)
		}
	}
}

// TestOrderHolds holds Order against what it promises, on graphs of every shape
// of five steps that a bit pattern can say.
func TestOrderHolds(t *testing.T) {
	steps := []string{"a", "b", "c", "d", "e"}
	for bits := range 1 << 20 {
		if bits%97 != 0 { // a spread of them
			continue
		}
		reads := map[string][]string{}
		n := bits
		for i, s := range steps {
			reads[s] = nil
			for j, from := range steps {
				if i == j {
					continue
				}
				if n&1 == 1 {
					reads[s] = append(reads[s], from)
				}
				n >>= 1
			}
		}
		order, err := pipeline.Order(reads)
		var loop *pipeline.CycleError
		if errors.As(err, &loop) {
			for i, s := range loop.Steps {
				if next := loop.Steps[(i+1)%len(loop.Steps)]; !slices.Contains(reads[s], next) {
					t.Fatalf("%v: %v is no circle", reads, loop.Steps)
				}
			}
			continue
		}
		if err != nil || len(order) != len(steps) {
			t.Fatalf("%v: %v, %v", reads, order, err)
		}
		for i, s := range order {
			for _, from := range reads[s] {
				if slices.Index(order, from) > i {
					t.Fatalf("%v: %s is before %s in %v", reads, s, from, order)
				}
			}
		}
	}
}
