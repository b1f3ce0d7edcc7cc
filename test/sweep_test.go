package test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestSweep tries three values, of which one is best.
func TestSweep(t *testing.T) {
	need(t, "python3")
	t.Parallel()
	e, _ := smallEnv(t)
	dir := write(t, map[string]string{
		"src/try.py": sweepScript,
		"job.yml": `$schema: https://azuremlschemas.azureedge.net/latest/sweepJob.schema.json
type: sweep
name: search
compute: azureml:cpu-cluster
trial:
  command: python3 try.py ${{inputs.base}} ${{search_space.x}}
  code: src
  environment: {image: library/python:3.12-slim}
inputs: {base: 10}
sampling_algorithm: grid
search_space: {x: {type: choice, values: [1, 7, 4]}}
objective: {goal: maximize, primary_metric: sum}
limits: {max_total_trials: 10, max_concurrent_trials: 2, timeout: 600}
`,
	})
	out := e.run("ml", "job", "create", "-f", filepath.Join(dir, "job.yml"), "--stream")
	for _, want := range []string{"Trial 0 (search_0)", "Trial 2 (search_2): Completed", "Best trial: search_1", "Status: Completed"} {
		if !strings.Contains(out, want) {
			t.Errorf("stream does not say %q:\n%s", want, out)
		}
	}
	var trials []job
	e.json(&trials, "ml", "job", "list", "--parent-job-name", "search")
	if len(trials) != 3 {
		t.Errorf("trials are %+v", trials)
	}
	if out := e.run("ml", "job", "compare", "search_0", "search_1"); !strings.Contains(out, "17") || !strings.Contains(out, "x ") {
		t.Errorf("compare:\n%s", out)
	}
}

const sweepScript = `import json, os, sys, time, urllib.request
body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "sum", "value": float(sys.argv[1]) + float(sys.argv[2]), "timestamp": int(time.time() * 1000)}
urllib.request.urlopen(urllib.request.Request(
    os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric", data=json.dumps(body).encode(),
    headers={"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"}))
`
