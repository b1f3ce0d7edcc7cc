package telemetry

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logsdata "go.opentelemetry.io/proto/otlp/logs/v1"
	metricsdata "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcedata "go.opentelemetry.io/proto/otlp/resource/v1"
	tracedata "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// The mapping of spans, records and data points to tables is that of Azure
// Monitor's exporters for OpenTelemetry: spans of servers and consumers are
// requests, others dependencies; exceptions in events are exceptions.
// https://learn.microsoft.com/azure/azure-monitor/app/opentelemetry-overview

// otlpMapper writes one request's telemetry.
type otlpMapper struct {
	in        *intake
	component *Component
	from      *sender
	rejected  int64
	first     string // why the first was rejected
}

func (m *otlpMapper) reject(why string) {
	if m.rejected == 0 {
		m.first = why
	}
	m.rejected++
}

func (m *otlpMapper) why(signal string) string {
	return fmt.Sprintf("%d %s were not taken. The first: %s", m.rejected, signal, m.first)
}

func hexToBase64(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		return s // protojson says what is wrong with it
	}
	return base64.StdEncoding.EncodeToString(b)
}

// attributes are attributes by their names.
type attributes map[string]*common.AnyValue

func attributesOf(in []*common.KeyValue) attributes {
	out := make(attributes, len(in))
	for _, kv := range in {
		if kv != nil && kv.Key != "" {
			out[kv.Key] = kv.Value
		}
	}
	return out
}

// maxDepth is how deep a value may nest.
const maxDepth = 16

// valueJSON is a value as JSON has it.
func valueJSON(v *common.AnyValue, depth int) any {
	if depth > maxDepth {
		return nil
	}
	switch v := v.GetValue().(type) {
	case *common.AnyValue_ArrayValue:
		out := []any{}
		for _, e := range v.ArrayValue.GetValues() {
			out = append(out, valueJSON(e, depth+1))
		}
		return out
	case *common.AnyValue_KvlistValue:
		out := map[string]any{}
		for _, kv := range v.KvlistValue.GetValues() {
			out[kv.GetKey()] = valueJSON(kv.GetValue(), depth+1)
		}
		return out
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_DoubleValue:
		if math.IsNaN(v.DoubleValue) || math.IsInf(v.DoubleValue, 0) {
			return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
		}
		return v.DoubleValue
	case nil:
		return nil
	}
	return valueText(v)
}

// valueText is a value as a property shows it.
func valueText(v *common.AnyValue) string {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return x.StringValue
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(x.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	case *common.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(x.BytesValue)
	case *common.AnyValue_ArrayValue, *common.AnyValue_KvlistValue:
		if b, err := json.Marshal(valueJSON(v, 0)); err == nil {
			return string(b)
		}
	}
	return ""
}

// take returns the text of the first of the attributes that there is, and
// removes all of them: they have columns of their own.
func (a attributes) take(names ...string) (out string) {
	for _, n := range names {
		if v, ok := a[n]; ok {
			if out == "" {
				out = valueText(v)
			}
			delete(a, n)
		}
	}
	return out
}

// get returns the text of the first of the attributes that there is.
func (a attributes) get(names ...string) string {
	for _, n := range names {
		if v, ok := a[n]; ok {
			return valueText(v)
		}
	}
	return ""
}

// properties are the attributes as custom dimensions.
func (a attributes) properties(b *logstore.Batch) {
	if len(a) == 0 {
		return
	}
	out := []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = appendQuoted(out, cut([]byte(name), maxKey))
		out = append(out, ':')
		out = appendQuoted(out, cut([]byte(valueText(a[name])), maxValue))
	}
	b.Dynamic("Properties", append(out, '}'))
}

// role is what all rows of one resource have.
type role struct{ name, instance, version, sdk string }

