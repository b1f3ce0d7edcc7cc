package ml_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDiscovery(t *testing.T) {
	h := newHarness(t)
	r := h.data("", "GET", "/discovery", nil) // azure-ai-ml asks without a token
	if r.Status != 200 || r.Body.String("api") != "https://eastus.api.azureml.ms" || r.Body.String("history") == "" {
		t.Errorf("discovery is %d %s", r.Status, r.Raw)
	}
}

func TestRunHistory(t *testing.T) {
	h := newHarness(t)
	h.submit("j1", "outputs.model", map[string]any{"jobOutputType": "custom_model"}, "outputs.data", map[string]any{"jobOutputType": "uri_folder"})
	s := h.prepare("j1", 1, 1)[0]
	h.started("j1", 1)
	h.write(s.Dir+"/outputs/m.bin", "weights")
	h.finish("j1", 1, completed())
	base := "/history/v1.0" + wsID
	for _, path := range []string{"/runs/j1", "/experiments/iris/runs/j1", "/experimentids/x/runs/j1"} {
		r := h.data(rptest.Owner, "GET", base+path, nil)
		if r.Status != 200 || r.Body.String("runId") != "j1" || r.Body.String("status") != "Completed" || r.Body.String("dataContainerId") != "dcid.j1" ||
			r.Body.String("target") != "cpu-cluster" || r.Body.String("compute.vmSize") != "Standard_DS3_v2" {
			t.Errorf("%s is %d %s", path, r.Status, r.Raw)
		}
	}
	// as azure-ai-ml downloads outputs
	run := h.data(rptest.Owner, "POST", base+"/rundata", map[string]any{"runId": "j1", "selectRunMetadata": true})
	model, data := run.Body.String("runMetadata.outputs.model.assetId"), run.Body.String("runMetadata.outputs.data.assetId")
	if kind := run.Body.String("runMetadata.outputs.data.type"); kind != "UriFolder" { // azure-ai-ml looks for these words
		t.Errorf("type is %q", kind)
	}
	r := h.data(rptest.Owner, "POST", "/data/v1.0"+wsID+"/dataversion/batchGetResolvedUris", map[string]any{"values": []string{data}})
	if got, _ := r.Body.Object("values")[data].(map[string]any); got["uri"] != "azureml://datastores/workspaceblobstore/paths/azureml/j1/data/" {
		t.Errorf("%s is at %s", data, r.Raw)
	}
	r = h.data(rptest.Owner, "POST", "/modelregistry/v1.0"+wsID+"/models/batchGetResolvedUris", map[string]any{"values": []string{model}})
	if got, _ := r.Body.Object("values")[model].(map[string]any); got["path"] != "azureml://datastores/workspaceblobstore/paths/azureml/j1/model/" {
		t.Errorf("%s is at %s", model, r.Raw)
	}
	r = h.data(rptest.Owner, "GET", base+"/experiments/iris/runs/j1/artifacts", nil)
	var paths []string
	for _, a := range docs(r) {
		paths = append(paths, a.String("path"))
	}
	if !slices.Equal(paths, []string{"outputs/m.bin", "user_logs/std_log.txt"}) {
		t.Errorf("artifacts are %v", paths)
	}
	r = h.data(rptest.Owner, "GET", base+"/experiments/iris/runs/j1/artifacts/contentinfo?path=outputs/m.bin", nil)
	if status, text := h.fetch(r.Body.String("contentUri")); status != 200 || text != "weights" {
		t.Errorf("artifact is %d %q", status, text)
	}
	r = h.data(rptest.Owner, "GET", base+"/experiments/iris/runs/j1/artifacts/prefix/contentinfo?path=outputs/", nil)
	if len(docs(r)) != 1 {
		t.Errorf("by prefix: %s", r.Raw)
	}
	for path, want := range map[string]int{
		base + "/experiments/iris/runs/j1/artifacts/metadata?path=nope": 404, base + "/runs/nope": 404, base + "/runs/j1/events": 501,
		base + "/runs/j1/children": 200, base + "/runs/j1/serviceinstances/0": 200, "/nope": 501, "/data/v1.0" + wsID + "/x": 501,
		"/history/v1.0" + strings.Replace(wsID, "ws-One", "nope", 1) + "/runs/j1": 404,
	} {
		if r := h.data(rptest.Owner, "GET", path, nil); r.Status != want || want >= 400 && r.Body.String("error.code") == "" {
			t.Errorf("%s = %d %s, want %d", path, r.Status, r.Raw, want)
		}
	}
	for token, want := range map[string]int{"": 401, rptest.Guest: 403} {
		if r := h.data(token, "GET", base+"/runs/j1", nil); r.Status != want {
			t.Errorf("as %q = %d", token, r.Status)
		}
	}
}

