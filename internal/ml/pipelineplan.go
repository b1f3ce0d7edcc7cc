package ml

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/pipeline"
)

// maxSteps is the most steps of a pipeline. It is Azimuth's own; Azure's is not
// known.
const maxSteps = 500

// pipelinePlan is a pipeline job with all that its document leaves open settled:
// each step is the body of a command job, with the places that it reads from and
// writes to.
type pipelinePlan struct {
	// Continue says that a step that fails stops only those that read from it.
	Continue bool
	// Reruns says that force_rerun is not set.
	Reruns bool
	// Steps come after those that they read from.
	Steps []*stepPlan
}

type stepPlan struct {
	Name string
	// Run is the name of the child job.
	Run string
	// Reads are the steps whose outputs it reads.
	Reads []string
	// Body is the properties of the child job.
	Body arm.Doc

	// Exports are the outputs of a sweep that are outputs of the pipeline.
	Exports map[string]string

	node, component arm.Doc  // with folded keys
	kind            string   // "command", "pipeline" or "sweep"
	search          []string // the inputs that a sweep draws
	outputs         map[string]jobOutput
}

// fold is a key as it is looked for: clients write the keys of steps in REST's
// style or in that of the job files.
func fold(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }

// folded is an object with its own keys folded; nil for what is none.
func folded(v any) arm.Doc {
	var in map[string]any
	switch m := v.(type) {
	case map[string]any:
		in = m
	case arm.Doc:
		in = m
	default:
		return nil
	}
	out := arm.Doc{}
	for _, k := range slices.Sorted(maps.Keys(in)) {
		out[fold(k)] = in[k]
	}
	return out
}

// camel is an object with the keys that REST has: instance_count is
// instanceCount.
func camel(v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	out := map[string]any{}
	for k, v := range m {
		parts := strings.Split(k, "_")
		for i, p := range parts[1:] {
			if p != "" {
				parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
			}
		}
		out[strings.Join(parts, "")] = v
	}
	return out
}

// planner is the state of making one plan.
type planner struct {
	s     *Service
	p     *arm.Put
	name  string
	props arm.Doc
	top   *jobSpec // the pipeline's own inputs and outputs
	set   arm.Doc  // settings, folded
	store string   // the default datastore
	steps map[string]*stepPlan
	// sweeps are the names of the jobs of sweeps in it and in those it is in, depth is
	// how many pipelines it is in.
	sweeps map[string]bool
	depth  int
}

// planPipeline reads and checks a pipeline job. It completes the outputs in props. in is
// set while the pipeline is planned that it is a step of.
func (s *Service) planPipeline(ctx context.Context, p *arm.Put, props arm.Doc, in *planner) (*pipelinePlan, error) {
	w := &planner{
		s: s, p: p, name: p.ID.Name(), props: props, set: folded(props.Get("settings")),
		top: &jobSpec{Inputs: map[string]jobInput{}, Outputs: map[string]jobOutput{}}, steps: map[string]*stepPlan{},
		sweeps: map[string]bool{},
	}
	if in != nil {
		w.depth = in.depth + 1
		maps.Copy(w.sweeps, in.sweeps)
	}
	if err := w.readTop(ctx); err != nil {
		return nil, err
	}
	jobs := props.Object("jobs")
	if len(jobs) == 0 {
		return nil, userError("properties.jobs", "The pipeline has no steps.")
	}
	if len(jobs) > maxSteps {
		return nil, userError("properties.jobs", "The pipeline has %d steps; one has at most %d.", len(jobs), maxSteps)
	}
	for _, name := range slices.Sorted(maps.Keys(jobs)) {
		if err := w.readStep(ctx, name, jobs[name]); err != nil {
			return nil, inStep(err, "properties.jobs."+name)
		}
	}
	reads := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(w.steps)) {
		st := w.steps[name]
		inputs, err := w.inputs(st)
		if err != nil {
			return nil, inStep(err, "properties.jobs."+name)
		}
		st.Body["inputs"] = inputs
		reads[name] = st.Reads
	}
	order, err := pipeline.Order(reads)
	if err != nil {
		var loop *pipeline.CycleError
		if errors.As(err, &loop) {
			return nil, userError("properties.jobs."+loop.Steps[0], "The pipeline cannot run: %s.", err)
		}
		return nil, err
	}
	plan := &pipelinePlan{Continue: w.continues(), Reruns: !w.set.Bool("forcererun", false)}
	for _, name := range order {
		st := w.steps[name]
		if err := w.check(ctx, st); err != nil {
			return nil, inStep(err, "properties.jobs."+name)
		}
		plan.Steps = append(plan.Steps, st)
	}
	return plan, nil
}

