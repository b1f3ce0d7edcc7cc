package test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/monitor/azquery"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	forLogs = "https://api.loganalytics.io"

	smallComponent = smallGroup + "/providers/Microsoft.Insights/components/ai-small"
	smallLogs      = smallGroup + "/providers/Microsoft.OperationalInsights/workspaces/log-small"
)

// insights is what an application and its users know of a component.
type insights struct {
	w          *wire
	key        string
	connection string
	workspace  string
	client     *azquery.LogsClient
}

// insights reads the component of smallEnv, and makes a client that queries it.
func (e *env) insights() *insights {
	e.t.Helper()
	in := &insights{w: e.wire()}
	var component struct {
		Properties struct{ InstrumentationKey, ConnectionString string }
	}
	var logs struct{ Properties struct{ CustomerID string } }
	for path, out := range map[string]any{smallComponent: &component, smallLogs: &logs} {
		a, err := in.w.arm(e.t.Context(), http.MethodGet, path, "2020-02-02", "")
		if err == nil {
			err = json.Unmarshal(a.body, out)
		}
		if err != nil {
			e.t.Fatal(err)
		}
	}
	in.key, in.connection, in.workspace = component.Properties.InstrumentationKey, component.Properties.ConnectionString, logs.Properties.CustomerID
	token, err := in.w.signIn(e.t.Context(), forLogs)
	if err != nil {
		e.t.Fatal(err)
	}
	in.client, err = azquery.NewLogsClient(fixedToken(token), &azquery.LogsClientOptions{ClientOptions: azcore.ClientOptions(policy.ClientOptions{Transport: in.w.http})})
	if err != nil {
		e.t.Fatal(err)
	}
	return in
}

// query asks the workspace and returns the rows, with cells as text.
func (in *insights) query(t testing.TB, kql string) [][]string {
	t.Helper()
	res, err := in.client.QueryWorkspace(t.Context(), in.workspace, azquery.Body{Query: &kql}, nil)
	if err != nil {
		t.Fatalf("%s: %v", kql, err)
	}
	var out [][]string
	for _, row := range res.Tables[0].Rows {
		var line []string
		for _, v := range row {
			line = append(line, fmt.Sprint(v))
		}
		out = append(out, line)
	}
	return out
}

