package jobspec

import (
	"context"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Sweep is what a sweep job has besides its inputs, outputs and compute, and the
// command of its trials.
type Sweep struct {
	// SearchSpace is, by parameter, the distribution and its arguments as the REST
	// API has them: ["uniform", [0, 1]].
	SearchSpace map[string][]any
	// Sampling is "random", "grid" or "bayesian"; Seed is nil and Rule "" where the
	// file says nothing.
	Sampling string
	Seed     *int64
	Rule     string
	// Goal is "minimize" or "maximize".
	Goal, PrimaryMetric string
	// MaxTotalTrials and MaxConcurrentTrials are 0 when not given, as are the two
	// limits in seconds.
	MaxTotalTrials, MaxConcurrentTrials int
	TimeoutSeconds, TrialTimeoutSeconds int64
	// EarlyTermination is the policy as the REST API has it, or nil.
	EarlyTermination map[string]any
}

// sweep reads what sweep jobs alone have, and closes o.
func (d *decoder) sweep(o *object, j *Job) {
	w := &Sweep{SearchSpace: map[string][]any{}}
	j.Sweep = w
	j.Compute = d.compute(o)
	j.Inputs = d.inputs(o)
	j.Outputs = d.outputs(o)
	j.Identity = d.identity(o)
	j.QueueSettings = d.queueSettings(o)
	shared := d.resources(o)
	d.sweepKeys(o, w, j)
	trial := o.sub("trial")
	o.close()
	if trial == nil {
		if !o.has("trial") {
			o.missing("trial", ": the command that is tried")
		}
		return
	}
	j.Command = trial.name("command")
	j.Code = d.code(trial)
	j.Environment = d.environment(trial)
	j.EnvironmentVariables = trial.stringMap("environment_variables", false)
	if j.Resources = d.resources(trial); j.Resources == nil {
		j.Resources = shared
	}
	j.Distribution = d.distribution(trial)
	if !trial.has("command") {
		trial.missing("command", "")
	}
	if !trial.has("environment") {
		trial.missing("environment", `, for example environment: azureml:<name>@latest, or an image`)
	}
	trial.close()
	if n := trial.value["command"]; n != nil && len(d.problems) == 0 {
		d.expressions(trial, n, j)
	}
}

// sweepKeys reads what sweep jobs and the steps of pipelines that sweep have both.
func (d *decoder) sweepKeys(o *object, w *Sweep, j *Job) {
	if e := o.sub("early_termination"); e != nil {
		w.EarlyTermination = d.earlyTermination(e)
	}
	d.sampling(o, w)
	if !o.has("search_space") {
		o.missing("search_space", "")
	} else if space := o.sub("search_space"); space != nil {
		for _, name := range space.order {
			if !ioName.MatchString(name) {
				d.failf(o.doc, space.keys[name], space.key(name), "a name has letters, digits and _, and begins with a letter or _")
			}
			if p := space.sub(name); p != nil {
				w.SearchSpace[name] = d.distributionOf(p)
			}
			if _, both := j.Inputs[name]; both {
				d.failf(o.doc, space.keys[name], space.key(name), "the job has an input of that name, too")
			}
		}
	}
	if g := o.sub("objective"); g != nil {
		w.Goal, w.PrimaryMetric = g.enum("goal", "minimize", "maximize"), g.name("primary_metric")
		for _, k := range []string{"goal", "primary_metric"} {
			if !g.has(k) {
				g.missing(k, "")
			}
		}
		g.close()
	} else if !o.has("objective") {
		o.missing("objective", ": goal and primary_metric")
	}
	if l := o.sub("limits"); l != nil {
		w.MaxTotalTrials, w.MaxConcurrentTrials = l.count("max_total_trials", 1), l.count("max_concurrent_trials", 1)
		for k, to := range map[string]*int64{"timeout": &w.TimeoutSeconds, "trial_timeout": &w.TrialTimeoutSeconds} {
			if v := l.integer(k, 1, 1<<40); v != nil {
				*to = *v
			}
		}
		l.close()
	}
}

// earlyTermination reads a policy.
func (d *decoder) earlyTermination(e *object) map[string]any {
	own := map[string][]string{"bandit": {"slack_factor", "slack_amount"}, "median_stopping": nil, "truncation_selection": {"truncation_percentage", "exclude_finished_jobs"}}
	kind := e.enum("type", sortedKeys(own)...)
	if kind == "" {
		if !e.has("type") {
			e.missing("type", "")
		}
		return nil
	}
	policy := map[string]any{"policyType": map[string]string{"bandit": "Bandit", "median_stopping": "MedianStopping", "truncation_selection": "TruncationSelection"}[kind]}
	for k, rest := range map[string]string{"evaluation_interval": "evaluationInterval", "delay_evaluation": "delayEvaluation"} {
		if v := e.integer(k, 0, 1<<31-1); v != nil {
			policy[rest] = *v
		}
	}
	for _, k := range own[kind] {
		switch k {
		case "truncation_percentage":
			if v := e.integer(k, 1, 99); v != nil {
				policy["truncationPercentage"] = *v
			} else if !e.has(k) {
				e.missing(k, " with type: "+kind)
			}
		case "exclude_finished_jobs":
			if v := e.boolean(k); v != nil {
				policy["excludeFinishedJobs"] = *v
			}
		default:
			n := e.take(k)
			if n == nil {
				continue
			}
			switch v := d.anything(e.doc, n, e.key(k), 0).(type) {
			case int64, float64:
				policy[map[string]string{"slack_factor": "slackFactor", "slack_amount": "slackAmount"}[k]] = v
			default:
				d.failf(e.doc, n, e.key(k), "expected a number, found %s", describe(n))
			}
		}
	}
	e.close()
	return policy
}

// sampling reads sampling_algorithm: a word, or an object.
func (d *decoder) sampling(o *object, w *Sweep) {
	words := []string{"random", "grid", "bayesian"}
	n := o.take("sampling_algorithm")
	if n == nil {
		o.missing("sampling_algorithm", ": random or grid")
		return
	}
	if n = d.follow(o.doc, n, "sampling_algorithm"); n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		w.Sampling = o.enum("sampling_algorithm", words...)
	} else if a := o.sub("sampling_algorithm"); a != nil {
		w.Sampling, w.Seed, w.Rule = a.enum("type", words...), a.integer("seed", 0, 1<<53), a.enum("rule", "random", "sobol")
		if !a.has("type") {
			a.missing("type", "")
		}
		a.close()
	}
	if w.Sampling == "bayesian" || w.Rule == "sobol" {
		d.problems = append(d.problems, &Problem{Position: d.at(o.doc, n), Key: "sampling_algorithm", Err: ErrNotImplemented,
			Message: strings.TrimSpace(w.Sampling+" "+w.Rule) + " sampling is " + ErrNotImplemented.Error() + "; random and grid are"})
	}
}

