package ml_test

import (
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

// nested is a pipeline whose step "inner" is a pipeline of x and y, which reads what x
// makes, and whose step "last" reads what y makes.
func (h *harness) nested() doc {
	h.t.Helper()
	x := h.component("x", doc{"command": "echo ${{inputs.who}} $[[${{inputs.loud}}]] > ${{outputs.made}}/x",
		"inputs":  doc{"who": doc{"type": "string"}, "loud": doc{"type": "string", "optional": true}},
		"outputs": doc{"made": doc{"type": "uri_folder"}}})
	y := h.component("y", doc{"command": "cat ${{inputs.made}}/x > ${{outputs.final}}/y",
		"inputs": doc{"made": doc{"type": "uri_folder"}}, "outputs": doc{"final": doc{"type": "uri_folder"}}})
	inner := h.component("inner", doc{"type": "pipeline",
		"inputs": doc{"who": doc{"type": "string"}, "loud": doc{"type": "string", "optional": true}}, "outputs": doc{"final": doc{"type": "uri_folder"}},
		"jobs": doc{
			"x": doc{"type": "command", "componentId": x, "inputs": doc{"who": literal("${{parent.inputs.who}}"), "loud": literal("${{parent.inputs.loud}}")}},
			"y": doc{"type": "command", "componentId": y, "inputs": doc{"made": literal("${{parent.jobs.x.outputs.made}}")},
				"outputs": doc{"final": doc{"type": "literal", "value": "${{parent.outputs.final}}"}}},
		}})
	return pipelineJob(doc{
		"inner": doc{"type": "pipeline", "componentId": inner, "inputs": doc{"who": literal("${{parent.inputs.who}}")}},
		"last":  doc{"type": "command", "componentId": y, "inputs": doc{"made": literal("${{parent.jobs.inner.outputs.final}}")}},
	}, "inputs", doc{"who": doc{"jobInputType": "literal", "value": "world"}})
}

// inner are the steps of a pipeline in a pipeline, by step.
func (h *harness) inner(run string) map[string]string {
	h.t.Helper()
	r := h.data(rptest.Owner, "GET", "/history/v1.0"+wsID+"/runs/"+run+"/children", nil)
	out := map[string]string{}
	list, _ := r.Body.Get("value").([]any)
	for _, v := range list {
		m := v.(map[string]any)
		out[m["properties"].(map[string]any)["azureml.moduleName"].(string)] = m["runId"].(string)
		if m["rootRunId"] != "p" {
			h.t.Errorf("root is %v", m["rootRunId"])
		}
	}
	return out
}

func (h *harness) endRun(run string, o compute.Outcome) {
	h.t.Helper()
	o.FailedTask = -1
	h.must(h.ML.Finished(h.t.Context(), h.item(run, 1), o))
}

func TestPipelineInAPipeline(t *testing.T) {
	h := newHarness(t)
	h.Want(201, "PUT", h.jobID("p"), h.nested())
	if got := h.names("p"); got != "inner" {
		t.Fatalf("submitted are %q", got)
	}
	inner := h.steps("p")["inner"]
	x := h.inner(inner)["x"]
	if got := h.Want(200, "GET", h.jobID(x), nil).Body.String("properties.command"); got != "echo ${{inputs.who}}  > ${{outputs.made}}/x" {
		t.Errorf("command is %q", got)
	}
	if got := h.Want(200, "GET", h.jobID(inner), nil).Body; got.String("properties.jobType") != "Pipeline" || got.String("properties.status") != "Running" {
		t.Errorf("inner is %v", got.Get("properties"))
	}
	h.endRun(x, completed())
	h.restart()
	y := h.inner(inner)["y"]
	h.endRun(y, completed())
	if got := h.status(inner) + " " + h.names("p"); got != "Completed inner last" {
		t.Fatalf("after the inner pipeline: %s", got)
	}
	last := h.Want(200, "GET", h.jobID(h.steps("p")["last"]), nil).Body
	made := h.Want(200, "GET", h.jobID(y), nil).Body
	if last.String("properties.inputs.made.uri") != made.String("properties.outputs.final.uri") || made.String("properties.outputs.final.uri") == "" {
		t.Errorf("last reads %v, y writes %v", last.Get("properties.inputs"), made.Get("properties.outputs"))
	}
	h.end("p", "last", completed())
	if got := h.status("p"); got != "Completed" {
		t.Errorf("pipeline is %s", got)
	}
	for run, want := range map[string]string{"p": "Step inner: Completed.", inner: "The pipeline ended: Completed."} {
		if log, _ := h.blobText("azureml", "ExperimentRun/dcid."+run+"/logs/azureml/executionlogs.txt"); !strings.Contains(log, want) {
			t.Errorf("log of %s:\n%s", run, log)
		}
	}
	if names := h.Want(200, "GET", wsID+"/jobs", nil).Names(); len(names) != 1 {
		t.Errorf("jobs are %v", names)
	}
	h.Want(200, "DELETE", h.jobID("p"), nil)
	h.Want(404, "GET", h.jobID(x), nil)
}

func TestPipelineInAPipelineEndsBadly(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(h *harness, inner string)
		want string
	}{
		"fails": {func(h *harness, inner string) {
			h.endRun(h.inner(inner)["x"], compute.Outcome{Result: compute.Failed, Reason: "no"})
		}, "Failed Failed"},
		"is canceled from outside": {func(h *harness, inner string) {
			h.Want(202, "POST", h.jobID("p")+"/cancel", nil)
			h.endRun(h.inner(inner)["x"], compute.Outcome{Result: compute.Canceled})
		}, "Canceled Canceled"},
		"is canceled itself": {func(h *harness, inner string) {
			h.Want(202, "POST", h.jobID(inner)+"/cancel", nil)
			h.endRun(h.inner(inner)["x"], compute.Outcome{Result: compute.Canceled})
		}, "Canceled Failed"},
		"cannot begin": {func(h *harness, inner string) {
			h.Want(200, "DELETE", clusterID, nil)
			h.endRun(h.inner(inner)["x"], completed())
		}, "Failed Failed"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.Want(201, "PUT", h.jobID("p"), h.nested())
			inner := h.steps("p")["inner"]
			c.do(h, inner)
			if got := h.status(inner) + " " + h.status("p"); got != c.want {
				t.Errorf("inner and outer are %s, want %s", got, c.want)
			}
			h.Want(200, "DELETE", wsID, nil)
		})
	}
}

