package test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestWorkspaceRecovery deletes a workspace of a server that keeps deleted ones, and
// recovers it: its assets and the job that had ended are there again, the cluster and
// the job that was running are not. The clock ends what nobody recovers.
func TestWorkspaceRecovery(t *testing.T) {
	needTerraform(t)
	t.Parallel()
	e := newEnv(t)
	e.serve("--strict")
	text, err := os.ReadFile("testdata/small.tf")
	if err != nil {
		t.Fatal(err)
	}
	e.run("up", write(t, map[string]string{"main.tf": string(text)}))
	w, ctx := e.wire(), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do := func(want int, method, path, body string) string {
		t.Helper()
		a, err := w.do(ctx, w.tokens[forARM], method, armHost+path+"?api-version=2024-04-01", map[string]string{"Content-Type": "application/json"}, body)
		must(err)
		if a.status != want {
			t.Fatalf("%s %s: HTTP %d %s, want %d", method, path, a.status, a.body, want)
		}
		return string(a.body)
	}
	do(201, "PUT", smallWS+"/environments/plain/versions/1", `{"properties":{"image":"library/python:3.12-slim"}}`)
	must(w.submit(ctx, "ended", "echo done"))
	must(w.submit(ctx, "endless", "sleep 600"))
	for status := ""; status != "Completed"; {
		status, err = w.jobStatus(ctx, "ended")
		must(err)
	}
	was := do(200, "GET", smallWS+"/jobs/ended", "")

	do(200, "DELETE", smallWS, "")
	do(404, "GET", smallWS+"/jobs/ended", "")
	refusal := do(400, "PUT", smallWS, `{"location":"westeurope","properties":{}}`)
	if !strings.Contains(refusal, "Soft-deleted workspace exists. Please purge or recover it.") {
		t.Errorf("refusal: %s", refusal)
	}
	const recoverIt = `{"location":"westeurope","properties":{"allowRecoverSoftDeletedWorkspace":"True"}}`
	do(200, "PUT", smallWS, recoverIt)
	if is := do(200, "GET", smallWS+"/jobs/ended", ""); is != was {
		t.Errorf("the job that had ended:\n%s\nwas\n%s", is, was)
	}
	do(200, "GET", smallWS+"/environments/plain/versions/1", "")
	do(200, "GET", smallWS+"/datastores/workspaceblobstore", "")
	do(404, "GET", smallWS+"/jobs/endless", "")
	do(404, "GET", smallWS+"/computes/cpu-cluster", "")
	if runs := e.run("ml", "job", "list"); !strings.Contains(runs, "ended") || strings.Contains(runs, "endless") {
		t.Errorf("jobs: %s", runs)
	}

	// nobody recovers it: the name is free, and nothing of it is left
	do(200, "DELETE", smallWS, "")
	e.run("clock", "advance", "337h")
	a, err := w.do(ctx, e.wire().tokens[forARM], http.MethodPut, armHost+smallWS+"?api-version=2024-04-01", map[string]string{"Content-Type": "application/json"},
		`{"location":"westeurope","identity":{"type":"SystemAssigned"},"properties":{"storageAccount":"`+smallAccount+`","keyVault":"`+smallVault+`"}}`)
	must(err)
	if a.status != http.StatusOK {
		t.Fatalf("a new workspace of the name: HTTP %d %s", a.status, a.body)
	}
	if list := e.run("ml", "job", "list"); strings.Contains(list, "ended") {
		t.Errorf("jobs of a workspace that is over: %s", list)
	}
}