// want compares the rows of a query with lines of words.
func (in *insights) want(t testing.TB, kql string, lines ...string) {
	t.Helper()
	var got []string
	for _, row := range in.query(t, kql) {
		got = append(got, strings.Join(row, " | "))
	}
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		t.Errorf("%s:\n%s\nwant:\n%s", kql, strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// TestTelemetry sends telemetry with OpenTelemetry's exporters and asks for it with
// the Azure SDK and the command line; jobs and the control plane are there by
// themselves.
func TestTelemetry(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e, _ := smallEnv(t)
	in := e.insights()
	ctx := t.Context()

	header := map[string]string{"x-ms-instrumentation-key": in.key}
	spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL("https://otlp.azimuth.internal/v1/traces"), otlptracehttp.WithHeaders(header),
		otlptracehttp.WithHTTPClient(in.w.http), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	if err != nil {
		t.Fatal(err)
	}
	who := resource.NewSchemaless(attribute.String("service.name", "trainer"), attribute.String("service.instance.id", "one"))
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithResource(who))
	tracer := provider.Tracer("test")
	outer, span := tracer.Start(ctx, "GET /model", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", "GET"), attribute.Int("http.response.status_code", 500), attribute.String("url.full", "http://x/model"), attribute.String("team", "blue")))
	_, child := tracer.Start(outer, "select", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("db.system", "postgresql"), attribute.String("db.query.text", "SELECT 1"), attribute.String("server.address", "db")))
	child.RecordError(errors.New("no such row"))
	child.SetStatus(codes.Error, "failed")
	child.End()
	span.End()
	metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL("https://otlp.azimuth.internal/v1/metrics"), otlpmetrichttp.WithHeaders(header), otlpmetrichttp.WithHTTPClient(in.w.http))
	if err != nil {
		t.Fatal(err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics, sdkmetric.WithInterval(time.Hour))), sdkmetric.WithResource(who))
	counter, err := meters.Meter("test").Int64Counter("steps")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 7)
	if err := errors.Join(provider.Shutdown(ctx), meters.Shutdown(ctx)); err != nil {
		t.Fatal(err)
	}
	in.want(t, `AppRequests | where AppRoleName == "trainer" | project Name, ResultCode, Success, Url, AppRoleInstance, tostring(Properties.team)`,
		"GET /model | 500 | false | http://x/model | one | blue")
	in.want(t, `AppDependencies | join kind=inner AppRequests on OperationId | where ParentId == Id1 | project Name, DependencyType, Target, Data, Success`,
		"select | postgresql | db | SELECT 1 | false")
	in.want(t, `AppExceptions | project ExceptionType, OuterMessage`, "*errors.errorString | no such row")
	in.want(t, `AppMetrics | project Name, Sum`, "steps | 7")

	// jobs, nodes and the control plane
	e.run("ml", "job", "create", "-f", jobFile(t, "echo hello", "", nil), "--name", "told", "--stream")
	in.want(t, `AmlRunStatusChangedEvent | where RunId == "told" | order by TimeGenerated asc | project Status`,
		"Queued", "Preparing", "Running", "Finalizing", "Completed")
	in.want(t, `AmlComputeJobEvent | where EventType == "JobSucceeded" | project JobName, ClusterName, WorkspaceName`, "told | cpu-cluster | mlw-small")
	in.want(t, `AmlComputeClusterNodeEvent | where OperationName == "NodeReady" | project ClusterName | take 1`, "cpu-cluster")
	in.want(t, `AzureActivity | where OperationNameValue == "MICROSOFT.INSIGHTS/COMPONENTS/WRITE" | take 1 | project ActivityStatusValue, ResourceGroup`, "Success | rg-small")
	if got := e.run("logs", "query", `requests | where operation_Id == "told" | project success, resultCode`, "-o", "tsv"); got != "True\tCompleted\n" {
		t.Errorf("the request of the job: %q", got)
	}
	e.fails(1, "nosuchtable", "logs", "query", "nosuchtable | take 1")
	e.fails(1, "ai-small", "logs", "query", "requests", "--app", "none")
	e.fails(2, "--output is table, json or tsv", "logs", "query", "requests", "-o", "xml")
	if got := e.run("logs", "tables", "--workspace", "log-small"); !strings.Contains(got, "AppRequests") {
		t.Errorf("tables: %s", got)
	}

	// the Azure CLI
	if got := e.run("exec", "--", "az", "monitor", "activity-log", "list", "-g", "rg-small", "--offset", "1h", "-o", "tsv",
		"--query", "[?operationName.value=='Microsoft.Insights/components/write'].status.value | [0]"); got != "Succeeded\n" {
		t.Errorf("the activity log: %q", got)
	}
	if got := e.run("exec", "--", "az", "rest", "--method", "post", "--url", "https://api.loganalytics.io/v1/workspaces/"+in.workspace+"/query",
		"--resource", "https://api.loganalytics.io", "--body", `{"query":"AppMetrics | project Name, Sum"}`, "--query", "tables[0].rows", "-o", "tsv"); got != "steps\t7.0\n" {
		t.Errorf("az rest: %q", got)
	}

	// a key is no token, and the other way round
	a, err := in.w.do(ctx, "", http.MethodPost, "https://api.loganalytics.io/v1/workspaces/"+in.workspace+"/query", map[string]string{"X-Api-Key": in.key}, `{"query":"AppRequests"}`)
	if err != nil || a.status != http.StatusForbidden {
		t.Errorf("a query with the instrumentation key: %d %s %v", a.status, a.body, err)
	}
	if log, err := os.ReadFile(filepath.Join(e.home, "run", "server.log")); err != nil || bytes.Contains(log, []byte(in.key)) {
		t.Errorf("the instrumentation key is in the log: %v", err)
	}
}

