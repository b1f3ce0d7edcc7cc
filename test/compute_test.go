package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const computeAPI = "2024-04-01"

// putCluster makes or changes a cluster of the small environment.
func (w *wire) putCluster(t testing.TB, name, size, priority string, low, high int, idle string) {
	t.Helper()
	body := fmt.Sprintf(`{"location":"westeurope","properties":{"computeType":"AmlCompute","properties":{"vmSize":%q,"vmPriority":%q,
		"scaleSettings":{"minNodeCount":%d,"maxNodeCount":%d,"nodeIdleTimeBeforeScaleDown":%q}}}}`, size, priority, low, high, idle)
	if _, err := w.arm(t.Context(), http.MethodPut, smallWS+"/computes/"+name, computeAPI, body); err != nil {
		t.Fatal(err)
	}
}

// shownJob is what `azimuth ml job show` says of a job.
type shownJob struct {
	Name       string
	Properties struct {
		Status       string
		QueueingInfo struct{ Message string }
		Error        struct{ Code, Message string }
		Properties   map[string]string
		Timeline     []struct {
			Status, Reason string
			At             time.Time
			Attempt        int
		}
	}
}

func (e *env) show(name string) shownJob {
	e.t.Helper()
	var j shownJob
	e.json(&j, "ml", "job", "show", "-n", name)
	return j
}

func (e *env) awaitStatus(name, want string) shownJob {
	e.t.Helper()
	var j shownJob
	e.await(name+" is "+want, func() bool {
		j = e.show(name)
		if s := j.Properties.Status; s != want && (s == "Completed" || s == "Failed" || s == "Canceled") {
			e.t.Fatalf("job %s is %s: %s", name, s, j.Properties.Error.Message)
		}
		return j.Properties.Status == want
	})
	return j
}

