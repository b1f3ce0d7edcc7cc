package ml

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A step can have steps of its own: it is a pipeline or a sweep, whose job is planned
// twice. When the outer pipeline is made, to know that it can run, and when the step is
// submitted, which is when its own steps get their names.

// maxDepth is how deep pipelines may be in each other. Components can name each other in
// a circle.
const maxDepth = 8

// openNested makes the run of a step that has steps, and submits the first of them. Of
// what it refuses nothing is left but a step that failed.
func (s *Service) openNested(ctx context.Context, tx store.Tx, st *stepState, c *run, child, ws *arm.Resource) error {
	now, props := c.Created, child.Body.Object("properties")
	completeJob(props, c.Name)
	put := &arm.Put{
		Request: &arm.Request{ID: child.ParsedID(), Kernel: s.kernel, Caller: c.Submitter, Now: now},
		Tx:      tx, Resource: child, Parent: ws,
	}
	if props.String("jobType") == "Sweep" {
		state, body, err := s.planSweep(ctx, put, props, nil)
		if err != nil {
			return err
		}
		child.Private["trial"] = map[string]any(body)
		c.Pipeline, c.Logs = state, []string{sweepLog}
	} else {
		plan, err := s.planPipeline(ctx, put, props, nil)
		if err != nil {
			return err
		}
		c.Pipeline, c.Logs = plan.state(child), []string{pipelineLog}
	}
	if err := c.move(eventOpen, now); err != nil {
		return err
	}
	c.copyListed(props)
	if err := s.track(tx, c, props, map[string]string{"mlflow.parentRunId": c.ParentName}); err != nil {
		return fmt.Errorf("make the run of step %s: %s", st.Name, err)
	}
	if err := s.tracking.UpdateJobRun(tx, c.Workspace, c.Name, mlflow.JobUpdate{Status: mlflow.StatusRunning, Start: now}); err != nil {
		return err
	}
	if err := s.kernel.Resources().Put(tx, child); err != nil {
		return err
	}
	if err := s.advance(ctx, tx, c, now); err != nil {
		return err
	}
	if err := s.putRun(tx, c); err != nil {
		return err
	}
	st.Item, st.Status, st.Submitted, st.Nested = c.Item, Running, now, true
	s.deadlineChanged()
	if c.Status.Terminal() { // none of its steps could begin
		st.Status, st.Ended = c.Status, now
		if c.Error != nil {
			st.Error = c.Error.Message
		}
	}
	return nil
}

// sweepOutput is where an output of a sweep in a pipeline is: in the best of its trials,
// which is known when it has ended.
func sweepOutput(run, name string) string { return "azureml://jobs/" + run + "/outputs/" + name }

// bestOutputs makes the outputs of a sweep that has ended those of its best trial.
func (s *Service) bestOutputs(tx store.Tx, r *run, st *stepState, sweep *run) error {
	best := sweep.Pipeline.best()
	if best == nil {
		return nil
	}
	res := s.kernel.Resources()
	job, err := res.Get(tx, sweep.Job)
	if err != nil {
		return fmt.Errorf("read sweep %s: %w", sweep.Name, err)
	}
	trial, err := res.Get(tx, job.ParsedID().Parent().Child("jobs", best.Run).Key())
	if errors.Is(err, store.ErrNotFound) {
		return nil // it was deleted
	}
	if err != nil {
		return fmt.Errorf("read trial %s: %w", best.Run, err)
	}
	for name, v := range trial.Body.Object("properties.outputs") {
		if m, ok := v.(map[string]any); ok {
			job.Body.Set("properties.outputs."+name+".uri", m["uri"])
		}
	}
	if err := res.Put(tx, job); err != nil {
		return err
	}
	if len(st.Exports) == 0 {
		return nil
	}
	parent, err := res.Get(tx, r.Job)
	if err != nil {
		return fmt.Errorf("read pipeline %s: %w", r.Name, err)
	}
	for name, as := range st.Exports {
		if uri := job.Body.String("properties.outputs." + name + ".uri"); uri != "" {
			parent.Body.Set("properties.outputs."+as+".uri", uri)
		}
	}
	return res.Put(tx, parent)
}

// nestedBody is the body of the job of a step that is a pipeline, without its inputs.
func (w *planner) nestedBody(st *stepPlan, outputs map[string]any) arm.Doc {
	settings := map[string]any{"default_datastore": w.store, "continue_on_step_failure": w.continues()}
	if id := w.compute(st.node); id != "" {
		settings["default_compute"] = id
	}
	return arm.Doc{
		"jobType": "Pipeline", "isArchived": false, "experimentName": w.props.String("experimentName"), "displayName": st.displayName(),
		"jobs": st.component.Get("jobs"), "inputs": map[string]any{}, "outputs": outputs, "settings": settings,
	}
}

// withoutInputs is a copy of a pipeline component's steps without the inputs that are
// bound to an optional input of the component which is not given.
func withoutInputs(jobs any, left []string) any {
	if len(left) == 0 {
		return jobs
	}
	all, ok := jobs.(map[string]any)
	if !ok {
		return jobs
	}
	out := arm.Doc(all).Clone()
	for _, v := range out {
		inputs, _ := folded(v)["inputs"].(map[string]any)
		for name, given := range inputs {
			text, ok := given.(string)
			if !ok {
				text = folded(given).String("value")
			}
			for _, l := range left {
				if strings.ReplaceAll(text, " ", "") == "${{parent.inputs."+l+"}}" {
					delete(inputs, name)
				}
			}
		}
	}
	return map[string]any(out)
}

