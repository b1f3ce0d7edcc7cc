package jobspec

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/azimuth-ml/azimuth/internal/pipeline"
)

// Pipeline is what a pipeline job has besides its own inputs and outputs, its
// compute, and what all jobs have.
type Pipeline struct {
	// Steps by name.
	Steps map[string]*Step
	// DefaultCompute is for steps without one of their own.
	DefaultCompute Compute
	// DefaultDatastore is where outputs go that say nothing else; "" leaves it to
	// the service.
	DefaultDatastore string
	// ContinueOnStepFailure and ForceRerun are nil when the file says nothing.
	ContinueOnStepFailure, ForceRerun *bool
}

// Step is a step of a pipeline.
type Step struct {
	// Job is how the step runs. Its command, code and environment are the
	// component's where the step names one.
	Job *Job
	// Component is a registered component, or nil. Ports are then not known here.
	Component *AssetRef
	// Inputs and Outputs are declared by a component that the step has from a file;
	// nil for any other step.
	Inputs, Outputs map[string]Port
	// Spec is what such a component says of itself: name, version, display_name …
	Spec map[string]any
}

// Port is an input or output that a component declares.
type Port struct {
	// Type is "string", "number", "integer", "boolean" or one of data.
	Type string
	// Optional is for inputs.
	Optional bool
	// Spec is the declaration as the file has it.
	Spec map[string]any
}

// pipeline reads what pipeline jobs alone have, and closes o.
func (d *decoder) pipeline(o *object, j *Job) {
	p := &Pipeline{Steps: map[string]*Step{}}
	j.Pipeline = p
	j.Compute = d.compute(o)
	j.Inputs = d.inputs(o)
	j.Outputs = d.outputs(o)
	j.Identity = d.identity(o)
	if s := o.sub("settings"); s != nil {
		p.DefaultCompute = d.computeAt(s, "default_compute")
		p.DefaultDatastore = strings.TrimPrefix(s.str("default_datastore"), "azureml:")
		p.ContinueOnStepFailure = s.boolean("continue_on_step_failure")
		p.ForceRerun = s.boolean("force_rerun")
		s.close()
	}
	if jobs := o.sub("jobs"); jobs != nil {
		if len(jobs.order) == 0 {
			d.failf(o.doc, jobs.node, "jobs", "a pipeline has one step or more")
		}
		for _, name := range jobs.order {
			if !ioName.MatchString(name) {
				d.failf(o.doc, jobs.keys[name], jobs.key(name), "a step's name has letters, digits and _, and begins with a letter or _")
				jobs.take(name)
				continue
			}
			if st := d.step(jobs, name); st != nil {
				p.Steps[name] = st
			}
		}
	} else if !o.has("jobs") {
		o.missing("jobs", ": the steps of the pipeline")
	}
	o.close()
	if len(d.problems) == 0 {
		d.bindings(j)
	}
}

func (d *decoder) step(jobs *object, name string) *Step {
	o := jobs.sub(name)
	if o == nil {
		return nil
	}
	d.inStep = true
	defer func() { d.inStep = false }()
	for _, k := range []string{"$schema", "name", "comment", "id", "status"} {
		o.take(k) // no meaning for a step
	}
	if n := o.take("type"); n != nil {
		s, ok := d.str(o.doc, n, o.key("type"))
		switch s = strings.ToLower(s); {
		case !ok || s == "command":
		case slices.Contains(otherTypes(), s):
			d.problems = append(d.problems, &Problem{Position: d.at(o.doc, n), Key: o.key("type"), Err: ErrNotImplemented,
				Message: "steps of type " + s + " are " + ErrNotImplemented.Error() + "; command steps are"})
			return nil
		default:
			words := append([]string{"command"}, otherTypes()...)
			d.failf(o.doc, n, o.key("type"), "%q is not one of %s%s", s, strings.Join(words, ", "), hint(s, words))
			return nil
		}
	}
	j := &Job{
		DisplayName: o.str("display_name"), Description: o.str("description"),
		Tags: o.stringMap("tags", true), Properties: o.stringMap("properties", true),
	}
	st := &Step{Job: j}
	if o.has("component") {
		d.settings(o, j)
		d.component(o, st)
		o.close()
		return st
	}
	d.command(o, j)
	if !o.has("command") {
		o.missing("command", " (or component)")
	}
	if !o.has("environment") {
		o.missing("environment", `, for example environment: azureml:<name>@latest, or an image`)
	}
	o.close()
	if n := o.value["command"]; n != nil {
		d.expressions(o, n, j)
	}
	return st
}

