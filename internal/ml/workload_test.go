package ml_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func completed() compute.Outcome {
	return compute.Outcome{Result: compute.Completed, FailedTask: -1, Tasks: []compute.TaskResult{{}}}
}

func canceled() compute.Outcome {
	return compute.Outcome{Result: compute.Canceled, Cause: compute.StopCanceled, Reason: "The job was canceled.", FailedTask: -1}
}

func (h *harness) prepare(name string, attempt, nodes int) []compute.TaskSpec {
	h.t.Helper()
	specs, err := h.ML.Prepare(h.t.Context(), h.item(name, attempt), h.nodes(nodes))
	h.must(err)
	return specs
}

func (h *harness) started(name string, attempt int) {
	h.t.Helper()
	h.must(h.ML.Started(h.t.Context(), h.item(name, attempt), nil))
}

func (h *harness) finish(name string, attempt int, o compute.Outcome) {
	h.t.Helper()
	h.must(h.ML.Finished(h.t.Context(), h.item(name, attempt), o))
}

// write appends to a file, as a job's command does.
func (h *harness) write(path, text string) {
	h.t.Helper()
	h.must(os.MkdirAll(filepath.Dir(path), 0o700))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	h.must(err)
	defer f.Close()
	_, err = f.WriteString(text)
	h.must(err)
}

const stdLog = "ExperimentRun/dcid.j1/user_logs/std_log.txt"

func header() string {
	python := "no python3 is in its PATH"
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if info, err := os.Stat(filepath.Join(dir, "python3")); err == nil && info.Mode()&0o111 != 0 {
			python = "python3 is " + filepath.Join(dir, "python3")
			break
		}
	}
	return "This machine is smaller than Standard_DS3_v2 (it has 2 of 4 vCPUs, 8.0 of 14 GiB of memory); jobs share what is there.\n" +
		"The image example.invalid/image:1 of the environment plain:1 is not run here, as jobs are processes without --runner container; the command runs with what this machine has (" + python + ").\n"
}

