package telemetry

import (
	"fmt"
	"strings"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logsdata "go.opentelemetry.io/proto/otlp/logs/v1"
	metricsdata "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracedata "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const otlpSpans = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"svc"}},{"key":"service.namespace","value":{"stringValue":"ns"}}]},
"scopeSpans":[{"spans":[
{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET","kind":2,"startTimeUnixNano":"%[1]d","endTimeUnixNano":"%[2]d",
 "attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"http.route","value":{"stringValue":"/a/{b}"}},{"key":"url.scheme","value":{"stringValue":"http"}},
 {"key":"server.address","value":{"stringValue":"h"}},{"key":"server.port","value":{"intValue":"8080"}},{"key":"url.path","value":{"stringValue":"/a/1"}},{"key":"http.response.status_code","value":{"intValue":404}},
 {"key":"list","value":{"arrayValue":{"values":[{"intValue":1},{"boolValue":true}]}}}],
 "links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"eee19b7ec3c1b175"}],
 "events":[{"name":"note","timeUnixNano":"%[1]d"},{"name":"exception","timeUnixNano":"%[1]d","attributes":[{"key":"exception.type","value":{"stringValue":"E"}},{"key":"exception.message","value":{"stringValue":"bad"}}]}]},
{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b176","parentSpanId":"eee19b7ec3c1b174","name":"send","kind":4,"startTimeUnixNano":"%[1]d","endTimeUnixNano":"%[2]d",
 "attributes":[{"key":"messaging.system","value":{"stringValue":"kafka"}},{"key":"messaging.destination.name","value":{"stringValue":"q"}},{"key":"microsoft.sample_rate","value":{"doubleValue":25}}]},
{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b177","name":"work","startTimeUnixNano":"%[1]d","endTimeUnixNano":"%[2]d","status":{"code":2,"message":"no"}},
{"traceId":"00","spanId":"eee19b7ec3c1b178","name":"bad","startTimeUnixNano":"%[1]d"},
{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b179","name":"old","startTimeUnixNano":"1","endTimeUnixNano":"2"}
]}]}]}`

func TestOTLPInJSON(t *testing.T) {
	e := newEnv(t)
	now := start.UnixNano()
	post := func(path, body string, header ...string) answer {
		t.Helper()
		return e.do("POST", OTLPHost, path, []byte(body), append([]string{"Content-Type", "application/json", KeyHeader, keyOne}, header...)...)
	}
	a := post("/v1/traces", fmt.Sprintf(otlpSpans, now, now+250e6))
	if a.status != 200 || !strings.Contains(strings.ReplaceAll(a.text, " ", ""), `"rejectedSpans":"2"`) || a.header.Get("Content-Type") != "application/json" {
		t.Fatal(a)
	}
	r := e.rows(keyOne, "requests")
	if len(r) != 1 || r[0]["name"] != "GET /a/{b}" || r[0]["url"] != "http://h:8080/a/1" || r[0]["resultCode"] != "404" || r[0]["success"] != "False" || r[0]["duration"] != "250" ||
		r[0]["cloud_RoleName"] != "ns.svc" || r[0]["operation_Id"] != "5b8efff798038103d269b633813fc60c" || r[0]["id"] != "eee19b7ec3c1b174" ||
		!strings.Contains(r[0]["customDimensions"], `"list":"[1,true]"`) || !strings.Contains(r[0]["customDimensions"], `_MS.links`) || strings.Contains(r[0]["customDimensions"], "url.path") {
		t.Errorf("requests: %v", r)
	}
	d := e.rows(keyOne, "dependencies")
	if len(d) != 2 || d[0]["type"] != "Queue Message | kafka" || d[0]["target"] != "q" || d[0]["itemCount"] != "4" || d[0]["operation_ParentId"] != "eee19b7ec3c1b174" ||
		d[1]["type"] != "InProc" || d[1]["success"] != "False" || !strings.Contains(d[1]["customDimensions"], `"otel.status_description":"no"`) {
		t.Errorf("dependencies: %v", d)
	}
	if x := e.rows(keyOne, "exceptions"); len(x) != 1 || x[0]["type"] != "E" || x[0]["outerMessage"] != "bad" || x[0]["operation_ParentId"] != "eee19b7ec3c1b174" {
		t.Errorf("exceptions: %v", x)
	}
	if x := e.rows(keyOne, "traces"); len(x) != 1 || x[0]["message"] != "note" {
		t.Errorf("traces: %v", x)
	}
	a = post("/v1/logs", fmt.Sprintf(`{"resourceLogs":[{"scopeLogs":[{"scope":{"name":"cat"},"logRecords":[
{"timeUnixNano":"%[1]d","severityNumber":17,"body":{"stringValue":"uh"},"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"},
{"observedTimeUnixNano":"%[1]d","severityNumber":1,"body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":1}}]}}},
{"timeUnixNano":"%[1]d","attributes":[{"key":"microsoft.custom_event.name","value":{"stringValue":"ev"}}]},
{"timeUnixNano":"%[1]d","severityNumber":21,"attributes":[{"key":"exception.type","value":{"stringValue":"X"}}]}]}]}]}`, now))
	if a.status != 200 {
		t.Fatal(a)
	}
	x := e.rows(keyOne, "traces")
	if len(x) != 3 || x[1]["message"] != "uh" || x[1]["severityLevel"] != "3" || x[1]["customDimensions"] != `{"CategoryName":"cat"}` || x[2]["message"] != `{"a":1}` || x[2]["severityLevel"] != "0" {
		t.Errorf("traces: %v", x)
	}
	if x := e.rows(keyOne, "customEvents"); len(x) != 1 || x[0]["name"] != "ev" {
		t.Errorf("events: %v", x)
	}
	if x := e.rows(keyOne, "exceptions"); len(x) != 2 || x[1]["type"] != "X" || x[1]["severityLevel"] != "4" {
		t.Errorf("exceptions: %v", x)
	}
	a = post("/v1/metrics", fmt.Sprintf(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"%[1]d","asDouble":1.5,"attributes":[{"key":"k","value":{"stringValue":"v"}}]},{"timeUnixNano":"%[1]d","asDouble":"NaN"}]}},
{"name":"s","sum":{"dataPoints":[{"timeUnixNano":"%[1]d","asInt":"7"}]}},
{"name":"h","histogram":{"dataPoints":[{"timeUnixNano":"%[1]d","count":"4","sum":10,"min":1,"max":5}]}}]}]}]}`, now))
	if a.status != 200 || !strings.Contains(strings.ReplaceAll(a.text, " ", ""), `"rejectedDataPoints":"1"`) {
		t.Fatal(a)
	}
	m := e.rows(keyOne, "customMetrics")
	if len(m) != 3 || m[0]["value"] != "1.5" || m[0]["customDimensions"] != `{"k":"v"}` || m[1]["value"] != "7" || m[2]["valueSum"] != "10" || m[2]["valueCount"] != "4" || m[2]["valueMax"] != "5" {
		t.Errorf("metrics: %v", m)
	}
}

