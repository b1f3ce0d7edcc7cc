package ml_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// TestMain lets this binary stand in for azimuth, as the supervisor of a task,
// and for the program of a job.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			os.Exit(local.SuperviseMain(context.Background(), os.Args[2:], os.Stderr))
		case "train":
			os.Exit(train())
		}
	}
	os.Exit(m.Run())
}

// train is a training program: it logs metrics to the tracking server that its
// environment names, prints, and writes a model.
func train() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "train:", err)
		return 1
	}
	tracking, err := url.Parse(os.Getenv("MLFLOW_TRACKING_URI"))
	if err != nil {
		return fail(err)
	}
	for epoch := range 3 {
		body := fmt.Sprintf(`{"run_id":%q,"key":"accuracy","value":0.%d,"step":%d,"timestamp":%d}`, os.Getenv("MLFLOW_RUN_ID"), epoch+5, epoch, epoch)
		req, err := http.NewRequest("POST", os.Getenv("TEST_DATA_PLANE")+tracking.Path+"/api/2.0/mlflow/runs/log-metric", bytes.NewReader([]byte(body)))
		if err != nil {
			return fail(err)
		}
		req.Header.Set("Authorization", "Bearer "+os.Getenv("MLFLOW_TRACKING_TOKEN"))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fail(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			return fail(fmt.Errorf("logging a metric is answered %s", resp.Status))
		}
		fmt.Println("epoch", epoch)
	}
	if err := os.WriteFile("outputs/model.txt", []byte("a model"), 0o600); err != nil {
		return fail(err)
	}
	return 0
}

// runManager runs the compute engine until the test, or the returned function,
// ends it.
func (h *harness) runManager() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	m := h.Manager
	go func() { done <- m.Run(ctx) }()
	once := false
	stop = func() {
		if !once {
			once = true
			cancel()
			if err := <-done; err != nil {
				h.t.Error(err)
			}
		}
	}
	h.t.Cleanup(stop)
	return stop
}

// until waits until cond holds.
func (h *harness) until(what string, cond func() bool) {
	h.t.Helper()
	deadline, look := time.After(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer look.Stop()
	for !cond() {
		select {
		case <-look.C:
		case <-deadline:
			h.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// await waits until a job has a status.
func (h *harness) await(name, status string) {
	h.t.Helper()
	h.until(fmt.Sprintf("job %s to be %s", name, status), func() bool { return h.status(name) == status })
}

func realRunner(t *testing.T) option {
	return withRunner(func(h *harness) compute.Runner {
		r, err := local.Open(local.Options{Dir: h.dir + "/nodes", Clock: h.Clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // whatever a failed test left running
			nodes, err := os.ReadDir(h.dir + "/nodes")
			if err != nil {
				t.Error(err)
			}
			for _, n := range nodes {
				if strings.HasPrefix(n.Name(), "tvm-") {
					if err := r.StopNode(context.Background(), n.Name()); err != nil {
						t.Error(err)
					}
				}
			}
			r.Close()
		})
		return r
	})
}

// TestRealJobs runs jobs as real processes: one that trains, one that fails, one
// that is canceled, and one that outlives the server.
func TestRealJobs(t *testing.T) {
	h := newHarness(t, realRunner(t))
	exe, err := os.Executable()
	h.must(err)
	h.nodeEnv = func(string) []string { return []string{"TEST_DATA_PLANE=" + h.Data.URL} }
	stop := h.runManager()

	h.submit("j1", "command", exe+" train")
	h.await("j1", "Completed")
	log, _ := h.blobText("azureml", stdLog)
	if !strings.HasSuffix(log, "epoch 0\nepoch 1\nepoch 2\n") {
		t.Errorf("log is %q", log)
	}
	if got, _ := h.blobText("azureml", "ExperimentRun/dcid.j1/outputs/model.txt"); got != "a model" {
		t.Errorf("model is %q", got)
	}
	r := h.data(rptest.Owner, "GET", "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/runs/get?run_id=j1", nil)
	metrics := r.Body.List("run.data.metrics")
	if len(metrics) != 1 || metrics[0].(map[string]any)["value"] != 0.7 || metrics[0].(map[string]any)["step"] != 2.0 {
		t.Errorf("metrics are %v", metrics)
	}

	h.submit("bad", "command", "echo oh dear; exit 7")
	h.await("bad", "Failed")
	if msg := h.Want(200, "GET", h.jobID("bad"), nil).Body.String("properties.error.message"); !strings.Contains(msg, "exited with code 7") || !strings.HasSuffix(msg, "oh dear") {
		t.Errorf("error is %q", msg)
	}

	h.submit("long", "command", "trap 'exit 0' TERM; echo begun; while :; do sleep 0.05; done")
	h.await("long", "Running")
	h.Want(202, "POST", h.jobID("long")+"/cancel", nil)
	h.await("long", "Canceled")

	// a file is the job's sign to go on, so that it surely outlives the server
	sign := h.dir + "/go"
	h.submit("outlives", "command", "echo before; while [ ! -e "+sign+" ]; do sleep 0.02; done; echo after")
	h.await("outlives", "Running")
	stop()
	h.restart(realRunner(t))
	h.must(os.WriteFile(sign, nil, 0o600))
	h.runManager()
	h.await("outlives", "Completed")
	log, _ = h.blobText("azureml", "ExperimentRun/dcid.outlives/user_logs/std_log.txt")
	if log != header()+"before\nafter\n" {
		t.Errorf("log is %q", log)
	}

	h.until("the jobs' directories to be gone", func() bool { return len(h.left()) == 0 })

	// deleting the compute fails what waits for it, and says so
	h.Clock.Step(time.Minute)
	h.submit("first", "resources.instanceCount", 3, "command", "sleep 60")
	h.submit("second", "resources.instanceCount", 3)
	h.await("first", "Running")
	h.Want(200, "DELETE", clusterID, nil)
	h.await("first", "Failed")
	h.await("second", "Failed")
	if code := h.Want(200, "GET", h.jobID("second"), nil).Body.String("properties.error.code"); code != "ComputeDeleted" {
		t.Errorf("error is %s", code)
	}
}

// left is what jobs have left on the nodes of the cluster.
func (h *harness) left() (names []string) {
	h.t.Helper()
	h.must(h.Store.View(h.t.Context(), func(tx store.Tx) error {
		nodes, err := h.Manager.Nodes(tx, strings.ToLower(clusterID))
		for _, n := range nodes {
			entries, err := os.ReadDir(n.Info.Dir + "/cr/j")
			if err != nil && !os.IsNotExist(err) {
				return err
			}
			for _, e := range entries {
				names = append(names, e.Name())
			}
		}
		return err
	}))
	return names
}