func TestJobFromBeginningToEnd(t *testing.T) {
	h := newHarness(t)
	container := "azureml-blobstore-" + wsGUID
	h.putBlob(container, "LocalUpload/abc/src/train.py", "print('hi')")
	h.putBlob(container, "LocalUpload/abc/src/lib/util.py", "x = 1")
	h.putBlob(container, "data/iris.csv", "1,2,3")
	h.putBlob(container, "data/dir/a.txt", "a")
	h.putBlob(container, "data/dir/b/c.txt", "c")
	h.Want(201, "PUT", wsID+"/codes/c1/versions/1", map[string]any{"properties": map[string]any{"codeUri": "https://" + account + ".blob.core.windows.net/" + container + "/LocalUpload/abc/src", "isAnonymous": true}})
	h.Want(201, "PUT", wsID+"/data/folder/versions/1", map[string]any{"properties": map[string]any{"dataType": "uri_folder", "dataUri": "azureml://datastores/workspaceblobstore/paths/data/dir/"}})
	long := "azureml://subscriptions/" + rptest.Subscription + "/resourcegroups/rg-one/workspaces/ws-one/datastores/workspaceblobstore/paths/data/iris.csv"
	h.submit("j1", "codeId", wsID+"/codes/c1/versions/1",
		"command", "python train.py --data ${{inputs.data}} --dir ${{ inputs.dir }} --rate ${{inputs.rate}} --raw ${{inputs.raw}} --out ${{outputs.model}}",
		"inputs.data", map[string]any{"jobInputType": "uri_file", "uri": long},
		"inputs.dir", map[string]any{"jobInputType": "uri_folder", "uri": "azureml:folder:1", "mode": "Download"},
		"inputs.raw", map[string]any{"jobInputType": "uri_folder", "uri": "azureml://datastores/workspaceblobstore/paths/x/", "mode": "Direct"},
		"inputs.rate", map[string]any{"jobInputType": "literal", "value": "0.5"},
		"outputs.model", map[string]any{"jobOutputType": "custom_model", "assetName": "iris-model"},
		"outputs.report", map[string]any{"jobOutputType": "uri_file"},
		"environmentVariables", map[string]any{"MINE": "yes", "AZUREML_RUN_ID": "fake"})
	specs := h.prepare("j1", 1, 1)
	if got := h.status("j1"); got != "Queued" { // compute itself has not moved
		t.Errorf("status is %s", got)
	}
	if len(specs) != 1 {
		t.Fatalf("%d tasks", len(specs))
	}
	s := specs[0]
	root := strings.TrimSuffix(s.Dir, "/exe/wd")
	data := filepath.Join(root, "cap/data-capability/wd")
	want := "python train.py --data " + data + "/INPUT_data/iris.csv --dir " + data + "/INPUT_dir --rate 0.5 --raw azureml://datastores/workspaceblobstore/paths/x/ --out " + data + "/OUTPUT_model"
	if s.Argv[1] != "-c" || s.Argv[2] != want {
		t.Errorf("argv is %q, want %q", s.Argv, want)
	}
	for file, text := range map[string]string{
		s.Dir + "/train.py": "print('hi')", s.Dir + "/lib/util.py": "x = 1",
		data + "/INPUT_data/iris.csv": "1,2,3", data + "/INPUT_dir/a.txt": "a", data + "/INPUT_dir/b/c.txt": "c",
		s.LogPath: header(),
	} {
		if b, err := os.ReadFile(file); err != nil || string(b) != text {
			t.Errorf("%s is %q, %v, want %q", file, b, err, text)
		}
	}
	h.golden(s, root)

	h.started("j1", 1)
	h.write(s.LogPath, "epoch 1\n")
	h.tick()
	if got, _ := h.blobText("azureml", stdLog); got != header()+"epoch 1\n" {
		t.Errorf("log is %q", got)
	}
	h.write(s.LogPath, "epoch 2\n")
	h.tick()
	details := h.data(rptest.Owner, "GET", "/history/v1.0"+wsID+"/experiments/iris/runs/j1/details", nil)
	at := details.Body.Object("logFiles")["user_logs/std_log.txt"]
	if status, text := h.fetch(at.(string)); status != 200 || text != header()+"epoch 1\nepoch 2\n" {
		t.Errorf("log by its address is %d %q", status, text)
	}
	h.write(s.LogPath, "done\n")
	h.write(s.Dir+"/outputs/model.bin", "weights")
	h.write(s.Dir+"/outputs/deep/er/x.json", "{}")
	h.must(os.Symlink("/etc/hostname", s.Dir+"/outputs/stolen"))
	h.must(os.Symlink("model.bin", s.Dir+"/outputs/latest"))
	h.write(data+"/OUTPUT_model/m.bin", "m")
	h.write(data+"/OUTPUT_report", "all is well") // a file, not a directory
	h.Clock.Step(90 * time.Second)
	h.finish("j1", 1, completed())
	h.finish("j1", 1, completed()) // repeated after a crash

	job := h.Want(200, "GET", h.jobID("j1"), nil).Body
	if job.String("properties.status") != "Completed" || job.String("properties.properties.StartTimeUtc") != "2026-06-01 12:00:00" || job.String("properties.properties.EndTimeUtc") != "2026-06-01 12:01:30" {
		t.Errorf("job is %v", job.Get("properties"))
	}
	h.must(h.Store.View(t.Context(), func(tx store.Tx) error {
		timeline, err := h.ML.Timeline(tx, h.jobID("j1"))
		var got []string
		for _, m := range timeline {
			got = append(got, string(m.Status))
		}
		if strings.Join(got, " ") != "Queued Preparing Running Finalizing Completed" {
			t.Errorf("timeline is %v", timeline)
		}
		return err
	}))
	for name, text := range map[string]string{
		stdLog: header() + "epoch 1\nepoch 2\ndone\n", "ExperimentRun/dcid.j1/outputs/model.bin": "weights",
		"ExperimentRun/dcid.j1/outputs/deep/er/x.json": "{}", "ExperimentRun/dcid.j1/outputs/latest": "weights",
	} {
		if got, ok := h.blobText("azureml", name); !ok || got != text {
			t.Errorf("%s is %q, %t, want %q", name, got, ok, text)
		}
	}
	if _, ok := h.blobText("azureml", "ExperimentRun/dcid.j1/outputs/stolen"); ok {
		t.Error("a link out of the outputs was followed")
	}
	if got, _ := h.blobText(container, "azureml/j1/model/m.bin"); got != "m" {
		t.Errorf("declared output is %q", got)
	}
	if got, _ := h.blobText(container, "azureml/j1/report"); got != "all is well" || job.String("properties.outputs.report.uri") != "azureml://datastores/workspaceblobstore/paths/azureml/j1/report" {
		t.Errorf("the output file is %q at %s", got, job.String("properties.outputs.report.uri"))
	}
	// another job reads it by the first one's name
	h.submit("j2", "inputs.r", map[string]any{"jobInputType": "uri_file", "uri": "azureml://jobs/j1/outputs/report"}, "command", "cat ${{inputs.r}}")
	if file := strings.TrimPrefix(h.prepare("j2", 1, 1)[0].Argv[2], "cat "); read(t, file) != "all is well" {
		t.Errorf("the input is %s", file)
	}
	// and a file that every job keeps, by both names that Azure has for them
	for i, name := range []string{"default", "artifacts"} {
		job := "j" + strconv.Itoa(3+i)
		h.submit(job, "inputs.r", map[string]any{"jobInputType": "uri_file", "uri": "azureml://jobs/j1/outputs/" + name + "/paths/outputs/model.bin"}, "command", "cat ${{inputs.r}}")
		if file := strings.TrimPrefix(h.prepare(job, 1, 1)[0].Argv[2], "cat "); read(t, file) != "weights" {
			t.Errorf("the input from %s is %s", name, file)
		}
	}
	model := h.Want(200, "GET", wsID+"/models/iris-model/versions/1", nil).Body
	if model.String("properties.modelUri") != "azureml://datastores/workspaceblobstore/paths/azureml/j1/model/" || model.String("properties.jobName") != "j1" {
		t.Errorf("registered model is %v", model)
	}
	if v := h.Want(200, "GET", wsID+"/models/iris-model", nil).Body.String("properties.latestVersion"); v != "1" {
		t.Errorf("latest version is %q", v)
	}
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("the job's directory is still there: %v", err)
	}
	run := h.data(rptest.Owner, "GET", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/get?run_id=j1", nil)
	if run.Body.String("run.info.status") != "FINISHED" {
		t.Errorf("run is %s", run.Raw)
	}
	h.must(h.Store.View(t.Context(), func(tx store.Tx) error {
		for e, err := range tx.Scan("test.grant", store.Range{}) {
			if err != nil {
				return err
			}
			if strings.HasSuffix(e.Key, "/j1") {
				t.Errorf("the identity was not taken back: %s", e.Key)
			}
		}
		return nil
	}))
}

