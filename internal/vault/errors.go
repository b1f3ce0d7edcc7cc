package vault

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/diagnostic"
)

// apiError is an answer in Key Vault's error shape.
type apiError struct {
	Status        int
	Code, Message string
	// Inner is the code of the inner error; may be empty.
	Inner string
}

// Error implements error.
func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func failure(status int, code, message string) *apiError {
	return &apiError{Status: status, Code: code, Message: message}
}

// writeError is the one place where errors reach the wire and the log.
func (s *Service) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	level := slog.LevelDebug
	if !errors.As(err, &e) {
		e = failure(http.StatusInternalServerError, "InternalServerError", "Azimuth met an error of its own. The server's log has the details.")
		level = slog.LevelError
	}
	s.cfg.Log.LogAttrs(r.Context(), level, "vault request failed",
		slog.String("method", r.Method), slog.String("host", r.Host), slog.Int("status", e.Status), slog.Any("error", err))
	if n := diagnostic.NoteOf(r.Context()); n != nil {
		n.Code, n.Message = e.Code, e.Message
	}
	body := map[string]any{"code": e.Code, "message": e.Message}
	if e.Inner != "" {
		body["innererror"] = map[string]any{"code": e.Inner}
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(e.Status)
	if err := json.NewEncoder(w).Encode(map[string]any{"error": body}); err != nil {
		s.cfg.Log.Debug("write vault error", "error", err)
	}
}
