package telemetry

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// KeyHeader is the header in which an OTLP exporter names the component that it
// sends to, by its instrumentation key. Both are Azimuth's own.
const KeyHeader = "X-Ms-Instrumentation-Key"

const contentProtobuf = "application/x-protobuf"

// serveOTLP takes OTLP over HTTP: https://opentelemetry.io/docs/specs/otlp/#otlphttp
func (s *Service) serveOTLP(w http.ResponseWriter, r *http.Request) {
	signal, ok := map[string]string{"/v1/traces": "spans", "/v1/metrics": "data points", "/v1/logs": "records"}[r.URL.Path]
	if !ok {
		s.notImplemented(w, r)
		return
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != contentProtobuf && contentType != "application/json" {
		http.Error(w, "the Content-Type is application/x-protobuf or application/json", http.StatusUnsupportedMediaType)
		return
	}
	o := &otlp{json: contentType == "application/json"}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		o.fail(w, http.StatusMethodNotAllowed, "The method is POST.")
		return
	}
	release, err := s.hold(r.Context())
	if err != nil {
		return
	}
	defer release()
	c, err := s.admitKey(r, strings.ToLower(r.Header.Get(KeyHeader)))
	if err != nil {
		s.failOTLP(w, o, err)
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		o.fail(w, bodyStatus(err), err.Error())
		return
	}
	in := s.intake(r)
	m := &otlpMapper{in: in, component: c, from: in.sender([]byte(strings.ToLower(r.Header.Get(KeyHeader))))}
	if m.from.err != nil {
		s.failOTLP(w, o, m.from.err)
		return
	}
	var answer proto.Message
	switch r.URL.Path {
	case "/v1/traces":
		var req traces.ExportTraceServiceRequest
		if err = o.decode(body, &req); err == nil {
			m.traces(req.ResourceSpans)
		}
		answer = &traces.ExportTraceServiceResponse{}
		if m.rejected > 0 {
			answer = &traces.ExportTraceServiceResponse{PartialSuccess: &traces.ExportTracePartialSuccess{RejectedSpans: m.rejected, ErrorMessage: m.why(signal)}}
		}
	case "/v1/metrics":
		var req metrics.ExportMetricsServiceRequest
		if err = o.decode(body, &req); err == nil {
			m.metrics(req.ResourceMetrics)
		}
		answer = &metrics.ExportMetricsServiceResponse{}
		if m.rejected > 0 {
			answer = &metrics.ExportMetricsServiceResponse{PartialSuccess: &metrics.ExportMetricsPartialSuccess{RejectedDataPoints: m.rejected, ErrorMessage: m.why(signal)}}
		}
	case "/v1/logs":
		var req logs.ExportLogsServiceRequest
		if err = o.decode(body, &req); err == nil {
			m.logs(req.ResourceLogs)
		}
		answer = &logs.ExportLogsServiceResponse{}
		if m.rejected > 0 {
			answer = &logs.ExportLogsServiceResponse{PartialSuccess: &logs.ExportLogsPartialSuccess{RejectedLogRecords: m.rejected, ErrorMessage: m.why(signal)}}
		}
	}
	if err != nil {
		o.fail(w, http.StatusBadRequest, "The body is not a request to export "+signal+": "+err.Error())
		return
	}
	if e := in.append(); e != nil {
		w.Header().Set("Retry-After", "5")
		o.fail(w, e.status, e.message)
		return
	}
	o.write(w, http.StatusOK, answer)
}

func (s *Service) failOTLP(w http.ResponseWriter, o *otlp, err error) {
	e := &itemError{http.StatusInternalServerError, "The server failed."}
	if !errors.As(err, &e) {
		s.cfg.Log.Error("take in telemetry", "error", err)
	}
	message := e.message
	if e.status == http.StatusBadRequest {
		message += ": name a component by its instrumentation key in the header " + strings.ToLower(KeyHeader)
	}
	o.fail(w, e.status, message)
}

// otlp is the encoding of one exchange.
type otlp struct{ json bool }

func (o *otlp) decode(p []byte, m proto.Message) error {
	if !o.json {
		return proto.Unmarshal(p, m)
	}
	p, err := base64IDs(p)
	if err != nil {
		return err
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(p, m)
}

// base64IDs rewrites the IDs of traces and spans, which OTLP has in hexadecimal,
// as JSON's mapping of protobuf has bytes.
func base64IDs(p []byte) ([]byte, error) {
	var v any
	if err := json.Unmarshal(p, &v); err != nil {
		return nil, err
	}
	rewriteIDs(v)
	return json.Marshal(v)
}

func rewriteIDs(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			switch name {
			case "traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id":
				if s, ok := value.(string); ok {
					v[name] = hexToBase64(s)
				}
			default:
				rewriteIDs(value)
			}
		}
	case []any:
		for _, e := range v {
			rewriteIDs(e)
		}
	}
}

func (o *otlp) write(w http.ResponseWriter, status int, m proto.Message) {
	var b []byte
	var err error
	contentType := contentProtobuf
	if o.json {
		contentType = "application/json"
		b, err = protojson.Marshal(m)
	} else {
		b, err = proto.Marshal(m)
	}
	if err != nil {
		http.Error(w, "the answer could not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(b)
}

// fail answers with a google.rpc.Status, as the protocol says.
func (o *otlp) fail(w http.ResponseWriter, status int, message string) {
	code := codes.Internal
	switch {
	case status == http.StatusUnauthorized:
		code = codes.Unauthenticated
	case status == http.StatusForbidden:
		code = codes.PermissionDenied
	case status == http.StatusPaymentRequired:
		code = codes.ResourceExhausted
	case status == http.StatusServiceUnavailable:
		code = codes.Unavailable
	case status < 500:
		code = codes.InvalidArgument
	}
	o.write(w, status, &rpc.Status{Code: int32(code), Message: message})
}
