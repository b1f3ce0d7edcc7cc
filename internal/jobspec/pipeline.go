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
	// Type is the step's type as the file says it, or "".
	Type string
	// Sweep is set for a step that sweeps over a component, without its command.
	Sweep *Sweep
	// Steps are those of a component that is a pipeline, of which Job then has the
	// declared inputs and outputs; nil for any other.
	Steps *Job
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
		for _, k := range s.order {
			if !s.taken[k] { // the CLI takes any, and examples of Azure's have misspelt ones
				d.warnf(o.doc, s.keys[k], s.key(k), "unknown key%s", hint(k, sortedKeys(s.taken)))
				s.take(k)
			}
		}
		s.close()
	}
	d.steps(o, j)
	o.close()
	if len(d.problems) == 0 {
		d.bindings(j, "")
	}
}

// steps reads the steps of a pipeline.
func (d *decoder) steps(o *object, j *Job) {
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
				j.Pipeline.Steps[name] = st
			}
		}
	} else if !o.has("jobs") {
		o.missing("jobs", ": the steps of the pipeline")
	}
}

func (d *decoder) step(jobs *object, name string) *Step {
	o := jobs.sub(name)
	if o == nil {
		return nil
	}
	d.inStep = true
	defer func() { d.inStep = false }()
	nested, said := false, ""
	for _, k := range []string{"$schema", "name", "comment", "id", "status"} {
		o.take(k) // no meaning for a step
	}
	if n := o.take("type"); n != nil {
		s, ok := d.str(o.doc, n, o.key("type"))
		switch s = strings.ToLower(s); {
		case !ok || s == "command":
			said = s
		case s == "sweep":
			return d.sweepStep(o)
		case s == "pipeline":
			nested, said = true, s
		case slices.Contains(stepTypes(), s):
			d.problems = append(d.problems, &Problem{Position: d.at(o.doc, n), Key: o.key("type"), Err: ErrNotImplemented,
				Message: "steps of type " + s + " are " + ErrNotImplemented.Error() + "; command, sweep and pipeline steps are"})
			return nil
		default:
			words := append([]string{"command"}, stepTypes()...)
			d.failf(o.doc, n, o.key("type"), "%q is not one of %s%s", s, strings.Join(words, ", "), hint(s, words))
			return nil
		}
	}
	j := &Job{
		DisplayName: o.str("display_name"), Description: o.str("description"),
		Tags: o.stringMap("tags", true), Properties: o.stringMap("properties", true),
	}
	st := &Step{Job: j, Type: said}
	if o.has("component") || nested {
		d.settings(o, j)
		j.Services = d.services(o)
		if !o.has("component") {
			o.missing("component", ": the file of a pipeline component, or azureml:<name>:<version>")
		}
		d.component(o, "component", st)
		if nested && st.Component == nil && st.Spec != nil && st.Steps == nil {
			d.failf(o.doc, o.value["component"], o.key("component"), "a step of type pipeline needs a pipeline component")
		}
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
func (d *decoder) component(o *object, k string, st *Step) {
	n, key := o.take(k), o.key(k)
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
		if d.depth++; d.depth > maxNesting {
			d.failf(o.doc, n, key, "pipelines are in pipelines more than %d deep", maxNesting)
		} else {
			d.inStep = false
			d.componentFile(sub, key, st)
			d.inStep = true
		}
		d.depth--
	}
}

// componentFile reads the file of a command or pipeline component.
func (d *decoder) componentFile(doc *document, key string, st *Step) {
	o := d.object(doc, doc.root, key)
	if o == nil {
		return
	}
	o.take("$schema")
	nested := o.has("jobs")
	if n := o.take("type"); n != nil {
		s, ok := d.str(doc, n, o.key("type"))
		switch {
		case !ok || strings.EqualFold(s, "command"):
			nested = false
		case strings.EqualFold(s, "pipeline"):
			nested = true
		default:
			d.problems = append(d.problems, &Problem{Position: d.at(doc, n), Key: o.key("type"), Err: ErrNotImplemented,
				Message: "components of type " + s + " are " + ErrNotImplemented.Error() + "; command and pipeline components are"})
			return
		}
	}
	st.Spec = map[string]any{"is_deterministic": true}
	for _, k := range []string{"name", "version", "display_name", "description", "tags", "is_deterministic"} {
		if n := o.take(k); n != nil {
			st.Spec[k] = d.anything(doc, n, o.key(k), 0)
		}
	}
	if nested {
		d.pipelineComponent(o, st)
		return
	}
	if n := o.take("additional_includes"); n != nil {
		d.problems = append(d.problems, &Problem{Position: d.at(doc, n), Key: o.key("additional_includes"), Err: ErrNotImplemented,
			Message: "additional_includes is " + ErrNotImplemented.Error() + ": put the files into the code directory"})
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

// maxNesting is how deep the files of pipeline components may be in each other.
const maxNesting = 8

// stepTypes are the types of steps that are no command.
func stepTypes() []string {
	return append(otherTypes(), "if_else", "do_while", "parallel_for")
}

// pipelineComponent reads what pipeline components alone have, and closes o.
func (d *decoder) pipelineComponent(o *object, st *Step) {
	st.Inputs, st.Outputs = d.ports(o, "inputs", true), d.ports(o, "outputs", false)
	in := &Job{Pipeline: &Pipeline{Steps: map[string]*Step{}}, Inputs: map[string]Input{}, Outputs: map[string]Output{}}
	for name, p := range st.Inputs {
		in.Inputs[name] = Input{Type: p.dataType()}
	}
	for name, p := range st.Outputs {
		in.Outputs[name] = Output{Type: p.Type}
	}
	before := len(d.problems)
	d.steps(o, in)
	o.close()
	if len(d.problems) == before {
		d.bindings(in, o.key(""))
	}
	st.Steps = in
}

// dataType is the type of a job's input that a port takes.
func (p Port) dataType() string {
	if slices.Contains(dataTypes(), p.Type) {
		return p.Type
	}
	return "literal"
}

// sweepStep reads a step that sweeps over a component, and closes o.
func (d *decoder) sweepStep(o *object) *Step {
	j := &Job{
		DisplayName: o.str("display_name"), Description: o.str("description"),
		Tags: o.stringMap("tags", true), Properties: o.stringMap("properties", true),
	}
	st := &Step{Job: j, Sweep: &Sweep{SearchSpace: map[string][]any{}}}
	j.Compute, j.Inputs, j.Outputs = d.compute(o), d.inputs(o), d.outputs(o)
	j.Identity, j.QueueSettings, j.Resources = d.identity(o), d.queueSettings(o), d.resources(o)
	d.sweepKeys(o, st.Sweep, j)
	if !o.has("trial") {
		o.missing("trial", ": the file of a command component, or azureml:<name>:<version>")
	}
	d.component(o, "trial", st)
	if st.Steps != nil {
		d.failf(o.doc, o.value["trial"], o.key("trial"), "a sweep needs a command component")
	}
	o.close()
	return st
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
// wait for each other. in is the key of the pipeline, with a dot behind it.
func (d *decoder) bindings(j *Job, in string) {
	steps := j.Pipeline.Steps
	fail := func(key, format string, args ...any) {
		key = in + key
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
			if st.Sweep != nil && st.Sweep.SearchSpace[in] != nil {
				continue
			}
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
