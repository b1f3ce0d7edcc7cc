package ml_test

import (
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// sweepJob is a sweep job with changes.
func sweepJob(changes ...any) doc {
	props := doc{
		"jobType": "Sweep", "experimentName": "iris", "computeId": clusterID,
		"trial":  doc{"command": "train ${{inputs.data}} ${{search_space.lr}} ${{ search_space.kind }} > ${{outputs.model}}/x", "environmentId": envID},
		"inputs": doc{"data": doc{"jobInputType": "literal", "value": "iris"}}, "outputs": doc{"model": doc{"jobOutputType": "uri_folder"}},
		"searchSpace":       doc{"lr": []any{"uniform", []any{0.1, 0.5}}, "kind": []any{"choice", []any{[]any{"a", "b", 3}}}},
		"samplingAlgorithm": doc{"samplingAlgorithmType": "Random", "seed": 7},
		"objective":         doc{"goal": "Maximize", "primaryMetric": "accuracy"},
		"limits":            doc{"jobLimitsType": "Sweep", "maxTotalTrials": 4, "maxConcurrentTrials": 2, "timeout": "PT1H", "trialTimeout": "PT10M"},
	}
	for i := 0; i+1 < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(props, changes[i].(string))
			continue
		}
		props[changes[i].(string)] = changes[i+1]
	}
	return doc{"properties": props}
}

