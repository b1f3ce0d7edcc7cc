package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMLCommands uses what `azimuth ml` has for assets, as a user of az ml would.
func TestMLCommands(t *testing.T) {
	t.Parallel()
	e, _ := smallEnv(t)
	dir := write(t, map[string]string{
		"table.csv":   "a,b\n1,2\n",
		"data.yml":    "$schema: https://azuremlschemas.azureedge.net/latest/data.schema.json\nname: table\ntype: uri_file\npath: table.csv\ntags: {team: x}\n",
		"net/w.txt":   "w=1\n",
		"model.yml":   "name: net\nversion: 3\npath: net\ntype: custom_model\ndescription: a net\n",
		"env.yml":     "name: plain\nimage: library/python:3.12-slim\n",
		"store.yml":   "type: azure_blob\nname: extra\naccount_name: stsmall001\ncontainer_name: data\n",
		"bad.yml":     "name: x\npaht: y\n",
		"context/a.c": "int main;\n",
	})
	file := func(name string) string { return filepath.Join(dir, name) }
	type asset struct {
		Name       string
		Properties struct {
			DataType, DataURI, ModelURI, ModelType, Description, DatastoreType, Image string
			IsArchived                                                                bool
			Tags                                                                      map[string]string
			Build                                                                     struct{ ContextURI string }
		}
	}
	var got asset
	names := func(args ...string) string {
		t.Helper()
		var all []asset
		e.json(&all, args...)
		var out []string
		for _, a := range all {
			out = append(out, a.Name)
		}
		return strings.Join(out, " ")
	}
	same := func(what, have, want string) {
		t.Helper()
		if have != want {
			t.Errorf("%s: %q, want %q", what, have, want)
		}
	}

	// data
	e.json(&got, "ml", "data", "create", "-f", file("data.yml"))
	same("first version", got.Name+" "+got.Properties.DataType+" "+got.Properties.Tags["team"], "1 uri_file x")
	e.json(&got, "ml", "data", "create", "-f", file("data.yml"), "--set", "description=again")
	same("second version", got.Name+" "+got.Properties.Description, "2 again")
	e.json(&got, "ml", "data", "create", "-n", "far", "-v", "1", "--type", "uri_folder", "--path", "azureml://datastores/workspaceblobstore/paths/far/")
	same("from flags", got.Properties.DataURI, "azureml://datastores/workspaceblobstore/paths/far/")
	same("data", names("ml", "data", "list"), "far table")
	same("versions", names("ml", "data", "list", "-n", "table"), "2 1")
	e.json(&got, "ml", "data", "show", "-n", "table")
	same("latest", got.Name, "2")
	e.json(&got, "ml", "data", "update", "-n", "table", "-v", "1", "--set", "tags.team=y", "description=first")
	same("updated", got.Properties.Tags["team"]+" "+got.Properties.Description, "y first")
	e.run("ml", "data", "archive", "-n", "table", "-v", "1")
	same("active versions", names("ml", "data", "list", "-n", "table"), "2")
	same("archived versions", names("ml", "data", "list", "-n", "table", "--archived-only"), "1")
	e.run("ml", "data", "restore", "-n", "table", "-v", "1")
	e.run("ml", "data", "archive", "-n", "far")
	same("active data", names("ml", "data", "list"), "table")
	if text := e.run("ml", "data", "list"); !strings.Contains(text, "LATEST VERSION") {
		t.Errorf("table: %s", text)
	}

	// model
	e.json(&got, "ml", "model", "create", "-f", file("model.yml"))
	same("model", got.Name+" "+got.Properties.ModelType, "3 custom_model")
	down := t.TempDir()
	e.run("ml", "model", "download", "-n", "net", "-v", "3", "-p", down)
	if b, err := os.ReadFile(filepath.Join(down, "net", "w.txt")); err != nil || string(b) != "w=1\n" {
		t.Errorf("downloaded model: %q, %v", b, err)
	}
	e.json(&got, "ml", "model", "create", "-n", "one", "--path", file("net/w.txt"))
	e.run("ml", "model", "download", "-n", "one", "-v", "1", "-p", down)
	if b, err := os.ReadFile(filepath.Join(down, "one", "w.txt")); err != nil || string(b) != "w=1\n" {
		t.Errorf("downloaded model of one file: %q, %v", b, err)
	}

	// environment and datastore
	e.json(&got, "ml", "environment", "create", "-f", file("env.yml"))
	same("environment", got.Name+" "+got.Properties.Image, "1 library/python:3.12-slim")
	e.json(&got, "ml", "environment", "create", "-n", "built", "--build-context", file("context"))
	if !strings.HasPrefix(got.Properties.Build.ContextURI, smallBlobs+"/azureml-blobstore-") {
		t.Errorf("build context: %s", got.Properties.Build.ContextURI)
	}
	e.json(&got, "ml", "datastore", "create", "-f", file("store.yml"))
	same("datastore", got.Name+" "+got.Properties.DatastoreType, "extra AzureBlob")
	if all := names("ml", "datastore", "list"); !strings.Contains(all, "extra") || !strings.Contains(all, "workspaceblobstore") {
		t.Errorf("datastores: %s", all)
	}
	e.run("ml", "datastore", "delete", "-n", "extra")

	// jobs that use them
	for name, rate := range map[string]string{"slow": "0.1", "quick": "0.5"} {
		job := jobFile(t, "test -s ${{inputs.table}} && test -s ${{inputs.net}}/w.txt && python3 log.py ${{inputs.rate}}",
			"inputs:\n  table: {type: uri_file, path: azureml:table:1}\n  net: {type: custom_model, path: azureml:net@latest}\n  rate: "+rate+"\n",
			map[string]string{"log.py": mlflowLog})
		if r := e.try("ml", "job", "create", "-f", job, "-n", name, "--stream"); r.code != 0 {
			t.Fatalf("job: %s", r)
		}
	}
	var jobs []struct {
		Name    string
		Params  map[string]string
		Metrics map[string]float64
	}
	e.json(&jobs, "ml", "job", "compare", "slow", "quick")
	if len(jobs) != 2 || jobs[0].Metrics["accuracy"] != 0.2 || jobs[1].Metrics["accuracy"] != 1 || jobs[0].Params["rate"] != "0.1" {
		t.Errorf("compared: %+v", jobs)
	}
	if text := e.run("ml", "job", "compare", "slow", "quick"); !strings.Contains(text, "accuracy") || !strings.Contains(text, "Completed") {
		t.Errorf("compared: %s", text)
	}
	e.run("ml", "job", "update", "-n", "slow", "--set", "display_name=the slow one", "tags.kept=yes")
	e.run("ml", "job", "archive", "-n", "quick")
	same("jobs", names("ml", "job", "list"), "slow")
	same("archived jobs", names("ml", "job", "list", "--archived-only"), "quick")
	same("jobs by tag", names("ml", "job", "list", "--tag", "kept"), "slow")

	// top, in a pipe
	text := e.run("top")
	if !strings.Contains(text, "cpu-cluster") || !strings.Contains(text, "0 jobs waiting, 0 running") || strings.Contains(text, "\x1b") {
		t.Errorf("top: %q", text)
	}
	var view struct {
		Clusters []asset
		Nodes    []struct{ State string }
	}
	if err := json.Unmarshal([]byte(e.run("top", "--output", "json")), &view); err != nil || len(view.Clusters) != 1 || len(view.Nodes) == 0 {
		t.Errorf("top as JSON: %+v, %v", view, err)
	}

	// completion
	if text := e.run("__complete", "ml", "data", "show", "-n", "ta"); !strings.HasPrefix(text, "table\n") {
		t.Errorf("completion: %q", text)
	}

	// wrong calls
	e.fails(1, "paht", "ml", "data", "create", "-f", file("bad.yml"))
	e.fails(1, "no file or directory", "ml", "data", "create", "-n", "x", "--path", file("none.csv"), "--type", "uri_file")
	e.fails(1, "there is no version \"9\" of data \"table\"", "ml", "data", "show", "-n", "table", "-v", "9")
	e.fails(1, "there is no data \"none\"", "ml", "data", "show", "-n", "none")
	e.fails(2, "two jobs or more", "ml", "job", "compare", "slow")
	e.fails(1, "there is no job \"none\"", "ml", "job", "compare", "slow", "none")
	e.fails(2, "cannot be changed", "ml", "data", "update", "-n", "table", "-v", "1", "--set", "path=x")
	e.fails(2, "give a file", "ml", "model", "create")
}

// mlflowLog logs a metric and a param as MLflow's clients do.
const mlflowLog = `
import json, os, sys, urllib.request
def post(op, **body):
    request = urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/" + op, data=json.dumps(dict(body, run_id=os.environ["MLFLOW_RUN_ID"])).encode(),
        headers={"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"})
    urllib.request.urlopen(request).read()
post("runs/log-parameter", key="kind", value="net")
for step in range(2):
    post("runs/log-metric", key="accuracy", value=float(sys.argv[1]) * (step + 1), timestamp=step, step=step)
`