func roleOf(r *resourcedata.Resource) role {
	a := attributesOf(r.GetAttributes())
	out := role{name: a.get("service.name"), instance: a.get("service.instance.id"), version: a.get("service.version")}
	if ns := a.get("service.namespace"); ns != "" {
		out.name = ns + "." + out.name
	}
	if out.instance == "" {
		out.instance = a.get("host.name", "k8s.pod.name")
	}
	out.sdk = "otel"
	if v := a.get("telemetry.sdk.version"); v != "" {
		out.sdk = a.get("telemetry.sdk.language") + ":otel" + v
	}
	return out
}

func putText(b *logstore.Batch, column, v string, limit int) {
	put(b, column, []byte(strings.ToValidUTF8(v, "\uFFFD")), limit)
}

func (r role) write(b *logstore.Batch, m *otlpMapper) {
	putText(b, "AppRoleName", r.name, maxName)
	putText(b, "AppRoleInstance", r.instance, maxName)
	putText(b, "AppVersion", r.version, maxName)
	putText(b, "SDKVersion", r.sdk, maxName)
	ip := "0.0.0.0"
	if m.component.KeepIP {
		ip = m.in.peer
	}
	putText(b, "ClientIP", ip, maxName)
}

// at checks a time; zero is now.
func (m *otlpMapper) at(ns uint64) (time.Time, bool) {
	if ns == 0 {
		return m.in.now, true
	}
	if ns > math.MaxInt64 {
		m.reject("its time is later than this protocol can be used")
		return time.Time{}, false
	}
	t := time.Unix(0, int64(ns)).UTC()
	if err := m.in.inTime(t); err != nil {
		m.reject(err.Error())
		return time.Time{}, false
	}
	return t, true
}

func (m *otlpMapper) traces(resources []*tracedata.ResourceSpans) {
	for _, r := range resources {
		who := roleOf(r.GetResource())
		for _, scope := range r.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				m.span(who, span)
			}
		}
	}
}

func (m *otlpMapper) span(who role, span *tracedata.Span) {
	at, ok := m.at(span.GetStartTimeUnixNano())
	if !ok {
		return
	}
	if len(span.GetTraceId()) != 16 || len(span.GetSpanId()) != 8 {
		m.reject("the ID of its trace has not 16 bytes, or its own not 8")
		return
	}
	a := attributesOf(span.GetAttributes())
	request := span.GetKind() == tracedata.Span_SPAN_KIND_SERVER || span.GetKind() == tracedata.Span_SPAN_KIND_CONSUMER
	table := "AppDependencies"
	if request {
		table = "AppRequests"
	}
	b := m.from.batch(table)
	b.Begin(at)
	b.String("Id", hex.EncodeToString(span.SpanId))
	m.operation(b, span.TraceId, span.ParentSpanId)
	putText(b, "Name", spanName(span, a), maxName)
	if request {
		putText(b, "OperationName", spanName(span, a), maxName)
	}
	if end := span.GetEndTimeUnixNano(); end >= span.GetStartTimeUnixNano() {
		b.Real("DurationMs", round7(float64(end-span.GetStartTimeUnixNano())/1e6))
	}
	code := a.take("http.response.status_code", "http.status_code", "rpc.grpc.status_code", "rpc.response.status_code")
	if code == "" {
		code = "0"
	}
	success := span.GetStatus().GetCode() != tracedata.Status_STATUS_CODE_ERROR
	if n, err := strconv.Atoi(code); request && err == nil && n >= 400 && span.GetStatus().GetCode() != tracedata.Status_STATUS_CODE_OK {
		success = false
	}
	b.Bool("Success", success)
	putText(b, "ResultCode", code, maxCode)
	putText(b, "UserAuthenticatedId", a.take("enduser.id"), maxIdentity)
	putText(b, "SyntheticSource", a.take("user_agent.synthetic.type"), maxName)
	if request {
		requestColumns(b, a)
	} else {
		dependencyColumns(b, span, a)
	}
	b.Int("ItemCount", sampleCount(a))
	if links := spanLinks(span); links != "" {
		a["_MS.links"] = &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: links}}
	}
	if msg := span.GetStatus().GetMessage(); msg != "" {
		a["otel.status_description"] = &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: msg}}
	}
	a.properties(b)
	who.write(b, m)
	b.End()
	for _, e := range span.GetEvents() {
		m.event(who, span, e)
	}
}

