package ml_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

// component registers the command of a step and returns its ID.
func (h *harness) component(name string, spec map[string]any) string {
	h.t.Helper()
	all := map[string]any{"type": "command", "environment": "azureml:" + envID}
	maps.Copy(all, spec)
	h.Want(201, "PUT", wsID+"/components/"+name+"/versions/1", map[string]any{"properties": map[string]any{"componentSpec": all, "isAnonymous": true}})
	return wsID + "/components/" + name + "/versions/1"
}

type doc = map[string]any

func literal(v any) doc { return doc{"job_input_type": "literal", "value": v} }

// pipelineJob is a pipeline job with settings.
func pipelineJob(jobs doc, more ...any) doc {
	props := doc{"jobType": "Pipeline", "experimentName": "iris", "settings": doc{"default_compute": clusterID, "_source": "YAML.JOB"}, "jobs": jobs}
	for i := 0; i+1 < len(more); i += 2 {
		props[more[i].(string)] = more[i+1]
	}
	return doc{"properties": props}
}

// chain is a pipeline of three steps: a makes what b reads, and c is alone.
func (h *harness) chain(more ...any) doc {
	h.t.Helper()
	a := h.component("a", doc{
		"command": "echo ${{inputs.who}} $[[--rate ${{inputs.rate}}]] $[[${{inputs.who}}]] > ${{outputs.made}}/x", "resources": doc{"instance_count": 2},
		"inputs": doc{"who": doc{"type": "string"}, "rate": doc{"type": "number", "optional": true}, "n": doc{"type": "integer", "default": "3"}}, "outputs": doc{"made": doc{"type": "uri_folder"}},
	})
	b := h.component("b", doc{
		"command": "cat ${{inputs.made}}/x > ${{outputs.final}}",
		"inputs":  doc{"made": doc{"type": "uri_folder", "mode": "download"}}, "outputs": doc{"final": doc{"type": "uri_folder"}},
	})
	c := h.component("c", doc{"command": "true", "environment": "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"})
	return pipelineJob(doc{
		"a": doc{"type": "command", "componentId": a, "name": "a", "inputs": doc{"who": literal("${{parent.inputs.who}}")}, "environment_variables": doc{"A": "b"}},
		"b": doc{"type": "command", "componentId": b, "computeId": "cpu-cluster", "inputs": doc{"made": literal("${{parent.jobs.a.outputs.made}}")},
			"outputs": doc{"final": doc{"type": "literal", "value": "${{parent.outputs.result}}"}}},
		"c": doc{"type": "command", "componentId": c},
	}, append([]any{"inputs", doc{"who": doc{"jobInputType": "literal", "value": "world"}}, "outputs", doc{"result": doc{"jobOutputType": "uri_file"}}}, more...)...)
}

// steps are the children of a pipeline by step, as run history has them.
func (h *harness) steps(name string) map[string]string {
	h.t.Helper()
	r := h.data(rptest.Owner, "GET", "/history/v1.0"+wsID+"/runs/"+name+"/children", nil)
	if r.Status != 200 {
		h.t.Fatalf("children of %s: %d %s", name, r.Status, r.Raw)
	}
	out := map[string]string{}
	list, _ := r.Body.Get("value").([]any)
	for _, v := range list {
		m := v.(map[string]any)
		out[m["properties"].(map[string]any)["azureml.moduleName"].(string)] = m["runId"].(string)
		if m["parentRunId"] != name || m["rootRunId"] != name {
			h.t.Errorf("child is %v", m)
		}
	}
	return out
}

func (h *harness) names(name string) string {
	h.t.Helper()
	return strings.Join(slices.Sorted(maps.Keys(h.steps(name))), " ")
}

// end ends a step as compute does.
func (h *harness) end(name, step string, o compute.Outcome) {
	h.t.Helper()
	o.FailedTask = -1
	h.must(h.ML.Finished(h.t.Context(), h.item(h.steps(name)[step], 1), o))
}

