package telemetry

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// The names and shapes here are those of Application Insights' own schema:
// https://github.com/microsoft/ApplicationInsights-Home/tree/master/EndpointSpecs

// envelope is one item as it came, in pieces.
type envelope struct {
	time, key, sampleRate, tags, baseType, baseData []byte
}

func parseEnvelope(p []byte) envelope {
	var e envelope
	fields(p, func(name, v []byte) {
		switch string(name) {
		case "time":
			e.time = text(v)
		case "iKey":
			e.key = text(v)
		case "sampleRate":
			e.sampleRate = v
		case "tags":
			e.tags = v
		case "data":
			fields(v, func(name, v []byte) {
				switch string(name) {
				case "baseType":
					e.baseType = text(v)
				case "baseData":
					e.baseData = v
				}
			})
		}
	})
	return e
}

// tableOf is the table that a base type goes to, "" for an unknown one.
func tableOf(baseType []byte) string {
	switch strings.ToLower(strings.TrimPrefix(string(baseType), "Microsoft.ApplicationInsights.")) {
	case "requestdata":
		return "AppRequests"
	case "remotedependencydata":
		return "AppDependencies"
	case "exceptiondata":
		return "AppExceptions"
	case "messagedata":
		return "AppTraces"
	case "eventdata":
		return "AppEvents"
	case "metricdata":
		return "AppMetrics"
	case "pageviewdata":
		return "AppPageViews"
	case "pageviewperfdata":
		return "AppBrowserTimings"
	case "availabilitydata":
		return "AppAvailabilityResults"
	case "performancecounterdata":
		return "AppPerformanceCounters"
	}
	return ""
}

// Application Insights' limits on telemetry, in characters:
// https://learn.microsoft.com/azure/azure-monitor/service-limits#application-insights
// and the schema's own. What is longer is cut.
const (
	maxName     = 1024
	maxURL      = 2048
	maxMessage  = 32768
	maxKey      = 150
	maxValue    = 8192
	maxProblem  = 1024
	maxCode     = 1024
	maxIdentity = 512
)