// operation ties a row to its trace.
func (m *otlpMapper) operation(b *logstore.Batch, trace, parent []byte) {
	if len(trace) > 0 {
		b.String("OperationId", hex.EncodeToString(trace))
	}
	if len(parent) > 0 {
		b.String("ParentId", hex.EncodeToString(parent))
	}
}

// spanName is the span's name; that of a request is its method and route.
func spanName(span *tracedata.Span, a attributes) string {
	method, route := a.get("http.request.method", "http.method"), a.get("http.route")
	if span.GetKind() == tracedata.Span_SPAN_KIND_SERVER && method != "" && route != "" {
		return method + " " + route
	}
	return span.GetName()
}

func httpURL(a attributes) string {
	if u := a.take("url.full", "http.url"); u != "" {
		return u
	}
	scheme := a.take("url.scheme", "http.scheme")
	host := a.get("server.address", "http.host", "net.host.name", "net.peer.name")
	path := a.take("http.target")
	if path == "" {
		path = a.take("url.path")
		if q := a.take("url.query"); q != "" {
			path += "?" + strings.TrimPrefix(q, "?")
		}
	}
	if scheme == "" || host == "" {
		return path
	}
	if port := a.get("server.port", "net.host.port", "net.peer.port"); port != "" && !strings.Contains(host, ":") &&
		!(scheme == "http" && port == "80") && !(scheme == "https" && port == "443") {
		host += ":" + port
	}
	return scheme + "://" + host + path
}

func requestColumns(b *logstore.Batch, a attributes) {
	if system := a.get("messaging.system"); system != "" {
		putText(b, "Source", strings.TrimPrefix(a.get("server.address", "net.peer.name")+"/"+a.get("messaging.destination.name", "messaging.destination"), "/"), maxName)
		return
	}
	if a.get("http.request.method", "http.method") != "" {
		putText(b, "Url", httpURL(a), maxURL)
		a.take("http.request.method", "http.method", "http.route", "server.address", "server.port", "http.host", "net.host.name", "net.host.port")
	}
}

func dependencyColumns(b *logstore.Batch, span *tracedata.Span, a attributes) {
	kind, data := "", ""
	target := a.get("peer.service")
	host := a.get("server.address", "net.peer.name", "net.peer.ip", "http.host")
	if port := a.get("server.port", "net.peer.port"); port != "" && host != "" && !strings.Contains(host, ":") && port != "80" && port != "443" {
		host += ":" + port
	}
	if target == "" {
		target = host
	}
	switch {
	case a.get("http.request.method", "http.method") != "":
		kind, data = "HTTP", httpURL(a)
		a.take("http.request.method", "http.method", "server.address", "server.port", "net.peer.name", "net.peer.port", "http.host")
	case a.get("db.system", "db.system.name") != "":
		kind = a.take("db.system", "db.system.name")
		if kind == "mssql" || kind == "microsoft.sql_server" {
			kind = "SQL"
		}
		data = a.take("db.query.text", "db.statement")
		if data == "" {
			data = a.get("db.operation.name", "db.operation")
		}
		if name := a.take("db.namespace", "db.name"); name != "" {
			target = strings.TrimPrefix(target+"|"+name, "|")
		}
	case a.get("messaging.system") != "":
		kind = a.get("messaging.system")
		if span.GetKind() == tracedata.Span_SPAN_KIND_PRODUCER {
			kind = "Queue Message | " + kind
		}
		target = strings.TrimPrefix(target+"/"+a.get("messaging.destination.name", "messaging.destination"), "/")
	case a.get("rpc.system") != "":
		kind, data = a.take("rpc.system"), a.get("rpc.service")
		if kind == "grpc" {
			kind = "GRPC"
		}
	case span.GetKind() == tracedata.Span_SPAN_KIND_INTERNAL, span.GetKind() == tracedata.Span_SPAN_KIND_UNSPECIFIED:
		kind = "InProc"
	case span.GetKind() == tracedata.Span_SPAN_KIND_PRODUCER:
		kind = "Queue Message"
	}
	putText(b, "DependencyType", kind, maxName)
	putText(b, "Target", target, maxName)
	putText(b, "Data", data, maxValue)
}

