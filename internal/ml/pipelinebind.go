package ml

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/pipeline"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// outputs are those of a step as a command job has them.
func (w *planner) outputs(st *stepPlan) (map[string]any, error) {
	declared, given := st.component.Object("outputs"), st.node.Object("outputs")
	out := map[string]any{}
	for _, name := range union(declared, given) {
		target := "properties.outputs." + name
		d, g := folded(declared[name]), folded(given[name])
		if _, ok := declared[name]; !ok {
			return nil, userError(target, "The component of the step has no output '%s'.", name)
		}
		o := jobOutput{Type: d.String("type"), Mode: restMode(d.String("mode"))}
		if s, ok := given[name].(string); ok {
			g = arm.Doc{"value": s}
		}
		if t := g.String("joboutputtype"); t != "" && !strings.EqualFold(t, "literal") {
			o.Type = t
		}
		if m := restMode(g.String("mode")); m != "" {
			o.Mode = m
		}
		o.URI, o.Name, o.Version = g.String("uri"), g.String("assetname"), g.String("assetversion")
		b, bound, err := pipeline.Parse(g.String("value"))
		if err != nil {
			return nil, userError(target, "Output '%s': %s.", name, err)
		}
		switch {
		case bound && b.Kind != pipeline.Output:
			return nil, userError(target, "The output '%s' is bound to %s, which is nothing to write to.", name, b)
		case bound:
			top, ok := w.top.Outputs[b.Name]
			if !ok {
				return nil, userError(target, "The output '%s' is bound to %s, and the pipeline has no such output.", name, b)
			}
			o.Type, o.URI, o.Name, o.Version = top.Type, top.URI, top.Name, top.Version
			if st.kind == "sweep" { // each trial has its own; the best one's becomes the pipeline's
				if w.depth > 0 {
					return nil, arm.NotImplemented("an output of a sweep as that of a pipeline in a pipeline ('%s')", name)
				}
				if st.Exports == nil {
					st.Exports = map[string]string{}
				}
				st.Exports[name], o.URI = b.Name, ""
			}
			if o.Mode == "" {
				o.Mode = top.Mode
			}
		default:
			if t, ok := folds(inputTypes(), o.Type); ok {
				o.Type = t
			}
			if st.kind != "sweep" {
				o.URI = w.place(o, st.Run, name)
			}
		}
		if o.Mode == "" {
			o.Mode = "ReadWriteMount"
		}
		doc := map[string]any{"jobOutputType": o.Type, "uri": o.URI, "mode": o.Mode}
		if st.kind == "sweep" {
			if o.URI == "" {
				delete(doc, "uri")
			}
			o.URI = sweepOutput(st.Run, name)
		}
		st.outputs[name] = o
		if o.Name != "" {
			doc["assetName"] = o.Name
			if o.Version != "" {
				doc["assetVersion"] = o.Version
			}
		}
		out[name] = doc
	}
	return out, nil
}

// restMode is a mode in REST's words: components have the CLI's.
func restMode(mode string) string {
	switch fold(mode) {
	case "romount":
		return "ReadOnlyMount"
	case "rwmount", "mount":
		return "ReadWriteMount"
	}
	return mode
}

// inputs are those of a step as a command job has them, with all bindings
// resolved. It also notes which steps are read.
func (w *planner) inputs(st *stepPlan) (map[string]any, error) {
	declared, given := st.component.Object("inputs"), st.node.Object("inputs")
	out := map[string]any{}
	var left []string
	for _, name := range union(declared, given) {
		target := "properties.inputs." + name
		d, g := folded(declared[name]), folded(given[name])
		if _, ok := declared[name]; !ok {
			return nil, userError(target, "The component of the step has no input '%s'.", name)
		}
		if slices.Contains(st.search, name) && given[name] == nil {
			continue // drawn for each trial
		}
		if v := given[name]; v != nil && g == nil {
			g = arm.Doc{"value": v}
		}
		in, err := w.input(st, name, g)
		if err != nil {
			return nil, err
		}
		literal := !slices.Contains(inputTypes(), strings.ToLower(d.String("type")))
		switch {
		case in != nil:
			if (in["jobInputType"] == "literal") != literal {
				return nil, userError(target, "The input '%s' is of type '%s' and is given %s.", name, d.String("type"),
					map[bool]string{true: "data", false: "a literal"}[literal])
			}
			if m := restMode(d.String("mode")); m != "" && in["mode"] == nil && !literal {
				in["mode"] = m
			}
			out[name] = in
		case d.Get("default") != nil:
			out[name] = map[string]any{"jobInputType": "literal", "value": d.Get("default")}
		case d.Bool("optional", false):
			left = append(left, name)
		default:
			return nil, userError(target, "The required input '%s' is missing.", name)
		}
	}
	switch st.kind {
	case "pipeline":
		st.Body["jobs"] = withoutInputs(st.Body.Get("jobs"), left)
	case "sweep":
		st.Body.Set("trial.command", optional(st.Body.String("trial.command"), left))
	default:
		st.Body["command"] = optional(st.Body.String("command"), left)
	}
	slices.Sort(st.Reads)
	st.Reads = slices.Compact(st.Reads)
	return out, nil
}

