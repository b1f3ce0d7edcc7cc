package test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestServerless runs a job that names no compute, on Spot nodes, which are taken away
// once, count against a quota, and are gone two minutes after the job.
func TestServerless(t *testing.T) {
	t.Parallel()
	e, _ := smallEnv(t)
	dir := write(t, map[string]string{"job.yml": `command: 'if [ "$AZIMUTH_ATTEMPT" = 1 ]; then sleep 600; fi; echo attempt $AZIMUTH_ATTEMPT'
name: spot
environment: {image: library/python:3.12-slim}
queue_settings: {job_tier: spot}
resources: {instance_type: Standard_E4s_v3, instance_count: 2}
`})
	e.run("quota", "set", "TotalLowPriorityCores", "16") // one node of 4 may be on its way out
	e.run("ml", "job", "create", "-f", filepath.Join(dir, "job.yml"))
	e.awaitStatus("spot", "Running")
	top := e.run("top", "--once")
	if strings.Count(top, "serverless") != 4 || !strings.Contains(top, "Standard_E4s_v3") { // a pool, two nodes, a job
		t.Errorf("top shows:\n%s", top)
	}
	e.run("compute", "preempt", "serverless", "--nodes", "1")
	out := e.run("ml", "job", "stream", "-n", "spot")
	for _, want := range []string{"serverless compute: 2 nodes of Standard_E4s_v3 (LowPriority)", "attempt 2", "Status: Completed"} {
		if !strings.Contains(out, want) {
			t.Errorf("stream does not say %q:\n%s", want, out)
		}
	}
	if j := e.show("spot"); j.Properties.Properties["azimuth.preemptions"] != "1" {
		t.Errorf("properties are %v", j.Properties.Properties)
	}
	e.run("clock", "advance", "3m")
	if top := e.run("top", "--once"); strings.Contains(top, "serverless") {
		t.Errorf("nodes stay:\n%s", top)
	}
	e.run("quota", "set", "TotalLowPriorityCores", "4")
	e.fails(1, "vCPU quota of 4", "ml", "job", "create", "-f", filepath.Join(dir, "job.yml"), "-n", "large")
}