// distributionOf reads one parameter of a search space.
func (d *decoder) distributionOf(p *object) []any {
	args := map[string][]string{
		"choice": {"values"}, "randint": {"upper"},
		"uniform": {"min_value", "max_value"}, "loguniform": {"min_value", "max_value"},
		"quniform": {"min_value", "max_value", "q"}, "qloguniform": {"min_value", "max_value", "q"},
		"normal": {"mu", "sigma"}, "lognormal": {"mu", "sigma"}, "qnormal": {"mu", "sigma", "q"}, "qlognormal": {"mu", "sigma", "q"},
	}
	kind := p.enum("type", sortedKeys(args)...)
	if kind == "" {
		if !p.has("type") {
			p.missing("type", "")
		}
		return nil
	}
	list := []any{}
	for _, k := range args[kind] {
		n := p.take(k)
		if n == nil {
			p.missing(k, " with type: "+kind)
			continue
		}
		v := d.anything(p.doc, n, p.key(k), 0)
		switch v.(type) {
		case []any:
			if kind != "choice" {
				d.failf(p.doc, n, p.key(k), "expected a number, found a list")
			}
		case int64, float64:
			if kind == "choice" {
				d.failf(p.doc, n, p.key(k), "expected a list, found %s", describe(n))
			}
		default:
			d.failf(p.doc, n, p.key(k), "expected a %s, found %s", map[bool]string{true: "list", false: "number"}[kind == "choice"], describe(n))
		}
		list = append(list, v)
	}
	p.close()
	return []any{kind, list}
}

// sweepREST adds to the properties of a job what makes it a sweep job.
func (j *Job) sweepREST(ctx context.Context, r Resolver, p map[string]any) error {
	p["jobType"] = "Sweep"
	trial := map[string]any{"command": j.Command}
	if !j.Code.IsZero() {
		id, err := r.CodeID(ctx, j.Code)
		if err != nil {
			return j.ProblemAt("trial.code", err)
		}
		trial["codeId"] = id
	}
	id, err := r.EnvironmentID(ctx, j.Environment)
	if err != nil {
		return j.ProblemAt("trial.environment", err)
	}
	trial["environmentId"] = id
	putMap(trial, "environmentVariables", j.EnvironmentVariables)
	putMap(trial, "resources", j.Resources.toREST())
	if j.Distribution != nil {
		trial["distribution"] = j.Distribution.toREST()
	}
	p["trial"] = trial
	switch {
	case j.Compute.Local:
		return j.ProblemAt("compute", ErrNotImplemented)
	case !j.Compute.Serverless():
		id, err := r.ComputeID(ctx, j.Compute)
		if err != nil {
			return j.ProblemAt("compute", err)
		}
		p["computeId"] = id
	}
	j.Sweep.toREST(p)
	if j.QueueSettings != nil {
		putMap(p, "queueSettings", j.QueueSettings.toREST())
	}
	return nil
}

// toREST adds the properties that are a sweep's own.
func (w *Sweep) toREST(p map[string]any) {
	p["searchSpace"] = w.SearchSpace
	title := func(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
	sampling := map[string]any{"samplingAlgorithmType": title(w.Sampling)}
	if w.Seed != nil {
		sampling["seed"] = *w.Seed
	}
	if w.Rule != "" {
		sampling["rule"] = title(w.Rule)
	}
	p["samplingAlgorithm"] = sampling
	p["objective"] = map[string]any{"goal": title(w.Goal), "primaryMetric": w.PrimaryMetric}
	limits := map[string]any{"jobLimitsType": "Sweep"}
	put(limits, "maxTotalTrials", w.MaxTotalTrials)
	put(limits, "maxConcurrentTrials", w.MaxConcurrentTrials)
	for k, seconds := range map[string]int64{"timeout": w.TimeoutSeconds, "trialTimeout": w.TrialTimeoutSeconds} {
		if seconds > 0 {
			limits[k] = isoDuration(seconds)
		}
	}
	p["limits"] = limits
	if w.EarlyTermination != nil {
		p["earlyTermination"] = w.EarlyTermination
	}
}
