// Package pipeline is what a job file and the service read alike of pipeline
// jobs: the expressions that bind the steps to each other and to the pipeline,
// and the order of the steps.
package pipeline

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Kind is what a binding leads to.
type Kind int

// What a step's input or output can be bound to.
const (
	// Input is an input of the pipeline: ${{parent.inputs.NAME}}.
	Input Kind = iota + 1
	// Output is an output of the pipeline: ${{parent.outputs.NAME}}.
	Output
	// StepOutput is an output of another step: ${{parent.jobs.STEP.outputs.NAME}}.
	StepOutput
)

// Binding is an expression, read.
type Binding struct {
	Kind Kind
	// Step is the step of a StepOutput, Name the input or output.
	Step, Name string
}

// String gives the expression that a binding is read from.
func (b Binding) String() string {
	switch b.Kind {
	case Input:
		return "${{parent.inputs." + b.Name + "}}"
	case Output:
		return "${{parent.outputs." + b.Name + "}}"
	}
	return "${{parent.jobs." + b.Step + ".outputs." + b.Name + "}}"
}

var (
	whole = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\s*\$\{\{\s*(.*?)\s*\}\}\s*$`)
	})
	anywhere = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{\{\s*parents?\.`) })
	name     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`) })
)

// Parse reads a value that may be a binding. ok is false for a value that is
// none. An error says why an expression is not understood.
func Parse(value string) (b Binding, ok bool, err error) {
	m := whole().FindStringSubmatch(value)
	if m == nil || strings.Contains(m[1], "}}") {
		if anywhere().MatchString(value) {
			return b, false, fmt.Errorf("an expression inside a text (%q) is not implemented by Azimuth: bind the value as a whole", value)
		}
		return b, false, nil
	}
	parts := strings.Split(m[1], ".")
	switch {
	case len(parts) < 2 || parts[0] != "parent" && parts[0] != "parents":
		// Azure's reference has the one word in its text and the other in its table
	case len(parts) == 3 && parts[1] == "inputs":
		b = Binding{Kind: Input, Name: parts[2]}
	case len(parts) == 3 && parts[1] == "outputs":
		b = Binding{Kind: Output, Name: parts[2]}
	case len(parts) == 5 && parts[1] == "jobs" && parts[3] == "outputs" && name().MatchString(parts[2]):
		b = Binding{Kind: StepOutput, Step: parts[2], Name: parts[4]}
	}
	if b.Kind == 0 || !name().MatchString(b.Name) {
		return Binding{}, false, fmt.Errorf("%s is not known: ${{parent.inputs.<name>}}, ${{parent.outputs.<name>}} and ${{parent.jobs.<step>.outputs.<name>}} are", strings.TrimSpace(value))
	}
	return b, true, nil
}

// CycleError says that steps wait for each other in a circle.
type CycleError struct {
	// Steps are those on the circle, each reading from the next and the last from
	// the first. The first is the least by name.
	Steps []string
}

// Error names the steps on the circle.
func (e *CycleError) Error() string {
	if len(e.Steps) == 1 {
		return fmt.Sprintf("the step %s reads its own output", e.Steps[0])
	}
	return fmt.Sprintf("the steps wait for each other in a circle: %s → %s", strings.Join(e.Steps, " → "), e.Steps[0])
}

// Order returns the steps so that each comes after those that it reads from, and
// otherwise by name. reads has every step as a key; others that a step reads from
// are not its concern. The error is a *CycleError.
func Order(reads map[string][]string) ([]string, error) {
	const visiting, done = 1, 2
	state := map[string]int{}
	var order, path []string
	var visit func(step string) error
	visit = func(step string) error {
		switch state[step] {
		case done:
			return nil
		case visiting:
			return cycle(path[slices.Index(path, step):])
		}
		state[step] = visiting
		path = append(path, step)
		for _, from := range slices.Sorted(slices.Values(reads[step])) {
			if _, there := reads[from]; !there {
				continue
			}
			if err := visit(from); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		state[step] = done
		order = append(order, step)
		return nil
	}
	for _, step := range slices.Sorted(maps.Keys(reads)) {
		if err := visit(step); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// cycle turns a circle so that it begins with the least name.
func cycle(steps []string) error {
	at := slices.Index(steps, slices.Min(steps))
	return &CycleError{Steps: slices.Concat(steps[at:], steps[:at])}
}
