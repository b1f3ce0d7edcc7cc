package mlflow_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

const ws = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"

// open lets everybody in who says who they are; a "job:" token is a job's.
type open struct{}

func (open) Enter(r *http.Request, workspaceID string, right mlflow.Right) (mlflow.Session, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return mlflow.Session{}, mlflow.Errorf(401, "UNAUTHENTICATED", "no token")
	}
	if token == "reader" && right != mlflow.ReadRuns {
		return mlflow.Session{}, mlflow.Errorf(403, "PERMISSION_DENIED", "read only")
	}
	s := mlflow.Session{Workspace: "uid-" + workspaceID[strings.LastIndexByte(workspaceID, '/')+1:], WorkspaceID: workspaceID, User: token}
	if job, ok := strings.CutPrefix(token, "job:"); ok {
		s.Run = job
	}
	return s, nil
}

type noFiles struct{}

func (noFiles) List(context.Context, string, string, string, int) ([]mlflow.Artifact, bool, error) {
	return nil, false, nil
}
func (noFiles) Open(context.Context, string, string) (io.ReadCloser, int64, error) {
	return nil, 0, mlflow.Errorf(404, "RESOURCE_DOES_NOT_EXIST", "none")
}
func (noFiles) Put(context.Context, string, string, io.Reader) error { return nil }

type harness struct {
	t     testing.TB
	svc   *mlflow.Service
	store store.Store
	clock *clock.Manual
	url   string
	token string
}

func start(t testing.TB) *harness {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	c := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	svc := mlflow.New(mlflow.Config{Store: db, Clock: c, Access: open{}, Artifacts: noFiles{}})
	srv := httptest.NewServer(svc)
	t.Cleanup(srv.Close)
	return &harness{t: t, svc: svc, store: db, clock: c, url: srv.URL + "/mlflow/v1.0" + ws + "/api/2.0/mlflow/", token: "me"}
}

type doc map[string]any