// sweepBody is the body of the job of a step that is a sweep over a component, without
// its inputs. What REST has in its own way in sweep jobs, steps have in the CLI's.
func (w *planner) sweepBody(st *stepPlan, command arm.Doc) (arm.Doc, error) {
	trial := map[string]any{}
	for _, key := range []string{"command", "environmentId", "codeId", "distribution", "environmentVariables", "resources"} {
		if v := command.Get(key); v != nil {
			trial[key] = v
		}
	}
	body := arm.Doc{"jobType": "Sweep", "trial": trial}
	for _, key := range []string{"isArchived", "experimentName", "displayName", "description", "tags", "properties", "computeId", "inputs", "outputs", "identity", "queueSettings"} {
		if v := command.Get(key); v != nil {
			body[key] = v
		}
	}
	space, err := restSpace(st.node.Get("searchspace"))
	if err != nil {
		return nil, err
	}
	body["searchSpace"] = space
	st.search = slices.Sorted(maps.Keys(space))
	switch a := st.node.Get("samplingalgorithm").(type) {
	case string:
		body["samplingAlgorithm"] = map[string]any{"samplingAlgorithmType": a}
	case map[string]any:
		c := camel(a)
		if c["samplingAlgorithmType"] == nil {
			c["samplingAlgorithmType"] = c["type"]
			delete(c, "type")
		}
		body["samplingAlgorithm"] = c
	}
	if o := camel(st.node.Get("objective")); o != nil {
		body["objective"] = o
	}
	if l := camel(st.node.Get("limits")); l != nil {
		for _, key := range []string{"timeout", "trialTimeout"} {
			if l[key] == nil {
				continue
			}
			if n, err := strconv.ParseFloat(fmt.Sprint(l[key]), 64); err == nil {
				l[key] = fmt.Sprintf("PT%.0fS", n)
			}
		}
		l["jobLimitsType"] = "Sweep"
		body["limits"] = l
	}
	if e := camel(st.node.Get("earlytermination")); e != nil {
		if e["policyType"] == nil {
			e["policyType"] = e["type"]
		}
		delete(e, "type")
		if t, ok := e["policyType"].(string); ok {
			t = strings.ReplaceAll(t, "_", "") // bandit, median_stopping …
			if known, ok := folds(policies(), t); ok {
				t = known
			}
			e["policyType"] = t
		}
		body["earlyTermination"] = e
	}
	return body, nil
}

// restSpace is a search space as sweep jobs have it: steps have objects in its place,
// {"type": "uniform", "min_value": 0, "max_value": 1}.
func restSpace(v any) (map[string]any, error) {
	in, ok := v.(map[string]any)
	if !ok || len(in) == 0 {
		return nil, userError("properties.search_space", "The search space is empty.")
	}
	order := map[string][]string{
		"choice": {"values"}, "randint": {"upper"},
		"uniform": {"minvalue", "maxvalue"}, "loguniform": {"minvalue", "maxvalue"},
		"quniform": {"minvalue", "maxvalue", "q"}, "qloguniform": {"minvalue", "maxvalue", "q"},
		"normal": {"mu", "sigma"}, "lognormal": {"mu", "sigma"}, "qnormal": {"mu", "sigma", "q"}, "qlognormal": {"mu", "sigma", "q"},
	}
	out := map[string]any{}
	for name, v := range in {
		d := folded(v)
		if d == nil { // in REST's way already, or wrong
			out[name] = v
			continue
		}
		kind := strings.ToLower(d.String("type"))
		args := []any{}
		for _, key := range order[kind] {
			args = append(args, d.Get(key))
		}
		out[name] = []any{kind, args}
	}
	return out, nil
}

// later reports whether a URI is an output of a sweep that this pipeline will run.
func (w *planner) later(uri string) bool {
	rest, ok := strings.CutPrefix(uri, "azureml://jobs/")
	run, _, _ := strings.Cut(rest, "/")
	return ok && w.sweeps[run]
}

// present is a job without the inputs that will be there only when it runs.
func (w *planner) present(spec *jobSpec) *jobSpec {
	out := *spec
	out.Inputs = maps.Clone(spec.Inputs)
	maps.DeleteFunc(out.Inputs, func(_ string, in jobInput) bool { return w.later(in.URI) })
	return &out
}

// checkNested holds the job of a step that has steps to what any such job is held to.
func (w *planner) checkNested(ctx context.Context, st *stepPlan) error {
	put := *w.p
	request := *w.p.Request
	request.ID = w.p.Parent.ParsedID().Child("jobs", st.Run)
	put.Request = &request
	if st.Body.String("jobType") == "Sweep" {
		_, _, err := w.s.planSweep(ctx, &put, st.Body.Clone(), w)
		return err
	}
	if w.depth >= maxDepth {
		return userError("properties.componentId", "The pipeline has pipelines in pipelines, %d deep.", maxDepth+1)
	}
	_, err := w.s.planPipeline(ctx, &put, st.Body.Clone(), w)
	return err
}

// displayName is what a step's job is called.
func (st *stepPlan) displayName() string {
	if s := st.node.String("displayname"); s != "" {
		return s
	}
	return st.Name
}

// nestedEnded tells the pipeline that a pipeline or sweep belongs to that it has ended
// by being canceled on its own.
func (s *Service) nestedEnded(ctx context.Context, tx store.Tx, r *run, now time.Time) error {
	if r.Pipeline == nil || r.Parent == "" || !r.Status.Terminal() {
		return nil
	}
	return s.stepEnded(ctx, tx, r, now)
}
