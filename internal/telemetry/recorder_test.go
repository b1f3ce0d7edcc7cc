package telemetry

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func TestWhatJobsAndNodesTell(t *testing.T) {
	e := newEnv(t)
	cluster := mlID + "/computes/cpu"
	err := e.store.Update(t.Context(), func(tx store.Tx) error {
		for i, status := range []string{"Queued", "Running", "Failed"} {
			job := JobEvent{Workspace: mlID, Name: "j1", Experiment: "exp", Status: status, Compute: cluster, User: "me", Terminal: status == "Failed",
				At: start.Add(time.Duration(i) * time.Minute), Created: start}
			if i > 0 {
				job.Started = start.Add(time.Minute)
			}
			if job.Terminal {
				job.Ended, job.ErrorCode, job.ErrorMessage = job.At, "UserError", "exit 1"
			}
			if err := e.Job(tx, job); err != nil {
				return err
			}
		}
		if err := e.Job(tx, JobEvent{Workspace: "/subscriptions/s/other", Name: "j2", Status: "Queued", At: start}); err != nil {
			return err
		}
		return e.Node(tx, NodeEvent{Cluster: cluster, Node: "n1", Event: "ready", State: "idle", VMSize: "S", At: start, Booted: start})
	})
	if err != nil {
		t.Fatal(err)
	}
	// what a transaction that fails has told, nobody is told
	if err := e.store.Update(t.Context(), func(tx store.Tx) error {
		if err := e.Job(tx, JobEvent{Workspace: mlID, Name: "never", Status: "Queued", At: start}); err != nil {
			return err
		}
		return context.Canceled
	}); err == nil {
		t.Fatal("the transaction went well")
	}
	for range 2 {
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if rows := e.workspaceRows("AmlRunStatusChangedEvent"); len(rows) != 3 || rows[2]["Status"] != "Failed" || rows[2]["Message"] != "Job j1 is Failed: exit 1" ||
		rows[2]["Level"] != "Error" || rows[2]["DurationMs"] != "120000" || rows[0]["_ResourceId"] != strings.ToLower(mlID) {
		t.Errorf("runs: %v", rows)
	}
	if rows := e.workspaceRows("AmlComputeJobEvent"); len(rows) != 3 || rows[0]["EventType"] != "JobSubmitted" || rows[2]["EventType"] != "JobFailed" || rows[2]["ClusterName"] != "cpu" ||
		rows[2]["JobErrorMessage"] != "exit 1" || rows[2]["ResourceGroupName"] != "rg" || rows[2]["WorkspaceName"] != "mlw" {
		t.Errorf("jobs: %v", rows)
	}
	if rows := e.workspaceRows("AmlComputeClusterNodeEvent"); len(rows) != 1 || rows[0]["OperationName"] != "NodeReady" || rows[0]["NodeId"] != "n1" {
		t.Errorf("nodes: %v", rows)
	}
	if rows := e.rows(keyTwo, "requests"); len(rows) != 1 || rows[0]["name"] != "exp" || rows[0]["success"] != "False" || rows[0]["duration"] != "60000" ||
		rows[0]["operation_Id"] != "j1" || rows[0]["cloud_RoleName"] != "cpu" {
		t.Errorf("requests: %v", rows)
	}
	if rows := e.rows(keyTri, "traces"); len(rows) != 0 {
		t.Errorf("another component of the workspace: %v", rows)
	}
	if rows := e.rows(keyTwo, "traces"); len(rows) != 3 {
		t.Errorf("traces: %v", rows)
	}
}

func TestActivityLog(t *testing.T) {
	e := newEnv(t)
	for i := range 5 {
		e.Activity(ActivityEvent{At: start.Add(time.Duration(i) * time.Hour), Method: "PUT", ResourceID: "/subscriptions/s/resourceGroups/rg/providers/Microsoft.X/ys/y",
			Operation: "Microsoft.X/ys/write", Status: 200 + i*50, Code: "Conflict", Caller: fmt.Sprintf("me%d", i%2), ObjectID: "o", CorrelationID: "c"})
	}
	all, err := e.Activities(t.Context(), ActivityFilter{ResourceGroup: "RG", Caller: "me0", From: start.Add(time.Hour), To: start.Add(4 * time.Hour)})
	if err != nil || len(all) != 2 {
		t.Fatalf("%v %v", all, err)
	}
	if a := all[0]; a.At != start.Add(4*time.Hour) || a.Status != 400 || a.Level != "Error" || a.Method != "PUT" || a.ObjectID != "o" || a.ID == "" {
		t.Errorf("%+v", a)
	}
	rows := e.workspaceRows("AzureActivity")
	if len(rows) != 5 || rows[0]["OperationNameValue"] != "MICROSOFT.X/YS/WRITE" || rows[0]["ActivityStatusValue"] != "Success" || rows[4]["ActivityStatusValue"] != "Failure" ||
		rows[0]["_ResourceId"] != "/subscriptions/s/resourcegroups/rg/providers/microsoft.x/ys/y" || rows[0]["ResourceGroup"] != "rg" {
		t.Errorf("%v", rows)
	}
	// more than fits is lost, and nothing waits
	for range maxActivity + 10 {
		e.Activity(ActivityEvent{At: start, ResourceID: "/x", Operation: "o"})
	}
	e.clock.Step(91 * 24 * time.Hour)
	if all, err := e.Activities(t.Context(), ActivityFilter{To: start.Add(5 * time.Hour)}); err != nil || len(all) > maxActivity {
		t.Errorf("%d %v", len(all), err)
	}
}
