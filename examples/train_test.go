package examples_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/jobspec"
)

// tracker is as much of an MLflow server as train.py talks to.
type tracker struct {
	mu      sync.Mutex
	prefix  string
	away    int // how many requests to answer 503 first
	refuse  int // a status to answer every request with
	calls   []string
	auth    []string
	metrics map[string]map[int]float64
	params  map[string]string
	tags    map[string]string
	status  string
}

func (s *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != 0 {
		http.Error(w, `{"error_code":"PERMISSION_DENIED"}`, s.refuse)
		return
	}
	if s.away > 0 {
		s.away--
		http.Error(w, "restarting", http.StatusServiceUnavailable)
		return
	}
	op, ok := strings.CutPrefix(r.URL.Path, s.prefix+"/api/2.0/mlflow/")
	if !ok || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	s.calls = append(s.calls, op)
	s.auth = append(s.auth, r.Header.Get("Authorization"))
	var body struct {
		RunID   string `json:"run_id"`
		Status  string `json:"status"`
		Metrics []struct {
			Key       string  `json:"key"`
			Value     float64 `json:"value"`
			Step      int     `json:"step"`
			Timestamp int64   `json:"timestamp"`
		} `json:"metrics"`
		Params []struct{ Key, Value string } `json:"params"`
		Tags   []struct{ Key, Value string } `json:"tags"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch op {
	case "runs/create":
		fmt.Fprint(w, `{"run":{"info":{"run_id":"made-here"}}}`)
		return
	case "runs/update":
		s.status = body.Status
	case "runs/log-batch":
		for _, m := range body.Metrics {
			if m.Timestamp == 0 {
				http.Error(w, "a metric without timestamp", http.StatusBadRequest)
				return
			}
			if s.metrics[m.Key] == nil {
				s.metrics[m.Key] = map[int]float64{}
			}
			s.metrics[m.Key][m.Step] = m.Value
		}
		for _, p := range body.Params {
			s.params[p.Key] = p.Value
		}
		for _, t := range body.Tags {
			s.tags[t.Key] = t.Value
		}
	}
	if body.RunID == "" {
		http.Error(w, "no run_id", http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, "{}")
}

func newTracker(prefix string) *tracker {
	return &tracker{prefix: prefix, metrics: map[string]map[int]float64{}, params: map[string]string{}, tags: map[string]string{}}
}

// train prepares train.py in a directory of its own.
func train(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	script, err := filepath.Abs("train/train.py")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, append([]string{"-B", script}, args...)...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TRAIN_RETRY_SECONDS=0.01"}, env...)
	return cmd
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func read[T any](t *testing.T, path string) T {
	t.Helper()
	var v T
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestTrainLogsToMLflow(t *testing.T) {
	const workspace = "/mlflow/v1.0/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws"
	s := newTracker(workspace)
	s.away = 2 // as when the server restarts
	// As in a job: a host of Azure's (the test certificate is for example.com)
	// behind the proxy and the certificate authority of the environment.
	srv := httptest.NewTLSServer(s)
	defer srv.Close()
	proxy := httptest.NewServer(&connectProxy{target: srv.Listener.Addr().String()})
	defer proxy.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	writeCertificate(t, ca, srv)

	out := run(t, train(t, dir, []string{
		"MLFLOW_TRACKING_URI=azureml://example.com" + workspace, "HTTPS_PROXY=" + proxy.URL,
		"MLFLOW_TRACKING_TOKEN=secret", "MLFLOW_RUN_ID=run-1", "SSL_CERT_FILE=" + ca,
	}, "--epochs", "3", "--data", someDigits(t)))

	if strings.Contains(out, "secret") {
		t.Error("the token is in the log")
	}
	if n := strings.Count(out, "HTTP 503"); n != 2 {
		t.Errorf("%d retries in the log, want 2:\n%s", n, out)
	}
	if s.params["epochs"] != "3" || s.params["learning_rate"] != "0.05" || s.params["seed"] != "1" {
		t.Errorf("params %v", s.params)
	}
	if s.tags["data_sha256"] == "" {
		t.Errorf("tags %v", s.tags)
	}
	for _, key := range []string{"loss", "train_accuracy", "test_accuracy"} {
		if len(s.metrics[key]) != 3 || s.metrics[key][1] == 0 || s.metrics[key][3] == 0 {
			t.Errorf("metric %s: %v, want steps 1 to 3", key, s.metrics[key])
		}
	}
	if s.metrics["loss"][3] >= s.metrics["loss"][1] {
		t.Errorf("the loss does not fall: %v", s.metrics["loss"])
	}
	if want := fmt.Sprintf("accuracy=%.4f\n", s.metrics["accuracy"][3]); !strings.HasSuffix(out, want) || s.metrics["accuracy"][3] == 0 {
		t.Errorf("the log does not end with %q:\n%s", want, out)
	}
	for _, a := range s.auth {
		if a != "Bearer secret" {
			t.Errorf("authorization %q", a)
		}
	}
	// The service ends a job's run, not the job.
	if slices.Contains(s.calls, "runs/update") || slices.Contains(s.calls, "runs/create") {
		t.Errorf("calls %v", s.calls)
	}
	for _, name := range []string{"model.json", "predict.py", "metrics.json", "checkpoint.json"} {
		if _, err := os.Stat(filepath.Join(dir, "outputs", name)); err != nil {
			t.Error(err)
		}
	}
}

// connectProxy tunnels example.com:443 to target and nothing else.
type connectProxy struct{ target string }

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Host != "example.com:443" {
		http.Error(w, "not here", http.StatusForbidden)
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{}, 2)
	relay := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either end may go first
		done <- struct{}{}
	}
	go relay(out, in)
	go relay(in, out)
	<-done
}

func writeCertificate(t *testing.T, path string, srv *httptest.Server) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTrainMakesARunOfItsOwn(t *testing.T) {
	s := newTracker("")
	srv := httptest.NewServer(s)
	defer srv.Close()
	run(t, train(t, t.TempDir(), []string{"MLFLOW_TRACKING_URI=" + srv.URL + "/"}, "--epochs", "1", "--data", someDigits(t)))
	if s.calls[0] != "runs/create" || s.calls[len(s.calls)-1] != "runs/update" || s.status != "FINISHED" {
		t.Errorf("calls %v, status %q", s.calls, s.status)
	}
}

func TestTrainSaysWhatTheServerRefused(t *testing.T) {
	s := newTracker("")
	s.refuse = http.StatusForbidden
	srv := httptest.NewServer(s)
	defer srv.Close()
	out, err := train(t, t.TempDir(), []string{"MLFLOW_TRACKING_URI=" + srv.URL, "MLFLOW_RUN_ID=r"}, "--epochs", "1").CombinedOutput()
	if exitCode(err) != 1 || !strings.Contains(string(out), "error: runs/log-batch refused: HTTP 403: {\"error_code\":\"PERMISSION_DENIED\"}") {
		t.Errorf("%v\n%s", err, out)
	}
}

type checkpoint struct {
	Setup map[string]any         `json:"setup"`
	Epoch int                    `json:"epoch"`
	Model map[string][][]float64 `json:"model"`
}

// someDigits writes a part of the data set, for tests that need no good model.
func someDigits(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("train/data/digits.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.SplitAfter(string(data), "\n")
	path := filepath.Join(t.TempDir(), "some.csv")
	if err := os.WriteFile(path, []byte(strings.Join(rows[:200], "")), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTrainResumesExactly(t *testing.T) {
	whole, parts, data := t.TempDir(), t.TempDir(), someDigits(t)

	// Stopped with SIGTERM in the middle of an epoch …
	cmd := train(t, parts, nil, "--epochs", "100000", "--seed", "3", "--data", data, "--checkpoint-every", "100000")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		last = lines.Text()
		if strings.HasPrefix(last, "epoch   2/") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if exitCode(err) != 143 || !strings.HasPrefix(last, "stopped after epoch ") {
		t.Fatalf("exit %v, last line %q", err, last)
	}
	stopped := read[checkpoint](t, filepath.Join(parts, "outputs/checkpoint.json"))
	at := strconv.Itoa(stopped.Epoch)
	if !strings.Contains(last, "epoch "+at+";") || stopped.Epoch < 2 || len(stopped.Model["hidden"]) != 32 {
		t.Errorf("checkpoint after epoch %s, and %q", at, last)
	}

	// … and started again, it ends as the run that was never stopped.
	epochs := strconv.Itoa(stopped.Epoch + 2)
	out := run(t, train(t, parts, nil, "--epochs", epochs, "--seed", "3", "--data", data))
	if !strings.Contains(out, "resumed after epoch "+at) || strings.Contains(out, "epoch   1/") {
		t.Errorf("not resumed after epoch %s:\n%s", at, out)
	}
	run(t, train(t, whole, nil, "--epochs", epochs, "--seed", "3", "--data", data))
	a, err := os.ReadFile(filepath.Join(whole, "outputs/model.json"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(parts, "outputs/model.json"))
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Error("the resumed run ended with other weights")
	}

	// Another seed is another run.
	out = run(t, train(t, parts, nil, "--epochs", "1", "--seed", "4", "--data", data))
	if !strings.Contains(out, "starting over") {
		t.Errorf("went on from a checkpoint of another run:\n%s", out)
	}
	outBytes, err := train(t, parts, nil, "--epochs", "1", "--seed", "9", "--data", data, "--resume", "outputs/checkpoint.json").CombinedOutput()
	if exitCode(err) != 1 || !strings.Contains(string(outBytes), "is from other data or settings") {
		t.Errorf("%v\n%s", err, outBytes)
	}
}

func TestTrainAndPredict(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	dir := t.TempDir()
	out := run(t, train(t, dir, nil, "--epochs", "6"))
	if strings.Contains(out, "tracking") {
		t.Errorf("tracks without a server:\n%s", out)
	}
	result := read[struct {
		Accuracy  float64 `json:"accuracy"`
		Epochs    int     `json:"epochs"`
		Confusion [][]int `json:"confusion"`
	}](t, filepath.Join(dir, "outputs/metrics.json"))
	if result.Accuracy < 0.93 || result.Epochs != 6 || len(result.Confusion) != 10 {
		t.Errorf("result %+v", result)
	}

	data, err := os.ReadFile("train/data/digits.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(data)), "\n")
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	predict := exec.CommandContext(t.Context(), python, "-B", "outputs/predict.py")
	predict.Dir = dir
	predict.Stdin = strings.NewReader(string(data))
	answers := strings.Split(strings.TrimSpace(run(t, predict)), "\n")
	if len(answers) != len(rows) {
		t.Fatalf("%d answers for %d rows", len(answers), len(rows))
	}
	right := 0
	for i, row := range rows {
		if row[strings.LastIndexByte(row, ',')+1:] == answers[i][:1] {
			right++
		}
	}
	if share := float64(right) / float64(len(rows)); share < 0.95 {
		t.Errorf("predict.py is right for %.3f of the digits", share)
	}
}

func TestTrainRefusesBadArguments(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.csv")
	if err := os.WriteFile(bad, []byte("1,2,3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--epochs", "0"}, 2, "must be at least 1"},
		{[]string{"--learning-rate", "-1"}, 2, "must be between"},
		{[]string{"--resume", "x", "--no-resume"}, 2, "exclude each other"},
		{[]string{"--resume", "none.json"}, 1, "none.json"},
		{[]string{"--data", "none.csv"}, 1, "none.csv"},
		{[]string{"--data", bad}, 1, "bad.csv:1: not 64 pixels and a digit"},
	} {
		out, err := train(t, dir, nil, c.args...).CombinedOutput()
		if exitCode(err) != c.code || !strings.Contains(string(out), c.want) || strings.Contains(string(out), "Traceback") {
			t.Errorf("%v: %v, want exit %d and %q\n%s", c.args, err, c.code, c.want, out)
		}
	}
}

// TestData holds the data set to what data/README.md says of it.
func TestData(t *testing.T) {
	data, err := os.ReadFile("train/data/digits.csv")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("train/data/README.md")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if !strings.Contains(string(readme), hex.EncodeToString(sum[:])) {
		t.Errorf("digits.csv has sha256 %x, and its README says another", sum)
	}
	if n := strings.Count(string(data), "\n"); n != 1797 {
		t.Errorf("%d rows", n)
	}
}

func TestJobFile(t *testing.T) {
	j, err := jobspec.ParseFile("train/job.yml")
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Warnings) > 0 {
		t.Errorf("warnings: %v", j.Warnings)
	}
	if j.Compute.Name != "cpu-cluster" || j.InstanceCount() != 1 || j.TimeoutSeconds == 0 {
		t.Errorf("compute %q, %d nodes, timeout %d s", j.Compute.Name, j.InstanceCount(), j.TimeoutSeconds)
	}
	files, err := jobspec.Snapshot(t.Context(), j.Code.Local)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	want := []string{".amlignore", "data/digits.csv", "data/README.md", "job.yml", "predict.py", "train.py"}
	if !slices.Equal(names, want) {
		t.Errorf("uploads %v, want %v", names, want)
	}

	// The command, with its inputs filled in, is one that train.py takes.
	command := j.Command
	for name, in := range j.Inputs {
		command = strings.ReplaceAll(command, "${{inputs."+name+"}}", in.Value)
	}
	fields := strings.Fields(command)
	if fields[0] != "python3" || fields[1] != "train.py" {
		t.Fatalf("command %q", command)
	}
	out, err := train(t, t.TempDir(), nil, append(fields[2:], "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