func TestOTLPThatIsRefused(t *testing.T) {
	e := newEnv(t)
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		text               string
	}{
		"no key":       {"POST", "/v1/traces", "{}", []string{"Content-Type", "application/json"}, 400, "Invalid instrumentation key"},
		"unknown key":  {"POST", "/v1/traces", "{}", []string{"Content-Type", "application/json", KeyHeader, "x"}, 400, "x-ms-instrumentation-key"},
		"bad JSON":     {"POST", "/v1/traces", "{", []string{"Content-Type", "application/json", KeyHeader, keyOne}, 400, "spans"},
		"bad protobuf": {"POST", "/v1/logs", "\xff\xff", []string{"Content-Type", "application/x-protobuf", KeyHeader, keyOne}, 400, "records"},
		"other type":   {"POST", "/v1/logs", "", []string{"Content-Type", "text/plain", KeyHeader, keyOne}, 415, "Content-Type"},
		"GET":          {"GET", "/v1/logs", "", []string{"Content-Type", "application/json", KeyHeader, keyOne}, 405, "POST"},
		"profiles":     {"POST", "/v1/profiles", "", []string{"Content-Type", "application/json", KeyHeader, keyOne}, 501, "NotImplementedByAzimuth"},
		"bad token":    {"POST", "/v1/logs", "{}", []string{"Content-Type", "application/json", KeyHeader, keyOne, "Authorization", "Bearer x"}, 401, "token"},
	} {
		if a := e.do(c.method, OTLPHost, c.path, []byte(c.body), c.header...); a.status != c.status || !strings.Contains(a.text, c.text) {
			t.Errorf("%s: %s", name, a)
		}
	}
}

func FuzzOTLP(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(otlpSpans, start.UnixNano(), start.UnixNano()+1)), true)
	span, err := proto.Marshal(&tracedata.TracesData{ResourceSpans: []*tracedata.ResourceSpans{{ScopeSpans: []*tracedata.ScopeSpans{{Spans: []*tracedata.Span{{
		TraceId: make([]byte, 16), SpanId: make([]byte, 8), Attributes: []*common.KeyValue{{Key: "db.system", Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: "mssql"}}}},
	}}}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(span, false)
	f.Fuzz(func(t *testing.T, p []byte, asJSON bool) {
		o := &otlp{json: asJSON}
		batches := batchSet{}
		m := &otlpMapper{in: &intake{now: start, oldest: start.Add(-maxAge), latest: start.Add(maxAge)}, component: &Component{}, from: &sender{batch: batches.get}}
		var spans tracedata.TracesData
		if o.decode(p, &spans) == nil {
			m.traces(spans.ResourceSpans)
		}
		var logs logsdata.LogsData
		if o.decode(p, &logs) == nil {
			m.logs(logs.ResourceLogs)
		}
		var metrics metricsdata.MetricsData
		if o.decode(p, &metrics) == nil {
			m.metrics(metrics.ResourceMetrics)
		}
	})
}
