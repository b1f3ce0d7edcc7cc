package telemetry

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/telemetry/kql"
)

// apiError is an error of the query API, in its shape.
type apiError struct {
	Status  int
	Code    string
	Message string
	Inner   *innerError
}

// innerError is where an error of a query is told.
type innerError struct {
	Code    string      `json:"code,omitempty"` // not every error of a query has one
	Message string      `json:"message"`
	Line    *int        `json:"line,omitempty"`
	Pos     *int        `json:"pos,omitempty"`
	Token   *string     `json:"token,omitempty"`
	Inner   *innerError `json:"innererror,omitempty"`
}

// Error implements error.
func (e *apiError) Error() string { return e.Message }

func badArgument(message string) *apiError {
	return &apiError{Status: http.StatusBadRequest, Code: "BadArgumentError", Message: "The request had some invalid properties",
		Inner: &innerError{Code: "InvalidArgument", Message: message}}
}

// queryError is the answer to a query that is refused or failed.
func queryError(e *kql.Error) *apiError {
	inner := &innerError{Code: e.Code, Message: e.Message}
	if e.Line > 0 {
		inner.Line, inner.Pos, inner.Token = &e.Line, &e.Pos, &e.Token
		inner.Message = e.Error()
	}
	out := &apiError{Status: http.StatusBadRequest, Code: "BadArgumentError", Message: "The request had some invalid properties"}
	switch e.Kind {
	case kql.KindSyntax:
		out.Inner = &innerError{Code: "SyntaxError", Message: "A recognition error occurred in the query.", Inner: inner}
	case kql.KindSemantic:
		out.Inner = &innerError{Code: "SemanticError", Message: "A semantic error occurred.", Inner: inner}
	default:
		// Azure answers these as failures of a query that was good as such; its
		// words for each are not known
		out.Inner = &innerError{Code: "QueryExecutionError", Message: "The query could not be executed.", Inner: inner}
	}
	return out
}

// asAPIError makes an answer of any error. What is the server's own fault is not
// told.
func asAPIError(err error) *apiError {
	var api *apiError
	var query *kql.Error
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &query):
		return queryError(query)
	}
	return &apiError{Status: http.StatusInternalServerError, Code: "InternalServerError",
		Message: "Azimuth met an error of its own. The server's log has the details."}
}

// writeError is the one place where errors of the query API reach the wire and
// the log.
func (s *Service) writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := asAPIError(err)
	level := slog.LevelDebug
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		level = slog.LevelError
	}
	id := uuid.NewString()
	s.cfg.Log.Log(r.Context(), level, "telemetry request failed", "status", e.Status, "code", e.Code, "error", err, "correlation_id", id)
	body := map[string]any{"code": e.Code, "message": e.Message, "correlationId": id}
	if e.Inner != nil {
		body["innererror"] = e.Inner
	}
	b, encodeErr := json.Marshal(map[string]any{"error": body})
	if encodeErr != nil { // strings and numbers only
		b = []byte(`{"error":{"code":"InternalServerError"}}`)
	}
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="https://login.microsoftonline.com/`+s.cfg.TenantID+`", error="invalid_token"`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(e.Status)
	w.Write(b)
}