// inStep says in which step a refusal is.
func inStep(err error, where string) error {
	var e *arm.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", where, err)
	}
	out := *e
	out.Target = where + strings.TrimPrefix(e.Target, "properties")
	out.Message = fmt.Sprintf("Step '%s': %s", strings.TrimPrefix(where, "properties.jobs."), e.Message)
	return &out
}

// continues reads the setting. Azure's reference gives true as its default today;
// earlier versions of it gave false.
func (w *planner) continues() bool {
	for _, k := range []string{"continueonstepfailure", "continuerunonstepfailure"} {
		if v := w.set.Get(k); v != nil {
			return w.set.Bool(k, true)
		}
	}
	return true
}

func (w *planner) readTop(ctx context.Context) error {
	props := w.props
	if err := checkTexts(props); err != nil {
		return err
	}
	if v := props.Get("settings"); v != nil && w.set == nil {
		return userError("properties.settings", "'settings' is not an object.")
	}
	for _, k := range []string{"oninit", "onfinalize"} {
		if w.set.Get(k) != nil {
			return arm.NotImplemented("the setting '%s' of a pipeline", k)
		}
	}
	if props.Has("sourceJobId") {
		return arm.NotImplemented("pipeline jobs made of another job (sourceJobId)")
	}
	if props.Has("componentId") {
		return arm.NotImplemented("pipeline jobs that are a component themselves; a step of one may be")
	}
	if err := w.top.readInputs(props.Object("inputs")); err != nil {
		return err
	}
	delete(props.Object("outputs"), "default") // computed
	if err := w.top.readOutputs(props.Object("outputs")); err != nil {
		return err
	}
	ws := workspaceOf(w.p.Parent)
	w.store = lastSegment(strings.TrimPrefix(w.set.String("defaultdatastore"), "azureml:"))
	if w.store == "" {
		w.store = "workspaceblobstore"
	}
	if _, err := w.s.inDatastore(ctx, w.p.Tx, ws, w.store, ""); err != nil {
		return targeted(err, "properties.settings.default_datastore")
	}
	for name, in := range w.top.Inputs {
		if in.Type != "literal" && !w.later(in.URI) {
			if _, err := w.s.locate(ctx, w.p.Tx, ws, in.URI); err != nil {
				return targeted(err, "properties.inputs."+name)
			}
		}
	}
	for name, out := range w.top.Outputs {
		out.URI = w.place(out, w.name, name)
		w.top.Outputs[name] = out
		doc := arm.Doc(props.Object("outputs")[name].(map[string]any)) // readOutputs has seen it
		doc.Set("uri", out.URI)
		doc.Default("mode", "ReadWriteMount")
	}
	return nil
}

// place is where an output is: where it says, or below the name of the job that it
// is an output of. In which of a pipeline's jobs Azure puts an output of the
// pipeline itself is not known; here it is the pipeline's own.
func (w *planner) place(out jobOutput, job, name string) string {
	if out.URI == "" && name == "artifacts" && job != w.name {
		// what every job has; Azure's examples bind steps to it by that name
		return "azureml://datastores/" + artifactStore + "/paths/" + artifactPrefix(job) + "/"
	}
	if out.URI == "" {
		out.URI = "azureml://datastores/" + w.store + "/paths/azureml/" + job + "/" + name
		if out.Type != "uri_file" {
			out.URI += "/"
		}
	}
	return expandPlace(out.URI, w.store, job, name)
}

