package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// scenarioJobs is how many jobs TestScenario runs: AZIMUTH_SCENARIO_JOBS, or few.
// "make scenario" runs 2,000.
func scenarioJobs(t *testing.T) int {
	t.Helper()
	s := os.Getenv("AZIMUTH_SCENARIO_JOBS")
	if s == "" {
		return 200
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("AZIMUTH_SCENARIO_JOBS=%s is no number of jobs", s)
	}
	return n
}

// scenarioLines is what each process of a job prints between its first and its
// last line.
const scenarioLines = 20

// scenarioJob is one job: every fifth is a gang of two, every tenth fails.
type scenarioJob struct {
	name, cluster string
	nodes         int
	fails         bool
}

func (j scenarioJob) body(dir string) string {
	end := "echo end"
	if j.fails {
		end = "echo end; exit 3"
	}
	command := `exec 9>"` + dir + `/` + j.name + `.$RANK"
flock -n 9 || echo "` + j.name + ` runs twice" >> "` + dir + `/violations"
echo begin
i=0
while [ $i -lt ` + strconv.Itoa(scenarioLines) + ` ]; do echo line $i; i=$((i+1)); done
sleep 0.0` + strconv.Itoa(len(j.name)*7%10) + `
` + end
	b, err := json.Marshal(map[string]any{"properties": map[string]any{
		"jobType": "Command", "command": command, "computeId": smallWS + "/computes/" + j.cluster, "experimentName": "scenario",
		"environmentId": "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
		"resources":     map[string]any{"instanceCount": j.nodes},
		"distribution":  map[string]any{"distributionType": "PyTorch", "processCountPerInstance": 1},
	}})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(b)
}

// checkLog checks that the log of one process is whole: attempts that were
// interrupted have a beginning of what the last one has all of.
func (j scenarioJob) checkLog(log string, attempts int) error {
	var lines []string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if line == "begin" || line == "end" || strings.HasPrefix(line, "line ") {
			lines = append(lines, line)
		}
	}
	begun := 0
	next := scenarioLines + 1 // of the attempt that the lines are of
	for i, line := range lines {
		switch {
		case line == "begin":
			begun, next = begun+1, 0
		case line == fmt.Sprint("line ", next):
			next++
		case line == "end" && next == scenarioLines: // perhaps too late to be heard
			next++
		default:
			return fmt.Errorf("line %d of %d is %q", i, len(lines), line)
		}
	}
	if next != scenarioLines+1 || begun < 1 || begun > attempts {
		return fmt.Errorf("%d attempts, %d of them in the log, %d lines in the last", attempts, begun, next)
	}
	return nil
}

// TestScenario runs short jobs and gangs on three clusters, of which one is
// preempted, and kills the server three times meanwhile. Each job ends once and
// as it should, none runs twice at a time, the logs are whole, and nothing is
// left.
func TestScenario(t *testing.T) {
	need(t, "flock")
	n := scenarioJobs(t)
	e, _ := smallEnv(t)
	w := e.wire()
	w.putCluster(t, "gang-cluster", "Standard_D4s_v3", "Dedicated", 0, 4, "PT10M")
	w.putCluster(t, "low-pri-cluster", "Standard_D8s_v3", "LowPriority", 0, 3, "PT10M")
	e.run("compute", "preemption", "low-pri-cluster", "--chance", "20%/1s", "--notice", "1s")
	dir := t.TempDir()
	jobs := make([]scenarioJob, n)
	for i := range jobs {
		jobs[i] = scenarioJob{
			name:    fmt.Sprintf("job-%d", i),
			cluster: []string{"cpu-cluster", "gang-cluster", "low-pri-cluster"}[i%3],
			nodes:   1 + i%5/4, fails: i%10 == 7,
		}
	}
	each(t, 4, n, func(i int) error {
		_, err := w.arm(t.Context(), http.MethodPut, smallWS+"/jobs/"+jobs[i].name, computeAPI, jobs[i].body(dir))
		return err
	})
	for i, j := range jobs {
		if i == n/4 || i == n/2 || i == n*3/4 {
			e.kill()
			e.serve()
		}
		want := "Completed"
		if j.fails {
			want = "Failed"
		}
		var shown shownJob
		e.await(j.name+" ends", func() bool {
			a, err := w.arm(t.Context(), http.MethodGet, smallWS+"/jobs/"+j.name, computeAPI, "")
			if err == nil {
				shown = shownJob{}
				err = json.Unmarshal(a.body, &shown)
			}
			if err != nil {
				t.Fatal(err)
			}
			s := shown.Properties.Status
			return s == "Completed" || s == "Failed" || s == "Canceled"
		})
		if got := shown.Properties.Status; got != want {
			t.Errorf("%s is %s: %s", j.name, got, shown.Properties.Error.Message)
		}
		if j.fails && !strings.Contains(shown.Properties.Error.Message, "code 3") {
			t.Errorf("%s failed: %s", j.name, shown.Properties.Error.Message)
		}
		ends := 0
		for _, m := range shown.Properties.Timeline {
			if m.Status == "Completed" || m.Status == "Failed" || m.Status == "Canceled" {
				ends++
			}
		}
		if ends != 1 {
			t.Errorf("%s ended %d times: %+v", j.name, ends, shown.Properties.Timeline)
		}
		attempts, _ := strconv.Atoi(shown.Properties.Properties["azimuth.attempts"])
		for rank := range j.nodes {
			if j.fails && rank > 0 {
				continue // the first that failed ended the others
			}
			name := "std_log.txt"
			if rank > 0 {
				name = fmt.Sprintf("std_log_process_%02d.txt", rank)
			}
			log, err := w.getBlob(t.Context(), "/azureml/ExperimentRun/dcid."+j.name+"/user_logs/"+name)
			if err == nil && !(j.fails && j.nodes > 1) {
				err = j.checkLog(log, attempts)
			}
			if err != nil {
				t.Errorf("log %d of %s: %v\n%s", rank, j.name, err, log)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "violations")); err == nil {
		t.Errorf("violations:\n%s", b)
	}
	e.run("compute", "preemption", "low-pri-cluster", "--off")
	e.run("clock", "advance", "16m")
	for _, name := range []string{"cpu-cluster", "gang-cluster", "low-pri-cluster"} {
		e.await(name+" is at its minimum", func() bool {
			c := e.cluster(name).Properties.Properties
			return c.CurrentNodeCount == 0 && c.AllocationState == "Steady"
		})
	}
	for _, kind := range []string{"nodes", "tasks"} {
		if left, err := os.ReadDir(filepath.Join(e.home, "nodes", kind)); err != nil || len(left) > 0 {
			t.Errorf("directories left in %s: %v %v", kind, left, err)
		}
	}
	if left := processesOf(t, e.home); len(left) != 1 { // the server
		t.Errorf("processes left: %q", left)
	}
}