// golden checks the whole environment of a task.
func (h *harness) golden(s compute.TaskSpec, root string) {
	h.t.Helper()
	token, exp := envOf(s, "AZUREML_RUN_TOKEN"), envOf(s, "MLFLOW_EXPERIMENT_ID")
	if token == "" || exp == "" || envOf(s, "AZUREML_RUN_TOKEN_EXPIRY") != strconv.FormatInt(rptest.Start().Add(21*24*time.Hour).Unix(), 10) {
		h.t.Errorf("token %q, experiment %q", token, exp)
	}
	replace := strings.NewReplacer(token, "TOKEN", exp, "EXP", root, "ROOT", envOf(s, "PATH"), "PATH", envOf(s, "AZUREML_RUN_TOKEN_EXPIRY"), "EXPIRY",
		wsID, "WS", rptest.IdentityOf(clusterID), "PRINCIPAL", rptest.Subscription, "SUB")
	got := strings.Split(replace.Replace(strings.Join(s.Env, "\n")), "\n")
	want := strings.Split(strings.TrimSpace(`
AZIMUTH_ATTEMPT=1
AZUREML_ARM_PROJECT_NAME=iris
AZUREML_ARM_RESOURCEGROUP=rg-One
AZUREML_ARM_SUBSCRIPTION=SUB
AZUREML_ARM_WORKSPACE_NAME=ws-One
AZUREML_CR_NODE_RANK=0
AZUREML_DISCOVERY_SERVICE_ENDPOINT=https://eastus.api.azureml.ms/discovery
AZUREML_EXPERIMENT_ID=EXP
AZUREML_EXPERIMENT_SCOPE=WS/experiments/iris
AZUREML_ROOT_RUN_ID=j1
AZUREML_RUN_ID=j1
AZUREML_RUN_TOKEN=TOKEN
AZUREML_RUN_TOKEN_EXPIRY=EXPIRY
AZUREML_SERVICE_ENDPOINT=https://eastus.api.azureml.ms
AZUREML_WORKSPACE_ID=11111111-2222-3333-4444-555555555555
AZUREML_WORKSPACE_SCOPE=WS
AZ_BATCHAI_JOB_WORK_DIR=ROOT/exe/wd
AZ_BATCH_HOST_LIST=127.0.0.1
DEFAULT_IDENTITY_CLIENT_ID=client
HOME=ROOT/home
HTTPS_PROXY=http://proxy.invalid
IDENTITY_ENDPOINT=http://127.0.0.1/msi/token
IDENTITY_HEADER=secret-of-PRINCIPAL
LANG=C.UTF-8
MINE=yes
MLFLOW_EXPERIMENT_ID=EXP
MLFLOW_EXPERIMENT_NAME=iris
MLFLOW_RUN_ID=j1
MLFLOW_TRACKING_TOKEN=TOKEN
MLFLOW_TRACKING_URI=https://eastus.api.azureml.ms/mlflow/v1.0WS
MSI_ENDPOINT=http://127.0.0.1/msi/token
MSI_SECRET=secret-of-PRINCIPAL
NODE=tvm-1_1-x
PATH=PATH
PYTHONUNBUFFERED=1
TMPDIR=ROOT/tmp`), "\n")
	if !slices.Equal(got, want) {
		for _, g := range got {
			if !slices.Contains(want, g) {
				h.t.Errorf("unexpected %s", g)
			}
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				h.t.Errorf("missing %s", w)
			}
		}
	}
}