// cut shortens s to n characters.
func cut(s []byte, n int) []byte {
	if len(s) <= n {
		return s
	}
	for i := range string(s) {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// put sets a column to a text, if there is one.
func put(b *logstore.Batch, column string, v []byte, limit int) {
	if len(v) > 0 {
		b.Bytes(column, cut(v, limit))
	}
}

// parseTime reads the time of an envelope: ISO 8601, UTC when it says nothing
// else.
func parseTime(p []byte) (time.Time, bool) {
	s := string(p)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// parseDuration reads "[d.]hh:mm:ss[.fffffff]", or a number of milliseconds, and
// returns milliseconds.
func parseDuration(v []byte) (ms float64, ok bool) {
	p := text(v)
	if len(p) == 0 {
		return 0, false
	}
	if bytes.IndexByte(p, ':') < 0 {
		f, ok := number(p)
		return f, ok && f >= 0 && !math.IsInf(f, 0)
	}
	s := string(p)
	days := 0
	colon := strings.IndexByte(s, ':')
	if dot := strings.IndexByte(s[:colon], '.'); dot >= 0 {
		var err error
		if days, err = strconv.Atoi(s[:dot]); err != nil || days < 0 {
			return 0, false
		}
		s = s[dot+1:]
	}
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return 0, false
	}
	h, err1 := strconv.Atoi(parts[0])
	m, err2 := strconv.Atoi(parts[1])
	sec, err3 := strconv.ParseFloat(parts[2], 64)
	if err1 != nil || err2 != nil || err3 != nil || h < 0 || m < 0 || sec < 0 || math.IsInf(sec, 0) || math.IsNaN(sec) {
		return 0, false
	}
	return round7((float64(days)*86400 + float64(h)*3600 + float64(m)*60 + sec) * 1000), true
}

// round7 takes away the noise below 100 ns that sums of floating-point numbers
// have.
func round7(ms float64) float64 { return math.Round(ms*1e4) / 1e4 }

// parseSeverity reads a severity level: a number, or its name.
func parseSeverity(v []byte) (int64, bool) {
	switch strings.ToLower(string(text(v))) {
	case "verbose", "0":
		return 0, true
	case "information", "1":
		return 1, true
	case "warning", "2":
		return 2, true
	case "error", "3":
		return 3, true
	case "critical", "4":
		return 4, true
	}
	return 0, false
}

func parseBool(v []byte) (value, ok bool) {
	switch strings.ToLower(string(text(v))) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// properties returns application-defined properties as they are kept: strings,
// of names and values that are not too long. It is nil when there are none.
func properties(v []byte) []byte {
	if v = object(v); v == nil {
		return nil
	}
	fits := true
	fields(v, func(name, value []byte) {
		if len(name) > maxKey || len(value) > maxValue || len(value) == 0 || value[0] != '"' {
			fits = false
		}
	})
	if fits {
		return v
	}
	out := []byte{'{'}
	fields(v, func(name, value []byte) {
		if string(value) == "null" {
			return
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = appendQuoted(out, cut(name, maxKey))
		out = append(out, ':')
		out = appendQuoted(out, cut(text(value), maxValue))
	})
	return append(out, '}')
}

// writeTags sets the columns that all tables share from an envelope's tags.
func writeTags(b *logstore.Batch, tags []byte, keepIP bool, peer string) {
	var os, osVersion, ip []byte
	fields(tags, func(name, v []byte) {
		const prefix = "ai."
		if !bytes.HasPrefix(name, []byte(prefix)) {
			return
		}
		v = text(v)
		switch string(name[len(prefix):]) {
		case "operation.name":
			put(b, "OperationName", v, maxName)
		case "operation.id":
			put(b, "OperationId", v, maxIdentity)
		case "operation.parentId":
			put(b, "ParentId", v, maxIdentity)
		case "operation.syntheticSource":
			put(b, "SyntheticSource", v, maxName)
		case "session.id":
			put(b, "SessionId", v, maxIdentity)
		case "user.id":
			put(b, "UserId", v, maxIdentity)
		case "user.authUserId":
			put(b, "UserAuthenticatedId", v, maxIdentity)
		case "user.accountId":
			put(b, "UserAccountId", v, maxIdentity)
		case "application.ver":
			put(b, "AppVersion", v, maxName)
		case "device.type":
			put(b, "ClientType", v, maxName)
		case "device.model":
			put(b, "ClientModel", v, maxName)
		case "device.os":
			os = v
		case "device.osVersion":
			osVersion = v
		case "location.ip":
			ip = v
		case "location.city":
			put(b, "ClientCity", v, maxName)
		case "location.province":
			put(b, "ClientStateOrProvince", v, maxName)
		case "location.country":
			put(b, "ClientCountryOrRegion", v, maxName)
		case "cloud.role":
			put(b, "AppRoleName", v, maxName)
		case "cloud.roleInstance":
			put(b, "AppRoleInstance", v, maxName)
		case "internal.sdkVersion":
			put(b, "SDKVersion", v, maxName)
		}
	})
	if osVersion == nil {
		osVersion = os
	}
	put(b, "ClientOS", osVersion, maxName)
	// Azure forgets addresses unless a component says otherwise:
	// https://learn.microsoft.com/azure/azure-monitor/app/ip-collection
	switch {
	case !keepIP:
		b.String("ClientIP", "0.0.0.0")
	case len(ip) > 0:
		put(b, "ClientIP", ip, maxName)
	default:
		put(b, "ClientIP", []byte(peer), maxName)
	}
}

// itemError is why an item was not taken.
type itemError struct {
	status  int
	message string
}

func (e *itemError) Error() string { return e.message }

func badItem(format string, args ...any) error {
	return &itemError{400, fmt.Sprintf(format, args...)}
}

// row is what writes the columns of one item that are not of its table alone.
type row struct {
	at     time.Time
	tags   []byte
	count  int64
	keepIP bool
	peer   string
}

// begin starts the item's row in b.
func (r *row) begin(b *logstore.Batch) {
	b.Begin(r.at)
	writeTags(b, r.tags, r.keepIP, r.peer)
}

// writeItem adds the rows of an item to the batches of its tables.
func writeItem(batch func(table string) *logstore.Batch, table string, data []byte, r *row) error {
	if object(data) == nil {
		return badItem("100: Field 'baseData' on type 'Data' is required but missing or empty. Expected: object, Actual: undefined")
	}
	if table == "AppMetrics" {
		return writeMetrics(batch, data, r)
	}
	b := batch(table)
	r.begin(b)
	var exceptions, problem, name, category, counter, instance []byte
	severity := int64(-1)
	fields(data, func(field, v []byte) {
		switch string(field) {
		case "id":
			if table != "AppTraces" && table != "AppExceptions" {
				put(b, "Id", text(v), maxIdentity)
			}
		case "name":
			name = text(v)
		case "properties":
			if p := properties(v); p != nil {
				b.Dynamic("Properties", p)
			}
		case "measurements":
			if p := object(v); p != nil {
				b.Dynamic("Measurements", p)
			}
		case "url":
			put(b, "Url", text(v), maxURL)
		case "source":
			put(b, "Source", text(v), maxName)
		case "success":
			if ok, given := parseBool(v); given {
				b.Bool("Success", ok)
			}
		case "responseCode", "resultCode":
			put(b, "ResultCode", text(v), maxCode)
		case "duration":
			// the duration of a page's timings has a table of its own
			if ms, ok := parseDuration(v); ok && table != "AppBrowserTimings" {
				b.Real("DurationMs", ms)
			}
		case "target":
			put(b, "Target", text(v), maxName)
		case "type":
			put(b, "DependencyType", text(v), maxName)
		case "data":
			put(b, "Data", text(v), maxValue)
		case "message":
			put(b, "Message", text(v), maxMessage)
		case "severityLevel":
			if n, ok := parseSeverity(v); ok {
				severity = n
				b.Int("SeverityLevel", n)
			}
		case "runLocation":
			put(b, "Location", text(v), maxName)
		case "perfTotal":
			putDuration(b, "TotalDurationMs", v)
		case "networkConnect":
			putDuration(b, "NetworkDurationMs", v)
		case "sentRequest":
			putDuration(b, "SendDurationMs", v)
		case "receivedResponse":
			putDuration(b, "ReceiveDurationMs", v)
		case "domProcessing":
			putDuration(b, "ProcessingDurationMs", v)
		case "exceptions":
			exceptions = v
		case "problemId":
			problem = text(v)
		case "handledAt":
			put(b, "HandledAt", text(v), maxName)
		case "categoryName":
			category = text(v)
		case "counterName":
			counter = text(v)
		case "instanceName":
			instance = text(v)
		case "value":
			if f, ok := number(v); ok && table == "AppPerformanceCounters" {
				b.Real("Value", f)
			}
		}
	})
	switch table {
	case "AppExceptions":
		writeException(b, exceptions, problem, severity)
	case "AppPerformanceCounters":
		if name == nil {
			name = counter
		}
		put(b, "Category", category, maxName)
		put(b, "Counter", counter, maxName)
		put(b, "Instance", instance, maxName)
		put(b, "Name", name, maxName)
	case "AppTraces":
	default:
		put(b, "Name", name, maxName)
	}
	if table != "AppPerformanceCounters" {
		b.Int("ItemCount", r.count)
	}
	b.End()
	return nil
}

func putDuration(b *logstore.Batch, column string, v []byte) {
	if ms, ok := parseDuration(v); ok {
		b.Real(column, ms)
	}
}

// writeMetrics adds a row for each metric of an item. Those that are named like
// a performance counter of Windows, as SDKs send these, are performance counters.
func writeMetrics(batch func(string) *logstore.Batch, data []byte, r *row) error {
	var metrics, props []byte
	fields(data, func(field, v []byte) {
		switch string(field) {
		case "metrics":
			metrics = v
		case "properties":
			props = properties(v)
		}
	})
	n := 0
	elements(metrics, func(v []byte) {
		var name, ns []byte
		var value, low, high float64
		var hasValue, hasLow, hasHigh bool
		count := int64(1)
		fields(v, func(field, v []byte) {
			switch string(field) {
			case "name":
				name = text(v)
			case "ns":
				ns = text(v)
			case "value":
				value, hasValue = number(v)
			case "min":
				low, hasLow = number(v)
			case "max":
				high, hasHigh = number(v)
			case "count":
				if f, ok := number(v); ok && f >= 1 && f <= math.MaxInt32 {
					count = int64(f)
				}
			}
		})
		if !hasValue || len(name) == 0 {
			return
		}
		n++
		if category, instance, counter, ok := parseCounter(string(name)); ok {
			b := batch("AppPerformanceCounters")
			r.begin(b)
			b.String("Name", counter)
			b.String("Category", category)
			b.String("Counter", counter)
			if instance != "" {
				b.String("Instance", instance)
			}
			b.Real("Value", value)
			if props != nil {
				b.Dynamic("Properties", props)
			}
			b.End()
			return
		}
		if !hasLow {
			low = value
		}
		if !hasHigh {
			high = value
		}
		b := batch("AppMetrics")
		r.begin(b)
		put(b, "Name", name, maxName)
		b.Real("Sum", value)
		b.Real("Min", low)
		b.Real("Max", high)
		b.Int("ItemCount", count)
		if p := namespaced(props, ns); p != nil {
			b.Dynamic("Properties", p)
		}
		b.End()
	})
	if n == 0 {
		return badItem("100: Field 'metrics' on type 'MetricData' is required but missing or empty. Expected: array, Actual: undefined")
	}
	return nil
}

// namespaced adds a metric's namespace to its properties, where nothing else
// would keep it. Azure keeps it out of sight of queries.
func namespaced(props, ns []byte) []byte {
	if len(ns) == 0 {
		return props
	}
	out := appendQuoted([]byte(`{"_MS.metricNamespace":`), cut(ns, maxName))
	if len(props) > 2 {
		out = append(out, ',')
		return append(out, props[1:]...)
	}
	return append(out, '}')
}

// parseCounter takes apart \Category(Instance)\Counter.
func parseCounter(name string) (category, instance, counter string, ok bool) {
	rest, ok := strings.CutPrefix(name, `\`)
	if !ok {
		return "", "", "", false
	}
	category, counter, ok = strings.Cut(rest, `\`)
	if !ok || category == "" || counter == "" {
		return "", "", "", false
	}
	if open := strings.IndexByte(category, '('); open > 0 && strings.HasSuffix(category, ")") {
		category, instance = category[:open], category[open+1:len(category)-1]
	}
	return category, instance, counter, true
}

// exception is one of the chain of an item, outermost first.
type exception struct {
	typeName, message, method, assembly []byte
	detail                              []byte // as Details shows it
}

// writeException sets the columns of an exception's row.
func writeException(b *logstore.Batch, exceptions, problem []byte, severity int64) {
	var chain []exception
	elements(exceptions, func(v []byte) {
		if len(chain) < 32 {
			chain = append(chain, parseException(v, severity))
		}
	})
	if len(chain) == 0 {
		put(b, "ProblemId", problem, maxProblem)
		return
	}
	outer, inner := chain[0], chain[len(chain)-1]
	put(b, "ExceptionType", outer.typeName, maxName)
	put(b, "OuterType", outer.typeName, maxName)
	put(b, "OuterMessage", outer.message, maxMessage)
	put(b, "OuterMethod", outer.method, maxName)
	put(b, "OuterAssembly", outer.assembly, maxName)
	put(b, "InnermostType", inner.typeName, maxName)
	put(b, "InnermostMessage", inner.message, maxMessage)
	put(b, "InnermostMethod", inner.method, maxName)
	put(b, "InnermostAssembly", inner.assembly, maxName)
	put(b, "Method", outer.method, maxName)
	put(b, "Assembly", outer.assembly, maxName)
	if problem == nil {
		problem = outer.typeName
		if len(outer.method) > 0 {
			problem = fmt.Appendf(nil, "%s at %s", outer.typeName, outer.method)
		}
	}
	put(b, "ProblemId", problem, maxProblem)
	details := []byte{'['}
	for i, e := range chain {
		if i > 0 {
			details = append(details, ',')
		}
		details = append(details, e.detail...)
	}
	b.Dynamic("Details", append(details, ']'))
}

func parseException(v []byte, severity int64) exception {
	var e exception
	e.detail = []byte{'{'}
	add := func(name string, value []byte) {
		if !utf8.Valid(value) {
			value = bytes.ToValidUTF8(value, []byte("\uFFFD"))
		}
		if len(e.detail) > 1 {
			e.detail = append(e.detail, ',')
		}
		e.detail = append(appendQuoted(e.detail, []byte(name)), ':')
		e.detail = append(e.detail, value...)
	}
	fields(v, func(field, v []byte) {
		switch string(field) {
		case "typeName":
			e.typeName = text(v)
			add("type", v)
		case "message":
			e.message = text(v)
			add("message", v)
		case "id":
			add("id", appendQuoted(nil, text(v)))
		case "outerId":
			add("outerId", appendQuoted(nil, text(v)))
		case "stack":
			if len(text(v)) > 0 {
				add("rawStack", v)
			}
		case "parsedStack":
			first := true
			elements(v, func(frame []byte) {
				if !first {
					return
				}
				first = false
				fields(frame, func(field, v []byte) {
					switch string(field) {
					case "method":
						e.method = text(v)
					case "assembly":
						e.assembly = text(v)
					}
				})
			})
			if !first {
				add("parsedStack", v)
			}
		}
	})
	if severity >= 0 {
		add("severityLevel", appendQuoted(nil, []byte([]string{"Verbose", "Information", "Warning", "Error", "Critical"}[severity])))
	}
	e.detail = append(e.detail, '}')
	return e
}
