package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/server"
)

// benchCount is a number from the environment, for benchmarks that take long.
func benchCount(b *testing.B, name string, otherwise int) int {
	b.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		b.Fatalf("%s=%s is no number", name, s)
	}
	return n
}

// cpu is the processor time that a process and the children it waited for took.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var ticks int64
	for _, field := range strings.Fields(rest)[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// BenchmarkJobs is how many short jobs end per second, each in processes of its
// own, when they are submitted one after another from a few clients at once.
func BenchmarkJobs(b *testing.B) {
	const jobs, nodes = 500, 8
	e, _ := smallEnv(b)
	w := e.wire()
	w.putCluster(b, "cpu-cluster", "Standard_D4s_v3", "Dedicated", nodes, nodes, "PT10M")
	e.await("the nodes are up", func() bool {
		return e.cluster("cpu-cluster").Properties.Properties.NodeStateCounts["idleNodeCount"] == nodes
	})
	pid := e.server()
	round := 0
	before := cpu(b, pid)
	for b.Loop() {
		round++
		name := func(i int) string { return fmt.Sprintf("short-%d-%d", round, i) }
		each(b, 4, jobs, func(i int) error { return w.submit(b.Context(), name(i), "true") })
		each(b, 4, jobs, func(i int) error { return w.ends(b.Context(), name(i), "Completed") })
	}
	b.ReportMetric(float64(round*jobs)/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric(milliseconds(cpu(b, pid)-before)/float64(round*jobs), "cpu-ms/job")
	b.ReportMetric(0, "ns/op")
}

// ends waits until a job has ended as it should.
func (w *wire) ends(ctx context.Context, name, want string) error {
	for {
		switch status, err := w.jobStatus(ctx, name); {
		case err != nil:
			return err
		case status == want:
			return nil
		case status == "Completed", status == "Failed", status == "Canceled":
			return fmt.Errorf("job %s is %s", name, status)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// BenchmarkLogStream is how fast a reader gets what a job prints while it runs,
// all of it.
func BenchmarkLogStream(b *testing.B) {
	const size = 512 << 20
	line := strings.Repeat("0123456789abcdef", 4)[:63] + "\n"
	e, _ := smallEnv(b)
	w := e.wire()
	if err := w.submit(b.Context(), "warm", "true"); err != nil {
		b.Fatal(err)
	}
	if err := w.ends(b.Context(), "warm", "Completed"); err != nil {
		b.Fatal(err)
	}
	round := 0
	b.SetBytes(size)
	for b.Loop() {
		round++
		name := fmt.Sprint("talks-", round)
		if err := w.submit(b.Context(), name, fmt.Sprintf("yes %s | head -c %d", strings.TrimSpace(line), size)); err != nil {
			b.Fatal(err)
		}
		cmd := exec.CommandContext(b.Context(), binary, "ml", "job", "stream", "-n", name)
		cmd.Env = e.environ()
		count := &lineCounter{line: []byte(line)}
		cmd.Stdout, cmd.Stderr = count, io.Discard
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		if count.lines != size/len(line) {
			b.Fatalf("%d of %d lines came", count.lines, size/len(line))
		}
	}
}

// lineCounter counts the lines that are line.
type lineCounter struct {
	line, rest []byte
	lines      int
}

func (c *lineCounter) Write(p []byte) (int, error) {
	n := len(p)
	if len(c.rest) > 0 {
		i := bytes.IndexByte(p, '\n') + 1
		c.rest = append(c.rest, p[:i]...)
		if i == 0 {
			c.rest = append(c.rest, p...)
			return n, nil
		}
		if bytes.Equal(c.rest, c.line) {
			c.lines++
		}
		c.rest, p = c.rest[:0], p[i:]
	}
	for len(p) > 0 {
		if bytes.HasPrefix(p, c.line) {
			c.lines++
			p = p[len(c.line):]
			continue
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			c.rest = append(c.rest, p...)
			break
		}
		p = p[i+1:]
	}
	return n, nil
}

// BenchmarkFinishedJobs is the memory of a server and the time that it takes to
// list the newest 50 jobs, with 1,000 jobs that have ended and with 100,000 (or
// AZIMUTH_BENCH_FINISHED). They end by being canceled while they wait for nodes,
// which leaves the records that every job leaves.
func BenchmarkFinishedJobs(b *testing.B) {
	const few = 1000
	e, _ := smallEnv(b)
	e.run("compute", "shortage", "add", "Standard_D4s_v3")
	w := e.wire()
	pid := e.server()
	finish := func(from, to int) {
		for ; from < to; from += few {
			n := min(few, to-from)
			name := func(i int) string { return fmt.Sprintf("ended-%06d", from+i) }
			each(b, 16, n, func(i int) error { return w.submit(b.Context(), name(i), "true") })
			each(b, 16, n, func(i int) error {
				_, err := w.arm(b.Context(), http.MethodPost, smallWS+"/jobs/"+name(i)+"/cancel", computeAPI, "")
				return err
			})
			e.await("all have ended", func() bool {
				var st struct{ Status server.Status }
				e.json(&st, "status")
				return st.Status.JobsWaiting+st.Status.JobsRunning == 0
			})
		}
	}
	done := 0
	for _, jobs := range []int{few, benchCount(b, "AZIMUTH_BENCH_FINISHED", 100_000)} {
		finish(done, jobs)
		done = jobs
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				a, err := w.arm(b.Context(), http.MethodGet, smallWS+"/jobs?$top=50", computeAPI, "")
				took = append(took, time.Since(start))
				var page struct{ Value []json.RawMessage }
				if err == nil {
					err = json.Unmarshal(a.body, &page)
				}
				if err != nil || len(page.Value) != 50 {
					b.Fatalf("%v: %d jobs", err, len(page.Value))
				}
			}
			slices.Sort(took)
			peak, now := memory(b, pid)
			reportTimes(b, "list50", took)
			b.ReportMetric(peak, "peak-MiB")
			b.ReportMetric(now, "now-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}