// component reads which component a step is made of.
func (d *decoder) component(o *object, st *Step) {
	n, key := o.take("component"), o.key("component")
	s, ok := d.str(o.doc, n, key)
	if !ok {
		return
	}
	if strings.HasPrefix(s, "azureml:") {
		st.Component = d.assetRef(o.doc, n, key, s)
		return
	}
	if o.doc.dir == "" {
		d.failf(o.doc, n, key, "a component file can be read only beside a job file")
		return
	}
	before := len(d.problems)
	abs := d.localPath(o.doc, n, key, strings.TrimPrefix(s, "file:"), filePath)
	if len(d.problems) > before {
		return
	}
	text, err := readFile(abs)
	if err != nil {
		d.problems = append(d.problems, &Problem{Position: d.at(o.doc, n), Key: key, Message: err.Error(), Err: err})
		return
	}
	if sub := d.parse(abs, filepath.Dir(abs), text); sub != nil {
		d.inStep = false
		d.componentFile(sub, key, st)
		d.inStep = true
	}
}

// componentFile reads the file of a command component.
func (d *decoder) componentFile(doc *document, key string, st *Step) {
	o := d.object(doc, doc.root, key)
	if o == nil {
		return
	}
	o.take("$schema")
	if n := o.take("type"); n != nil {
		if s, ok := d.str(doc, n, o.key("type")); ok && !strings.EqualFold(s, "command") {
			d.problems = append(d.problems, &Problem{Position: d.at(doc, n), Key: o.key("type"), Err: ErrNotImplemented,
				Message: "components of type " + s + " are " + ErrNotImplemented.Error() + "; command components are"})
			return
		}
	}
	st.Spec = map[string]any{"is_deterministic": true}
	for _, k := range []string{"name", "version", "display_name", "description", "tags", "is_deterministic"} {
		if n := o.take(k); n != nil {
			st.Spec[k] = d.anything(doc, n, o.key(k), 0)
		}
	}
	own := &Job{Command: o.name("command"), Code: d.code(o), Environment: d.environment(o), Resources: d.resources(o), Distribution: d.distribution(o)}
	st.Inputs, st.Outputs = d.ports(o, "inputs", true), d.ports(o, "outputs", false)
	if !o.has("command") {
		o.missing("command", "")
	}
	if !o.has("environment") {
		o.missing("environment", "")
	}
	o.close()
	j := st.Job
	j.Command, j.Code, j.Environment = own.Command, own.Code, own.Environment
	if j.Resources == nil {
		j.Resources = own.Resources
	}
	if j.Distribution == nil {
		j.Distribution = own.Distribution
	}
	if n := o.value["command"]; n != nil {
		declared := &Job{Command: own.Command, Inputs: map[string]Input{}, Outputs: map[string]Output{}}
		for name := range st.Inputs {
			declared.Inputs[name] = Input{}
		}
		for name := range st.Outputs {
			declared.Outputs[name] = Output{}
		}
		d.expressions(o, n, declared)
	}
}

func dataTypes() []string {
	return []string{"uri_folder", "uri_file", "mltable", "custom_model", "mlflow_model", "triton_model"}
}

// ports reads the inputs or outputs that a component declares.
func (d *decoder) ports(o *object, k string, inputs bool) map[string]Port {
	out := map[string]Port{}
	all := o.sub(k)
	if all == nil {
		return out
	}
	types := dataTypes()
	if inputs {
		types = append([]string{"string", "number", "integer", "boolean"}, types...)
	}
	for _, name := range all.order {
		if !ioName.MatchString(name) {
			d.failf(o.doc, all.keys[name], all.key(name), "a name has letters, digits and _, and begins with a letter or _")
			all.take(name)
			continue
		}
		p := all.sub(name)
		if p == nil {
			continue
		}
		port := Port{Type: p.enum("type", types...), Spec: map[string]any{}}
		if port.Type == "" && !p.has("type") {
			p.missing("type", "")
		}
		port.Spec["type"] = port.Type
		if b := p.boolean("optional"); b != nil && inputs {
			port.Optional = *b
			port.Spec["optional"] = *b
		}
		for _, key := range []string{"default", "description", "mode", "min", "max", "enum"} {
			if n := p.take(key); n != nil {
				port.Spec[key] = d.anything(o.doc, n, p.key(key), 0)
			}
		}
		p.close()
		out[name] = port
	}
	return out
}