func TestJobTokenReachesItsOwnRunOnly(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	h.submit("j2")
	token := envOf(h.prepare("j1", 1, 1)[0], "MLFLOW_TRACKING_TOKEN")
	api := "/mlflow/v1.0" + wsID + "/api/2.0/mlflow/"
	metric := func(run string) map[string]any {
		return map[string]any{"run_id": run, "key": "a", "value": 1, "timestamp": 1, "step": 0}
	}
	child := h.data(token, "POST", api+"runs/create", map[string]any{"experiment_id": "0"})
	childID := child.Body.String("run.info.run_id")
	for _, c := range []struct {
		method, path string
		body         any
		want         int
	}{
		{"POST", api + "runs/log-metric", metric("j1"), 200},
		{"POST", api + "runs/log-metric", metric("j2"), 403},
		{"POST", api + "runs/log-metric", metric(childID), 200},
		{"GET", api + "runs/get?run_id=j2", nil, 403},
		{"GET", api + "runs/get?run_id=nope", nil, 403},
		{"GET", api + "artifacts/list?run_id=j2", nil, 403},
		{"GET", "/mlflow/v1.0" + wsID + "/api/2.0/mlflow-artifacts/artifacts/ExperimentRun/dcid.j2/x", nil, 403},
		{"GET", "/history/v1.0" + wsID + "/runs/j1", nil, 200},
		{"GET", "/history/v1.0" + wsID + "/runs/j2", nil, 403},
		{"POST", api + "experiments/update", map[string]any{"experiment_id": "0", "new_name": "x"}, 403},
	} {
		if r := h.data(token, c.method, c.path, c.body); r.Status != c.want {
			t.Errorf("%s %s %v = %d %s, want %d", c.method, c.path, c.body, r.Status, r.Raw, c.want)
		}
	}
	if r := h.data(token+"x", "GET", api+"runs/get?run_id=j1", nil); r.Status != 401 || r.Body.String("error_code") != "UNAUTHENTICATED" {
		t.Errorf("a changed token = %d %s", r.Status, r.Raw)
	}
	other := strings.Replace(wsID, "ws-One", "ws-Two", 1)
	h.Want(201, "PUT", other, map[string]any{"location": region, "properties": map[string]any{"storageAccount": accountID, "workspaceId": wsGUID}})
	if r := h.data(token, "GET", "/mlflow/v1.0"+other+"/api/2.0/mlflow/runs/get?run_id=j1", nil); r.Status != 403 {
		t.Errorf("in another workspace = %d", r.Status)
	}
	// the run that a person makes is none that the job sees
	mine := h.data(rptest.Owner, "POST", api+"runs/create", map[string]any{"experiment_id": "0"}).Body.String("run.info.run_id")
	r := h.data(token, "POST", api+"runs/search", map[string]any{"experiment_ids": []string{"0", child.Body.String("run.info.experiment_id")}})
	if strings.Contains(r.Raw, mine) || !strings.Contains(r.Raw, childID) {
		t.Errorf("the job finds %s", r.Raw)
	}
	h.Clock.Step(22 * 24 * time.Hour)
	if r := h.data(token, "GET", api+"runs/get?run_id=j1", nil); r.Status != 401 {
		t.Errorf("after 22 days = %d", r.Status)
	}
}

