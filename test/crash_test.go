package test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// crashRounds is how often a test kills the server.
func crashRounds(t *testing.T, otherwise int) int {
	t.Helper()
	v := os.Getenv("AZIMUTH_CRASH_ROUNDS")
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("AZIMUTH_CRASH_ROUNDS=%q is no number of rounds", v)
	}
	return n
}

// acknowledged is what the server said it had.
type acknowledged struct {
	mu     sync.Mutex
	groups map[string]string // tag by name
	blobs  map[string]string // text by path
	jobs   []string
	count  atomic.Int64
}

func (a *acknowledged) add(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.count.Add(1)
}

// TestCrashes kills the server again and again under mixed load: all that was
// acknowledged is there and whole, and each job's command runs once.
// AZIMUTH_CRASH_ROUNDS sets how often.
func TestCrashes(t *testing.T) {
	e, _ := smallEnv(t)
	e.run("stop")
	ctx := t.Context()
	ran := filepath.Join(t.TempDir(), "ran") // each command adds its job's name
	all := &acknowledged{groups: map[string]string{}, blobs: map[string]string{}}
	rounds := crashRounds(t, 5)
	for round := range rounds {
		s := e.serve()
		w := e.wire()
		w.verify(t, all)
		until := all.count.Load() + 5 + rand.Int64N(60)
		var wg sync.WaitGroup
		// load runs op until the server is killed
		load := func(op func(i int) error) {
			wg.Go(func() {
				for i := 0; op(i) == nil; i++ {
					if all.count.Load() >= until {
						s.cmd.Process.Kill()
					}
				}
			})
		}
		for worker := range 2 {
			load(func(i int) error {
				// half of them are updates of the same group
				name, tag := fmt.Sprintf("rg-crash-%d-%d", worker, i%2*(round*1000+i)), fmt.Sprintf("%d-%d", round, i)
				_, err := w.arm(ctx, http.MethodPut, subscription+"/resourceGroups/"+name, groupAPI,
					fmt.Sprintf(`{"location":"westeurope","tags":{"n":"%s"}}`, tag))
				if err == nil {
					all.add(func() { all.groups[name] = tag })
				} else {
					all.mu.Lock()
					delete(all.groups, name) // it is the one or the other now
					all.mu.Unlock()
				}
				return err
			})
		}
		load(func(i int) error {
			path, text := fmt.Sprintf("/data/crash/%d/%d", round, i), strings.Repeat(fmt.Sprintf("%d-%d\n", round, i), 1+i*700%20000)
			err := w.putBlob(ctx, path, text)
			if err == nil {
				all.add(func() { all.blobs[path] = text })
			}
			return err
		})
		load(func(i int) error {
			name := fmt.Sprintf("crash-%d-%d", round, i)
			err := w.submit(ctx, name, fmt.Sprintf("echo %s >> %s; echo line of %s", name, ran, name))
			if err == nil {
				all.add(func() { all.jobs = append(all.jobs, name) })
			}
			return err
		})
		wg.Wait()
		s.kill()
	}
	e.serve()
	w := e.wire()
	w.verify(t, all)
	t.Logf("%d rounds: %d groups, %d blobs, %d jobs", rounds, len(all.groups), len(all.blobs), len(all.jobs))
	for _, name := range all.jobs {
		if j := e.wait(name); j.Properties.Status != "Completed" {
			t.Errorf("job %s is %s: %s", name, j.Properties.Status, j.Properties.Error.Message)
			continue
		}
		log, err := w.getBlob(ctx, "/azureml/ExperimentRun/dcid."+name+"/user_logs/std_log.txt")
		if err != nil || strings.Count(log, "line of "+name+"\n") != 1 {
			t.Errorf("log of %s: %v %q", name, err, log)
		}
	}
	b, err := os.ReadFile(ran)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for name := range strings.FieldsSeq(string(b)) {
		if times[name]++; times[name] > 1 {
			t.Errorf("the command of %s ran again", name)
		}
	}
	for _, name := range all.jobs {
		if times[name] != 1 {
			t.Errorf("the command of %s ran %d times", name, times[name])
		}
	}
	e.run("doctor")
	e.run("clock", "advance", "16m")
	if n := e.cluster("cpu-cluster").Properties.Properties.CurrentNodeCount; n != 0 {
		t.Errorf("%d nodes are left", n)
	}
	if left := processesOf(t, e.home); len(left) != 1 { // the server
		t.Errorf("processes left: %q", left)
	}
}

// verify reads back what was acknowledged.
func (w *wire) verify(t *testing.T, all *acknowledged) {
	t.Helper()
	ctx := t.Context()
	for name, tag := range all.groups {
		var g struct{ Tags struct{ N string } }
		a, err := w.arm(ctx, http.MethodGet, subscription+"/resourceGroups/"+name, groupAPI, "")
		if err == nil {
			err = json.Unmarshal(a.body, &g)
		}
		if err != nil || g.Tags.N != tag {
			t.Errorf("group %s: %v, tag %q, want %q", name, err, g.Tags.N, tag)
		}
	}
	for path, want := range all.blobs {
		if got, err := w.getBlob(ctx, path); err != nil || got != want {
			t.Errorf("blob %s: %v, %d bytes, want %d", path, err, len(got), len(want))
		}
	}
	for _, name := range all.jobs {
		if _, err := w.jobStatus(ctx, name); err != nil {
			t.Errorf("job %s: %v", name, err)
		}
	}
}

// processesOf is the command lines of the processes whose arguments or
// environment name a home.
func processesOf(t *testing.T, home string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(dirs) == 0 {
		t.Skip("this system does not list processes under /proc")
	}
	var out []string
	for _, dir := range dirs {
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if strings.Contains(string(args), home) || strings.Contains(string(environ), home) {
			out = append(out, strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return out
}

// TestManyAtOnce runs `up` three times at once for a home that has no server,
// two of them for the same stack: one server starts, and each stack is applied.
func TestManyAtOnce(t *testing.T) {
	needTerraform(t)
	e := newEnv(t)
	stack := func(name string) string {
		return write(t, map[string]string{"main.tf": "provider \"azurerm\" {\n  features {}\n}\n" +
			"resource \"azurerm_resource_group\" \"it\" {\n  name     = \"" + name + "\"\n  location = \"westeurope\"\n}\n"})
	}
	one, two := stack("rg-one"), stack("rg-two")
	var wg sync.WaitGroup
	for _, dir := range []string{one, one, two} {
		wg.Go(func() {
			if r := e.try("up", dir); r.code != 0 {
				t.Errorf("up: %s", r)
			}
		})
	}
	wg.Wait()
	for _, dir := range []string{one, two} {
		if out := e.run("up", dir); !strings.Contains(out, "no changes") {
			t.Errorf("up again:\n%s", out)
		}
	}
	e.fails(1, "another azimuth server runs for this home", "serve")
	if left := processesOf(t, e.home); len(left) != 1 {
		t.Errorf("processes: %q", left)
	}
}
