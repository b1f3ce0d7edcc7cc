package test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The benchmarks here run the binary and talk to it as clients do: through
// CONNECT and TLS, on connections that are kept. "allocs/op" is the client's;
// the server's own are in internal/server.

// each runs f(0) to f(n-1) on so many goroutines and returns how long each took.
func each(tb testing.TB, clients, n int, f func(i int) error) []time.Duration {
	tb.Helper()
	took := make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				start := time.Now()
				if err := f(i); err != nil {
					tb.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
	return took
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// reportTimes reports the median and the 99th percentile.
func reportTimes(b *testing.B, what string, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(milliseconds(took[len(took)/2]), "p50-"+what+"-ms")
	b.ReportMetric(milliseconds(took[(len(took)-1)*99/100]), "p99-"+what+"-ms")
}

const groupAPI = "2021-04-01"

// identities are the resources that requests are made for.
func identity(i int) string {
	return fmt.Sprintf("%s/resourceGroups/rg-bench/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-%05d", subscription, i)
}

const (
	identityAPI  = "2023-01-31"
	identityBody = `{"location":"westeurope","tags":{"n":"%d"}}`
)

// fill makes a server that holds n resources.
func fill(b *testing.B, n int) (*env, *wire, *serving) {
	e := newEnv(b)
	s := e.serve()
	w := e.wire()
	if _, err := w.arm(b.Context(), http.MethodPut, subscription+"/resourceGroups/rg-bench", groupAPI, `{"location":"westeurope"}`); err != nil {
		b.Fatal(err)
	}
	each(b, 16, n, func(i int) error {
		_, err := w.arm(b.Context(), http.MethodPut, identity(i), identityAPI, fmt.Sprintf(identityBody, i))
		return err
	})
	return e, w, s
}

// BenchmarkARM is the request rate at Azure Resource Manager, with tokens checked
// and roles decided. GET and PUT must not fall as resources grow, and a list costs
// what its page holds.
func BenchmarkARM(b *testing.B) {
	for _, resources := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("resources=%d", resources), func(b *testing.B) {
			_, w, s := fill(b, resources)
			for _, method := range []string{http.MethodGet, http.MethodPut} {
				for _, clients := range []int{1, 16} {
					b.Run(fmt.Sprintf("%s/clients=%d", method, clients), func(b *testing.B) {
						b.ReportAllocs()
						took := each(b, clients, b.N, func(i int) error {
							body := ""
							if method == http.MethodPut {
								body = fmt.Sprintf(identityBody, i)
							}
							_, err := w.arm(b.Context(), method, identity(rand.IntN(resources)), identityAPI, body)
							return err
						})
						b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
						reportTimes(b, "answer", took)
					})
				}
			}
			list := identity(0)[:strings.LastIndexByte(identity(0), '/')]
			b.Run("list", func(b *testing.B) {
				b.ReportAllocs()
				items := 0
				took := each(b, 1, b.N, func(int) error {
					a, err := w.arm(b.Context(), http.MethodGet, list, identityAPI, "")
					items += bytes.Count(a.body, []byte(`"principalId"`))
					return err
				})
				b.ReportMetric(float64(items)/float64(b.N), "items/page")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(items), "us/item")
				reportTimes(b, "page", took)
			})
			peak, _ := memory(b, s.cmd.Process.Pid)
			b.Logf("peak memory of the server with %d resources: %.0f MiB", resources, peak)
		})
	}
}