// TestTelemetryOfJavaScript sends telemetry with the package applicationinsights and
// Azure Monitor's exporter for OpenTelemetry.
func TestTelemetryOfJavaScript(t *testing.T) {
	t.Parallel()
	d := newNPMDriver(t, "telemetry")
	e, _ := smallEnv(t)
	in := e.insights()
	out := e.run("exec", "--", "env", "APPLICATIONINSIGHTS_CONNECTION_STRING="+in.connection, d.node, filepath.Join(d.dir, "drive.mjs"))
	t.Log(out)
	if !strings.HasSuffix(out, "\nall done\n") || !strings.Contains(out, `"itemsAccepted":8`) {
		t.Error("the driver did not come to its end, or not all was taken")
	}
	for query, want := range map[string]string{
		`AppRequests | where AppRoleName == "classic" | project Name, DurationMs, ResultCode, Success, Url`: "GET /classic | 309 | 200 | true | http://x/classic",
		`AppDependencies | where AppRoleName == "classic" | project Name, DependencyType, Data, DurationMs`: "select | SQL | SELECT 1 | 31",
		`AppExceptions | where AppRoleName == "classic" | project ExceptionType, OuterMessage`:              "Error | classic went wrong",
		`AppTraces | where AppRoleName == "classic" | project Message, SeverityLevel`:                       "classic says hello | 2",
		`AppEvents | project Name, tostring(Properties.colour), todouble(Measurements.size)`:                "classic event | green | 2.5",
		`AppMetrics | where Name == "classic metric" | project Sum, ItemCount`:                              "42 | 1",
		`AppPageViews | project Name, Url, DurationMs`:                                                      "classic page | http://x/page | 12",
		`AppAvailabilityResults | project Name, Location, Message, Success`:                                 "classic ping | here | fine | true",
		`AppRequests | where Url == "http://x/otel" | project ResultCode, Success`:                          "503 | false",
		`AppDependencies | where Data == "SELECT 2" | project DependencyType`:                               "postgresql",
		`AppExceptions | where OuterMessage == "otel went wrong" | count`:                                   "1",
	} {
		in.want(t, query, want)
	}
}

// event is an item of telemetry whose name is its own.
func (in *insights) event(name string) string {
	return fmt.Sprintf(`{"time":"%s","iKey":"%s","name":"Microsoft.ApplicationInsights.Event","data":{"baseType":"EventData","baseData":{"name":"%s","properties":{"text":"%s"}}}}`,
		time.Now().UTC().Format(time.RFC3339Nano), in.key, name, strings.Repeat(name, 20))
}

const ingestion = "https://westeurope-0.in.applicationinsights.azure.com/v2.1/track"