// expandPlace replaces the expressions that Azure knows in the place of an output.
func expandPlace(uri, datastore, job, output string) string {
	return placeExpression().ReplaceAllStringFunc(uri, func(whole string) string {
		switch placeExpression().FindStringSubmatch(whole)[1] {
		case "name":
			return job
		case "output_name":
			return output
		}
		return datastore
	})
}

var placeExpression = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$\{\{\s*(name|output_name|default_datastore)\s*\}\}`)
})

// readStep reads all of a step but its inputs.
func (w *planner) readStep(ctx context.Context, name string, v any) error {
	node := folded(v)
	if node == nil || !bindingName().MatchString(name) {
		return userError("properties", "A step is an object, and its name has letters, digits and underscores.")
	}
	kind := strings.ToLower(node.String("type"))
	ref, want := node.String("componentid"), kind
	switch kind {
	case "", "command", "pipeline":
	case "sweep":
		ref, want = folded(node.Get("trial")).String("componentid"), "command"
	default:
		return arm.NotImplemented("steps of type '%s' in a pipeline", node.String("type"))
	}
	component, err := w.component(ctx, ref)
	if err != nil {
		return err
	}
	is := strings.ToLower(component.String("type"))
	if kind == "" {
		kind, want = is, is
	}
	if is != want {
		return userError("properties.type", "The step is of type '%s', and its component is of type '%s'.", kind, is)
	}
	st := &stepPlan{Name: name, Run: uuid.NewString(), node: node, component: component, kind: kind, outputs: map[string]jobOutput{}}
	if kind == "sweep" {
		w.sweeps[st.Run] = true
	}
	outputs, err := w.outputs(st)
	if err != nil {
		return err
	}
	if kind == "pipeline" {
		st.Body = w.nestedBody(st, outputs)
		w.steps[name] = st
		return nil
	}
	first := func(key string) any {
		if v := node.Get(key); v != nil {
			return v
		}
		return component.Get(key)
	}
	body := arm.Doc{
		"jobType": "Command", "command": component.String("command"), "isArchived": false,
		"environmentId": reference(component.String("environment")), "experimentName": w.props.String("experimentName"),
		"displayName": st.displayName(), "inputs": map[string]any{}, "outputs": outputs,
	}
	if s := component.String("code"); s != "" {
		body["codeId"] = reference(s)
	}
	if id := w.compute(node); id != "" {
		body["computeId"] = id
	}
	for key, rest := range map[string]string{"description": "description", "tags": "tags", "properties": "properties"} {
		if v := node.Get(key); v != nil {
			body[rest] = v
		}
	}
	env := map[string]any{}
	maps.Copy(env, component.Object("environmentvariables"))
	maps.Copy(env, node.Object("environmentvariables"))
	body["environmentVariables"] = env
	body["resources"] = map[string]any{"instanceCount": 1}
	if r := camel(first("resources")); r != nil {
		maps.Copy(body["resources"].(map[string]any), r)
	}
	if d := camel(first("distribution")); d != nil {
		if d["distributionType"] == nil { // the CLI's word for it
			d["distributionType"] = d["type"]
			delete(d, "type")
		}
		body["distribution"] = d
	}
	if l := camel(first("limits")); l["timeout"] != nil {
		timeout := fmt.Sprint(l["timeout"])
		if n, err := strconv.ParseFloat(timeout, 64); err == nil {
			timeout = fmt.Sprintf("PT%.0fS", n)
		}
		body["limits"] = map[string]any{"jobLimitsType": "Command", "timeout": timeout}
	}
	if q := camel(first("queuesettings")); q != nil {
		body["queueSettings"] = q
	}
	body["identity"] = map[string]any{"identityType": "AMLToken"}
	if i := camel(node.Get("identity")); i != nil {
		body["identity"] = stepIdentity(i)
	} else if v := w.props.Get("identity"); v != nil {
		body["identity"] = v // of the pipeline, for all its steps
	}
	if node.Object("services") != nil {
		body["services"] = node.Get("services")
	}
	st.Body = body
	if kind == "sweep" {
		if st.Body, err = w.sweepBody(st, body); err != nil {
			return err
		}
	}
	w.steps[name] = st
	return nil
}

// stepIdentity is an identity in REST's words: steps have the CLI's, type and
// user_identity.
func stepIdentity(i map[string]any) map[string]any {
	if t, ok := i["type"].(string); ok && i["identityType"] == nil {
		delete(i, "type")
		i["identityType"] = map[string]string{"useridentity": "UserIdentity", "managed": "Managed", "managedidentity": "Managed", "amltoken": "AMLToken"}[fold(t)]
		if i["identityType"] == "" {
			i["identityType"] = t
		}
	}
	return i
}

// reference is an ID without the prefix that component documents give to it.
func reference(s string) string {
	if rest, ok := strings.CutPrefix(s, "azureml:"); ok && (strings.HasPrefix(rest, "/subscriptions/") || strings.HasPrefix(rest, "azureml:")) {
		return rest
	}
	return s
}

// compute is where a step runs: its own compute, the pipeline's or the default.
func (w *planner) compute(node arm.Doc) string {
	for _, id := range []string{node.String("computeid"), node.String("compute"), w.props.String("computeId"), w.set.String("defaultcompute")} {
		if b, ok, err := pipeline.Parse(id); ok && err == nil && b.Kind == pipeline.Input {
			id = w.top.Inputs[b.Name].Value // where it is an input of the pipeline
		}
		id = strings.TrimPrefix(id, "azureml:")
		switch {
		case id == "":
		case strings.EqualFold(lastSegment(id), "serverless"):
			return ""
		case strings.HasPrefix(id, "/"):
			return id
		default:
			return w.p.Parent.ParsedID().Child("computes", id).String()
		}
	}
	return ""
}

// component reads the component version that a step is made of.
func (w *planner) component(ctx context.Context, ref string) (arm.Doc, error) {
	if ref == "" {
		return nil, userError("properties.componentId", "The step names no component. Clients register the command of a step as a component of its own.")
	}
	id := reference(ref)
	if name, version, ok := strings.Cut(strings.TrimPrefix(id, "azureml:"), ":"); ok && !strings.Contains(id, "/") {
		id = w.p.Parent.ParsedID().Child("components", name).Child("versions", version).String()
	}
	if strings.HasPrefix(id, "azureml://registries/") {
		return nil, arm.NotImplemented("components of a registry ('%s')", id)
	}
	parsed, err := w.s.child(w.p, "properties.componentId", id, typeWorkspace+"/components/versions")
	if err != nil {
		return nil, err
	}
	if there, err := w.s.kernel.Resources().Exists(w.p.Tx, parsed.Key()); err != nil || !there {
		return nil, cmpErr(err, userError("properties.componentId", "The component version '%s' was not found.", parsed.FullName()))
	}
	version, err := w.s.kernel.Load(ctx, w.p.Tx, parsed)
	if err != nil {
		return nil, err
	}
	c := folded(version.Body.Get("properties.componentSpec"))
	if c == nil {
		return nil, userError("properties.componentId", "The component '%s' has no specification.", parsed.FullName())
	}
	if t := c.String("type"); !strings.EqualFold(t, "command") && !strings.EqualFold(t, "pipeline") {
		return nil, arm.NotImplemented("components of type '%s' ('%s') in a pipeline", t, parsed.FullName())
	}
	return c, nil
}

// union are the names that one of two objects has.
func union(a, b arm.Doc) []string {
	all := maps.Clone(a)
	if all == nil {
		all = arm.Doc{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