// BenchmarkServerStart is the time from exec to the ready line, with a database
// of so many role assignments, and the memory that it takes then.
func BenchmarkServerStart(b *testing.B) {
	for _, assignments := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("assignments=%d", assignments), func(b *testing.B) {
			const principals = 50
			e, w, s := fill(b, principals)
			ctx := b.Context()
			var ids []string
			for i := range principals {
				a, err := w.arm(ctx, http.MethodGet, identity(i), identityAPI, "")
				if err != nil {
					b.Fatal(err)
				}
				_, rest, _ := strings.Cut(string(a.body), `"principalId":"`)
				id, _, _ := strings.Cut(rest, `"`)
				ids = append(ids, id)
			}
			group := func(i int) string { return fmt.Sprintf("%s/resourceGroups/rg-%05d", subscription, i) }
			each(b, 16, assignments/principals, func(i int) error {
				_, err := w.arm(ctx, http.MethodPut, group(i), groupAPI, `{"location":"westeurope"}`)
				return err
			})
			each(b, 16, assignments, func(i int) error {
				return assign(ctx, w, group(i/principals), fmt.Sprintf("00000000-0000-4000-8000-%012d", i), ids[i%principals])
			})
			s.kill()
			var peak float64
			for b.Loop() {
				s := e.serve()
				p, _ := memory(b, s.cmd.Process.Pid)
				peak = max(peak, p)
				b.StopTimer()
				s.kill()
				b.StartTimer()
			}
			b.ReportMetric(milliseconds(b.Elapsed())/float64(b.N), "ready-ms")
			b.ReportMetric(peak, "peak-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// blobReader is the built-in role Storage Blob Data Reader.
const blobReader = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"

// assign gives a principal the role Storage Blob Data Reader.
func assign(ctx context.Context, w *wire, scope, name, principal string) error {
	_, err := w.arm(ctx, http.MethodPut, scope+"/providers/Microsoft.Authorization/roleAssignments/"+name, "2022-04-01", fmt.Sprintf(
		`{"properties":{"roleDefinitionId":"%s/providers/Microsoft.Authorization/roleDefinitions/%s","principalId":"%s"}}`,
		subscription, blobReader, principal))
	return err
}

// BenchmarkJobStart is the time from the submission of a job, on a warm node,
// to the first thing its command does, and to its end. The command says the time
// through a pipe.
func BenchmarkJobStart(b *testing.B) {
	if runtime.GOOS == "windows" {
		b.Skip("there are no named pipes in the file system")
	}
	e, _ := smallEnv(b)
	w := e.wire()
	pipe := filepath.Join(b.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		b.Fatal(err)
	}
	run := func(name string) (started, ended time.Duration) {
		begin := time.Now()
		if err := w.submit(b.Context(), name, "echo ${EPOCHREALTIME:-$(date +%s.%N)} > "+pipe); err != nil {
			b.Fatal(err)
		}
		f, err := os.Open(pipe) // waits for the command
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		line, err := bufio.NewReader(f).ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		var s, fraction int64 // of a second, in microseconds or nanoseconds
		if _, err := fmt.Sscanf(line, "%d.%d", &s, &fraction); err != nil {
			b.Fatal(err)
		}
		if _, digits, _ := strings.Cut(strings.TrimSpace(line), "."); len(digits) == 6 {
			fraction *= 1000
		}
		for {
			status, err := w.jobStatus(b.Context(), name)
			if err != nil {
				b.Fatal(err)
			}
			switch status {
			case "Completed":
				return time.Unix(s, fraction).Sub(begin), time.Since(begin)
			case "Failed", "Canceled":
				b.Fatalf("job %s is %s", name, status)
			}
		}
	}
	n := 0
	once := func() (started, ended time.Duration) {
		n++
		return run(fmt.Sprintf("bench-%d-%d", os.Getpid(), n))
	}
	once() // the node comes up
	var starts, ends []time.Duration
	for b.Loop() {
		s, e := once()
		starts, ends = append(starts, s), append(ends, e)
	}
	reportTimes(b, "start", starts)
	reportTimes(b, "end", ends)
	b.ReportMetric(0, "ns/op")
}

// BenchmarkApply is the time that `up` takes for the example environment with
// the built-in provider: from nothing, and when nothing changed.
func BenchmarkApply(b *testing.B) {
	needTerraform(b)
	e := newEnv(b)
	dir := copyDir(b, "../examples/workspace", nil)
	e.run("up", dir) // the server starts, and what is fetched once is fetched
	e.run("down", dir)
	var whole, again []time.Duration
	for b.Loop() {
		start := time.Now()
		e.run("up", dir)
		whole = append(whole, time.Since(start))
		start = time.Now()
		e.run("up", dir)
		again = append(again, time.Since(start))
		b.StopTimer()
		e.run("down", dir)
		b.StartTimer()
	}
	slices.Sort(whole)
	slices.Sort(again)
	b.ReportMetric(milliseconds(whole[len(whole)/2]), "apply-ms")
	b.ReportMetric(milliseconds(again[len(again)/2]), "noop-ms")
	b.ReportMetric(0, "ns/op")
}