// input is one input of a step, or nil when it is not given.
func (w *planner) input(st *stepPlan, name string, g arm.Doc) (map[string]any, error) {
	target := "properties.inputs." + name
	kind, mode := g.String("jobinputtype"), restMode(g.String("mode"))
	with := func(m map[string]any) map[string]any {
		if mode != "" && m["jobInputType"] != "literal" {
			m["mode"] = mode
		}
		return m
	}
	if uri := g.String("uri"); uri != "" && !strings.Contains(uri, "${{") {
		return with(map[string]any{"jobInputType": kind, "uri": uri}), nil
	} else if uri != "" {
		g = arm.Doc{"value": uri}
	}
	v := g.Get("value")
	text, ok := v.(string)
	if v == nil {
		return nil, nil
	}
	if !ok {
		return map[string]any{"jobInputType": "literal", "value": v}, nil
	}
	b, bound, err := pipeline.Parse(text)
	if err != nil {
		return nil, userError(target, "Input '%s': %s.", name, err)
	}
	if !bound {
		return map[string]any{"jobInputType": "literal", "value": text}, nil
	}
	switch b.Kind {
	case pipeline.Input:
		in, ok := w.top.Inputs[b.Name]
		if !ok {
			return nil, userError(target, "The input '%s' is bound to %s, and the pipeline has no such input.", name, b)
		}
		if in.Type == "literal" {
			return map[string]any{"jobInputType": "literal", "value": in.Value}, nil
		}
		if mode == "" {
			mode = in.Mode
		}
		return with(map[string]any{"jobInputType": in.Type, "uri": in.URI}), nil
	case pipeline.StepOutput:
		from, ok := w.steps[b.Step]
		if !ok {
			return nil, userError(target, "The input '%s' is bound to %s, and the pipeline has no step '%s'.", name, b, b.Step)
		}
		o, ok := from.outputs[b.Name]
		if !ok {
			return nil, userError(target, "The input '%s' is bound to %s, and the step '%s' has no such output.", name, b, b.Step)
		}
		st.Reads = append(st.Reads, b.Step)
		return with(map[string]any{"jobInputType": o.Type, "uri": o.URI}), nil
	}
	return nil, userError(target, "The input '%s' is bound to %s, which is nothing to read: bind it to the output of the step that writes there.", name, b)
}

// optional leaves out the parts of a component's command, in $[[…]], that use an
// optional input which is not given.
func optional(command string, left []string) string {
	return optionalPart().ReplaceAllStringFunc(command, func(part string) string {
		text := strings.TrimSuffix(strings.TrimPrefix(part, "$[["), "]]")
		for _, m := range expression().FindAllStringSubmatch(text, -1) {
			if name, ok := strings.CutPrefix(m[1], "inputs."); ok && slices.Contains(left, name) {
				return ""
			}
		}
		return text
	})
}

var optionalPart = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)\$\[\[(.*?)\]\]`) })

// check holds the child job of a step to what any command job is held to.
func (w *planner) check(ctx context.Context, st *stepPlan) error {
	// as it is when it is read from the store again
	b, err := json.Marshal(st.Body)
	if err != nil {
		return fmt.Errorf("encode step %s: %w", st.Name, err)
	}
	st.Body = nil
	if err := json.Unmarshal(b, &st.Body); err != nil {
		return fmt.Errorf("decode step %s: %w", st.Name, err)
	}
	if st.kind != "command" {
		return w.checkNested(ctx, st)
	}
	spec, err := readSpec(st.Body)
	if err != nil {
		return err
	}
	return w.s.checkReferences(ctx, w.p, w.present(spec))
}

// stepBody is the body of a step's job, from what the pipeline's job keeps.
func stepBody(job *arm.Resource, step string) (arm.Doc, error) {
	steps, _ := job.Private["steps"].(map[string]any)
	body, ok := steps[step].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("step %s of pipeline %s: %w", step, job.ID, store.ErrNotFound)
	}
	return arm.Doc(body).Clone(), nil
}
