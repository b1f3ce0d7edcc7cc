package mlflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Error is a refusal in MLflow's own shape: {"error_code", "message"}.
type Error struct {
	Status  int    `json:"-"`
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf makes an Error.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *Error {
	return Errorf(http.StatusBadRequest, "INVALID_PARAMETER_VALUE", format, args...)
}

func missing(format string, args ...any) *Error {
	return Errorf(http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST", format, args...)
}

func denied(format string, args ...any) *Error {
	return Errorf(http.StatusForbidden, "PERMISSION_DENIED", format, args...)
}

func notImplemented(what string) *Error {
	return Errorf(http.StatusNotImplemented, "NotImplementedByAzimuth", "Azimuth does not implement %s.", what)
}

func (s *Service) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = Errorf(http.StatusInternalServerError, "INTERNAL_ERROR", "Azimuth met an error of its own. The server's log has the details.")
		if errors.Is(err, store.ErrFull) {
			e = Errorf(http.StatusInsufficientStorage, "INTERNAL_ERROR", "Nothing was written: the disk that holds Azimuth's home is full.")
		}
	}
	level := slog.LevelDebug
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		level = slog.LevelError
	}
	s.log.LogAttrs(r.Context(), level, "mlflow request failed", slog.String("method", r.Method),
		slog.String("path", r.URL.Path), slog.Int("status", e.Status), slog.Any("error", err))
	writeJSON(w, e.Status, e)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // every value is made here of strings and numbers
		status, b = http.StatusInternalServerError, []byte(`{"error_code":"INTERNAL_ERROR","message":"an answer could not be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}