// endTrial logs what a trial reached and ends it.
func (h *harness) endTrial(sweep, n string, metric float64, o compute.Outcome) {
	h.t.Helper()
	r := h.data(rptest.Owner, "POST", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/log-metric", doc{"run_id": sweep + "_" + n, "key": "accuracy", "value": metric, "timestamp": 1})
	if r.Status != 200 {
		h.t.Fatalf("log metric: %d %s", r.Status, r.Raw)
	}
	h.end(sweep, n, o)
}

func TestSweepRunsItsTrials(t *testing.T) {
	h := newHarness(t)
	h.Want(201, "PUT", h.jobID("s"), sweepJob())
	if got := h.names("s"); got != "0 1" {
		t.Fatalf("submitted are %q", got)
	}
	one := h.Want(200, "GET", h.jobID("s_1"), nil).Body.Object("properties")
	for path, want := range map[string]any{
		"command":     "train ${{inputs.data}} ${{inputs.lr}} ${{inputs.kind}} > ${{outputs.model}}/x",
		"displayName": "s_1", "limits.timeout": "PT600S", "inputs.data.value": "iris",
		"outputs.model.uri": "azureml://datastores/workspaceblobstore/paths/azureml/s_1/model/",
	} {
		if got := one.Get(path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if got := one.String("inputs.kind.value"); !strings.Contains("a b 3", got) || got == "" {
		t.Errorf("kind is %q", got)
	}
	h.endTrial("s", "0", 0.5, completed())
	if got := h.names("s"); got != "0 1 2" {
		t.Errorf("after one trial: %q", got)
	}
	h.endTrial("s", "1", 0.9, completed())
	h.restart()
	h.endTrial("s", "2", 0.99, compute.Outcome{Result: compute.Failed, Reason: "no"})
	if got := h.status("s") + h.names("s"); got != "Running0 1 2 3" {
		t.Errorf("after three trials: %q", got)
	}
	h.endTrial("s", "3", 0.7, completed())
	j := h.Want(200, "GET", h.jobID("s"), nil).Body.Object("properties")
	if j.String("status") != "Completed" || j.Object("properties")["best_child_run_id"] != "s_1" {
		t.Errorf("the sweep is %v", j)
	}
	if log, _ := h.blobText("azureml", "ExperimentRun/dcid.s/azureml-logs/hyperdrive.txt"); !strings.Contains(log, "Trial 1: Completed. accuracy=0.9") || !strings.Contains(log, "The best trial is s_1: kind=") {
		t.Errorf("log:\n%s", log)
	}
	if got := strings.Join(h.Want(200, "GET", wsID+"/jobs?jobType=Sweep", nil).Names(), " "); got != "s" {
		t.Errorf("sweeps are %q", got)
	}
	// the same seed draws the same values, another one others
	values := func(name string, seed int) string {
		h.Want(201, "PUT", h.jobID(name), sweepJob("samplingAlgorithm", doc{"samplingAlgorithmType": "random", "seed": seed}))
		in := h.Want(200, "GET", h.jobID(name+"_1"), nil).Body.Object("properties.inputs")
		return in.String("lr.value") + in.String("kind.value")
	}
	if a, b, c := one.String("inputs.lr.value")+one.String("inputs.kind.value"), values("same", 7), values("other", 8); a != b || a == c {
		t.Errorf("values are %s, %s and %s", a, b, c)
	}
}

func TestSweepEnds(t *testing.T) {
	h := newHarness(t)
	failed := compute.Outcome{Result: compute.Failed, Reason: "no"}
	two := []any{"limits", doc{"maxTotalTrials": 2}}
	h.Want(201, "PUT", h.jobID("bad"), sweepJob(two...))
	h.end("bad", "0", failed)
	h.end("bad", "1", failed)
	if j := h.Want(200, "GET", h.jobID("bad"), nil).Body; j.String("properties.status") != "Failed" || !strings.Contains(j.String("properties.error.message"), "none of its trials completed. Trial '0' (bad_0)") {
		t.Errorf("the sweep is %v", j.Get("properties.error"))
	}
	h.Want(201, "PUT", h.jobID("stopped"), sweepJob())
	h.Want(202, "POST", h.jobID("stopped")+"/cancel", nil)
	h.end("stopped", "0", completed())
	h.end("stopped", "1", canceled())
	if got := h.status("stopped") + h.names("stopped"); got != "Canceled0 1" {
		t.Errorf("the sweep is %s", got)
	}
	h.Want(201, "PUT", h.jobID("late"), sweepJob())
	h.Clock.Step(3601e9)
	h.end("late", "0", completed())
	h.end("late", "1", canceled())
	if got := h.status("late") + h.names("late"); got != "Canceled0 1" {
		t.Errorf("the sweep is %s", got)
	}
	// all combinations, and a name that is taken
	h.submit("grid_1")
	h.Want(201, "PUT", h.jobID("grid"), sweepJob("samplingAlgorithm", doc{"samplingAlgorithmType": "Grid"}, "limits", nil,
		"searchSpace", doc{"lr": []any{"choice", []any{[]any{1, 2}}}, "kind": []any{"choice", []any{[]any{"a", "b", "c"}}}}))
	var got []string
	for _, n := range []string{"0", "1", "2", "3", "4", "5"} {
		in := h.Want(200, "GET", h.jobID(h.steps("grid")[n]), nil).Body.Object("properties.inputs")
		got = append(got, in.String("kind.value")+in.String("lr.value"))
	}
	if s := strings.Join(got, " "); s != "a1 a2 b1 b2 c1 c2" || len(h.steps("grid")) != 6 || h.steps("grid")["1"] == "grid_1" {
		t.Errorf("trials are %q", s)
	}
	h.Want(200, "DELETE", wsID, nil)
}

func TestSweepRefusals(t *testing.T) {
	h := newHarness(t)
	space := func(args ...any) []any {
		return []any{"searchSpace", doc{"lr": args, "kind": []any{"choice", []any{"a"}}}}
	}
	for _, c := range []struct {
		status  int
		text    string
		changes []any
	}{
		{400, "'trial' is missing", []any{"trial", nil}},
		{400, "needs a primaryMetric", []any{"objective", doc{"goal": "up", "primaryMetric": "x"}}},
		{400, "1 to 1000 trials", []any{"limits", doc{"maxTotalTrials": 5000}}},
		{400, "ISO 8601", []any{"limits", doc{"timeout": "5"}}},
		{400, "search space is empty", []any{"searchSpace", doc{}}},
		{400, "names nothing in the search space", []any{"searchSpace", doc{"lr": []any{"uniform", []any{0, 1}}}}},
		{400, "among the inputs", []any{"searchSpace", doc{"lr": []any{"uniform", []any{0, 1}}, "kind": []any{"randint", []any{3}}, "data": []any{"randint", []any{3}}}}},
		{400, "is unknown", space("beta", []any{1, 2})},
		{400, "takes 2 numbers", space("uniform", []any{1})},
		{400, "takes 3 numbers", space("qnormal", []any{1, 2, "x"})},
		{400, "is not below", space("loguniform", []any{2, 1})},
		{400, "above 0", space("quniform", []any{1, 2, 0})},
		{400, "below 0", space("normal", []any{1, -2})},
		{400, "whole number", space("randint", []any{0})},
		{400, "needs a value", space("choice", []any{[]any{}})},
		{501, "a choice among", space("choice", []any{[]any{doc{"x": 1}}})},
		{501, "Bayesian", []any{"samplingAlgorithm", doc{"samplingAlgorithmType": "Bayesian"}}},
		{501, "sobol", []any{"samplingAlgorithm", doc{"samplingAlgorithmType": "Random", "rule": "sobol"}}},
		{400, "needs choices", []any{"samplingAlgorithm", doc{"samplingAlgorithmType": "Grid"}}},
		{400, "none of Bandit", []any{"earlyTermination", doc{"policyType": "Luck"}}},
		{400, "not both", []any{"earlyTermination", doc{"policyType": "Bandit", "slackFactor": 0.1, "slackAmount": 0.1}}},
		{400, "0 or more", []any{"earlyTermination", doc{"policyType": "Bandit", "slackFactor": -1}}},
		{400, "below 0", []any{"earlyTermination", doc{"policyType": "Bandit", "delayEvaluation": -1}}},
		{400, "from 1 to 99", []any{"earlyTermination", doc{"policyType": "TruncationSelection", "truncationPercentage": 100}}},
		{501, "excludeFinishedJobs", []any{"earlyTermination", doc{"policyType": "TruncationSelection", "truncationPercentage": 10, "excludeFinishedJobs": true}}},
		{501, "job tier 'Basic'", []any{"computeId", nil, "queueSettings", doc{"jobTier": "Basic"}}},
		{400, "environment version", []any{"trial", doc{"command": "x", "environmentId": "azureml:no:1"}}},
	} {
		r := h.Do("PUT", h.jobID("s"), sweepJob(c.changes...))
		if r.Status != c.status || !strings.Contains(r.Message(), c.text) {
			t.Errorf("%v = %d %s, want %d with %q", c.changes, r.Status, r.Raw, c.status, c.text)
		}
	}
}

func TestSweepStopsTrialsEarly(t *testing.T) {
	h := newHarness(t)
	h.Want(201, "PUT", h.jobID("s"), sweepJob("earlyTermination", doc{"policyType": "Bandit", "slackFactor": 0.1, "evaluationInterval": 1, "delayEvaluation": 2}))
	log := func(n string, value float64) {
		t.Helper()
		r := h.data(rptest.Owner, "POST", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/log-batch", doc{"run_id": "s_" + n,
			"metrics": []any{doc{"key": "loss", "value": 9, "timestamp": 1}, doc{"key": "accuracy", "value": value, "timestamp": 1}}})
		if r.Status != 200 {
			t.Fatalf("log: %d %s", r.Status, r.Raw)
		}
	}
	log("0", 0.5)
	log("1", 0.9) // the delay is not over
	log("1", 0.9)
	if got := h.status("s_0"); got != "Queued" {
		t.Errorf("s_0 is %s", got)
	}
	log("0", 0.6)
	if got := h.status("s_0"); got != "CancelRequested" {
		t.Errorf("s_0 is %s", got)
	}
	log("0", 0.1) // nobody minds any more
	h.end("s", "0", canceled())
	j := h.Want(200, "GET", h.jobID("s_0"), nil).Body
	if j.String("properties.status") != "Canceled" || !strings.Contains(j.String("properties.error.message"), "Bandit policy of its sweep: at interval 2, its best accuracy was 0.6") {
		t.Errorf("trial is %v", j.Get("properties"))
	}
	h.endTrial("s", "1", 0.9, completed())
	for _, n := range []string{"2", "3"} {
		h.endTrial("s", n, 0.7, completed())
	}
	if got := h.status("s"); got != "Completed" {
		t.Errorf("sweep is %s", got)
	}
	text, _ := h.blobText("azureml", "ExperimentRun/dcid.s/azureml-logs/hyperdrive.txt")
	for _, want := range []string{"Trial 0: Canceled.", "stopped early by the Bandit policy", "best trial is s_1"} {
		if !strings.Contains(text, want) {
			t.Errorf("log does not say %q:\n%s", want, text)
		}
	}
	h.must(h.Store.View(t.Context(), func(tx store.Tx) error {
		for e, err := range tx.Scan("ml.trial", store.Range{}) {
			t.Errorf("%s is left, %v", e.Key, err)
		}
		return nil
	}))
}

// TestSweepEndsInTime has trials that wait all the time, and a restart in between.
func TestSweepEndsInTime(t *testing.T) {
	h := newHarness(t)
	h.Want(201, "PUT", h.jobID("s"), sweepJob())
	h.Want(201, "PUT", h.jobID("later"), sweepJob("limits", doc{"jobLimitsType": "Sweep", "maxTotalTrials": 1, "timeout": "PT2H"}))
	h.Clock.Step(30 * time.Minute)
	h.restart()
	if got := h.status("s"); got != "Running" {
		t.Fatalf("sweep is %s", got)
	}
	h.Clock.Step(31 * time.Minute)
	h.await("s", "CancelRequested")
	if got := h.status("s_0") + " " + h.status("later"); got != "CancelRequested Running" {
		t.Errorf("trial and the other sweep are %s", got)
	}
	h.end("s", "0", canceled())
	h.end("s", "1", canceled())
	j := h.Want(200, "GET", h.jobID("s"), nil).Body
	if j.String("properties.status") != "Canceled" || j.String("properties.error.code") != "JobTimeout" {
		t.Errorf("sweep is %v", j.Get("properties"))
	}
}