func (d doc) at(path string) any {
	var v any = map[string]any(d)
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func (d doc) list(path string) []doc {
	l, _ := d.at(path).([]any)
	var out []doc
	for _, v := range l {
		out = append(out, v.(map[string]any))
	}
	return out
}

func (h *harness) call(method, op string, body any) (int, doc) {
	h.t.Helper()
	var b []byte
	switch v := body.(type) {
	case nil:
	case string:
		b = []byte(v)
	default:
		var err error
		if b, err = json.Marshal(v); err != nil {
			h.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+op, bytes.NewReader(b))
	if err != nil {
		h.t.Fatal(err)
	}
	if h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out doc
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		h.t.Fatalf("%s %s: %v", method, op, err)
	}
	return resp.StatusCode, out
}

func (h *harness) ok(method, op string, body any) doc {
	h.t.Helper()
	status, out := h.call(method, op, body)
	if status != 200 {
		h.t.Fatalf("%s %s %v = %d %v", method, op, body, status, out)
	}
	return out
}

func (h *harness) refused(status int, code, text, method, op string, body any) {
	h.t.Helper()
	got, out := h.call(method, op, body)
	if message, _ := out["message"].(string); got != status || out["error_code"] != code || !strings.Contains(message, text) {
		h.t.Errorf("%s %s %v = %d %v, want %d %s with %q", method, op, body, got, out, status, code, text)
	}
}

func (h *harness) newRun(body map[string]any) string {
	h.t.Helper()
	h.clock.Step(time.Second)
	id, _ := h.ok("POST", "runs/create", body).at("run.info.run_id").(string)
	return id
}

func TestExperiments(t *testing.T) {
	h := start(t)
	id := h.ok("POST", "experiments/create", map[string]any{"name": "iris", "tags": []any{map[string]any{"key": "a", "value": "b"}}})["experiment_id"].(string)
	e := h.ok("GET", "experiments/get?experiment_id="+id, nil)
	if e.at("experiment.name") != "iris" || e.at("experiment.lifecycle_stage") != "active" || e.at("experiment.creation_time") != 1.7e12 || e.list("experiment.tags")[0]["value"] != "b" {
		t.Errorf("experiment is %v", e)
	}
	if got := h.ok("GET", "experiments/get-by-name?experiment_name=iris", nil).at("experiment.experiment_id"); got != id {
		t.Errorf("by name it is %v", got)
	}
	h.refused(400, "RESOURCE_ALREADY_EXISTS", "iris", "POST", "experiments/create", map[string]any{"name": "iris"})
	h.refused(400, "INVALID_PARAMETER_VALUE", "name", "POST", "experiments/create", map[string]any{"name": ""})
	h.refused(404, "RESOURCE_DOES_NOT_EXIST", "nope", "GET", "experiments/get?experiment_id=nope", nil)
	h.refused(404, "RESOURCE_DOES_NOT_EXIST", "nope", "GET", "experiments/get-by-name?experiment_name=nope", nil)
	// clients begin with experiment 0
	if got := h.ok("GET", "experiments/get?experiment_id=0", nil).at("experiment.name"); got != "Default" {
		t.Errorf("experiment 0 is %v", got)
	}
	h.clock.Step(time.Second)
	h.ok("POST", "experiments/set-experiment-tag", map[string]any{"experiment_id": id, "key": "team", "value": "x"})
	h.ok("POST", "experiments/update", map[string]any{"experiment_id": id, "new_name": "iris2"})
	for i := range 3 {
		h.clock.Step(time.Second)
		h.ok("POST", "experiments/create", map[string]any{"name": fmt.Sprintf("e%d", i)})
	}
	names := func(body map[string]any) string {
		t.Helper()
		var out []string
		for {
			r := h.ok("POST", "experiments/search", body)
			for _, e := range r.list("experiments") {
				out = append(out, e["name"].(string))
			}
			token, _ := r["next_page_token"].(string)
			if token == "" {
				return strings.Join(out, " ")
			}
			body["page_token"] = token
		}
	}
	for want, body := range map[string]map[string]any{
		"e2 e1 e0 iris2": {"max_results": 1},
		"e1":             {"filter": "name = 'e1'"},
		"e2 e1 e0":       {"filter": "attribute.name LIKE 'e_'", "order_by": []string{"last_update_time DESC"}},
		"iris2":          {"filter": "tags.team = 'x'"},
		"":               {"view_type": "DELETED_ONLY"},
	} {
		if got := names(body); got != want {
			t.Errorf("search %v = %q, want %q", body, got, want)
		}
	}
	if r := h.ok("GET", "experiments/search?max_results=2", nil); len(r.list("experiments")) != 2 {
		t.Errorf("GET finds %v", r)
	}
	h.refused(400, "INVALID_PARAMETER_VALUE", "metrics.x", "POST", "experiments/search", map[string]any{"filter": "metrics.x > 1"})
	h.refused(400, "INVALID_PARAMETER_VALUE", "Invalid attribute", "POST", "experiments/search", map[string]any{"order_by": []string{"size"}})
	var sorted []string
	for token := ""; ; {
		out := h.ok("POST", "experiments/search", map[string]any{"filter": "name LIKE 'e_'", "order_by": []string{"name DESC"}, "max_results": 2, "page_token": token})
		for _, e := range out.list("experiments") {
			sorted = append(sorted, e.at("name").(string))
		}
		if token, _ = out.at("next_page_token").(string); token == "" {
			break
		}
	}
	if strings.Join(sorted, " ") != "e2 e1 e0" {
		t.Errorf("experiments by name, backwards, page by page: %v", sorted)
	}
}

func TestRunFromBeginningToEnd(t *testing.T) {
	h := start(t)
	run := h.newRun(map[string]any{"experiment_id": "0", "start_time": 1234, "run_name": "first", "tags": []any{map[string]any{"key": "k", "value": "v"}}})
	ref := func(kv ...any) map[string]any {
		m := map[string]any{"run_id": run}
		for i := 0; i+1 < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	h.ok("POST", "runs/log-parameter", ref("key", "lr", "value", "0.1"))
	h.ok("POST", "runs/log-parameter", ref("key", "lr", "value", "0.1")) // the same again
	h.refused(400, "INVALID_PARAMETER_VALUE", "Changing param values is not allowed", "POST", "runs/log-parameter", ref("key", "lr", "value", "0.2"))
	for step, v := range []any{0.5, 0.7, "NaN", "Infinity", 0.6} {
		h.ok("POST", "runs/log-metric", ref("key", "acc", "value", v, "timestamp", 1000+step, "step", fmt.Sprint(step)))
	}
	h.ok("POST", "runs/log-metric", ref("key", "acc", "value", 0.1, "timestamp", 9999, "step", 1)) // late, an older step
	h.ok("POST", "runs/log-metric", ref("key", "acc", "value", 0.1, "timestamp", 9999, "step", 1)) // repeated by the client
	h.ok("POST", "runs/log-metric", ref("key", "neg/loss", "value", -1e-300, "timestamp", 1, "step", -5))
	h.ok("POST", "runs/set-tag", ref("key", "k", "value", "w"))
	h.ok("POST", "runs/set-tag", ref("key", "gone", "value", "x"))
	h.ok("POST", "runs/delete-tag", ref("key", "gone"))
	h.refused(404, "RESOURCE_DOES_NOT_EXIST", "gone", "POST", "runs/delete-tag", ref("key", "gone"))
	r := h.ok("GET", "runs/get?run_id="+run, nil)
	for path, want := range map[string]any{
		"run.info.status": "RUNNING", "run.info.run_name": "first", "run.info.start_time": 1234.0, "run.info.user_id": "me", "run.info.run_uuid": run,
		"run.info.artifact_uri": "mlflow-artifacts:/ExperimentRun/dcid." + run, "run.info.lifecycle_stage": "active",
	} {
		if got := r.at(path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if m := r.list("run.data.metrics"); len(m) != 2 || m[0]["value"] != 0.6 || m[0]["step"] != 4.0 || m[1]["value"] != -1e-300 {
		t.Errorf("latest metrics are %v", m)
	}
	if p := r.list("run.data.params"); len(p) != 1 || p[0]["value"] != "0.1" {
		t.Errorf("params are %v", p)
	}
	if tags := fmt.Sprint(r.list("run.data.tags")); tags != "[map[key:k value:w] map[key:mlflow.runName value:first]]" {
		t.Errorf("tags are %s", tags)
	}
	var values []string
	token := ""
	for {
		r := h.ok("GET", "metrics/get-history?run_id="+run+"&metric_key=acc&max_results=2&page_token="+token, nil)
		if len(r.list("metrics")) > 2 {
			t.Errorf("page of %d", len(r.list("metrics")))
		}
		for _, m := range r.list("metrics") {
			values = append(values, fmt.Sprint(m["step"], ":", m["value"]))
		}
		if token, _ = r["next_page_token"].(string); token == "" {
			break
		}
	}
	if got := strings.Join(values, " "); got != "0:0.5 1:0.7 1:0.1 2:NaN 3:Infinity 4:0.6" {
		t.Errorf("history is %s", got)
	}
	if r := h.ok("GET", "metrics/get-history?run_id="+run+"&metric_key=acc", nil); len(r.list("metrics")) != 6 {
		t.Errorf("whole history is %v", r)
	}
	if r := h.ok("POST", "runs/update", ref("status", "FINISHED", "end_time", 5678, "run_name", "renamed")); r.at("run_info.status") != "FINISHED" || r.at("run_info.end_time") != 5678.0 || r.at("run_info.run_name") != "renamed" {
		t.Errorf("updated run is %v", r)
	}
	h.ok("POST", "runs/delete", ref())
	h.refused(400, "INVALID_PARAMETER_VALUE", "must be in the 'active' state", "POST", "runs/set-tag", ref("key", "a", "value", "b"))
	h.ok("POST", "runs/restore", ref())
	h.ok("POST", "runs/set-tag", ref("key", "mlflow.runName", "value", "by tag"))
	if got := h.ok("GET", "runs/get?run_uuid="+run, nil).at("run.info.run_name"); got != "by tag" {
		t.Errorf("run is called %v", got)
	}
}

func TestBatches(t *testing.T) {
	h := start(t)
	run := h.newRun(map[string]any{"experiment_id": "0"})
	metrics := func(n int) []any {
		out := []any{}
		for i := range n {
			out = append(out, map[string]any{"key": "m", "value": i, "timestamp": i, "step": i})
		}
		return out
	}
	pairs := func(n int) []any {
		out := []any{}
		for i := range n {
			out = append(out, map[string]any{"key": fmt.Sprint("k", i), "value": "v"})
		}
		return out
	}
	h.ok("POST", "runs/log-batch", map[string]any{"run_id": run, "metrics": metrics(800), "params": pairs(100), "tags": pairs(100)})
	for text, body := range map[string]map[string]any{
		"at most 1000 metrics. ":                  {"metrics": metrics(1001)},
		"at most 100 params":                      {"params": pairs(101)},
		"at most 100 tags":                        {"tags": pairs(101)},
		"at most 1000 metrics, params, and tags.": {"metrics": metrics(1000), "params": pairs(1)},
		"exceeded length limit of 250":            {"params": []any{map[string]any{"key": strings.Repeat("x", 251), "value": ""}}},
		"exceeded length limit of 6000":           {"params": []any{map[string]any{"key": "x", "value": strings.Repeat("x", 6001)}}},
		"Duplicate parameter keys":                {"params": []any{map[string]any{"key": "x", "value": "1"}, map[string]any{"key": "x", "value": "2"}}},
		"control character":                       {"metrics": []any{map[string]any{"key": "a\x00b", "value": 1}}},
		"must not resolve to other names":         {"tags": []any{map[string]any{"key": "../x", "value": "1"}}},
		"Missing value":                           {"tags": []any{map[string]any{"value": "1"}}},
		"is not a whole number":                   {"metrics": []any{map[string]any{"key": "a", "value": 1, "step": 1.5}}},
		"is not a number":                         {"metrics": []any{map[string]any{"key": "a", "value": "high"}}},
	} {
		body["run_id"] = run
		h.refused(400, "INVALID_PARAMETER_VALUE", text, "POST", "runs/log-batch", body)
	}
	// all or nothing
	h.refused(400, "INVALID_PARAMETER_VALUE", "Changing param", "POST", "runs/log-batch", map[string]any{
		"run_id": run, "params": []any{map[string]any{"key": "new", "value": "1"}, map[string]any{"key": "k0", "value": "other"}}, "tags": []any{map[string]any{"key": "t", "value": "1"}},
	})
	r := h.ok("GET", "runs/get?run_id="+run, nil)
	if len(r.list("run.data.params")) != 100 || len(r.list("run.data.tags")) != 101 || r.list("run.data.metrics")[0]["value"] != 799.0 {
		t.Errorf("run has %d params, %d tags, %v", len(r.list("run.data.params")), len(r.list("run.data.tags")), r.list("run.data.metrics"))
	}
}

func TestSearchRuns(t *testing.T) {
	h := start(t)
	exp := h.ok("POST", "experiments/create", map[string]any{"name": "e"})["experiment_id"].(string)
	other := h.ok("POST", "experiments/create", map[string]any{"name": "f"})["experiment_id"].(string)
	byID := map[string]string{}
	for i := range 6 {
		e := exp
		if i == 5 {
			e = other
		}
		name := fmt.Sprintf("r%d", i)
		run := h.newRun(map[string]any{"experiment_id": e, "run_name": name})
		byID[run] = name
		batch := map[string]any{"run_id": run, "params": []any{map[string]any{"key": "batch size", "value": fmt.Sprint(i % 2)}}, "tags": []any{map[string]any{"key": "mlflow.source.type", "value": "JOB"}}}
		if i != 3 {
			batch["metrics"] = []any{map[string]any{"key": "acc", "value": float64(i*7%5) / 10, "timestamp": 1, "step": 1}}
		}
		h.ok("POST", "runs/log-batch", batch)
		if i == 4 {
			h.ok("POST", "runs/update", map[string]any{"run_id": run, "status": "FAILED"})
		}
		if i == 0 {
			h.ok("POST", "runs/delete", map[string]any{"run_id": run})
		}
	}
	search := func(body map[string]any) string {
		t.Helper()
		if body["experiment_ids"] == nil {
			body["experiment_ids"] = []string{exp}
		}
		var out []string
		for {
			r := h.ok("POST", "runs/search", body)
			for _, r := range r.list("runs") {
				out = append(out, byID[r.at("info.run_id").(string)])
			}
			token, _ := r["next_page_token"].(string)
			if token == "" {
				return strings.Join(out, " ")
			}
			body["page_token"] = token
		}
	}
	// accuracies: r1 .2, r2 .4, r3 none, r4 .3, r5 0
	for _, c := range []struct {
		want string
		body map[string]any
	}{
		{"r4 r3 r2 r1", map[string]any{}},
		{"r4 r3 r2 r1", map[string]any{"max_results": 1}},
		{"r2 r4 r1 r3", map[string]any{"order_by": []string{"metrics.acc DESC"}, "max_results": 3}},
		{"r1 r4 r2 r3", map[string]any{"order_by": []string{"metrics.`acc` ASC"}}},
		{"r1 r2 r3 r4", map[string]any{"order_by": []string{"attributes.start_time"}}},
		{"r5 r4 r3 r2 r1", map[string]any{"experiment_ids": []string{exp, other}}},
		{"r2 r4", map[string]any{"filter": "metrics.acc > 0.2 AND tags.mlflow.source.type = 'JOB'"}},
		{"r3 r1", map[string]any{"filter": `params."batch size" = "1"`}},
		{"r4", map[string]any{"filter": "attributes.status IN ('FAILED', 'KILLED')"}},
		{"r3 r2 r1", map[string]any{"filter": "status != 'FAILED'"}},
		{"r2", map[string]any{"filter": "attribute.run_name ILIKE 'R_' and metric.acc >= 0.4"}},
		{"r0", map[string]any{"run_view_type": "DELETED_ONLY"}},
		{"r4 r3 r2 r1 r0", map[string]any{"run_view_type": "ALL"}},
		{"", map[string]any{"experiment_ids": []string{"nope"}}},
		{"", map[string]any{"filter": "tags.x LIKE '%'"}},
	} {
		got := search(c.body)
		if c.body["filter"] == "metrics.acc > 0.2 AND tags.mlflow.source.type = 'JOB'" {
			c.want = "r4 r2"
		}
		if got != c.want {
			t.Errorf("search %v = %q, want %q", c.body, got, c.want)
		}
	}
	for filter, text := range map[string]string{
		"metrics.acc ~ 1": "'~'", "metrics.acc > 'x'": "numeric", "params.a > 1": "quoted string", "foo.bar = 'x'": "'foo'",
		"metrics.acc > 1 OR metrics.acc < 0": "OR", "attributes.nope = 'x'": "nope", "metrics.acc >": "expected a quoted string or a number",
		"tags.a = 'x": "not closed", "tags.a IN ('x'": "not closed", "tags.a": "nothing follows", "metrics.a = 1.2.3": "not a number",
	} {
		h.ok("POST", "runs/set-tag", map[string]any{"run_id": firstKey(byID, "r1"), "key": "a", "value": "x"})
		h.ok("POST", "runs/log-parameter", map[string]any{"run_id": firstKey(byID, "r1"), "key": "a", "value": "x"})
		h.refused(400, "INVALID_PARAMETER_VALUE", text, "POST", "runs/search", map[string]any{"experiment_ids": []string{exp}, "filter": filter})
	}
	h.refused(400, "INVALID_PARAMETER_VALUE", "order_by", "POST", "runs/search", map[string]any{"order_by": []string{"metrics.a SIDEWAYS"}})
	h.refused(400, "INVALID_PARAMETER_VALUE", "max_results", "POST", "runs/search", map[string]any{"max_results": 50001})
}

func firstKey(m map[string]string, v string) string {
	for k, x := range m {
		if x == v {
			return k
		}
	}
	return ""
}

func TestInputs(t *testing.T) {
	h := start(t)
	run := h.ok("POST", "runs/create", map[string]any{}).at("run.info.run_id").(string)
	set := func(name, digest, context string) map[string]any {
		return map[string]any{
			"dataset": map[string]any{"name": name, "digest": digest, "source_type": "local", "source": "{}", "schema": "{}"},
			"tags":    []map[string]any{{"key": "mlflow.data.context", "value": context}},
		}
	}
	h.ok("POST", "runs/log-inputs", map[string]any{"run_id": run, "datasets": []any{set("iris", "d1", "train"), set("iris", "d2", "eval")}})
	h.ok("POST", "runs/log-inputs", map[string]any{"run_id": run, "datasets": []any{set("iris", "d1", "again")}})
	got := map[string]string{}
	for _, in := range h.ok("GET", "runs/get?run_id="+run, nil).list("run.inputs.dataset_inputs") {
		got[in.at("dataset.digest").(string)] = in.list("tags")[0].at("value").(string)
	}
	if len(got) != 2 || got["d1"] != "train" || got["d2"] != "eval" {
		t.Errorf("inputs: %v", got)
	}
	h.refused(400, "INVALID_PARAMETER_VALUE", "digest", "POST", "runs/log-inputs", map[string]any{"run_id": run, "datasets": []any{set("iris", "", "x")}})
	h.refused(400, "INVALID_PARAMETER_VALUE", "length limit", "POST", "runs/log-inputs", map[string]any{"run_id": run, "datasets": []any{set("iris", strings.Repeat("d", 37), "x")}})
	h.refused(404, "RESOURCE_DOES_NOT_EXIST", "not found", "POST", "runs/log-inputs", map[string]any{"run_id": "none", "datasets": []any{set("a", "b", "c")}})
	h.url = strings.TrimSuffix(h.url, "mlflow/") + "mlflow-artifacts/"
	if r := h.ok("GET", "artifacts?path=ExperimentRun/dcid."+run, nil); r.at("files") == nil {
		t.Errorf("a directory with nothing in it has no list: %v", r)
	}
}

func TestDeleteExperiment(t *testing.T) {
	h := start(t)
	id := h.ok("POST", "experiments/create", map[string]any{"name": "e"}).at("experiment_id")
	h.ok("POST", "experiments/delete", map[string]any{"experiment_id": id})
	h.refused(400, "INVALID_PARAMETER_VALUE", "deleted already", "POST", "experiments/delete", map[string]any{"experiment_id": id})
	h.refused(400, "INVALID_PARAMETER_VALUE", "'active' state", "POST", "runs/create", map[string]any{"experiment_id": id})
	if got := h.ok("POST", "experiments/search", map[string]any{}).list("experiments"); len(got) != 0 {
		t.Errorf("a deleted experiment is listed: %v", got)
	}
	h.ok("POST", "experiments/restore", map[string]any{"experiment_id": id})
	h.ok("POST", "runs/create", map[string]any{"experiment_id": id})
}

func TestWhatIsNotThere(t *testing.T) {
	h := start(t)
	h.refused(501, "NotImplementedByAzimuth", "logged-models/search", "POST", "logged-models/search", map[string]any{})
	h.refused(501, "NotImplementedByAzimuth", "metrics/get-history-bulk-interval", "GET", "metrics/get-history-bulk-interval", nil)
	h.refused(404, "RESOURCE_DOES_NOT_EXIST", "not found", "GET", "runs/get?run_id=nope", nil)
	h.refused(400, "INVALID_PARAMETER_VALUE", "run_id", "GET", "runs/get", nil)
	h.refused(400, "INVALID_PARAMETER_VALUE", "malformed", "POST", "runs/create", "{")
	h.refused(405, "BAD_REQUEST", "GET", "GET", "runs/create", nil)
	h.token = "reader"
	h.refused(403, "PERMISSION_DENIED", "", "POST", "runs/create", map[string]any{})
	h.token = ""
	h.refused(401, "UNAUTHENTICATED", "", "GET", "experiments/get?experiment_id=0", nil)
	h.refused(401, "UNAUTHENTICATED", "", "POST", "logged-models/search", nil)
}

func TestJobRuns(t *testing.T) {
	h := start(t)
	update := func(f func(tx store.Tx) error) error {
		t.Helper()
		return h.store.Update(t.Context(), f)
	}
	job := mlflow.Job{Workspace: "uid-w", Name: "job1", Experiment: "iris", DisplayName: "shown", User: "u", Created: h.clock.Now(), Tags: map[string]string{"a": "b"}}
	var exp string
	create := func(tx store.Tx) error {
		id, err := h.svc.CreateJobRun(tx, job)
		if err == nil {
			exp = id
		}
		return err
	}
	if err := update(create); err != nil {
		t.Fatal(err)
	}
	if err := update(create); err == nil {
		t.Error("the run was made twice")
	}
	r := h.ok("GET", "runs/get?run_id=job1", nil)
	if r.at("run.info.status") != "SCHEDULED" || r.at("run.info.run_name") != "shown" || r.at("run.info.experiment_id") != exp {
		t.Errorf("run is %v", r)
	}
	h.token = "job:job1"
	h.ok("POST", "runs/log-metric", map[string]any{"run_id": "job1", "key": "a", "value": 1, "timestamp": 1})
	h.token = "job:other"
	h.refused(403, "PERMISSION_DENIED", "job1", "POST", "runs/log-metric", map[string]any{"run_id": "job1", "key": "a", "value": 1, "timestamp": 1})
	h.token = "me"
	err := update(func(tx store.Tx) error {
		return h.svc.UpdateJobRun(tx, "uid-w", "job1", mlflow.JobUpdate{Status: mlflow.StatusFailed, End: h.clock.Now().Add(time.Minute), DisplayName: "new", Tags: map[string]string{"c": "d"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	r = h.ok("GET", "runs/get?run_id=job1", nil)
	if r.at("run.info.status") != "FAILED" || r.at("run.info.end_time") != 1.70000006e12 || r.at("run.info.run_name") != "new" {
		t.Errorf("run is %v", r)
	}
	err = h.store.View(t.Context(), func(tx store.Tx) error {
		m, err := h.svc.LatestMetrics(tx, "uid-w", "job1")
		if m["a"] != 1 {
			t.Errorf("metrics are %v", m)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := update(func(tx store.Tx) error { return h.svc.DeleteRun(tx, "uid-w", "job1") }); err != nil {
		t.Fatal(err)
	}
	h.refused(404, "RESOURCE_DOES_NOT_EXIST", "job1", "GET", "runs/get?run_id=job1", nil)
	if err := update(create); err != nil { // with nothing of the old one
		t.Fatal(err)
	}
	if m := h.ok("GET", "runs/get?run_id=job1", nil).list("run.data.metrics"); len(m) != 0 {
		t.Errorf("metrics of the old run: %v", m)
	}
	// a deleted workspace
	for i := range 30 {
		run := h.newRun(map[string]any{"experiment_id": exp})
		var points []any
		for j := range 40 {
			points = append(points, map[string]any{"key": "m", "value": i, "timestamp": j, "step": j})
		}
		h.ok("POST", "runs/log-batch", map[string]any{"run_id": run, "metrics": points})
	}
	if err := update(func(tx store.Tx) error { return h.svc.DeleteWorkspace(tx, "uid-w") }); err != nil {
		t.Fatal(err)
	}
	if err := h.svc.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = h.store.View(t.Context(), func(tx store.Tx) error {
		for _, b := range []string{"mlflow.run", "mlflow.run/experiment", "mlflow.experiment", "mlflow.experiment/name", "mlflow.experiment/time", "mlflow.metric", "mlflow.latest", "mlflow.tag", "mlflow.param", "mlflow.gone"} {
			for e, err := range tx.Scan(b, store.Range{Limit: 1}) {
				if err != nil {
					return err
				}
				t.Errorf("%s still has %q", b, e.Key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