func TestFailedCommand(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	s := h.prepare("j1", 1, 1)[0]
	h.started("j1", 1)
	for i := range 40 {
		h.write(s.LogPath, "line "+strconv.Itoa(i)+"\n")
	}
	h.write(s.LogPath, "ValueError: no")
	h.finish("j1", 1, compute.Outcome{Result: compute.Failed, Reason: "The command exited with code 3.", FailedTask: 0, Tasks: []compute.TaskResult{{ExitCode: 3}}})
	job := h.Want(200, "GET", h.jobID("j1"), nil).Body
	msg := job.String("properties.error.message")
	if job.String("properties.status") != "Failed" || job.String("properties.error.code") != "UserError" ||
		!strings.Contains(msg, "exited with code 3") || !strings.HasSuffix(msg, "line 39\nValueError: no") || strings.Contains(msg, "line 20\n") {
		t.Errorf("job is %v", job.Get("properties"))
	}
	d := h.data(rptest.Owner, "GET", "/history/v1.0"+wsID+"/runs/j1/details", nil).Body
	if d.String("error.error.message") != msg || d.String("status") != "Failed" {
		t.Errorf("details are %v", d)
	}
	if got, _ := h.blobText("azureml", stdLog); !strings.HasSuffix(got, "ValueError: no") {
		t.Errorf("log ends with %q", got)
	}
}

