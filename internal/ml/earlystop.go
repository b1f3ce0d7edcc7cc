package ml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Early termination stops trials of a sweep that do worse than others. Each time that
// a trial logs the primary metric is one interval of it; the policy looks at a trial
// when it gets to an interval that is a multiple of the evaluation interval and not
// below the delay, and compares it with what all trials had reached at that interval,
// ended ones among them. All is as Azure's documentation of hyperparameter tuning says.

// earlyPolicy is a sweep's early termination. Each of its trials keeps a copy.
type earlyPolicy struct {
	// Type is "Bandit", "MedianStopping" or "TruncationSelection".
	Type     string `json:"type"`
	Metric   string `json:"metric"`
	Maximize bool   `json:"maximize,omitempty"`
	// Interval is at least 1, Delay in intervals.
	Interval int `json:"interval"`
	Delay    int `json:"delay,omitempty"`
	// Factor and Amount are Bandit's slack; Percent is TruncationSelection's.
	Factor  float64 `json:"factor,omitempty"`
	Amount  float64 `json:"amount,omitempty"`
	Percent int     `json:"percent,omitempty"`
}

func policies() []string { return []string{"Bandit", "MedianStopping", "TruncationSelection"} }

// readPolicy reads earlyTermination; nil without one.
func readPolicy(props arm.Doc, metric string, maximize bool) (*earlyPolicy, error) {
	const target = "properties.earlyTermination"
	doc := props.Object("earlyTermination")
	if doc == nil {
		return nil, nil
	}
	t, ok := folds(policies(), doc.String("policyType"))
	if !ok {
		return nil, userError(target, "The policy '%s' is none of Bandit, MedianStopping and TruncationSelection.", doc.String("policyType"))
	}
	p := &earlyPolicy{Type: t, Metric: metric, Maximize: maximize, Interval: doc.Int("evaluationInterval", 0), Delay: doc.Int("delayEvaluation", 0)}
	if p.Interval < 0 || p.Delay < 0 {
		return nil, userError(target, "evaluationInterval and delayEvaluation are not below 0.")
	}
	p.Interval = max(p.Interval, 1) // 0 is the default; what Azure makes of it is not documented
	switch t {
	case "Bandit":
		for name, to := range map[string]*float64{"slackFactor": &p.Factor, "slackAmount": &p.Amount} {
			if err := doc.Decode(name, to); err != nil || *to < 0 {
				return nil, userError(target+"."+name, "'%s' is a number of 0 or more.", name)
			}
		}
		if p.Factor > 0 && p.Amount > 0 {
			return nil, userError(target, "The Bandit policy takes slackFactor or slackAmount, not both.")
		}
	case "TruncationSelection":
		if p.Percent = doc.Int("truncationPercentage", 0); p.Percent < 1 || p.Percent > 99 {
			return nil, userError(target+".truncationPercentage", "'truncationPercentage' is a whole number from 1 to 99.")
		}
		if doc.Bool("excludeFinishedJobs", false) {
			return nil, arm.NotImplemented("excludeFinishedJobs of a truncation selection policy")
		}
	}
	return p, nil
}

// reached is how far a trial was at an interval.
type reached struct {
	// N is the interval, from 1; Attempt the trial's attempt that it is of.
	N       int     `json:"n"`
	Attempt int     `json:"attempt,omitempty"`
	Value   float64 `json:"value"`
	Best    float64 `json:"best"`
	Sum     float64 `json:"sum"`
}

func (r reached) average() float64 { return r.Sum / float64(r.N) }

// better reports whether a is better than b.
func (p *earlyPolicy) better(a, b float64) bool {
	if p.Maximize {
		return a > b
	}
	return a < b
}

// add takes in one more value.
func (p *earlyPolicy) add(r reached, v float64) reached {
	if r.N == 0 || p.better(v, r.Best) {
		r.Best = v
	}
	r.N++
	r.Value, r.Sum = v, r.Sum+v
	return r
}

// due reports whether the policy looks at a trial at an interval.
func (p *earlyPolicy) due(n int) bool { return n%p.Interval == 0 && n >= p.Delay }