func TestArtifactsThroughMLflow(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	h.putBlob("azureml", "ExperimentRun/dcid.j1/outputs/a/b.txt", "bee")
	h.putBlob("azureml", "ExperimentRun/dcid.j1/outputs/a.txt", "a")
	h.putBlob("azureml", "ExperimentRun/dcid.j1/outputs/c.txt", "sea")
	api := "/mlflow/v1.0" + wsID + "/api/2.0/"
	list := func(path string) string {
		t.Helper()
		r := h.data(rptest.Owner, "GET", api+path, nil)
		var out []string
		for _, v := range r.Body.List("files") {
			f := arm.Doc(v.(map[string]any))
			out = append(out, fmt.Sprintf("%s:%t:%d", f.String("path"), f.Bool("is_dir", false), f.Int("file_size", 0)))
		}
		return strings.Join(out, " ")
	}
	for path, want := range map[string]string{
		"mlflow/artifacts/list?run_id=j1":                                   "outputs:true:0",
		"mlflow/artifacts/list?run_id=j1&path=outputs":                      "outputs/a.txt:false:1 outputs/a:true:0 outputs/c.txt:false:3",
		"mlflow/artifacts/list?run_id=j1&path=outputs/a":                    "outputs/a/b.txt:false:3",
		"mlflow/artifacts/list?run_id=j1&path=nope":                         "",
		"mlflow-artifacts/artifacts?path=ExperimentRun%2Fdcid.j1%2Foutputs": "a.txt:false:1 a:true:0 c.txt:false:3",
	} {
		if got := list(path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	file := api + "mlflow-artifacts/artifacts/ExperimentRun/dcid.j1/new/file.json"
	if r := h.data(rptest.Owner, "PUT", file, map[string]any{"x": 1}); r.Status != 200 {
		t.Fatalf("upload = %d %s", r.Status, r.Raw)
	}
	if r := h.data(rptest.Owner, "GET", file, nil); r.Status != 200 || r.Raw != `{"x":1}` {
		t.Errorf("download = %d %s", r.Status, r.Raw)
	}
	for path, want := range map[string]int{
		"ExperimentRun/dcid.j1/nope": 404, "ExperimentRun/dcid.nope/x": 404, "azureml/other": 403, "ExperimentRun/dcid.j1/%2e%2e/dcid.j2/x": 400,
	} {
		if r := h.data(rptest.Owner, "GET", api+"mlflow-artifacts/artifacts/"+path, nil); r.Status != want {
			t.Errorf("%s = %d %s, want %d", path, r.Status, r.Raw, want)
		}
	}
	if r := h.data(rptest.Guest, "PUT", file, map[string]any{}); r.Status != 403 {
		t.Errorf("a guest's upload = %d", r.Status)
	}
}

func TestRunTokens(t *testing.T) {
	db, err := sqlite.Open(t.Context(), t.TempDir()+"/azimuth.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sealer, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewManual(rptest.Start())
	open := func() (tokens *ml.RunTokens) {
		err := db.Update(t.Context(), func(tx store.Tx) (err error) {
			tokens, err = ml.NewRunTokens(tx, sealer, c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	token, err := open().Issue("job-1", c.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	again := open() // the key is kept
	if id, ok, err := again.Verify(token); id != "job-1" || !ok || err != nil {
		t.Errorf("Verify = %q, %t, %v", id, ok, err)
	}
	parts := strings.Split(token, ".")
	for name, bad := range map[string]string{
		"signature": parts[0] + "." + parts[1] + ".AAAA", "payload": parts[0] + ".e30." + parts[2],
		"none": parts[0] + "." + parts[1] + ".",
	} {
		if _, ok, err := again.Verify(bad); !ok || err == nil {
			t.Errorf("%s: %t, %v", name, ok, err)
		}
	}
	for _, foreign := range []string{"", "x", "eyJhbGciOiJSUzI1NiJ9.e30.x", "a.b.c"} {
		if _, ok, _ := again.Verify(foreign); ok {
			t.Errorf("%q is taken for a job's token", foreign)
		}
	}
	c.Step(time.Hour)
	if _, ok, err := again.Verify(token); !ok || err == nil {
		t.Errorf("expired: %t, %v", ok, err)
	}
}