// sampleCount is how many spans a kept one stands for, by the attribute that Azure
// Monitor's samplers set.
func sampleCount(a attributes) int64 {
	rate, err := strconv.ParseFloat(a.take("microsoft.sample_rate", "_MS.sampleRate"), 64)
	if err != nil || rate <= 0 || rate >= 100 {
		return 1
	}
	return int64(math.Round(100 / rate))
}

func spanLinks(span *tracedata.Span) string {
	type link struct {
		Operation string `json:"operation_Id"`
		ID        string `json:"id"`
	}
	var out []link
	for _, l := range span.GetLinks() {
		out = append(out, link{hex.EncodeToString(l.GetTraceId()), hex.EncodeToString(l.GetSpanId())})
	}
	if len(out) == 0 {
		return ""
	}
	b, err := json.Marshal(out)
	if err != nil {
		return ""
	}
	return string(b)
}

// event writes an event of a span: an exception, or a trace.
func (m *otlpMapper) event(who role, span *tracedata.Span, e *tracedata.Span_Event) {
	at, ok := m.at(e.GetTimeUnixNano())
	if !ok {
		m.rejected-- // the span was taken
		return
	}
	a := attributesOf(e.GetAttributes())
	if e.GetName() == "exception" {
		m.exception(who, at, a, span.TraceId, span.SpanId, -1)
		return
	}
	b := m.from.batch("AppTraces")
	b.Begin(at)
	putText(b, "Message", e.GetName(), maxMessage)
	m.operation(b, span.TraceId, span.SpanId)
	b.Int("ItemCount", 1)
	a.properties(b)
	who.write(b, m)
	b.End()
}

func (m *otlpMapper) exception(who role, at time.Time, a attributes, trace, span []byte, severity int64) {
	kind, message, stack := a.take("exception.type"), a.take("exception.message"), a.take("exception.stacktrace")
	a.take("exception.escaped")
	b := m.from.batch("AppExceptions")
	b.Begin(at)
	one := []byte(`[{"typeName":`)
	one = appendQuoted(one, []byte(kind))
	one = append(one, `,"message":`...)
	one = appendQuoted(one, cut([]byte(message), maxMessage))
	one = append(one, `,"stack":`...)
	one = appendQuoted(one, cut([]byte(stack), maxMessage))
	if severity >= 0 {
		b.Int("SeverityLevel", severity)
	}
	writeException(b, append(one, `}]`...), nil, severity)
	m.operation(b, trace, span)
	b.Int("ItemCount", 1)
	a.properties(b)
	who.write(b, m)
	b.End()
}

func (m *otlpMapper) logs(resources []*logsdata.ResourceLogs) {
	for _, r := range resources {
		who := roleOf(r.GetResource())
		for _, scope := range r.GetScopeLogs() {
			for _, record := range scope.GetLogRecords() {
				m.record(who, scope.GetScope().GetName(), record)
			}
		}
	}
}

// severityOf is Application Insights' level of OpenTelemetry's.
func severityOf(n logsdata.SeverityNumber) int64 {
	switch {
	case n >= 21:
		return 4
	case n >= 17:
		return 3
	case n >= 13:
		return 2
	case n >= 9 || n == 0:
		return 1
	}
	return 0
}

