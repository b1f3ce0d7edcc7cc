package test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const forML = "https://ml.azure.com"

// TestMLflow speaks MLflow's REST API: first a job with its own token, which
// tracks a run, uploads a model and registers it; then its owner, who finds both.
func TestMLflow(t *testing.T) {
	t.Parallel()
	e, _ := smallEnv(t)
	job := jobFile(t, "python3 track.py", "", map[string]string{"track.py": mlflowTrack})
	if out := e.run("ml", "job", "create", "-f", job, "-n", "tracked", "--stream"); !strings.Contains(out, "\nregistered version 1\n") {
		t.Fatalf("log: %s", out)
	}
	w := e.wire()
	token, err := w.signIn(t.Context(), forML)
	if err != nil {
		t.Fatal(err)
	}
	base := "https://westeurope.api.azureml.ms/mlflow/v1.0" + smallWS + "/api/2.0/"
	call := func(out any, method, op, body string) {
		t.Helper()
		a, err := w.do(t.Context(), token, method, base+op, map[string]string{"Content-Type": "application/json"}, body)
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%s %s: %v, %d %s", method, op, err, a.status, a.body)
		}
		if out != nil {
			if err := json.Unmarshal(a.body, out); err != nil {
				t.Fatalf("%s %s: %v in %s", method, op, err, a.body)
			}
		}
	}
	var run struct {
		Run struct {
			Info struct {
				Experiment string `json:"experiment_id"`
				Status     string
			}
			Data struct{ Metrics []struct{ Value float64 } }
		}
	}
	call(&run, "GET", "mlflow/runs/get?run_id=tracked", "")
	if run.Run.Info.Status != "FINISHED" || len(run.Run.Data.Metrics) != 1 || run.Run.Data.Metrics[0].Value != 0.9 {
		t.Errorf("run: %+v", run)
	}
	var history struct{ Metrics []struct{ Value float64 } }
	call(&history, "GET", "mlflow/metrics/get-history?run_id=tracked&metric_key=accuracy", "")
	if len(history.Metrics) != 10 || history.Metrics[0].Value != 0 {
		t.Errorf("history: %+v", history)
	}
	var found struct {
		Runs []struct {
			Info struct {
				ID string `json:"run_id"`
			}
		}
	}
	query, err := json.Marshal(map[string]any{
		"experiment_ids": []string{run.Run.Info.Experiment}, "filter": "metrics.accuracy > 0.5 and params.kind = 'net' and tags.team = 'x'", "order_by": []string{"metrics.accuracy DESC"},
	})
	if err != nil {
		t.Fatal(err)
	}
	call(&found, "POST", "mlflow/runs/search", string(query))
	if len(found.Runs) != 1 || found.Runs[0].Info.ID != "tracked" {
		t.Errorf("search: %+v", found)
	}
	var versions struct {
		Versions []struct {
			Name, Version, Source string
			Run                   string `json:"run_id"`
		} `json:"model_versions"`
	}
	call(&versions, "GET", "mlflow/model-versions/search?filter=run_id%3D'tracked'", "")
	if len(versions.Versions) != 1 || versions.Versions[0].Name != "net" || versions.Versions[0].Run != "tracked" {
		t.Fatalf("registered: %+v", versions)
	}
	call(nil, "POST", "mlflow/registered-models/alias", `{"name": "net", "alias": "champion", "version": "1"}`)
	call(nil, "POST", "mlflow/model-versions/transition-stage", `{"name": "net", "version": "1", "stage": "Production"}`)
	a, err := w.do(t.Context(), token, "GET", base+"mlflow-artifacts/artifacts/"+strings.TrimPrefix(versions.Versions[0].Source, "mlflow-artifacts:/")+"/weights.txt", nil, "")
	if err != nil || string(a.body) != "w=1" {
		t.Errorf("artifact: %v, %d %s", err, a.status, a.body)
	}

	// what MLflow registered is a model of the workspace, and the input of a job
	down := t.TempDir()
	e.run("ml", "model", "download", "-n", "net", "-v", "1", "-p", down)
	if b, err := os.ReadFile(filepath.Join(down, "net", "weights.txt")); err != nil || string(b) != "w=1" {
		t.Errorf("downloaded model: %q, %v", b, err)
	}
	use := jobFile(t, "cat ${{inputs.net}}/weights.txt", "inputs:\n  net: {type: mlflow_model, path: azureml:net@latest}\n", nil)
	if out := e.run("ml", "job", "create", "-f", use, "--stream"); !strings.Contains(out, "w=1") {
		t.Errorf("log: %s", out)
	}
}

// mlflowTrack does in a job what MLflow's clients do, and what its token must not
// do.
const mlflowTrack = `
import json, os, urllib.error, urllib.request
run, base = os.environ["MLFLOW_RUN_ID"], os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/"
def call(method, op, body=None, data=None):
    request = urllib.request.Request(base + op, method=method, data=data or (json.dumps(body).encode() if body is not None else None),
        headers={"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or b"{}")
def refused(code, *args):
    try:
        call(*args)
    except urllib.error.HTTPError as e:
        assert json.loads(e.read())["error_code"] == code, e
    else:
        raise AssertionError(args)
call("POST", "mlflow/runs/log-batch", {"run_id": run, "params": [{"key": "kind", "value": "net"}], "tags": [{"key": "team", "value": "x"}],
    "metrics": [{"key": "accuracy", "value": step / 10, "timestamp": step, "step": step} for step in range(10)]})
refused("INVALID_PARAMETER_VALUE", "POST", "mlflow/runs/log-parameter", {"run_id": run, "key": "kind", "value": "tree"})
uri = call("GET", "mlflow/runs/get?run_id=" + run)["run"]["info"]["artifact_uri"] + "/model"
call("PUT", "mlflow-artifacts/artifacts/" + uri.removeprefix("mlflow-artifacts:/") + "/weights.txt", data=b"w=1")
assert [f["path"] for f in call("GET", "mlflow/artifacts/list?run_id=" + run + "&path=model")["files"]] == ["model/weights.txt"]
call("POST", "mlflow/registered-models/create", {"name": "net"})
refused("RESOURCE_ALREADY_EXISTS", "POST", "mlflow/registered-models/create", {"name": "net"})
refused("PERMISSION_DENIED", "POST", "mlflow/runs/log-parameter", {"run_id": "another", "key": "a", "value": "b"})
version = call("POST", "mlflow/model-versions/create", {"name": "net", "source": uri, "run_id": run})["model_version"]
print("registered version", version["version"])
`