func (e *env) log(name string) string {
	e.t.Helper()
	dir := e.t.TempDir()
	e.run("ml", "job", "download", "-n", name, "-p", dir)
	b, err := os.ReadFile(filepath.Join(dir, "artifacts", "user_logs", "std_log.txt"))
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// TestPreemption takes the node of the training example away: it saves its work,
// is queued again, and goes on where it was.
func TestPreemption(t *testing.T) {
	need(t, "python3")
	e, _ := smallEnv(t)
	w := e.wire()
	w.putCluster(t, "low-pri-cluster", "Standard_D8s_v3", "LowPriority", 0, 2, "PT10M")
	e.run("ml", "job", "create", "-f", "../examples/train/job.yml", "-n", "digits", "--set", "compute=azureml:low-pri-cluster", "--set", "inputs.epochs=12")
	e.await("there is a checkpoint", func() bool {
		found, err := filepath.Glob(filepath.Join(e.home, "nodes", "nodes", "*", "work", "cr", "j", "*", "exe", "wd", "outputs", "checkpoint.json"))
		return err == nil && len(found) > 0
	})
	var taken struct{ Nodes []string }
	e.json(&taken, "compute", "preempt", "low-pri-cluster")
	if len(taken.Nodes) != 1 {
		t.Fatalf("preempted: %q", taken.Nodes)
	}
	e.await("the job is on another node", func() bool { return e.show("digits").Properties.Properties["azimuth.attempts"] == "2" })
	var nodes []struct{ NodeID, NodeState string }
	e.json(&nodes, "ml", "compute", "list-nodes", "-n", "low-pri-cluster")
	if len(nodes) != 2 || nodes[0].NodeState != "preempted" || nodes[0].NodeID != taken.Nodes[0] {
		t.Errorf("nodes: %+v", nodes)
	}
	if c := e.cluster("low-pri-cluster").Properties.Properties; c.NodeStateCounts["preemptedNodeCount"] != 1 {
		t.Errorf("counts: %+v", c)
	}
	j := e.awaitStatus("digits", "Completed")
	var timeline []string
	for _, m := range j.Properties.Timeline {
		timeline = append(timeline, fmt.Sprint(m.Status, m.Attempt))
		if m.Status == "Queued" && m.Attempt == 1 && !strings.Contains(m.Reason, "was preempted on request") {
			t.Errorf("reason: %q", m.Reason)
		}
	}
	if got := strings.Join(timeline, " "); got != "Queued0 Preparing1 Running1 Queued1 Preparing2 Running2 Finalizing2 Completed2" {
		t.Errorf("timeline: %s", got)
	}
	if n := j.Properties.Properties["azimuth.preemptions"]; n != "1" {
		t.Errorf("preemptions: %q", n)
	}
	log := e.log("digits")
	for _, want := range []string{"the next run goes on from there", "This is attempt 2 of the job.", "resumed after epoch", "epoch  12/12", "accuracy="} {
		if strings.Count(log, want) != 1 {
			t.Errorf("the log says %q %d times:\n%s", want, strings.Count(log, want), log)
		}
	}
	if strings.Count(log, "epoch   1/12") != 1 {
		t.Errorf("the first epoch was done again:\n%s", log)
	}

	// a dedicated cluster has no such thing, and a cluster that is not there neither
	e.fails(1, "Dedicated", "compute", "preempt", "cpu-cluster")
	e.fails(1, "no such compute", "compute", "preempt", "nowhere")
	e.fails(2, "20%/10m", "compute", "preemption", "low-pri-cluster", "--chance", "often")
	if out := e.run("compute", "preemption", "low-pri-cluster", "--chance", "20%/10m", "--every", "1h", "--nodes", "2", "--on-preempt", "fail", "--notice", "1s"); !strings.Contains(out, "20% in 10m") || !strings.Contains(out, "2 nodes every 1h") {
		t.Errorf("preemption:\n%s", out)
	}

	// a job that ignores the notice is killed, and fails where that was asked for
	e.run("ml", "job", "create", "-f", jobFile(t, "trap '' TERM\nwhile true; do sleep 0.1; done", "name: deaf\n", nil), "--set", "compute=azureml:low-pri-cluster")
	e.awaitStatus("deaf", "Running")
	e.run("compute", "preempt", "low-pri-cluster")
	if j := e.awaitStatus("deaf", "Failed"); j.Properties.Error.Code != "PreemptionError" || !strings.Contains(j.Properties.Error.Message, "Received pre-emption warning signal") {
		t.Errorf("error: %+v", j.Properties.Error)
	}
	e.run("compute", "preemption", "low-pri-cluster", "--off")
	if out := e.run("compute", "preemption", "low-pri-cluster"); strings.Contains(out, "20%") || !strings.Contains(out, "queued again") {
		t.Errorf("preemption after --off:\n%s", out)
	}
	e.run("clock", "advance", "11m")
	if c := e.cluster("low-pri-cluster").Properties.Properties; c.CurrentNodeCount != 0 {
		t.Errorf("after the idle time: %+v", c)
	}
}

// TestShortageAndQueue checks why jobs wait, and in which order they go.
func TestShortageAndQueue(t *testing.T) {
	e, _ := smallEnv(t)
	e.run("compute", "shortage", "add", "standard_d4s_v3")
	if out := e.run("compute", "shortage", "list"); !strings.Contains(out, "Standard_D4s_v3") {
		t.Errorf("shortages:\n%s", out)
	}
	e.fails(1, "Standard_Nothing", "compute", "shortage", "add", "Standard_Nothing")
	gate, order := filepath.Join(t.TempDir(), "gate"), filepath.Join(t.TempDir(), "order")
	create := func(name, priority string, nodes int) {
		command := "echo " + name + " >> " + order + "\nwhile [ ! -e " + gate + " ]; do sleep 0.05; done"
		e.run("ml", "job", "create", "-f", jobFile(t, command, fmt.Sprintf("name: %s\nqueue_settings:\n  priority: %s\nresources:\n  instance_count: %d\n", name, priority, nodes), nil))
	}
	create("first", "medium", 2)
	waits := func(name, want string) {
		t.Helper()
		e.await(name+" waits because "+want, func() bool { return strings.Contains(e.show(name).Properties.QueueingInfo.Message, want) })
	}
	waits("first", "2 nodes of size Standard_D4s_v3, for which there is no capacity at the moment.")
	var c struct {
		Properties struct {
			Properties struct {
				Errors []struct{ Error struct{ Message string } }
			}
		}
	}
	e.json(&c, "ml", "compute", "show", "-n", "cpu-cluster")
	if errs := c.Properties.Properties.Errors; len(errs) != 1 || !strings.Contains(errs[0].Error.Message, "no capacity for Standard_D4s_v3") {
		t.Errorf("errors of the cluster: %+v", errs)
	}
	e.run("compute", "shortage", "remove", "Standard_D4s_v3")
	e.awaitStatus("first", "Running")
	create("low", "low", 2)
	waits("low", "All 2 nodes of the compute are in use; the job is the next in the queue.")
	create("high", "high", 2)
	waits("high", "the job is the next in the queue.")
	waits("low", "1 job is ahead of it in the queue.")
	if err := os.WriteFile(gate, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "high", "low"} {
		e.awaitStatus(name, "Completed")
	}
	b, err := os.ReadFile(order)
	if got := strings.Join(strings.Fields(string(b)), " "); err != nil || got != "first first high high low low" {
		t.Errorf("order: %v %s", err, got)
	}
}

// TestQuota limits the cores of clusters: jobs wait for what others have, and what
// can never be is refused in Azure's words.
func TestQuota(t *testing.T) {
	e, _ := smallEnv(t)
	w := e.wire()
	w.putCluster(t, "other", "Standard_D4s_v3", "Dedicated", 0, 2, "PT10M")
	if out := e.run("quota", "set", "standarddsv3family", "8"); !strings.Contains(out, "standardDSv3Family") {
		t.Errorf("quotas:\n%s", out)
	}
	e.fails(1, "no quota 'vCPUs'", "quota", "set", "vCPUs", "8")
	gate := filepath.Join(t.TempDir(), "gate")
	create := func(name, cluster string, nodes int) {
		e.run("ml", "job", "create", "-f", jobFile(t, "while [ ! -e "+gate+" ]; do sleep 0.05; done", fmt.Sprintf("name: %s\nresources:\n  instance_count: %d\n", name, nodes), nil),
			"--set", "compute=azureml:"+cluster)
	}
	create("a", "cpu-cluster", 1)
	e.awaitStatus("a", "Running")
	create("b", "other", 2)
	want := "The job waits for the vCPU quota standardDSv3Family of 8: its 2 nodes need 8 vCPUs, which other nodes leave no room for."
	e.await("it waits for the quota", func() bool { return e.show("b").Properties.QueueingInfo.Message == want })
	e.run("quota", "set", "standardDSv3Family", "4")
	e.fails(1, "JobNodeCountExceedsCoreQuota", "ml", "job", "create", "-f",
		jobFile(t, "true", "name: c\nresources:\n  instance_count: 2\n", nil))
	e.run("quota", "set", "TotalDedicatedCores", "1")
	body := `{"location":"westeurope","properties":{"computeType":"AmlCompute","properties":{"vmSize":"Standard_D2s_v3","scaleSettings":{"maxNodeCount":1}}}}`
	if _, err := w.arm(t.Context(), http.MethodPut, smallWS+"/computes/third", computeAPI, body); err == nil ||
		!strings.Contains(err.Error(), "total vCPU quota of 1 and cannot accomodate for at least 1 requested managed compute node which maps to 2 vCPUs") {
		t.Errorf("a cluster beyond the quota: %v", err)
	}
	e.run("quota", "remove", "TotalDedicatedCores")
	if err := os.WriteFile(gate, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	e.awaitStatus("a", "Completed")
	e.run("quota", "remove", "standardDSv3Family")
	e.awaitStatus("b", "Completed")
	ws := smallWS[strings.LastIndexByte(smallWS, '/')+1:]
	e.run("quota", "set", "standardDSv3Family", "6", "-w", ws)
	e.fails(1, "JobNodeCountExceedsCoreQuota", "ml", "job", "create", "-f",
		jobFile(t, "true", "name: d\nresources:\n  instance_count: 2\n", nil), "--set", "compute=azureml:other")
	e.run("quota", "set", "standardDSv3Family", "8")
	e.fails(1, "InvalidQuotaExceedsSubscriptionLimit", "quota", "set", "standardDSv3Family", "9", "-w", ws)
	var quotas []struct {
		Name, Workspace string
		Used, Limit     int
	}
	e.json(&quotas, "quota", "list")
	if len(quotas) != 2 || quotas[0].Used != 16 || quotas[0].Limit != 8 || quotas[1].Limit != 6 || !strings.EqualFold(quotas[1].Workspace, smallWS) {
		t.Errorf("quotas: %+v", quotas)
	}
	e.run("quota", "remove", "standardDSv3Family", "-w", ws)
	e.run("quota", "remove", "standardDSv3Family")
	if out := e.run("quota", "list"); strings.Contains(out, "Family") {
		t.Errorf("quotas:\n%s", out)
	}
}

// TestIdleTimes has three clusters shrink, each node after its own idle time.
func TestIdleTimes(t *testing.T) {
	e, _ := smallEnv(t)
	w := e.wire()
	w.putCluster(t, "cpu-cluster", "Standard_D4s_v3", "Dedicated", 0, 3, "PT15M")
	w.putCluster(t, "gpu-cluster", "Standard_NC4as_T4_v3", "Dedicated", 0, 2, "PT30M")
	w.putCluster(t, "low-pri-cluster", "Standard_D8s_v3", "LowPriority", 1, 2, "PT10M")
	job := func(name, cluster string, nodes int) {
		t.Helper()
		e.run("ml", "job", "create", "-f", jobFile(t, "true", fmt.Sprintf("name: %s\nresources:\n  instance_count: %d\n", name, nodes), nil),
			"--set", "compute=azureml:"+cluster)
		e.awaitStatus(name, "Completed")
	}
	job("a", "cpu-cluster", 2)
	job("b", "gpu-cluster", 1)
	job("c", "low-pri-cluster", 2)
	for _, step := range []struct {
		advance       string
		again         bool // a job runs on one node of cpu-cluster after that
		cpu, gpu, low int
	}{
		{advance: "9m", again: true, cpu: 2, gpu: 1, low: 2},
		{advance: "2m", cpu: 2, gpu: 1, low: 1}, // its minimum
		{advance: "5m", cpu: 1, gpu: 1, low: 1},
		{advance: "9m", cpu: 0, gpu: 1, low: 1},
		{advance: "6m", cpu: 0, gpu: 0, low: 1},
	} {
		e.run("clock", "advance", step.advance)
		for name, want := range map[string]int{"cpu-cluster": step.cpu, "gpu-cluster": step.gpu, "low-pri-cluster": step.low} {
			if c := e.cluster(name).Properties.Properties; c.CurrentNodeCount != want || c.AllocationState != "Steady" {
				t.Errorf("after %s more %s has %d nodes, want %d, and is %s", step.advance, name, c.CurrentNodeCount, want, c.AllocationState)
			}
		}
		if step.again {
			job("d", "cpu-cluster", 1)
		}
	}
}

// TestResizeWhileJobsRun changes scale settings in place with PATCH and PUT, and
// deletes a cluster, all with jobs on it.
func TestResizeWhileJobsRun(t *testing.T) {
	e, _ := smallEnv(t)
	w := e.wire()
	at := smallWS + "/computes/cpu-cluster"
	gate := filepath.Join(t.TempDir(), "gate")
	create := func(name string) {
		e.run("ml", "job", "create", "-f", jobFile(t, "while [ ! -e "+gate+" ]; do sleep 0.05; done", "name: "+name+"\n", nil))
	}
	patch := func(low, high int, idle string) {
		t.Helper()
		body := fmt.Sprintf(`{"properties":{"properties":{"scaleSettings":{"minNodeCount":%d,"maxNodeCount":%d,"nodeIdleTimeBeforeScaleDown":%q}}}}`, low, high, idle)
		if _, err := w.arm(t.Context(), http.MethodPatch, at, computeAPI, body); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		create(name)
	}
	e.awaitStatus("a", "Running")
	e.awaitStatus("b", "Running")
	if s := e.show("c").Properties.Status; s != "Queued" {
		t.Errorf("the third job of a cluster of two nodes is %s", s)
	}
	patch(1, 3, "PT5M") // larger: the third runs, the others go on
	e.awaitStatus("c", "Running")
	patch(0, 1, "PT5M") // smaller than what runs: nothing is ended
	for _, name := range []string{"a", "b", "c"} {
		if j := e.show(name); j.Properties.Status != "Running" || j.Properties.Properties["azimuth.attempts"] != "1" {
			t.Errorf("%s is %s after the resize", name, j.Properties.Status)
		}
	}
	if c := e.cluster("cpu-cluster").Properties.Properties; c.CurrentNodeCount != 3 {
		t.Errorf("smaller while jobs run: %+v", c)
	}
	if err := os.WriteFile(gate, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		e.awaitStatus(name, "Completed")
	}
	e.await("only the maximum is left", func() bool {
		c := e.cluster("cpu-cluster").Properties.Properties
		return c.CurrentNodeCount == 1 && c.AllocationState == "Steady"
	})
	// PUT of the whole resource, as the Python SDK does it
	var doc map[string]any
	a, err := w.arm(t.Context(), http.MethodGet, at, computeAPI, "")
	if err == nil {
		err = json.Unmarshal(a.body, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	doc["properties"].(map[string]any)["properties"].(map[string]any)["scaleSettings"] = map[string]any{"minNodeCount": 2, "maxNodeCount": 2, "nodeIdleTimeBeforeScaleDown": "PT5M"}
	body, err := json.Marshal(doc)
	if err == nil {
		_, err = w.arm(t.Context(), http.MethodPut, at, computeAPI, string(body))
	}
	if err != nil {
		t.Fatal(err)
	}
	e.await("the minimum is kept", func() bool {
		return e.cluster("cpu-cluster").Properties.Properties.NodeStateCounts["idleNodeCount"] == 2
	})
	e.run("clock", "advance", "1h")
	if c := e.cluster("cpu-cluster").Properties.Properties; c.CurrentNodeCount != 2 {
		t.Errorf("the minimum is two: %+v", c)
	}

	// deletion with one job running and one waiting
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	create("runs")
	e.run("ml", "job", "create", "-f", jobFile(t, "true", "name: waits\nresources:\n  instance_count: 2\n", nil))
	e.awaitStatus("runs", "Running")
	if _, err := w.arm(t.Context(), http.MethodDelete, at, computeAPI, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"runs", "waits"} {
		if j := e.awaitStatus(name, "Failed"); j.Properties.Error.Code != "ComputeDeleted" {
			t.Errorf("%s: %+v", name, j.Properties.Error)
		}
	}
	e.await("no node is left", func() bool {
		left, err := os.ReadDir(filepath.Join(e.home, "nodes", "nodes"))
		return err == nil && len(left) == 0
	})
	// and it can be made again
	w.putCluster(t, "cpu-cluster", "Standard_D4s_v3", "Dedicated", 0, 1, "PT5M")
	e.run("ml", "job", "create", "-f", jobFile(t, "true", "name: again\n", nil))
	e.awaitStatus("again", "Completed")
}
