package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const pipelineHead = `$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
settings: {default_compute: azureml:cpu-cluster}
`

const pipelineEnvironment = "    environment: {image: library/python:3.12-slim}\n"

// TestPipeline is what a user sees of a pipeline: its steps as they go, their jobs,
// what it leaves, how it fails and how it is canceled.
func TestPipeline(t *testing.T) {
	t.Parallel()
	e, _ := smallEnv(t)
	dir := write(t, map[string]string{
		"good.yml": pipelineHead + `name: good
inputs: {who: world, table: {type: uri_file, path: table.csv}}
outputs: {report: {type: uri_file, path: "azureml://datastores/workspaceblobstore/paths/${{name}}/report.txt"}}
jobs:
  count:
    command: wc -l < ${{inputs.table}} > ${{outputs.counted}}/n
    inputs: {table: "${{parent.inputs.table}}"}
    outputs: {counted: }
` + pipelineEnvironment + `  tell:
    component: parts/tell.yml
    inputs: {who: "${{parent.inputs.who}}", counted: "${{parent.jobs.count.outputs.counted}}"}
    outputs: {report: "${{parent.outputs.report}}"}
`,
		"parts/tell.yml": `name: tell
type: command
code: src
command: sh tell.sh ${{inputs.who}} ${{inputs.counted}} ${{outputs.report}} $[[${{inputs.mood}}]]
environment: {image: library/python:3.12-slim}
inputs: {who: {type: string}, counted: {type: uri_folder}, mood: {type: string, optional: true}}
outputs: {report: {type: uri_file}}
`,
		"outer.yml": pipelineHead + `name: outer
inputs: {table: {type: uri_file, path: table.csv}, where: cpu-cluster}
outputs: {report: {type: uri_folder}}
jobs:
  inner:
    type: pipeline
    component: parts/inner.yml
    inputs: {table: "${{parent.inputs.table}}", where: "${{parent.inputs.where}}"}
  last:
    component: azureml:copy:1
    inputs: {from: "${{parent.jobs.inner.outputs.counted}}"}
    outputs: {to: "${{parent.outputs.report}}"}
`,
		"parts/inner.yml": `type: pipeline
name: inner
inputs: {table: {type: uri_file}, where: {type: string}}
outputs: {counted: {type: uri_folder}}
jobs:
  count:
    command: wc -l < ${{inputs.table}} > ${{outputs.to}}/n
    environment: {image: library/python:3.12-slim}
    compute: ${{parent.inputs.where}}
    inputs: {table: "${{parent.inputs.table}}"}
    outputs: {to: }
  pass:
    component: copy.yml
    inputs: {from: "${{parent.jobs.count.outputs.to}}"}
    outputs: {to: "${{parent.outputs.counted}}"}
`,
		"parts/copy.yml": `type: command
name: copy
display_name: Copy it
command: cp ${{inputs.from}}/n ${{outputs.to}}/n
environment: {image: library/python:3.12-slim}
inputs: {from: {type: uri_folder}}
outputs: {to: {type: uri_folder}}
`,
		"parts/src/tell.sh": "echo hello $1, $(cat $2/n) rows and $# words > $3\n",
		"table.csv":         "a\nb\n",
		"bad.yml": pipelineHead + `name: bad
jobs:
  breaks:
    command: echo no luck; exit 5
    outputs: {o: }
` + pipelineEnvironment + `  never:
    command: cat ${{inputs.i}}/x
    inputs: {i: "${{parent.jobs.breaks.outputs.o}}"}
` + pipelineEnvironment,
		"slow.yml": pipelineHead + "name: slow\njobs:\n  waits:\n    command: sleep 600\n" + pipelineEnvironment,
		"loop.yml": pipelineHead + `jobs:
  a: {command: x, environment: azureml:e:1, inputs: {i: "${{parent.jobs.b.outputs.o}}"}, outputs: {o: }}
  b: {command: x, environment: azureml:e:1, inputs: {i: "${{parent.jobs.a.outputs.o}}"}, outputs: {o: }}
`,
	})
	file := func(name string) string { return filepath.Join(dir, name) }
	e.fails(1, "wait for each other in a circle: a → b → a", "ml", "job", "validate", "-f", file("loop.yml"))

	out := e.run("ml", "job", "create", "-f", file("good.yml"), "--stream")
	for _, want := range []string{"RunId: good", "Step count (", "Step tell (", "): Completed", "Status: Completed"} {
		if !strings.Contains(out, want) {
			t.Errorf("stream does not say %q:\n%s", want, out)
		}
	}
	var steps []job
	e.json(&steps, "ml", "job", "list", "--parent-job-name", "good")
	if len(steps) != 2 || steps[0].Properties.Status != "Completed" {
		t.Fatalf("steps are %+v", steps)
	}
	var all []job
	e.json(&all, "ml", "job", "list")
	if len(all) != 1 || all[0].Name != "good" { // steps are not among them
		t.Errorf("jobs are %+v", all)
	}
	if out := e.run("ml", "job", "stream", "-n", steps[1].Name); !strings.Contains(out, "Status: Completed") {
		t.Errorf("stream of a step:\n%s", out)
	}
	to := t.TempDir()
	e.run("ml", "job", "download", "-n", "good", "--all", "-p", to)
	if b, err := os.ReadFile(filepath.Join(to, "named-outputs", "report", "report.txt")); err != nil || string(b) != "hello world, 2 rows and 3 words\n" {
		t.Errorf("report: %v %q", err, b)
	}

	// a pipeline in a pipeline, and a component that is registered
	e.run("ml", "component", "create", "-f", file("parts/copy.yml"))
	if out := e.run("ml", "component", "show", "-n", "copy", "-o", "table") + e.run("ml", "component", "list"); !strings.Contains(out, "Copy it") || strings.Count(out, "copy") != 2 {
		t.Errorf("components:\n%s", out)
	}
	if out := e.run("ml", "job", "create", "-f", file("outer.yml"), "--stream"); !strings.Contains(out, "Status: Completed") {
		t.Errorf("stream:\n%s", out)
	}
	e.run("ml", "job", "download", "-n", "outer", "--all", "-p", to)
	if b, err := os.ReadFile(filepath.Join(to, "named-outputs", "report", "n")); err != nil || strings.TrimSpace(string(b)) != "2" {
		t.Errorf("report: %v %q", err, b)
	}

	r := e.try("ml", "job", "create", "-f", file("bad.yml"), "--stream")
	if r.code != 1 || !strings.Contains(r.stdout, "'breaks' did not complete") || !strings.Contains(r.stdout, "no luck") || strings.Contains(r.stdout, "Step never") {
		t.Errorf("failing pipeline: %s", r)
	}
	e.run("ml", "job", "create", "-f", file("slow.yml"))
	e.run("ml", "job", "cancel", "-n", "slow")
	if j := e.wait("slow"); j.Properties.Status != "Canceled" {
		t.Errorf("canceled pipeline is %q", j.Properties.Status)
	}
	e.json(&steps, "ml", "job", "list", "--parent-job-name", "slow")
	if len(steps) != 1 || steps[0].Properties.Status != "Canceled" {
		t.Errorf("steps of it are %+v", steps)
	}
}