// verdict says why a trial is to be stopped, or "". all are the trials at the same
// interval, the one itself among them.
func (p *earlyPolicy) verdict(one reached, all []reached) string {
	switch p.Type {
	case "Bandit":
		best := one.Best
		for _, r := range all {
			if p.better(r.Best, best) {
				best = r.Best
			}
		}
		limit := best + p.Amount + math.Abs(best)*p.Factor
		if p.Maximize { // 0.8/(1+0.2) where the best is 0.8; the sign of the best does not turn it round
			limit = best - p.Amount - math.Abs(best)*p.Factor/(1+p.Factor)
		}
		if p.better(limit, one.Best) {
			return fmt.Sprintf("its best %s was %v, beyond %v, where the best trial had %v", p.Metric, one.Best, limit, best)
		}
	case "MedianStopping":
		averages := make([]float64, len(all))
		for i, r := range all {
			averages[i] = r.average()
		}
		slices.Sort(averages)
		n := len(averages)
		median := (averages[(n-1)/2] + averages[n/2]) / 2
		if p.better(median, one.Best) {
			return fmt.Sprintf("its best %s was %v, where the median of the trials' averages was %v", p.Metric, one.Best, median)
		}
	case "TruncationSelection":
		ahead := 0
		for _, r := range all {
			if p.better(r.Value, one.Value) {
				ahead++
			}
		}
		if worst := len(all) * p.Percent / 100; worst > 0 && ahead >= len(all)-worst {
			return fmt.Sprintf("its %s of %v was among the lowest %d of %d", p.Metric, one.Value, worst, len(all))
		}
	}
	return ""
}

// bucketTrials has how far the trials of sweeps with a policy are: by the sweep's item
// and the trial, and for the intervals at which it is due by the interval, too.
const bucketTrials = "ml.trial"

func trialKey(sweep, trial string) string { return sweep + "\x00t\x00" + trial }

func intervalKey(sweep string, n int, trial string) string {
	return fmt.Sprintf("%s\x00i\x00%012d\x00%s", sweep, n, trial)
}

// metricsLogged implements mlflow's Watch: it is told, in the transaction that logs
// them, what a trial's metrics are.
func (s *Service) metricsLogged(ctx context.Context, tx store.Tx, item string, points []mlflow.Point) error {
	r, err := s.runs.Get(tx, item)
	if errors.Is(err, store.ErrNotFound) || err == nil && (r.Policy == nil || r.Status.Terminal() || r.Status == CancelRequested) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read trial %s: %w", item, err)
	}
	for _, pt := range points {
		if pt.Name != r.Policy.Metric || math.IsNaN(pt.Value) || math.IsInf(pt.Value, 0) {
			continue
		}
		stop, err := s.trialReached(tx, r, pt.Value)
		if err != nil {
			return fmt.Errorf("early termination of %s: %w", r.Name, err)
		}
		if stop != "" {
			return s.stopTrial(ctx, tx, r, stop, s.cfg.Clock.Now())
		}
	}
	return nil
}

// trialReached counts one interval of a trial and says why it is to be stopped, or "".
func (s *Service) trialReached(tx store.Tx, r *run, value float64) (string, error) {
	p := r.Policy
	var at reached
	if err := getJSON(tx, trialKey(r.Parent, r.Name), &at); err != nil {
		return "", err
	}
	if at.Attempt != r.Attempt { // a trial that was preempted begins anew
		at = reached{Attempt: r.Attempt}
	}
	at = p.add(at, value)
	if err := putJSON(tx, trialKey(r.Parent, r.Name), at); err != nil {
		return "", err
	}
	if !p.due(at.N) {
		return "", nil
	}
	if err := putJSON(tx, intervalKey(r.Parent, at.N, r.Name), at); err != nil {
		return "", err
	}
	var all []reached
	for e, err := range tx.Scan(bucketTrials, store.Range{Prefix: intervalKey(r.Parent, at.N, "")}) {
		if err != nil {
			return "", err
		}
		var other reached
		if err := json.Unmarshal(e.Value, &other); err != nil {
			return "", fmt.Errorf("decode %q: %w", e.Key, err)
		}
		all = append(all, other)
	}
	why := p.verdict(at, all)
	if why == "" {
		return "", nil
	}
	return fmt.Sprintf("The trial was stopped early by the %s policy of its sweep: at interval %d, %s.", p.Type, at.N, why), nil
}

// stopTrial asks that a trial end, and writes down why.
func (s *Service) stopTrial(ctx context.Context, tx store.Tx, r *run, why string, now time.Time) error {
	parent, err := s.runs.Get(tx, r.Parent)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range parent.Pipeline.Steps {
		if st := &parent.Pipeline.Steps[i]; st.Item == r.Item {
			st.Error = why
		}
	}
	if err := s.putRun(tx, parent); err != nil {
		return err
	}
	r.StopReason = why
	return s.cancelIn(ctx, tx, r, now)
}

// dropTrials forgets how far the trials of a sweep were.
func dropTrials(tx store.Tx, sweep string) error {
	var keys []string
	for e, err := range tx.Scan(bucketTrials, store.Range{Prefix: sweep + "\x00"}) {
		if err != nil {
			return err
		}
		keys = append(keys, strings.Clone(e.Key))
	}
	for _, k := range keys {
		if err := tx.Delete(bucketTrials, k); err != nil {
			return err
		}
	}
	return nil
}

func getJSON(tx store.Tx, key string, to any) error {
	b, err := tx.Get(bucketTrials, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

func putJSON(tx store.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put(bucketTrials, key, b)
}