// binding reads a value of a step that is bound to another. It is nil for any
// other value, and after noting a problem.
func (d *decoder) binding(doc *document, n *yaml.Node, key string) *pipeline.Binding {
	if !d.inStep || n == nil {
		return nil
	}
	if n = d.follow(doc, n, key); n == nil || n.Kind != yaml.ScalarNode {
		return nil
	}
	b, ok, err := pipeline.Parse(n.Value)
	if err != nil {
		d.failf(doc, n, key, "%v", err)
	}
	if !ok {
		return nil
	}
	return &b
}

// bindings checks that what the steps are bound to is there, and that they do not
// wait for each other.
func (d *decoder) bindings(j *Job) {
	steps := j.Pipeline.Steps
	fail := func(key, format string, args ...any) {
		pos := d.positions[key]
		d.problems = append(d.problems, &Problem{Position: pos, Key: key, Message: fmt.Sprintf(format, args...)})
	}
	reads := map[string][]string{}
	for _, name := range sortedKeys(steps) {
		st := steps[name]
		reads[name] = nil
		for _, in := range sortedKeys(st.Job.Inputs) {
			key, b := "jobs."+name+".inputs."+in, st.Job.Inputs[in].Binding
			if _, ok := st.Inputs[in]; st.Inputs != nil && !ok {
				fail(key, "the component has no such input%s", hint(in, sortedKeys(st.Inputs)))
			}
			if b == nil {
				continue
			}
			switch b.Kind {
			case pipeline.Input:
				if _, ok := j.Inputs[b.Name]; !ok {
					fail(key, "%s: the pipeline has no input %s%s", b, b.Name, hint(b.Name, sortedKeys(j.Inputs)))
				}
			case pipeline.StepOutput:
				from := steps[b.Step]
				if from == nil {
					fail(key, "%s: there is no step %s%s", b, b.Step, hint(b.Step, sortedKeys(steps)))
					continue
				}
				reads[name] = append(reads[name], b.Step)
				if outs := from.outputs(); outs != nil && !slices.Contains(outs, b.Name) {
					fail(key, "%s: the step %s has no output %s%s", b, b.Step, b.Name, hint(b.Name, outs))
				}
			default:
				fail(key, "%s is nothing to read: bind the input to the output of the step that writes there", b)
			}
		}
		for _, in := range sortedKeys(st.Inputs) {
			if _, given := st.Job.Inputs[in]; !given && !st.Inputs[in].Optional && st.Inputs[in].Spec["default"] == nil {
				fail("jobs."+name, "the component needs the input %s", in)
			}
		}
		for _, out := range sortedKeys(st.Job.Outputs) {
			key, b := "jobs."+name+".outputs."+out, st.Job.Outputs[out].Binding
			if _, ok := st.Outputs[out]; st.Outputs != nil && !ok {
				fail(key, "the component has no such output%s", hint(out, sortedKeys(st.Outputs)))
			}
			switch {
			case b == nil:
			case b.Kind != pipeline.Output:
				fail(key, "%s is nothing to write to: ${{parent.outputs.<name>}} is", b)
			default:
				if _, ok := j.Outputs[b.Name]; !ok {
					fail(key, "%s: the pipeline has no output %s%s", b, b.Name, hint(b.Name, sortedKeys(j.Outputs)))
				}
			}
		}
	}
	var loop *pipeline.CycleError
	if _, err := pipeline.Order(reads); errors.As(err, &loop) {
		fail("jobs."+loop.Steps[0], "%v", loop)
	}
}

// outputs are the names of a step's outputs, or nil where they are not known.
func (st *Step) outputs() []string {
	switch {
	case st.Component != nil:
		return nil
	case st.Outputs != nil:
		return append([]string{}, sortedKeys(st.Outputs)...)
	}
	return append([]string{}, sortedKeys(st.Job.Outputs)...)
}
