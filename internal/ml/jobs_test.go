package ml_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func TestJobIsQueuedAndShown(t *testing.T) {
	h := newHarness(t)
	r := h.submit("Train_1", "tags", map[string]any{"team": "a"}, "outputs.model", map[string]any{"jobOutputType": "uri_folder"},
		"inputs.rate", map[string]any{"jobInputType": "literal", "value": "0.5"}, "command", "echo ${{inputs.rate}} ${{outputs.model}}", "custom", map[string]any{"kept": true})
	p := r.Body.Object("properties")
	for path, want := range map[string]any{
		"status": "Queued", "displayName": "Train_1", "experimentName": "iris", "jobType": "Command", "isArchived": false,
		"resources.instanceCount": 1.0, "identity.identityType": "AMLToken", "parameters.rate": "0.5", "custom.kept": true,
		"outputs.model.uri":        "azureml://datastores/workspaceblobstore/paths/azureml/Train_1/model/",
		"outputs.default.uri":      "azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.Train_1",
		"services.Studio.endpoint": "https://ml.azure.com/runs/Train_1?wsid=" + wsID,
	} {
		if got := p.Get(path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if s := p.String("services.Tracking.endpoint"); !strings.HasPrefix(s, "azureml://eastus.api.azureml.ms/mlflow/v1.0/subscriptions/") {
		t.Errorf("tracking endpoint is %q", s)
	}
	if r.Body.String("systemData.createdBy") != "app-owner" {
		t.Errorf("system data is %v", r.Body.Get("systemData"))
	}
	if got := h.Want(200, "GET", h.jobID("Train_1"), nil).Body.String("properties.queueingInfo.message"); got == "" {
		t.Error("nothing says why the job waits")
	}
	// the run is there from the start
	res := h.data(rptest.Owner, "GET", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/get?run_id=Train_1", nil)
	if res.Status != 200 || res.Body.String("run.info.status") != "SCHEDULED" {
		t.Errorf("run is %d %s", res.Status, res.Raw)
	}
}

func TestJobRefusals(t *testing.T) {
	h := newHarness(t)
	h.Want(201, "PUT", wsID+"/computes/ci", map[string]any{"location": region, "properties": map[string]any{"computeType": "ComputeInstance"}})
	in := func(kind, uri string) map[string]any { return map[string]any{"jobInputType": kind, "uri": uri} }
	for _, c := range []struct {
		name    string
		status  int
		code    string
		text    string
		changes []any
	}{
		{"j", 400, "UserError", "'command' is missing", []any{"command", nil}},
		{"j", 400, "UserError", "'environmentId' is missing", []any{"environmentId", nil}},
		{"j", 400, "UserError", "'jobType' is missing", []any{"jobType", nil}},
		{"j", 501, "NotImplementedByAzimuth", "jobs of type 'AutoML'", []any{"jobType", "AutoML"}},
		{"j", 501, "NotImplementedByAzimuth", "job tier 'Premium'", []any{"computeId", nil, "queueSettings.jobTier", "Premium"}},
		{"j", 400, "VMSizeNotSupported", "Standard_Nope", []any{"computeId", nil, "resources.instanceType", "Standard_Nope"}},
		{"j", 400, "UserError", "takes user-assigned identities, has none", []any{"computeId", "serverless", "identity.identityType", "Managed"}},
		{"j", 400, "UserError", "client ID 'nope'", []any{"identity", map[string]any{"identityType": "Managed", "clientId": "nope"}}},
		{"j", 501, "NotImplementedByAzimuth", "submitter's own machine", []any{"resources.properties.IsLocal", map[string]any{"IsLocal": true}}},
		{"j", 501, "NotImplementedByAzimuth", "compute instance", []any{"computeId", wsID + "/computes/ci"}},
		{"j", 400, "UserError", "'nope' is not in the workspace", []any{"computeId", wsID + "/computes/nope"}},
		{"j", 400, "UserError", "not the resource ID", []any{"computeId", "cpu-cluster"}},
		{"j", 400, "UserError", "not in the job's workspace", []any{"computeId", strings.Replace(clusterID, "ws-One", "other", 1)}},
		{"j", 400, "UserError", "has at most 3", []any{"resources.instanceCount", 4}},
		{"j", 400, "UserError", "at least 1", []any{"resources.instanceCount", 0}},
		{"j", 400, "UserError", "ISO 8601", []any{"limits", map[string]any{"jobLimitsType": "Command", "timeout": "5 minutes"}}},
		{"j", 400, "UserError", "ISO 8601", []any{"limits.timeout", "PT0S"}},
		{"j", 400, "UserError", "code version 'ws-One/x/1' was not found", []any{"codeId", wsID + "/codes/x/versions/1"}},
		{"j", 400, "UserError", "environment version", []any{"environmentId", wsID + "/environments/nope/versions/1"}},
		{"j", 400, "UserError", "environment version", []any{"environmentId", wsID + "/environments/plain/versions/2"}},
		{"j", 400, "UserError", "environment version", []any{"environmentId", "azureml:nope:1"}},
		{"j", 400, "UserError", "not found", []any{"environmentId", "azureml:nope@latest"}},
		{"j", 400, "UserError", "not the resource ID", []any{"environmentId", "azureml:x@y:z"}},
		{"j", 400, "UserError", "not known to Azimuth", []any{"environmentId", "azureml://registries/azureml/environments/nope/labels/latest"}},
		{"j", 400, "UserError", "names no input or output", []any{"command", "echo ${{inputs.x}}"}},
		{"j", 400, "UserError", "has no uri", []any{"inputs.d", in("uri_file", "")}},
		{"j", 400, "UserError", "unknown", []any{"inputs.d", in("magic", "x")}},
		{"j", 400, "UserError", "datastore 'nope'", []any{"inputs.d", in("uri_file", "azureml://datastores/nope/paths/x")}},
		{"j", 400, "UserError", "was not found", []any{"inputs.d", in("uri_file", "azureml:iris:1")}},
		{"j", 501, "NotImplementedByAzimuth", "data from 'example.com'", []any{"inputs.d", in("uri_file", "https://example.com/x")}},
		{"j", 400, "UserError", "is invalid", []any{"inputs.a-b", in("uri_file", "x")}},
		{"j", 400, "UserError", "must be in a datastore", []any{"outputs.o", map[string]any{"jobOutputType": "uri_folder", "uri": "https://stdefault.blob.core.windows.net/c/x"}}},
		{"j", 501, "NotImplementedByAzimuth", "services of type 'JupyterLab'", []any{"services.lab", map[string]any{"jobServiceType": "JupyterLab"}}},
		{"j", 501, "NotImplementedByAzimuth", "the distribution 'Ray'", []any{"distribution.distributionType", "Ray"}},
		{"j", 400, "UserError", "whole number", []any{"queueSettings.priority", "high"}},
		{"j", 400, "UserError", "whole number", []any{"resources.instanceCount", "2"}},
		{"j", 400, "UserError", "whole number", []any{"resources.instanceCount", 1.5}},
		{"j", 400, "UserError", "at most 4096", []any{"distribution", map[string]any{"distributionType": "PyTorch", "processCountPerInstance": 5000}}},
		{"j", 400, "UserError", "at most 100", []any{"distribution.distributionType", "Mpi", "resources.instanceCount", 101}},
		{"j", 400, "UserError", "do not fit its 1 nodes", []any{"distribution", map[string]any{"distributionType": "TensorFlow", "workerCount": 2}}},
		{"j", 400, "UserError", "identity type", []any{"identity.identityType", "Magic"}},
		{"j", 400, "UserError", "not a string", []any{"tags.n", 1}},
		{"-j", 400, "UserError", "job name", nil},
		{strings.Repeat("x", 256), 400, "UserError", "job name", nil},
	} {
		r := h.Do("PUT", h.jobID(c.name), job(c.changes...))
		if r.Status != c.status || r.Code() != c.code || !strings.Contains(r.Message(), c.text) {
			t.Errorf("%v = %d %s, want %d %s with %q", c.changes, r.Status, r.Raw, c.status, c.code, c.text)
		}
	}
	if r := h.Want(200, "GET", wsID+"/jobs", nil); len(r.Names()) != 0 {
		t.Errorf("refused jobs are listed: %v", r.Names())
	}
	// nothing that was looked for in vain came into being
	if r := h.Want(200, "GET", wsID+"/environments?listViewType=All", nil); !slices.Equal(r.Names(), []string{"plain"}) {
		t.Errorf("environments are %v", r.Names())
	}
}

func TestJobUpdates(t *testing.T) {
	h := newHarness(t)
	created := h.submit("j1", "limits", map[string]any{"jobLimitsType": "Command", "timeout": "PT3600S"})
	// clients send back what they read, read-only parts included
	body := created.Body.Clone()
	body.Set("properties.displayName", "new name")
	body.Set("properties.tags", map[string]any{"a": "b"})
	body.Set("properties.limits.timeout", "PT1H")
	body.Set("properties.properties.extra", "1")
	body.Set("properties.isArchived", true)
	r := h.Want(200, "PUT", h.jobID("J1"), body)
	for path, want := range map[string]any{"displayName": "new name", "tags.a": "b", "isArchived": true, "properties.extra": "1", "command": "echo hello"} {
		if got := r.Body.Get("properties." + path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	for _, c := range []struct {
		path, text string
		v          any
	}{
		{"command", "'command' is immutable", "echo other"},
		{"computeId", "'computeId' is immutable", clusterID + "x"},
		{"resources.instanceCount", "'resources' is immutable", 2},
		{"limits.timeout", "'limits' is immutable", "PT2H"},
		{"properties.extra", "cannot be changed", "2"},
		{"experimentName", "immutable", "other"},
	} {
		body := created.Body.Clone()
		body.Set("properties."+c.path, c.v)
		if r := h.Do("PUT", h.jobID("j1"), body); r.Status != 400 || !strings.Contains(r.Message(), c.text) {
			t.Errorf("changing %s = %d %s", c.path, r.Status, r.Raw)
		}
	}
	if got := h.data(rptest.Owner, "GET", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/get?run_id=j1", nil).Body.String("run.info.run_name"); got != "new name" {
		t.Errorf("the run is called %q", got)
	}
}

func TestListJobs(t *testing.T) {
	h := newHarness(t)
	for i := range 5 {
		h.Clock.Step(1e9)
		changes := []any{}
		if i%2 == 0 {
			changes = []any{"tags", map[string]any{"even": "yes"}}
		}
		h.submit(fmt.Sprintf("job%d", i), changes...)
	}
	body := job("isArchived", true)
	h.Want(200, "PUT", h.jobID("job3"), body)
	list := func(query string) []string {
		t.Helper()
		var names []string
		path := wsID + "/jobs" + query
		for path != "" {
			r := h.Want(200, "GET", path, nil)
			names = append(names, r.Names()...)
			path = r.Body.String("nextLink")
		}
		return names
	}
	for query, want := range map[string]string{
		"":                                 "job4 job2 job1 job0",
		"?$top=2":                          "job4 job2 job1 job0",
		"?listViewType=ArchivedOnly":       "job3",
		"?listViewType=All&$top=1":         "job4 job3 job2 job1 job0",
		"?tag=even":                        "job4 job2 job0",
		"?tag=odd":                         "",
		"?jobType=Command&tag=even&$top=2": "job4 job2 job0",
		"?jobType=Sweep":                   "",
	} {
		if got := strings.Join(list(query), " "); got != want {
			t.Errorf("list %s = %s, want %s", query, got, want)
		}
	}
	h.Refused(400, "UserError", "listViewType", "GET", wsID+"/jobs?listViewType=Some", nil)
	h.Refused(501, "NotImplementedByAzimuth", "scheduled", "GET", wsID+"/jobs?scheduled=true", nil)
}

func TestCancelAndDelete(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	h.Refused(409, "Conflict", "Cancel it", "DELETE", h.jobID("j1"), nil)
	r := h.Want(202, "POST", h.jobID("j1")+"/cancel", nil)
	at := r.Header.Get("Location")
	if !strings.HasPrefix(at, "https://management.azure.com/") {
		t.Fatalf("Location is %q", at)
	}
	if got := h.status("j1"); got != "CancelRequested" {
		t.Errorf("status is %s", got)
	}
	h.Want(202, "GET", at, nil)
	h.finish("j1", 1, canceled())
	h.Want(200, "GET", at, nil)
	h.Want(200, "POST", h.jobID("j1")+"/cancel", nil)
	if r := h.As(rptest.Guest, "POST", h.jobID("j1")+"/cancel", nil); r.Status != 403 {
		t.Errorf("a guest's cancel is answered %d", r.Status)
	}
	if r := h.As(rptest.Guest, "GET", at, nil); r.Status != 403 {
		t.Errorf("a guest's look at a cancellation is answered %d", r.Status)
	}
	h.Want(200, "DELETE", h.jobID("j1"), nil)
	h.Want(404, "GET", h.jobID("j1"), nil)
	if r := h.data(rptest.Owner, "GET", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/get?run_id=j1", nil); r.Status != 404 {
		t.Errorf("the run of a deleted job is answered %d", r.Status)
	}
	// the name is free again, and the new job is another one
	h.submit("j1")
	if got := h.status("j1"); got != "Queued" {
		t.Errorf("status is %s", got)
	}
	h.Want(404, "POST", h.jobID("nope")+"/cancel", nil)
}

func TestWorkspaceDeletionEndsItsJobs(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	item := h.item("j1", 1)
	old := h.Want(200, "GET", wsID+"/datastores/workspaceblobstore", nil)
	h.Want(200, "DELETE", wsID, nil)
	h.Want(404, "GET", h.jobID("j1"), nil)
	if _, err := h.ML.Prepare(t.Context(), item, h.nodes(1)); err == nil {
		t.Error("a job of a deleted workspace is prepared")
	}
	if err := h.ML.Started(t.Context(), item, nil); err == nil {
		t.Log("started is ignored")
	}
	for range 2 {
		if err := h.ML.Finished(t.Context(), item, canceled()); err != nil {
			t.Fatal(err)
		}
	}
	h.Want(201, "PUT", wsID, map[string]any{"location": region, "properties": map[string]any{"storageAccount": accountID, "workspaceId": wsGUID}})
	if r := h.Want(200, "GET", wsID+"/jobs?listViewType=All", nil); len(r.Names()) != 0 {
		t.Errorf("jobs of the old workspace: %v", r.Names())
	}
	r := h.data(rptest.Owner, "POST", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/experiments/search", map[string]any{})
	if r.Status != 200 || len(r.Body.List("experiments")) != 0 {
		t.Errorf("experiments of the new workspace: %d %s", r.Status, r.Raw)
	}
	if old.Body.String("properties.containerName") != "azureml-blobstore-"+wsGUID {
		t.Errorf("container is %s", old.Body.String("properties.containerName"))
	}
}

func TestJobPermissions(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	for _, c := range []struct{ method, path string }{
		{"GET", h.jobID("j1")}, {"PUT", h.jobID("j2")}, {"GET", wsID + "/jobs"}, {"POST", wsID + "/codes/c/versions/1/startPendingUpload"},
		{"POST", wsID + "/datastores/workspaceblobstore/listSecrets"},
	} {
		var body any
		if c.method == "PUT" {
			body = job()
		}
		if r := h.As(rptest.Guest, c.method, c.path, body); r.Status != 403 || r.Code() != "AuthorizationFailed" {
			t.Errorf("%s %s as a guest = %d %s", c.method, c.path, r.Status, r.Raw)
		}
	}
}

func docs(r *rptest.Result) []arm.Doc {
	var out []arm.Doc
	for _, v := range r.Body.List("value") {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