// TestTelemetryCrashes kills the server in the middle of ingestion, again and again:
// what it has acknowledged is there, once and whole.
func TestTelemetryCrashes(t *testing.T) {
	t.Parallel()
	e, _ := smallEnv(t)
	in := e.insights()
	e.run("stop")
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var count atomic.Int64
	rounds := crashRounds(t, 4)
	for round := range rounds {
		s := e.serve()
		until := count.Load() + 100 + rand.Int64N(400)
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					var body strings.Builder
					var names []string
					for n := range 1 + i%9 {
						names = append(names, fmt.Sprintf("e-%d-%d-%d-%d", round, worker, i, n))
						body.WriteString(in.event(names[n]) + "\n")
					}
					a, err := in.w.do(context.WithoutCancel(t.Context()), "", http.MethodPost, ingestion, nil, body.String())
					if err != nil {
						return // killed
					}
					if a.status != http.StatusOK {
						t.Errorf("HTTP %d %s", a.status, a.body)
						return
					}
					mu.Lock()
					for _, n := range names {
						acknowledged[n] = true
					}
					mu.Unlock()
					if count.Add(int64(len(names))) >= until {
						s.cmd.Process.Kill()
					}
				}
			})
		}
		wg.Wait()
		s.kill()
	}
	e.serve()
	in = e.insights()
	found := map[string]int{}
	for _, row := range in.query(t, `AppEvents | project Name, tostring(Properties.text)`) {
		found[row[0]]++
		if row[1] != strings.Repeat(row[0], 20) {
			t.Errorf("%s is not whole: %s", row[0], row[1])
		}
	}
	for name, n := range found {
		if n != 1 {
			t.Errorf("%s is there %d times", name, n)
		}
	}
	for name := range acknowledged {
		if found[name] == 0 {
			t.Errorf("%s was acknowledged and is not there", name)
		}
	}
	t.Logf("%d rounds: %d acknowledged, %d found", rounds, len(acknowledged), len(found))
}

// BenchmarkTelemetry is how many items a second are taken in from 16 clients that
// send 500 at a time, packed, on the cores that the server and the clients share;
// and how fast a query reads them.
func BenchmarkTelemetry(b *testing.B) {
	e, _ := smallEnv(b)
	in := e.insights()
	const items = 500
	var body bytes.Buffer
	z, err := gzip.NewWriterLevel(&body, gzip.BestSpeed)
	if err != nil {
		b.Fatal(err)
	}
	for i := range items {
		fmt.Fprintf(z, `{"time":"%s","iKey":"%s","name":"Microsoft.ApplicationInsights.Request","tags":{"ai.operation.id":"%032x","ai.operation.name":"GET /score","ai.operation.parentId":"%016x","ai.cloud.role":"scoring","ai.cloud.roleInstance":"node-%d","ai.internal.sdkVersion":"node:2.9.8"},"data":{"baseType":"RequestData","baseData":{"ver":2,"id":"%016x","name":"GET /score/%d","duration":"00:00:00.%03d0000","responseCode":"%d","success":true,"url":"https://score.example.com/score/%d?q=%d","properties":{"model":"digits","version":"%d"},"measurements":{"rows":%d}}}}`+"\n",
			time.Now().UTC().Format(time.RFC3339Nano), in.key, rand.Uint64(), rand.Uint64(), i%8, rand.Uint64(), i%20, i, 200+i%3, i%20, rand.Uint32(), i%5, i)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	text := body.String()
	header := map[string]string{"Content-Encoding": "gzip", "Content-Type": "application/x-json-stream"}
	pid := e.server()
	b.Run("ingest", func(b *testing.B) {
		before := cpuSeconds(b, pid)
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				a, err := in.w.do(b.Context(), "", http.MethodPost, ingestion, header, text)
				if err != nil || a.status != http.StatusOK {
					b.Errorf("%d %s %v", a.status, a.body, err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)*items/b.Elapsed().Seconds(), "items/s")
		// what the machine would bear if nothing else ran on it
		b.ReportMetric(float64(b.N)*items/(cpuSeconds(b, pid)-before), "items/cpu-s")
	})
	total := in.query(b, "AppRequests | count")[0][0]
	var rows float64
	fmt.Sscan(total, &rows)
	b.Run("query", func(b *testing.B) {
		for b.Loop() {
			in.query(b, `AppRequests | summarize count(), avg(DurationMs) by Name, ResultCode`)
		}
		b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
	peak, now := memory(b, pid)
	b.Logf("%.0f rows; memory of the server: %.0f MiB now, %.0f MiB at its peak", rows, now, peak)
}

// cpuSeconds is how long a process has had a processor, all its threads together.
func cpuSeconds(t testing.TB, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// the fields after the name, which may hold anything but ")"
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var user, system float64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return (user + system) / 100 // the kernel's unit of times, for programs
}
