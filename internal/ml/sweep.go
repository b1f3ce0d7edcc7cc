package ml

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/iso8601"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// maxTrials is the most trials of a sweep: the default of Azure's CLI for
// max_total_trials.
const maxTrials = 1000

// sweepState is what the run of a sweep job has besides its trials.
type sweepState struct {
	Metric   string `json:"metric"`
	Maximize bool   `json:"maximize,omitempty"`
	// Concurrent is the most trials at once.
	Concurrent int `json:"concurrent"`
	// Policy stops trials early, if there is one.
	Policy *earlyPolicy `json:"policy,omitempty"`
	// Deadline is when the sweep is canceled, TrialTimeout how long a trial may
	// run; zero for no limit.
	Deadline     time.Time     `json:"deadline,omitzero"`
	TrialTimeout time.Duration `json:"trialTimeout,omitempty"`
}

// sweepLog is the log of a sweep, by the name that azure-ai-ml looks for.
const sweepLog = "azureml-logs/hyperdrive.txt"

var searchExpression = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{\{\s*search_space\.([^}\s]*)\s*\}\}`) })

// planSweep reads and checks a sweep job. It returns the state of its run, and the
// body that all its trials have. in is set while the pipeline is planned that it is a
// step of.
func (s *Service) planSweep(ctx context.Context, p *arm.Put, props arm.Doc, in *planner) (*pipelineState, arm.Doc, error) {
	if err := checkTexts(props); err != nil {
		return nil, nil, err
	}
	if props.Has("componentId") {
		return nil, nil, arm.NotImplemented("sweeps over a component")
	}
	trial := props.Object("trial")
	if trial == nil {
		return nil, nil, userError("properties.trial", "The required property 'trial' is missing.")
	}
	state := &sweepState{Metric: props.String("objective.primaryMetric")}
	goal, ok := folds([]string{"Minimize", "Maximize"}, props.String("objective.goal"))
	if !ok || state.Metric == "" {
		return nil, nil, userError("properties.objective", "The objective needs a primaryMetric, and a goal: Minimize or Maximize.")
	}
	state.Maximize = goal == "Maximize"
	var err error
	if state.Policy, err = readPolicy(props, state.Metric, state.Maximize); err != nil {
		return nil, nil, err
	}
	total := props.Int("limits.maxTotalTrials", maxTrials)
	state.Concurrent = props.Int("limits.maxConcurrentTrials", total)
	if total < 1 || total > maxTrials || state.Concurrent < 1 || state.Concurrent > maxTrials {
		return nil, nil, userError("properties.limits", "A sweep has 1 to %d trials in all and at once, not %d and %d.", maxTrials, total, state.Concurrent)
	}
	for name, set := range map[string]func(time.Duration){
		"timeout": func(d time.Duration) { state.Deadline = p.Now.Add(d) }, "trialTimeout": func(d time.Duration) { state.TrialTimeout = d },
	} {
		if t := props.String("limits." + name); t != "" {
			d, err := iso8601.Duration(t)
			if err != nil || d < time.Second {
				return nil, nil, userError("properties.limits."+name, "The value '%s' of '%s' is invalid: it must be an ISO 8601 duration of at least one second, such as PT1H.", t, name)
			}
			set(d)
		}
	}
	samples, err := sample(props, total)
	if err != nil {
		return nil, nil, err
	}
	body, err := trialBody(props, trial, samples[0])
	if err != nil {
		return nil, nil, err
	}
	out := &pipelineState{Continue: true, Sweep: state}
	for i, values := range samples {
		out.Steps = append(out.Steps, stepState{Name: strconv.Itoa(i), Values: values})
	}
	// the first stands for all: they differ in their values alone
	first := withValues(body, "trial", samples[0])
	spec, err := readSpec(first)
	if err != nil {
		return nil, nil, err
	}
	if in != nil {
		spec = in.present(spec)
	}
	return out, body, s.checkReferences(ctx, p, spec)
}

// trialBody is the command job that the trials of a sweep are, without their
// values. The values are inputs of the trial here.
func trialBody(props, trial arm.Doc, values map[string]string) (arm.Doc, error) {
	command := trial.String("command")
	for _, m := range searchExpression().FindAllStringSubmatch(command, -1) {
		if _, ok := values[m[1]]; !ok {
			return nil, userError("properties.trial.command", "The expression '%s' in the command names nothing in the search space.", m[0])
		}
	}
	body := arm.Doc{
		"jobType": "Command", "command": searchExpression().ReplaceAllString(command, "$${{inputs.$1}}"), "isArchived": false,
		"environmentId": trial.String("environmentId"), "experimentName": props.String("experimentName"),
		"resources": map[string]any{"instanceCount": 1}, "identity": map[string]any{"identityType": "AMLToken"},
	}
	for _, key := range []string{"codeId", "distribution", "environmentVariables", "resources"} {
		if v := trial.Get(key); v != nil {
			body[key] = v
		}
	}
	for _, key := range []string{"computeId", "inputs", "outputs", "identity", "queueSettings"} {
		if v := props.Get(key); v != nil {
			body[key] = v
		}
	}
	if isServerless(body.String("computeId")) {
		delete(body, "computeId")
	}
	if trial.Get("resources") == nil && props.Object("resources") != nil {
		body["resources"] = props.Get("resources") // where azure-ai-ml puts those of serverless compute
	}
	body.Default("resources.instanceCount", 1)
	if body.Object("inputs") == nil {
		body["inputs"] = map[string]any{}
	}
	for name := range values {
		if body.Object("inputs")[name] != nil {
			return nil, userError("properties.searchSpace."+name, "'%s' is in the search space and among the inputs.", name)
		}
	}
	body = body.Clone()
	delete(body.Object("outputs"), "default")
	return body, nil
}

// withValues is the body of one trial.
func withValues(body arm.Doc, job string, values map[string]string) arm.Doc {
	out := body.Clone()
	for name, v := range values {
		out.Object("inputs")[name] = map[string]any{"jobInputType": "literal", "value": v}
	}
	for name, v := range out.Object("outputs") {
		if m, ok := v.(map[string]any); ok {
			uri := "azureml://datastores/workspaceblobstore/paths/azureml/" + job + "/" + name
			if m["jobOutputType"] != "uri_file" {
				uri += "/"
			}
			arm.Doc(m).Default("uri", uri)
			arm.Doc(m).Set("uri", expandPlace(arm.Doc(m).String("uri"), "workspaceblobstore", job, name))
			arm.Doc(m).Default("mode", "ReadWriteMount")
		}
	}
	return out
}

// distribution is what a parameter is drawn from.
type distribution struct {
	choices []string // of a choice
	draw    func(r *rand.Rand) float64
}

// sample draws the values of a sweep's trials, at most total: at random, or all
// combinations in order.
func sample(props arm.Doc, total int) ([]map[string]string, error) {
	space := props.Object("searchSpace")
	if len(space) == 0 {
		return nil, userError("properties.searchSpace", "The search space is empty.")
	}
	names := slices.Sorted(maps.Keys(space))
	from := map[string]distribution{}
	for _, name := range names {
		d, err := readDraw(space[name])
		if err != nil {
			return nil, targeted(err, "properties.searchSpace."+name)
		}
		if !bindingName().MatchString(name) {
			return nil, userError("properties.searchSpace", "The name '%s' in the search space is invalid.", name)
		}
		from[name] = d
	}
	switch t := props.String("samplingAlgorithm.samplingAlgorithmType"); strings.ToLower(t) {
	case "grid":
		return grid(names, from, total)
	case "random":
		if rule := props.String("samplingAlgorithm.rule"); rule != "" && !strings.EqualFold(rule, "Random") {
			return nil, arm.NotImplemented("random sampling by the rule '%s'", rule)
		}
	case "":
		return nil, userError("properties.samplingAlgorithm", "The required property 'samplingAlgorithm' is missing.")
	default:
		return nil, arm.NotImplemented("%s sampling of a search space", t)
	}
	seed := rand.Uint64()
	if props.Get("samplingAlgorithm.seed") != nil {
		seed = uint64(props.Int("samplingAlgorithm.seed", 0))
	}
	r := rand.New(rand.NewPCG(seed, 0)) // the same seed gives the same trials; other ones than Azure's
	out := make([]map[string]string, total)
	for i := range out {
		out[i] = map[string]string{}
		for _, name := range names {
			if d := from[name]; d.draw == nil {
				out[i][name] = d.choices[r.IntN(len(d.choices))]
			} else {
				out[i][name] = strconv.FormatFloat(d.draw(r), 'g', -1, 64)
			}
		}
	}
	return out, nil
}

// grid is all combinations of choices, the last name's going fastest.
func grid(names []string, from map[string]distribution, total int) ([]map[string]string, error) {
	out := []map[string]string{{}}
	for _, name := range names {
		if from[name].draw != nil {
			return nil, userError("properties.searchSpace."+name, "Grid sampling needs choices, and '%s' is drawn from a distribution.", name)
		}
		var next []map[string]string
		for _, have := range out {
			for _, c := range from[name].choices {
				if len(next) == maxTrials { // enough whatever follows; what is cut off here would come last
					break
				}
				one := maps.Clone(have)
				one[name] = c
				next = append(next, one)
			}
		}
		out = next
	}
	return out[:min(total, len(out))], nil
}

// readDraw reads ["uniform", [0, 1]] and its like: what azure-ai-ml sends,
// with the meaning that Azure's reference of sweep jobs gives to each.
func readDraw(v any) (distribution, error) {
	const target = "properties.searchSpace"
	bad := func(format string, args ...any) (distribution, error) {
		return distribution{}, userError(target, format, args...)
	}
	list, ok := v.([]any)
	if !ok || len(list) != 2 {
		return bad("An entry of the search space is a list of the distribution and its arguments, such as [\"uniform\", [0, 1]].")
	}
	kind, _ := list[0].(string)
	args, ok := list[1].([]any)
	if !ok {
		return bad("The arguments of '%s' are not a list.", kind)
	}
	kind = strings.ToLower(kind)
	if kind == "choice" {
		values := args
		if len(args) == 1 {
			if inner, ok := args[0].([]any); ok {
				values = inner
			}
		}
		if len(values) == 0 {
			return bad("A choice needs a value.")
		}
		var d distribution
		for _, c := range values {
			switch c := c.(type) {
			case string:
				d.choices = append(d.choices, c)
			case float64:
				d.choices = append(d.choices, strconv.FormatFloat(c, 'g', -1, 64))
			case bool:
				d.choices = append(d.choices, strconv.FormatBool(c))
			default:
				return distribution{}, arm.NotImplemented("a choice among values that are no texts and numbers")
			}
		}
		return d, nil
	}
	want := map[string]int{
		"uniform": 2, "loguniform": 2, "quniform": 3, "qloguniform": 3, "normal": 2, "lognormal": 2, "qnormal": 3, "qlognormal": 3, "randint": 1,
	}[kind]
	if want == 0 {
		return bad("The distribution '%s' is unknown.", kind)
	}
	var n [3]float64
	for i, a := range args {
		f, ok := a.(float64)
		if !ok || i >= want || math.IsInf(f, 0) {
			return bad("'%s' takes %d numbers.", kind, want)
		}
		n[i] = f
	}
	if len(args) != want {
		return bad("'%s' takes %d numbers.", kind, want)
	}
	q := 0.0
	if rest, ok := strings.CutPrefix(kind, "q"); ok {
		kind = rest
		if q = n[2]; q <= 0 {
			return bad("The step q is to be above 0, not %v.", q)
		}
	}
	var draw func(r *rand.Rand) float64
	switch kind {
	case "randint":
		if n[0] < 1 || n[0] > math.MaxInt32 || n[0] != math.Trunc(n[0]) {
			return bad("The upper bound of 'randint' is a whole number above 0, not %v.", n[0])
		}
		return distribution{draw: func(r *rand.Rand) float64 { return float64(r.IntN(int(n[0]))) }}, nil
	case "uniform", "loguniform":
		if n[0] >= n[1] {
			return bad("The smallest value %v is not below the largest, %v.", n[0], n[1])
		}
		draw = func(r *rand.Rand) float64 { return n[0] + r.Float64()*(n[1]-n[0]) }
	default:
		if n[1] < 0 {
			return bad("The deviation is not to be below 0: %v.", n[1])
		}
		draw = func(r *rand.Rand) float64 { return n[0] + r.NormFloat64()*n[1] }
	}
	logarithmic := strings.HasPrefix(kind, "log")
	return distribution{draw: func(r *rand.Rand) float64 {
		v := draw(r)
		if logarithmic {
			v = math.Exp(v)
		}
		if q > 0 {
			v = math.Round(v/q) * q
		}
		return v
	}}, nil
}

// best is the trial that reached most, or nil.
func (p *pipelineState) best() *stepState {
	var best *stepState
	for i := range p.Steps {
		st := &p.Steps[i]
		if st.Status != Completed || st.Metric == nil {
			continue
		}
		if best == nil || p.Sweep.Maximize && *st.Metric > *best.Metric || !p.Sweep.Maximize && *st.Metric < *best.Metric {
			best = st
		}
	}
	return best
}

// values says what a trial was given.
func (st stepState) values() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(st.Values)) {
		parts = append(parts, fmt.Sprintf("%s=%s", name, st.Values[name]))
	}
	return strings.Join(parts, ", ")
}

// trial is the body of the job of a trial, which gets its name.
func (s *Service) trial(tx store.Tx, r *run, parent *arm.Resource, st *stepState, now time.Time) (arm.Doc, error) {
	template, ok := parent.Private["trial"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("trials of sweep %s: %w", parent.ID, store.ErrNotFound)
	}
	st.Run = r.Name + "_" + st.Name // as Azure calls them
	taken, err := s.kernel.Resources().Exists(tx, parent.ParsedID().Parent().Child("jobs", st.Run).Key())
	if err != nil {
		return nil, err
	}
	if taken || len(st.Run) > 255 {
		st.Run = uuid.NewString()
	}
	body := withValues(arm.Doc(template), st.Run, st.Values)
	body["displayName"] = st.Run
	w := r.Pipeline.Sweep
	limit := w.TrialTimeout
	if !w.Deadline.IsZero() {
		// what is left of the sweep's time; that is how a sweep ends that is running
		if left := max(w.Deadline.Sub(now), time.Second); limit == 0 || left < limit {
			limit = left
		}
	}
	if limit > 0 {
		body["limits"] = map[string]any{"jobLimitsType": "Command", "timeout": fmt.Sprintf("PT%dS", int64(math.Ceil(limit.Seconds())))}
	}
	return body, nil
}
