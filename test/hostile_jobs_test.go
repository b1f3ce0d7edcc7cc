package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// hostileJobs are jobs that behave badly, and how each ends.
var hostileJobs = []struct{ name, command, more, status, message string }{
	{"forks-away", "setsid env -i sleep 987123 </dev/null >/dev/null 2>&1 &\n" +
		"(setsid sh -c 'sleep 987123 & sleep 987123 &' &)\necho gone", "", "Completed", ""},
	{"ignores-sigterm", "trap '' TERM INT HUP\nwhile :; do sleep 0.1; done", "limits:\n  timeout: 1\n", "Canceled", "timeout of 1s"},
	{"deletes-work", "rm -rf \"$PWD\"\necho deleted", "", "Completed", ""},
	{"deletes-all", "rm -rf \"$(dirname \"$PWD\")\"\nexit 3", "", "Failed", "3"},
	{"locks-out", "mkdir -p outputs/closed\necho x > outputs/closed/x\nchmod 0 outputs/closed/x outputs/closed outputs .", "", "Completed", ""},
	{"prints-much", fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", muchOutput), "", "Completed", ""},
}

// muchOutput is how much a job prints without a newline, in bytes.
const muchOutput = 1_000_000_000

// TestHostileJobs runs jobs that behave badly: each ends as it should, nothing of
// them stays, and a well-behaved job after them runs as if they had not been.
func TestHostileJobs(t *testing.T) {
	e, _ := smallEnv(t)
	for _, h := range hostileJobs {
		e.run("ml", "job", "create", "-f", jobFile(t, h.command, "name: "+h.name+"\n"+h.more, nil))
	}
	for _, h := range hostileJobs {
		j := e.end(h.name)
		if j.Properties.Status != h.status || !strings.Contains(j.Properties.Error.Message, h.message) {
			t.Errorf("%s is %s: %q", h.name, j.Properties.Status, j.Properties.Error.Message)
		}
	}
	for _, p := range processesOf(t, "987123") {
		t.Errorf("left: %s", p)
	}
	w := e.wire()
	a, err := w.do(t.Context(), w.tokens[forStorage], http.MethodHead, smallBlobs+"/azureml/ExperimentRun/dcid.prints-much/user_logs/std_log.txt",
		map[string]string{"x-ms-version": "2021-08-06"}, "")
	if size, _ := strconv.Atoi(a.header.Get("Content-Length")); err != nil || size < muchOutput {
		t.Errorf("its log has %d bytes: %v, HTTP %d", size, err, a.status)
	}
	e.run("ml", "job", "create", "-f", jobFile(t, "echo fine", "name: good\n", nil))
	if j := e.end("good"); j.Properties.Status != "Completed" {
		t.Errorf("a job after them is %+v", j)
	}
}

// TestJobThatFillsTheDisk has a job fill the disk that the home is on: it fails,
// what it wrote goes, and others go on.
func TestJobThatFillsTheDisk(t *testing.T) {
	needTerraform(t)
	disk := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be made here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	e := newEnv(t)
	e.home = filepath.Join(disk, "home")
	text, err := os.ReadFile("testdata/small.tf")
	if err != nil {
		t.Fatal(err)
	}
	e.run("up", write(t, map[string]string{"main.tf": string(text)}))
	e.run("ml", "job", "create", "-f", jobFile(t, "mkdir -p outputs && cat /dev/zero > outputs/big", "name: fills\n", nil))
	if j := e.end("fills"); j.Properties.Status != "Failed" || !strings.Contains(j.Properties.Error.Message, "No space left on device") {
		t.Errorf("the job is %+v", j)
	}
	if files, _ := filepath.Glob(filepath.Join(e.home, "nodes", "nodes", "*", "work", "cr", "j", "*", "exe", "wd", "outputs", "big")); len(files) != 0 {
		t.Errorf("left of the job: %v", files)
	}
	if log := e.try("ml", "job", "stream", "-n", "fills"); !strings.Contains(log.stdout, "No space left on device") {
		t.Errorf("its log: %s", log)
	}
	e.run("ml", "job", "create", "-f", jobFile(t, "echo fine", "name: good\n", nil))
	if j := e.end("good"); j.Properties.Status != "Completed" {
		t.Errorf("the job after it is %+v", j)
	}
}

// end waits for a job's end without reading its log.
func (e *env) end(name string) (j job) {
	e.t.Helper()
	e.await("the end of "+name, func() bool {
		e.json(&j, "ml", "job", "show", "-n", name)
		switch j.Properties.Status {
		case "Completed", "Failed", "Canceled":
			return true
		}
		return false
	})
	return j
}
