package jobspec

import (
	"context"
	"strings"
	"unicode"

	"github.com/azimuth-ml/azimuth/internal/pipeline"
)

// pipelineREST adds to the properties of a job what makes it a pipeline job. Each
// step is a component, an anonymous one where the file describes the command
// itself, as the CLI does it. Keys inside a step are in the CLI's style there, too.
func (j *Job) pipelineREST(ctx context.Context, r Resolver, p map[string]any) error {
	p["jobType"] = "Pipeline"
	settings := map[string]any{}
	for key, c := range map[string]Compute{"compute": j.Compute, "settings.default_compute": j.Pipeline.DefaultCompute} {
		if c.Local {
			return j.ProblemAt(key, ErrNotImplemented)
		}
		if c.Serverless() {
			continue
		}
		id, err := r.ComputeID(ctx, c)
		if err != nil {
			return j.ProblemAt(key, err)
		}
		if key == "compute" {
			p["computeId"] = id
		} else {
			settings["default_compute"] = id
		}
	}
	put(settings, "default_datastore", j.Pipeline.DefaultDatastore)
	if b := j.Pipeline.ContinueOnStepFailure; b != nil {
		settings["continue_on_step_failure"] = *b
	}
	if b := j.Pipeline.ForceRerun; b != nil {
		settings["force_rerun"] = *b
	}
	p["settings"] = settings
	jobs := map[string]any{}
	for _, name := range sortedKeys(j.Pipeline.Steps) {
		step, err := j.stepREST(ctx, r, name)
		if err != nil {
			return err
		}
		jobs[name] = step
	}
	p["jobs"] = jobs
	return nil
}

func (j *Job) stepREST(ctx context.Context, r Resolver, name string) (map[string]any, error) {
	st, key := j.Pipeline.Steps[name], "jobs."+name
	step := map[string]any{"type": "command", "name": name}
	var spec map[string]any
	if st.Component == nil {
		var err error
		if spec, err = j.componentSpec(ctx, r, name); err != nil {
			return nil, err
		}
	}
	id, err := r.ComponentID(ctx, st.Component, spec)
	if err != nil {
		return nil, j.ProblemAt(key+".component", err)
	}
	switch {
	case st.Sweep != nil:
		step["type"], step["trial"] = "sweep", map[string]any{"componentId": id}
		own := map[string]any{}
		st.Sweep.toREST(own)
		for k, v := range snake(own) {
			step[k] = v
		}
	case st.Steps != nil:
		step["type"], step["componentId"] = "pipeline", id
	default:
		if step["componentId"] = id; st.Type != "" {
			step["type"] = st.Type
		} else if st.Component != nil {
			delete(step, "type") // the service knows what it is
		}
	}
	switch c := st.Job.Compute; {
	case c.Local:
		return nil, j.ProblemAt(key+".compute", ErrNotImplemented)
	case !c.Serverless():
		id, err := r.ComputeID(ctx, c)
		if err != nil {
			return nil, j.ProblemAt(key+".compute", err)
		}
		step["computeId"] = id
	case c.Said:
		step["computeId"] = "serverless" // whatever the default is
	}
	inputs := map[string]any{}
	for _, in := range sortedKeys(st.Job.Inputs) {
		v := st.Job.Inputs[in]
		m := map[string]any{"job_input_type": v.Type}
		switch {
		case v.Binding != nil:
			m["job_input_type"], m["value"] = "literal", v.Binding.String()
		case v.Type == "literal":
			m["value"] = v.Value
		default:
			uri, err := r.InputURI(ctx, in, v)
			if err != nil {
				return nil, j.ProblemAt(key+".inputs."+in, err)
			}
			m["uri"] = uri
		}
		put(m, "mode", restMode(v.Mode))
		inputs[in] = m
	}
	putMap(step, "inputs", inputs)
	outputs := map[string]any{}
	for out, v := range st.Job.Outputs {
		switch {
		case v.Binding != nil:
			outputs[out] = map[string]any{"type": "literal", "value": v.Binding.String()}
		case v.URI != "" || v.Mode != "" || v.Name != "":
			m := map[string]any{"job_output_type": v.Type}
			put(m, "mode", restMode(v.Mode))
			put(m, "uri", v.URI)
			put(m, "asset_name", v.Name)
			put(m, "asset_version", v.Version)
			outputs[out] = m
		}
	}
	putMap(step, "outputs", outputs)
	put(step, "display_name", st.Job.DisplayName)
	put(step, "description", st.Job.Description)
	putMap(step, "tags", st.Job.Tags)
	putMap(step, "properties", st.Job.Properties)
	putMap(step, "environment_variables", st.Job.EnvironmentVariables)
	putMap(step, "resources", snake(st.Job.Resources.toREST()))
	if st.Job.Distribution != nil {
		step["distribution"] = snake(st.Job.Distribution.toREST())
	}
	if st.Job.TimeoutSeconds > 0 {
		step["limits"] = map[string]any{"job_limits_type": "Command", "timeout": isoDuration(st.Job.TimeoutSeconds)}
	}
	if st.Job.Identity != nil {
		step["identity"] = snake(st.Job.Identity.toREST())
	}
	if st.Job.QueueSettings != nil {
		putMap(step, "queue_settings", snake(st.Job.QueueSettings.toREST()))
	}
	services := map[string]any{}
	for name, s := range st.Job.Services {
		services[name] = s.toREST()
	}
	putMap(step, "services", services)
	return step, nil
}

