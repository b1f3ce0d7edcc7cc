package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Error is an answer in ARM's error envelope. Handlers and hooks return it, as
// it is or wrapped; one function writes it.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is Azure's error code, "ResourceNotFound".
	Code string
	// Message is for people. Azure's own text where it is known.
	Message string
	// Target is the part of the request that is wrong; may be empty.
	Target string
	// Details are further errors below this one.
	Details []*Error
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf makes an Error with a formatted message.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// BadRequest is a 400 with the given code.
func BadRequest(code, format string, args ...any) *Error {
	return Errorf(http.StatusBadRequest, code, format, args...)
}

// InvalidProperty is a 400 for one property of the body, named by its path.
func InvalidProperty(path, format string, args ...any) *Error {
	e := Errorf(http.StatusBadRequest, "InvalidParameterValue", format, args...)
	e.Target = path
	return e
}

// NotImplemented says that Azure has the operation and Azimuth does not.
func NotImplemented(format string, args ...any) *Error {
	return Errorf(http.StatusNotImplemented, "NotImplementedByAzimuth",
		"Azimuth does not implement "+format+".", args...)
}

// NotFound is ARM's answer for a resource that is not there.
func NotFound(id ID) *Error {
	switch {
	case id.Type() == TypeResourceGroup:
		return Errorf(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", id.ResourceGroup)
	case id.Type() == TypeSubscription:
		return Errorf(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", id.Subscription)
	case strings.EqualFold(id.Type(), "Microsoft.Resources/deployments"):
		return Errorf(http.StatusNotFound, "DeploymentNotFound", "Deployment '%s' could not be found.", id.Name())
	case id.ResourceGroup == "":
		return Errorf(http.StatusNotFound, "ResourceNotFound", "The Resource '%s' was not found.", id)
	}
	return Errorf(http.StatusNotFound, "ResourceNotFound",
		"The Resource '%s/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
		id.Type(), id.FullName(), id.ResourceGroup)
}

type errorBody struct {
	Code    string      `json:"code"`
	Message string      `json:"message"`
	Target  string      `json:"target,omitempty"`
	Details []errorBody `json:"details,omitempty"`
}

func (e *Error) body() errorBody {
	b := errorBody{Code: e.Code, Message: e.Message, Target: e.Target}
	for _, d := range e.Details {
		b.Details = append(b.Details, d.body())
	}
	return b
}

// Envelope is the JSON document that carries e.
func (e *Error) Envelope() []byte {
	b, err := json.Marshal(map[string]errorBody{"error": e.body()})
	if err != nil { // strings only: cannot fail
		return []byte(`{"error":{"code":"InternalServerError","message":"an error could not be encoded"}}`)
	}
	return b
}

// AsError finds the Error in err. Anything else becomes a 500 that keeps the
// cause for the log and out of the answer.
func AsError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, store.ErrFull):
		return Errorf(http.StatusInsufficientStorage, "InsufficientStorage",
			"Nothing was changed: the disk that holds Azimuth's home is full. Free some space and try again.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Errorf(http.StatusServiceUnavailable, "RequestCanceled", "The request ended before it was done.")
	}
	return Errorf(http.StatusInternalServerError, "InternalServerError",
		"Azimuth met an error of its own. The server's log has the details.")
}

// WriteError is the one place where ARM errors reach the wire and the log.
func WriteError(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	e := AsError(err)
	level := slog.LevelDebug
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		level = slog.LevelError
	}
	log.LogAttrs(r.Context(), level, "request failed",
		slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", e.Status), slog.String("code", e.Code), slog.Any("error", err))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("x-ms-failure-cause", "gateway")
	w.WriteHeader(e.Status)
	w.Write(e.Envelope())
}