func TestOutcomes(t *testing.T) {
	h := newHarness(t)
	for name, c := range map[string]struct {
		o            compute.Outcome
		status, code string
		run          string
	}{
		"timeout": {compute.Outcome{Result: compute.Failed, Cause: compute.StopTimeout, Reason: "The job ran longer than its timeout of 1h0m0s.", FailedTask: -1}, "Canceled", "JobTimeout", "KILLED"},
		"lost":    {compute.Outcome{Result: compute.Failed, Cause: compute.StopLost, Reason: "Node x was lost", FailedTask: -1}, "Failed", "NodeLost", "FAILED"},
		"pool":    {compute.Outcome{Result: compute.Failed, Cause: compute.StopPool, Reason: "The compute was deleted.", FailedTask: -1}, "Failed", "ComputeDeleted", "FAILED"},
		"prepare": {compute.Outcome{Result: compute.Failed, Cause: compute.StopPrepare, Reason: "input x", FailedTask: -1}, "Failed", "PreparationFailed", "FAILED"},
		"cancel":  {canceled(), "Canceled", "", "KILLED"},
	} {
		h.submit(name)
		h.finish(name, 1, c.o)
		job := h.Want(200, "GET", h.jobID(name), nil).Body
		run := h.data(rptest.Owner, "GET", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/get?run_id="+name, nil).Body
		if job.String("properties.status") != c.status || job.String("properties.error.code") != c.code || run.String("run.info.status") != c.run {
			t.Errorf("%s: %s %s, run %s", name, job.String("properties.status"), job.String("properties.error.code"), run.String("run.info.status"))
		}
	}
}

// TestLogSurvivesRestarts kills the server over and over while a job writes, and
// wants each byte of the log once.
func TestLogSurvivesRestarts(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	s := h.prepare("j1", 1, 1)[0]
	h.started("j1", 1)
	want := header()
	for i := range 4 {
		line := strings.Repeat(strconv.Itoa(i), 50_000) + "\n"
		want += line
		h.write(s.LogPath, line)
		h.tick()
		want += "unseen\n"
		h.write(s.LogPath, "unseen\n") // not looked at before the kill
		h.restart()
		h.started("j1", 1)
	}
	h.finish("j1", 1, completed())
	if got, _ := h.blobText("azureml", stdLog); got != want {
		t.Errorf("log has %d bytes, want %d", len(got), len(want))
	}
}

// TestFinishedBearsEveryFailure breaks each access to the blob service in turn
// and wants Finished to succeed in the end, with everything there.
func TestFinishedBearsEveryFailure(t *testing.T) {
	h := newHarness(t)
	h.submit("j1", "outputs.o", map[string]any{"jobOutputType": "uri_folder", "assetName": "made"})
	s := h.prepare("j1", 1, 1)[0]
	h.write(s.LogPath, "line\n")
	h.write(s.Dir+"/outputs/a", "a")
	h.write(s.Dir+"/outputs/b", "b")
	h.write(strings.TrimSuffix(s.Dir, "/exe/wd")+"/cap/data-capability/wd/OUTPUT_o/c", "c")
	broken := map[string]bool{}
	h.Blobs.fail = func(what, name string) error {
		if !broken[what+name] {
			broken[what+name] = true
			return errBroken
		}
		return nil
	}
	tries := 0
	for ; tries < 20; tries++ {
		if err := h.ML.Finished(t.Context(), h.item("j1", 1), completed()); err == nil {
			break
		}
		if got := h.Want(200, "GET", h.jobID("j1"), nil).Body.String("properties.status"); got == "Completed" {
			t.Fatal("the job is completed before its results are there")
		}
	}
	if tries < 3 || tries == 20 || h.status("j1") != "Completed" {
		t.Errorf("after %d tries the job is %s", tries, h.status("j1"))
	}
	for name, want := range map[string]string{stdLog: header() + "line\n", "ExperimentRun/dcid.j1/outputs/a": "a", "ExperimentRun/dcid.j1/outputs/b": "b"} {
		if got, _ := h.blobText("azureml", name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if v := h.Want(200, "GET", wsID+"/data/made", nil).Body; v.String("properties.latestVersion") != "1" || v.String("properties.nextVersion") != "2" {
		t.Errorf("registered more than once: %v", v)
	}
}

func TestResultsThatCannotBeStored(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	s := h.prepare("j1", 1, 1)[0]
	h.write(s.Dir+"/outputs/a", "a")
	h.Blobs.fail = func(what, _ string) error {
		if what == "put" {
			return &blob.Error{Status: 403, Code: "AuthorizationFailure", Message: "no"}
		}
		return nil
	}
	h.finish("j1", 1, completed())
	job := h.Want(200, "GET", h.jobID("j1"), nil).Body
	if job.String("properties.status") != "Failed" || job.String("properties.error.code") != "OutputCollectionFailed" {
		t.Errorf("job is %v", job.Get("properties"))
	}
}

func TestPrepareIsRepeatable(t *testing.T) {
	h := newHarness(t)
	h.submit("j1")
	first := h.prepare("j1", 1, 1)[0]
	h.write(first.Dir+"/left-over", "x")
	second := h.prepare("j1", 1, 1)[0]
	if _, err := os.Stat(second.Dir + "/left-over"); !os.IsNotExist(err) || first.Dir != second.Dir {
		t.Errorf("the interrupted attempt left something: %v", err)
	}
	// preempted: what was logged stays, and the new attempt adds to it
	h.started("j1", 1)
	h.write(second.LogPath, "one\n")
	third := h.prepare("j1", 2, 1)[0]
	if third.Dir == second.Dir {
		t.Error("two attempts share a directory")
	}
	h.write(third.LogPath, "two\n")
	h.started("j1", 2)
	h.finish("j1", 2, completed())
	want := header() + "one\n" + header() + "This is attempt 2 of the job.\ntwo\n"
	if got, _ := h.blobText("azureml", stdLog); got != want {
		t.Errorf("log is %q, want %q", got, want)
	}
}

func TestPreemptedJobGoesOn(t *testing.T) {
	h := newHarness(t)
	h.submit("j1", "outputs.ckpt", map[string]any{"jobOutputType": "uri_folder", "assetName": "ckpt"})
	first := h.prepare("j1", 1, 1)[0]
	h.started("j1", 1)
	h.write(first.LogPath, "one\n")
	h.write(first.Dir+"/outputs/state", "epoch 1")
	root := strings.TrimSuffix(first.Dir, "/exe/wd")
	h.write(root+"/cap/data-capability/wd/OUTPUT_ckpt/c", "c1")
	for range 2 { // repeated after a crash
		h.must(h.ML.Preempted(t.Context(), h.item("j1", 1), "Node x was preempted."))
	}
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("the first attempt left its directory: %v", err)
	}
	if got := h.data(rptest.Owner, "GET", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/get?run_id=j1", nil).Body.String("run.info.status"); got != "SCHEDULED" {
		t.Errorf("run is %s", got)
	}
	second := h.prepare("j1", 2, 1)[0]
	if got := read(t, second.Dir+"/outputs/state"); got != "epoch 1" {
		t.Errorf("outputs has %q", got)
	}
	if got := read(t, strings.TrimSuffix(second.Dir, "/exe/wd")+"/cap/data-capability/wd/OUTPUT_ckpt/c"); got != "c1" {
		t.Errorf("the declared output has %q", got)
	}
	h.Want(404, "GET", wsID+"/data/ckpt", nil)
	h.started("j1", 2)
	h.write(second.LogPath, "two\n")
	h.finish("j1", 2, completed())
	want := header() + "one\n" + header() + "This is attempt 2 of the job.\ntwo\n"
	if got, _ := h.blobText("azureml", stdLog); got != want {
		t.Errorf("log is %q, want %q", got, want)
	}
	h.Want(200, "GET", wsID+"/data/ckpt/versions/1", nil)
	h.must(h.Store.View(t.Context(), func(tx store.Tx) error {
		timeline, err := h.ML.Timeline(tx, h.jobID("j1"))
		var got []string
		for _, m := range timeline {
			got = append(got, string(m.Status)+strconv.Itoa(m.Attempt))
		}
		if strings.Join(got, " ") != "Queued0 Preparing1 Running1 Queued1 Preparing2 Running2 Finalizing2 Completed2" {
			t.Errorf("timeline is %v", got)
		}
		return err
	}))
	props := h.Want(200, "GET", h.jobID("j1"), nil).Body.Object("properties")
	again, _ := props.List("timeline")[3].(map[string]any)
	if again["status"] != "Queued" || again["reason"] != "Node x was preempted." || again["at"] == nil {
		t.Errorf("timeline in the job: %v", props.List("timeline"))
	}
	if p := props.Object("properties"); p["azimuth.attempts"] != "2" || p["azimuth.preemptions"] != "1" {
		t.Errorf("properties: %v", p)
	}
	if v := envOf(second, "AZIMUTH_ATTEMPT"); v != "2" {
		t.Errorf("AZIMUTH_ATTEMPT is %q", v)
	}
}

func TestPrepareRefusals(t *testing.T) {
	h := newHarness(t)
	h.putBlob("other", "x.csv", "1")
	url := "https://" + account + ".blob.core.windows.net/other/x.csv"
	in := func(uri string) []any {
		return []any{"inputs.d", map[string]any{"jobInputType": "uri_file", "uri": uri}}
	}
	h.submit("denied", in(url)...)
	_, err := h.ML.Prepare(t.Context(), h.item("denied", 1), h.nodes(1))
	if err == nil || !strings.Contains(err.Error(), "AuthorizationPermissionMismatch") || !strings.Contains(err.Error(), rptest.IdentityOf(clusterID)) {
		t.Errorf("without a role: %v", err)
	}
	h.Roles[rptest.IdentityOf(clusterID)+" Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"] = true
	specs := h.prepare("denied", 1, 1)
	if b, err := os.ReadFile(strings.TrimSuffix(specs[0].Dir, "/exe/wd") + "/cap/data-capability/wd/INPUT_d/x.csv"); err != nil || string(b) != "1" {
		t.Errorf("with a role: %q, %v", b, err)
	}
	// the submitter's rights
	h.submit("mine", append(in(url), "identity.identityType", "UserIdentity")...)
	h.prepare("mine", 1, 1)

	h.submit("missing", in("azureml://datastores/workspaceblobstore/paths/nope.csv")...)
	if _, err := h.ML.Prepare(t.Context(), h.item("missing", 1), h.nodes(1)); err == nil || !strings.Contains(err.Error(), "nope.csv was not found") {
		t.Errorf("a missing file: %v", err)
	}
	// a datastore with a key that is not the account's
	h.Want(201, "PUT", wsID+"/datastores/mine", map[string]any{"properties": map[string]any{
		"datastoreType": "AzureBlob", "accountName": account, "containerName": "other",
		"credentials": map[string]any{"credentialsType": "AccountKey", "secrets": map[string]any{"secretsType": "AccountKey", "key": "d3Jvbmc="}},
	}})
	h.submit("key", in("azureml://datastores/mine/paths/x.csv")...)
	if _, err := h.ML.Prepare(t.Context(), h.item("key", 1), h.nodes(1)); err == nil || !strings.Contains(err.Error(), "AuthenticationFailed") {
		t.Errorf("a wrong key: %v", err)
	}
	nodes := h.nodes(1)
	nodes[0].Info.Dir = ""
	h.submit("nodir")
	if _, err := h.ML.Prepare(t.Context(), h.item("nodir", 1), nodes); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("a node without a directory: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.ML.Prepare(ctx, h.item("nodir", 1), h.nodes(1)); err == nil {
		t.Error("Prepare goes on after its context has ended")
	}
}

func TestDistributions(t *testing.T) {
	h := newHarness(t)
	h.submit("torch", "resources.instanceCount", 2, "distribution", map[string]any{"distributionType": "PyTorch", "processCountPerInstance": 2})
	specs := h.prepare("torch", 1, 2)
	if len(specs) != 4 {
		t.Fatalf("%d tasks", len(specs))
	}
	for i, s := range specs {
		got := []string{envOf(s, "RANK"), envOf(s, "LOCAL_RANK"), envOf(s, "NODE_RANK"), envOf(s, "WORLD_SIZE"), envOf(s, "MASTER_ADDR"), envOf(s, "AZUREML_CR_NODE_RANK")}
		want := []string{strconv.Itoa(i), strconv.Itoa(i % 2), strconv.Itoa(i / 2), "4", "127.0.0.1", strconv.Itoa(i / 2)}
		if !slices.Equal(got, want) || envOf(s, "MASTER_PORT") == "" || envOf(s, "MASTER_PORT") != envOf(specs[0], "MASTER_PORT") {
			t.Errorf("task %d has %v, want %v", i, got, want)
		}
		if s.NodeID != h.nodes(2)[i/2].ID {
			t.Errorf("task %d is on %s", i, s.NodeID)
		}
	}
	h.write(specs[3].LogPath, "from three\n")
	h.write(specs[0].Dir+"/outputs/who", "node 0")
	h.write(specs[2].Dir+"/outputs/who", "node 1")
	h.finish("torch", 1, completed())
	var names []string
	for b, err := range h.Blobs.ListBlobs(t.Context(), account, "azureml", "ExperimentRun/dcid.torch/") {
		h.must(err)
		names = append(names, strings.TrimPrefix(b.Name, "ExperimentRun/dcid.torch/"))
	}
	want := []string{"outputs/who", "user_logs/std_log.txt", "user_logs/std_log_process_01.txt", "user_logs/std_log_process_02.txt", "user_logs/std_log_process_03.txt"}
	if !slices.Equal(names, want) {
		t.Errorf("artifacts are %v", names)
	}
	if got, _ := h.blobText("azureml", "ExperimentRun/dcid.torch/outputs/who"); got != "node 0" {
		t.Errorf("the file of %q won", got)
	}

	h.submit("tf", "resources.instanceCount", 2, "distribution", map[string]any{"distributionType": "TensorFlow", "workerCount": 1, "parameterServerCount": 1})
	specs = h.prepare("tf", 1, 2)
	if c := envOf(specs[1], "TF_CONFIG"); !strings.Contains(c, `"task":{"index":0,"type":"ps"}`) || !strings.Contains(c, `"worker":["127.0.0.1:`) {
		t.Errorf("TF_CONFIG is %s", c)
	}
}

func TestMPIWithoutMPIRun(t *testing.T) {
	h := newHarness(t)
	h.path = t.TempDir()
	h.restart()
	h.submit("mpi", "resources.instanceCount", 2, "distribution", map[string]any{"distributionType": "mpi", "processCountPerInstance": 2})
	for i, s := range h.prepare("mpi", 1, 2) {
		got := []string{envOf(s, "OMPI_COMM_WORLD_RANK"), envOf(s, "OMPI_COMM_WORLD_LOCAL_RANK"), envOf(s, "OMPI_COMM_WORLD_SIZE"), envOf(s, "OMPI_COMM_WORLD_LOCAL_SIZE"), envOf(s, "AZ_BATCHAI_MPI_MASTER_NODE")}
		want := []string{strconv.Itoa(i), strconv.Itoa(i % 2), "4", "2", "127.0.0.1"}
		if !slices.Equal(got, want) {
			t.Errorf("MPI process %d has %v, want %v", i, got, want)
		}
		if head, err := os.ReadFile(s.LogPath); err != nil || !strings.Contains(string(head), "not by mpirun") {
			t.Errorf("log of MPI process %d: %v %s", i, err, head)
		}
	}
}