// componentSpec is the component that a step becomes.
func (j *Job) componentSpec(ctx context.Context, r Resolver, name string) (map[string]any, error) {
	st, key := j.Pipeline.Steps[name], "jobs."+name
	if st.Steps != nil {
		return j.pipelineSpec(ctx, r, st)
	}
	spec := map[string]any{"type": "command", "command": st.Job.Command, "is_deterministic": true}
	for k, v := range st.Spec {
		spec[k] = v
	}
	if !st.Job.Code.IsZero() {
		id, err := r.CodeID(ctx, st.Job.Code)
		if err != nil {
			return nil, j.ProblemAt(key+".code", err)
		}
		spec["code"] = reference(id)
	}
	id, err := r.EnvironmentID(ctx, st.Job.Environment)
	if err != nil {
		return nil, j.ProblemAt(key+".environment", err)
	}
	spec["environment"] = reference(id)
	inputs, outputs := map[string]any{}, map[string]any{}
	if st.Inputs != nil {
		for in, p := range st.Inputs {
			inputs[in] = p.Spec
		}
		for out, p := range st.Outputs {
			outputs[out] = p.Spec
		}
	} else {
		for in, v := range st.Job.Inputs {
			inputs[in] = map[string]any{"type": j.inputType(v)}
		}
		for out, v := range st.Job.Outputs {
			outputs[out] = map[string]any{"type": j.outputType(v)}
		}
	}
	spec["inputs"], spec["outputs"] = inputs, outputs
	return spec, nil
}

// pipelineSpec is the component of a step that is a pipeline. Its own steps are
// components, too.
func (j *Job) pipelineSpec(ctx context.Context, r Resolver, st *Step) (map[string]any, error) {
	spec := map[string]any{}
	for k, v := range st.Spec {
		spec[k] = v
	}
	spec["type"] = "pipeline"
	in := *st.Steps
	in.file, in.positions = j.file, j.positions
	jobs := map[string]any{}
	for _, name := range sortedKeys(in.Pipeline.Steps) {
		step, err := in.stepREST(ctx, r, name)
		if err != nil {
			return nil, err
		}
		jobs[name] = step
	}
	inputs, outputs := map[string]any{}, map[string]any{}
	for name, p := range st.Inputs {
		inputs[name] = p.Spec
	}
	for name, p := range st.Outputs {
		outputs[name] = p.Spec
	}
	spec["jobs"], spec["inputs"], spec["outputs"] = jobs, inputs, outputs
	return spec, nil
}

// reference is an ID as the documents of components have it.
func reference(id string) string {
	if strings.HasPrefix(id, "azureml:") {
		return id
	}
	return "azureml:" + id
}

// inputType is the type that the input of a step has as that of a component.
func (j *Job) inputType(in Input) string {
	t := in.Type
	if b := in.Binding; b != nil && b.Kind == pipeline.Input {
		t = j.Inputs[b.Name].Type
	} else if b != nil {
		from := j.Pipeline.Steps[b.Step]
		out, own := from.Job.Outputs[b.Name]
		port, declared := from.Outputs[b.Name]
		switch {
		case own && (out.Binding != nil || !declared):
			t = j.outputType(out)
		case declared:
			t = port.Type
		default: // of a registered component; what it has is known to the service
			t = "uri_folder"
		}
	}
	if t == "literal" {
		return "string"
	}
	return t
}

func (j *Job) outputType(out Output) string {
	if out.Binding != nil {
		return j.Outputs[out.Binding.Name].Type
	}
	return out.Type
}

// snake gives the keys of an object the CLI's style: instanceCount is
// instance_count.
func snake(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		var b strings.Builder
		for _, r := range k {
			if unicode.IsUpper(r) {
				b.WriteByte('_')
			}
			b.WriteRune(unicode.ToLower(r))
		}
		out[b.String()] = v
	}
	return out
}
