package oci

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"syscall"

	"github.com/distribution/distribution/v3/registry/api/errcode"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// apiError is an answer in the registry's error shape.
type apiError struct {
	Status        int
	Code, Message string
	Detail        any
	// Challenge is the WWW-Authenticate header to answer with; may be empty.
	Challenge string
}

// Error implements error.
func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// known is an error of the distribution API, in its own words.
func known(code errcode.ErrorCode, detail any) *apiError {
	d := code.Descriptor()
	return &apiError{Status: d.HTTPStatusCode, Code: d.Value, Message: d.Message, Detail: detail}
}

// invalid is known with words of its own.
func invalid(code errcode.ErrorCode, message string) *apiError {
	e := known(code, nil)
	e.Message = message
	return e
}

// locked is Azure's refusal of what an attribute forbids.
func locked() *apiError {
	return &apiError{Status: http.StatusMethodNotAllowed, Code: "REGISTRY_DISALLOWED_OPERATION",
		Message: "The operation is disallowed on this registry, repository or image. View troubleshooting steps at https://aka.ms/acr/faq/#why-does-my-pull-or-push-request-fail-with-disallowed-operation",
		Detail:  map[string]any{}}
}

func notImplemented(operation string) *apiError {
	return &apiError{Status: http.StatusNotImplemented, Code: "NotImplementedByAzimuth",
		Message: "Azimuth does not implement " + operation + " of Container Registry."}
}

// writeError is the one place where errors reach the wire and the log.
func (s *Service) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	level := slog.LevelDebug
	switch {
	case errors.As(err, &e):
	case errors.Is(err, store.ErrFull), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e = &apiError{Status: http.StatusInsufficientStorage, Code: "UNAVAILABLE", Message: "The disk that holds the registry is full."}
		level = slog.LevelWarn
	case r.Context().Err() != nil: // nobody waits for the answer
		e = known(errcode.ErrorCodeUnavailable, nil)
	case errors.As(err, new(*bodyError)):
		e = invalid(errcode.ErrorCodeBlobUploadInvalid, "The request body could not be read to its end.")
		e.Status = http.StatusBadRequest
	default:
		e = known(errcode.ErrorCodeUnknown, nil)
		e.Message = "Azimuth met an error of its own. The server's log has the details."
		level = slog.LevelError
	}
	s.cfg.Log.LogAttrs(r.Context(), level, "registry request failed",
		slog.String("method", r.Method), slog.String("host", r.Host), slog.Int("status", e.Status), slog.Any("error", err))
	if e.Challenge != "" {
		w.Header().Set("WWW-Authenticate", e.Challenge)
	}
	one := map[string]any{"code": e.Code, "message": e.Message}
	if e.Detail != nil {
		one["detail"] = e.Detail
	}
	s.writeJSON(w, e.Status, "application/json; charset=utf-8", map[string]any{"errors": []any{one}})
}

func (s *Service) writeJSON(w http.ResponseWriter, status int, mediaType string, body any) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.cfg.Log.Debug("write registry answer", "error", err)
	}
}