// TestPipelineCrashes kills the server between and during the steps of a pipeline:
// it goes on, and each step runs once.
func TestPipelineCrashes(t *testing.T) {
	t.Parallel()
	e, stack := smallEnv(t)
	const steps = 6
	ran := filepath.Join(t.TempDir(), "ran") // each step adds its name
	text := pipelineHead + "name: crashed\njobs:\n"
	for i := range steps {
		text += fmt.Sprintf("  s%d:\n    command: echo s%d >> %s; sleep 0.3; echo %d > ${{outputs.o}}/x", i, i, ran, i)
		if i > 0 {
			text += fmt.Sprintf("; grep %d ${{inputs.i}}/x\n    inputs: {i: \"${{parent.jobs.s%d.outputs.o}}\"}", i-1, i-1)
		}
		text += "\n    outputs: {o: }\n" + pipelineEnvironment
	}
	e.run("ml", "job", "create", "-f", filepath.Join(write(t, map[string]string{"job.yml": text}), "job.yml"))
	count := func() int {
		b, err := os.ReadFile(ran)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Count(string(b), "\n")
	}
	for _, at := range []int{1, 3, 4} {
		e.await("the steps go on", func() bool { return count() >= at })
		e.kill()
		e.await("the server is gone", func() bool { return e.try("status").code == 3 })
		e.run("up", stack)
	}
	if j := e.wait("crashed"); j.Properties.Status != "Completed" {
		t.Errorf("the pipeline is %q: %s", j.Properties.Status, j.Properties.Error.Message)
	}
	var want strings.Builder
	for i := range steps {
		fmt.Fprintf(&want, "s%d\n", i)
	}
	if b, err := os.ReadFile(ran); err != nil || string(b) != want.String() {
		t.Errorf("ran: %v %q", err, b)
	}
	var children []job
	e.json(&children, "ml", "job", "list", "--parent-job-name", "crashed")
	if len(children) != steps {
		t.Errorf("%d steps were submitted", len(children))
	}
	to := t.TempDir()
	e.run("ml", "job", "download", "-n", "crashed", "-p", to)
	b, err := os.ReadFile(filepath.Join(to, "artifacts", "logs", "azureml", "executionlogs.txt"))
	if err != nil || strings.Count(string(b), "submitted") != steps || !strings.Contains(string(b), "The pipeline ended: Completed.") {
		t.Errorf("log: %v\n%s", err, b)
	}
}