func TestPipelineRunsItsSteps(t *testing.T) {
	h := newHarness(t)
	r := h.Want(201, "PUT", h.jobID("p1"), h.chain())
	p := r.Body.Object("properties")
	for path, want := range map[string]any{
		"status": "Running", "displayName": "p1", "jobType": "Pipeline", "parameters.who": "world",
		"outputs.result.uri":  "azureml://datastores/workspaceblobstore/paths/azureml/p1/result",
		"outputs.default.uri": "azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.p1",
	} {
		if got := p.Get(path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if got := h.names("p1"); got != "a c" {
		t.Fatalf("submitted are %q", got)
	}
	a := h.steps("p1")["a"]
	child := h.Want(200, "GET", h.jobID(a), nil).Body.Object("properties")
	for path, want := range map[string]any{
		"jobType": "Command", "status": "Queued", "displayName": "a", "experimentName": "iris", "resources.instanceCount": 2.0,
		"command":        "echo ${{inputs.who}}  ${{inputs.who}} > ${{outputs.made}}/x",
		"inputs.n.value": "3", "inputs.who.value": "world", "environmentVariables.A": "b", "properties": nil,
		"outputs.made.uri": "azureml://datastores/workspaceblobstore/paths/azureml/" + a + "/made/",
	} {
		if got := child.Get(path); want != nil && got != want {
			t.Errorf("child: %s = %v, want %v", path, got, want)
		}
	}
	if got := child.Object("properties")["azimuth.parentJob"]; got != "p1" {
		t.Errorf("parent of the child is %v", got)
	}
	if it := h.item(a, 1); it.Nodes != 2 {
		t.Errorf("the item of step a is %+v", it)
	}
	// only pipelines are listed, by their type too
	h.submit("plain")
	for query, want := range map[string]string{"": "plain p1", "?jobType=Pipeline": "p1", "?jobType=Command": "plain", "?jobType=Sweep": "", "?jobType=AutoML": "", "?$top=1&jobType=Pipeline": "p1"} {
		if got := strings.Join(h.Want(200, "GET", wsID+"/jobs"+query, nil).Names(), " "); got != want && !(query == "" && got == "p1 plain") {
			t.Errorf("jobs%s are %q, want %q", query, got, want)
		}
	}
	h.end("p1", "c", completed())
	if got := h.status("p1") + " " + h.names("p1"); got != "Running a c" {
		t.Errorf("after c: %s", got)
	}
	h.end("p1", "a", completed())
	h.end("p1", "a", completed()) // as after a crash
	if got := h.status("p1") + " " + h.names("p1"); got != "Running a b c" {
		t.Fatalf("after a: %s", got)
	}
	b := h.Want(200, "GET", h.jobID(h.steps("p1")["b"]), nil).Body.Object("properties")
	if b.String("inputs.made.uri") != child.String("outputs.made.uri") || b.String("inputs.made.mode") != "download" || b.String("outputs.final.uri") != p.String("outputs.result.uri") || b.String("outputs.final.jobOutputType") != "uri_file" {
		t.Errorf("step b is %v", b)
	}
	if r := h.Do("DELETE", h.jobID(a), nil); r.Status != 409 {
		t.Errorf("a step of a pipeline that runs is deleted: %d %s", r.Status, r.Raw)
	}
	h.restart()
	h.end("p1", "b", completed())
	if got := h.status("p1"); got != "Completed" {
		t.Errorf("the pipeline is %s", got)
	}
	log, _ := h.blobText("azureml", "ExperimentRun/dcid.p1/logs/azureml/executionlogs.txt")
	for _, line := range []string{"Step a: submitted as job " + a, "Step c: Completed.", "The pipeline ended: Completed."} {
		if !strings.Contains(log, line) {
			t.Errorf("%q is not in the log:\n%s", line, log)
		}
	}
	d := h.data(rptest.Owner, "GET", "/history/v1.0"+wsID+"/runs/p1/details", nil)
	if d.Status != 200 || d.Body.Object("logFiles")["logs/azureml/executionlogs.txt"] == nil || d.Body.Get("outputs.result.assetId") == nil {
		t.Errorf("details are %s", d.Raw)
	}
	if r := h.data(rptest.Owner, "GET", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/get?run_id="+a, nil); !strings.Contains(r.Raw, `"mlflow.parentRunId"`) {
		t.Errorf("the run of the step is %s", r.Raw)
	}
	// an update is one of any job; a deletion takes the steps along
	body := h.Want(200, "GET", h.jobID("p1"), nil).Body
	body.Set("properties.tags", doc{"a": "b"})
	h.Want(200, "PUT", h.jobID("p1"), body)
	body.Set("properties.jobs.a.inputs.who.value", "other")
	if r := h.Do("PUT", h.jobID("p1"), body); r.Status != 400 {
		t.Errorf("a step was changed: %d", r.Status)
	}
	h.Want(200, "DELETE", h.jobID("p1"), nil)
	h.Want(404, "GET", h.jobID(a), nil)
}

func TestPipelineFailsAndIsCanceled(t *testing.T) {
	failed := compute.Outcome{Result: compute.Failed, Reason: "The process exited with code 3."}
	canceled := compute.Outcome{Result: compute.Canceled}
	goOn := func(on bool) []any {
		return []any{"settings", doc{"default_compute": clusterID, "continue_on_step_failure": on}}
	}
	for _, c := range []struct {
		name string
		more []any
		do   func(h *harness)
		want string
		text string
	}{
		{"goes on", nil, func(h *harness) {
			h.end("p", "a", failed)
			if h.status("p") != "Running" || h.status(h.steps("p")["c"]) != "Queued" {
				t.Error("step c did not go on")
			}
			h.end("p", "c", completed())
		}, "Failed", "of its steps, 'a' did not complete. Step 'a'"},
		{"stops", goOn(false), func(h *harness) {
			h.end("p", "a", failed)
			if got := h.status(h.steps("p")["c"]); got != "CancelRequested" {
				t.Errorf("step c is %s", got)
			}
			h.end("p", "c", canceled)
		}, "Failed", "exited with code 3"},
		{"goes on as told", goOn(true), func(h *harness) {
			h.end("p", "c", failed)
			h.end("p", "a", completed())
			h.end("p", "b", completed())
		}, "Failed", "'c' did not complete"},
		{"canceled", nil, func(h *harness) {
			h.Want(202, "POST", h.jobID("p")+"/cancel", nil)
			if got := h.status("p") + h.status(h.steps("p")["a"]); got != "CancelRequestedCancelRequested" {
				t.Errorf("is %s", got)
			}
			h.Want(202, "POST", h.jobID("p")+"/cancel", nil)
			h.end("p", "a", canceled)
			h.end("p", "c", completed())
			h.Want(200, "POST", h.jobID("p")+"/cancel", nil)
		}, "Canceled", ""},
		{"its compute goes", nil, func(h *harness) {
			h.Want(200, "DELETE", clusterID, nil)
			h.end("p", "c", completed())
			h.end("p", "a", completed())
		}, "Failed", "'b' did not complete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			h.Want(201, "PUT", h.jobID("p"), h.chain(c.more...))
			c.do(h)
			j := h.Want(200, "GET", h.jobID("p"), nil).Body
			if got := j.String("properties.status"); got != c.want || !strings.Contains(j.String("properties.error.message"), c.text) {
				t.Errorf("is %s: %s, want %s with %q", got, j.String("properties.error.message"), c.want, c.text)
			}
			h.Want(200, "DELETE", wsID, nil)
		})
	}
}

func TestPipelineRefusals(t *testing.T) {
	h := newHarness(t)
	in := doc{"in": doc{"type": "uri_folder", "optional": true}}
	c := h.component("c", doc{"command": "true", "inputs": in, "outputs": doc{"out": doc{"type": "uri_folder"}}})
	text := h.component("text", doc{"command": "echo ${{inputs.s}}", "inputs": doc{"s": doc{"type": "string"}}})
	bad := h.component("bad", doc{"command": "echo ${{inputs.x}}"})
	sweep := h.component("sweep", doc{"type": "parallel"})
	nested := h.component("nested", doc{"type": "pipeline", "jobs": doc{"x": doc{"componentId": text}}})
	from := func(expr string) doc { return doc{"componentId": c, "inputs": doc{"in": literal(expr)}} }
	out := func(step string) string { return "${{parent.jobs." + step + ".outputs.out}}" }
	for _, v := range []struct {
		status int
		text   string
		target string
		jobs   doc
		more   []any
	}{
		{400, "no steps", "properties.jobs", doc{}, nil},
		{400, "names no component", "properties.jobs.a.componentId", doc{"a": doc{"type": "command"}}, nil},
		{400, "was not found", "", doc{"a": doc{"componentId": wsID + "/components/no/versions/1"}}, nil},
		{501, "steps of type 'if_else'", "", doc{"a": doc{"type": "if_else"}}, nil},
		{400, "search space is empty", "", doc{"a": doc{"type": "sweep", "trial": doc{"componentId": c}}}, nil},
		{400, "its component is of type 'command'", "", doc{"a": doc{"type": "pipeline", "componentId": c}}, nil},
		{400, "Step 'a': Step 'x': The required input 's' is missing.", "properties.jobs.a.jobs.x.inputs.s", doc{"a": doc{"componentId": nested}}, nil},
		{501, "components of type 'parallel'", "", doc{"a": doc{"componentId": sweep}}, nil},
		{400, "circle: a → b → a", "properties.jobs.a", doc{"a": from(out("b")), "b": from(out("a")), "c": from(out("a"))}, nil},
		{400, "reads its own output", "properties.jobs.a", doc{"a": from(out("a"))}, nil},
		{400, "has no step 'x'", "properties.jobs.a.inputs.in", doc{"a": from(out("x"))}, nil},
		{400, "has no such output", "", doc{"a": from("${{parent.jobs.b.outputs.no}}"), "b": doc{"componentId": c}}, nil},
		{400, "pipeline has no such input", "", doc{"a": from("${{parent.inputs.no}}")}, nil},
		{400, "nothing to read", "", doc{"a": from("${{parent.outputs.no}}")}, nil},
		{400, "is not known", "", doc{"a": from("${{parent.no}}")}, nil},
		{400, "is given a literal", "", doc{"a": from("text")}, nil},
		{400, "is given data", "", doc{"a": doc{"componentId": text, "inputs": doc{"s": literal(out("b"))}}, "b": doc{"componentId": c}}, nil},
		{400, "'s' is missing", "", doc{"a": doc{"componentId": text}}, nil},
		{400, "has no input 'z'", "", doc{"a": doc{"componentId": c, "inputs": doc{"z": literal("1")}}}, nil},
		{400, "has no output 'z'", "", doc{"a": doc{"componentId": c, "outputs": doc{"z": doc{}}}}, nil},
		{400, "no such output", "", doc{"a": doc{"componentId": c, "outputs": doc{"out": doc{"value": "${{parent.outputs.z}}"}}}}, nil},
		{400, "nothing to write to", "", doc{"a": doc{"componentId": c, "outputs": doc{"out": doc{"value": out("a")}}}}, nil},
		{400, "names no input or output", "properties.jobs.a.command", doc{"a": doc{"componentId": bad}}, nil},
		{400, "'nope' is not in the workspace", "", doc{"a": doc{"componentId": c, "computeId": "nope"}}, nil},
		{400, "has at most 3", "", doc{"a": doc{"componentId": c, "resources": doc{"instance_count": 9}}}, nil},
		{400, "Standard_Nope", "", doc{"a": doc{"componentId": c, "resources": doc{"instance_type": "Standard_Nope"}}}, []any{"settings", doc{"default_compute": "azureml:serverless"}}},
		{400, "datastore 'nope'", "properties.settings.default_datastore", doc{"a": doc{"componentId": c}}, []any{"settings", doc{"default_datastore": "nope"}}},
		{501, "sourceJobId", "", doc{"a": doc{"componentId": c}}, []any{"sourceJobId", "x"}},
	} {
		r := h.Do("PUT", h.jobID("p"), pipelineJob(v.jobs, v.more...))
		if r.Status != v.status || !strings.Contains(r.Message(), v.text) || v.target != "" && !strings.Contains(r.Raw, fmt.Sprintf(`"target":%q`, v.target)) {
			t.Errorf("%v = %d %s, want %d with %q at %s", v.jobs, r.Status, r.Raw, v.status, v.text, v.target)
		}
	}
	if r := h.Want(200, "GET", wsID+"/jobs?listViewType=All", nil); len(r.Names()) != 0 {
		t.Errorf("refused pipelines are listed: %v", r.Names())
	}
}