func TestComponentsInACircle(t *testing.T) {
	h := newHarness(t)
	h.component("b", doc{"type": "pipeline", "jobs": doc{"b": doc{"componentId": wsID + "/components/a/versions/1"}}})
	a := h.component("a", doc{"type": "pipeline", "jobs": doc{"a": doc{"componentId": wsID + "/components/b/versions/1"}}})
	if r := h.Do("PUT", h.jobID("p"), pipelineJob(doc{"s": doc{"componentId": a}})); r.Status != 400 || !strings.Contains(r.Message(), "pipelines in pipelines, 9 deep") {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
}

func TestSweepInAPipeline(t *testing.T) {
	h := newHarness(t)
	train := h.component("train", doc{"command": "train ${{inputs.data}} ${{inputs.lr}} ${{inputs.kind}} $[[${{inputs.more}}]] > ${{outputs.model}}/m",
		"inputs":  doc{"data": doc{"type": "string"}, "lr": doc{"type": "number"}, "kind": doc{"type": "string"}, "more": doc{"type": "string", "optional": true}},
		"outputs": doc{"model": doc{"type": "uri_folder"}, "log": doc{"type": "uri_folder"}}})
	use := h.component("use", doc{"command": "ls ${{inputs.model}}", "inputs": doc{"model": doc{"type": "uri_folder"}}})
	h.Want(201, "PUT", h.jobID("p"), pipelineJob(doc{
		"tune": doc{"type": "sweep", "trial": doc{"componentId": train}, "inputs": doc{"data": literal("iris")},
			"search_space":       doc{"lr": doc{"type": "uniform", "min_value": 0.1, "max_value": 0.5}, "kind": doc{"type": "choice", "values": []any{"a", "b"}}},
			"sampling_algorithm": "random", "objective": doc{"goal": "maximize", "primary_metric": "accuracy"},
			"limits":            doc{"max_total_trials": 2, "max_concurrent_trials": 2, "timeout": 3600},
			"early_termination": doc{"type": "median_stopping", "delay_evaluation": 5},
			"outputs":           doc{"log": doc{"type": "literal", "value": "${{parent.outputs.log}}"}}},
		"use": doc{"type": "command", "componentId": use, "inputs": doc{"model": literal("${{parent.jobs.tune.outputs.model}}")}},
	}, "outputs", doc{"log": doc{"jobOutputType": "uri_folder"}}))
	tune := h.steps("p")["tune"]
	sweep := h.Want(200, "GET", h.jobID(tune), nil).Body
	for path, want := range map[string]any{
		"jobType": "Sweep", "status": "Running", "limits.timeout": "PT3600S", "earlyTermination.policyType": "MedianStopping",
		"trial.command": "train ${{inputs.data}} ${{inputs.lr}} ${{inputs.kind}}  > ${{outputs.model}}/m",
	} {
		if got := sweep.Get("properties." + path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	for n, value := range map[string]float64{"0": 0.5, "1": 0.9} {
		h.data(rptest.Owner, "POST", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/log-metric", doc{"run_id": tune + "_" + n, "key": "accuracy", "value": value, "timestamp": 1})
	}
	h.endRun(tune+"_0", completed())
	h.endRun(tune+"_1", completed())
	if got := h.status(tune) + " " + h.names("p"); got != "Completed tune use" {
		t.Fatalf("after the sweep: %s", got)
	}
	// the outputs are those of the best trial
	at := "azureml://datastores/workspaceblobstore/paths/azureml/" + tune + "_1/"
	if got := h.Want(200, "GET", h.jobID(tune), nil).Body.String("properties.outputs.model.uri"); got != at+"model/" {
		t.Errorf("model is %s", got)
	}
	if got := h.Want(200, "GET", h.jobID("p"), nil).Body.String("properties.outputs.log.uri"); got != at+"log/" {
		t.Errorf("log is %s", got)
	}
	container := "azureml-blobstore-" + wsGUID
	h.putBlob(container, "azureml/"+tune+"_1/model/m", "best")
	run := h.steps("p")["use"]
	s := h.prepare(run, 1, 1)[0]
	if !strings.HasSuffix(s.Argv[2], "INPUT_model") {
		t.Errorf("argv is %q", s.Argv)
	}
	h.endRun(run, completed())
	if got := h.status("p"); got != "Completed" {
		t.Errorf("pipeline is %s", got)
	}
}