func (m *otlpMapper) record(who role, scope string, record *logsdata.LogRecord) {
	ns := record.GetTimeUnixNano()
	if ns == 0 {
		ns = record.GetObservedTimeUnixNano()
	}
	at, ok := m.at(ns)
	if !ok {
		return
	}
	a := attributesOf(record.GetAttributes())
	severity := severityOf(record.GetSeverityNumber())
	if a.get("exception.type", "exception.message") != "" {
		m.exception(who, at, a, record.TraceId, record.SpanId, severity)
		return
	}
	name := a.take("microsoft.custom_event.name")
	table := "AppTraces"
	if name != "" {
		table = "AppEvents"
	}
	if scope != "" {
		a["CategoryName"] = &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: scope}}
	}
	b := m.from.batch(table)
	b.Begin(at)
	if name != "" {
		putText(b, "Name", name, maxName)
	} else {
		putText(b, "Message", valueText(record.GetBody()), maxMessage)
		b.Int("SeverityLevel", severity)
	}
	m.operation(b, record.TraceId, record.SpanId)
	b.Int("ItemCount", 1)
	a.properties(b)
	who.write(b, m)
	b.End()
}

// measured is one data point.
type measured struct {
	sum, low, high float64
	count          uint64
}

func (m *otlpMapper) metrics(resources []*metricsdata.ResourceMetrics) {
	for _, r := range resources {
		who := roleOf(r.GetResource())
		for _, scope := range r.GetScopeMetrics() {
			for _, metric := range scope.GetMetrics() {
				m.metric(who, metric)
			}
		}
	}
}

func (m *otlpMapper) metric(who role, metric *metricsdata.Metric) {
	number := func(p *metricsdata.NumberDataPoint) measured {
		v := p.GetAsDouble()
		if i, ok := p.GetValue().(*metricsdata.NumberDataPoint_AsInt); ok {
			v = float64(i.AsInt)
		}
		return measured{v, v, v, 1}
	}
	spread := func(sum float64, count uint64, low, high *float64) measured {
		out := measured{sum: sum, count: count}
		if count > 0 {
			out.low, out.high = sum/float64(count), sum/float64(count)
		}
		if low != nil {
			out.low = *low
		}
		if high != nil {
			out.high = *high
		}
		return out
	}
	switch d := metric.GetData().(type) {
	case *metricsdata.Metric_Gauge:
		for _, p := range d.Gauge.GetDataPoints() {
			m.point(who, metric, p.GetTimeUnixNano(), p.GetAttributes(), number(p))
		}
	case *metricsdata.Metric_Sum:
		for _, p := range d.Sum.GetDataPoints() {
			m.point(who, metric, p.GetTimeUnixNano(), p.GetAttributes(), number(p))
		}
	case *metricsdata.Metric_Histogram:
		for _, p := range d.Histogram.GetDataPoints() {
			m.point(who, metric, p.GetTimeUnixNano(), p.GetAttributes(), spread(p.GetSum(), p.GetCount(), p.Min, p.Max))
		}
	case *metricsdata.Metric_ExponentialHistogram:
		for _, p := range d.ExponentialHistogram.GetDataPoints() {
			m.point(who, metric, p.GetTimeUnixNano(), p.GetAttributes(), spread(p.GetSum(), p.GetCount(), p.Min, p.Max))
		}
	case *metricsdata.Metric_Summary:
		for _, p := range d.Summary.GetDataPoints() {
			m.point(who, metric, p.GetTimeUnixNano(), p.GetAttributes(), spread(p.GetSum(), p.GetCount(), nil, nil))
		}
	}
}

func (m *otlpMapper) point(who role, metric *metricsdata.Metric, ns uint64, in []*common.KeyValue, v measured) {
	at, ok := m.at(ns)
	if !ok {
		return
	}
	if v.sum-v.sum != 0 { // there is no row for what is no number
		m.reject("its value is not a finite number")
		return
	}
	b := m.from.batch("AppMetrics")
	b.Begin(at)
	putText(b, "Name", metric.GetName(), maxName)
	b.Real("Sum", v.sum)
	b.Real("Min", v.low)
	b.Real("Max", v.high)
	b.Int("ItemCount", int64(min(v.count, math.MaxInt32)))
	attributesOf(in).properties(b)
	who.write(b, m)
	b.End()
}
