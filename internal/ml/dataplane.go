package ml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The RBAC actions of run history, from Azure's list of operations.
const (
	actionRead  = typeWorkspace + "/experiments/runs/read"
	actionWrite = typeWorkspace + "/experiments/runs/write"
)

// rightActions are the actions that MLflow's operations need.
func rightActions() map[mlflow.Right]string {
	return map[mlflow.Right]string{
		mlflow.ReadRuns: actionRead, mlflow.WriteRuns: actionWrite,
		mlflow.ReadModels: typeWorkspace + "/models/read", mlflow.WriteModels: typeWorkspace + "/models/write",
		mlflow.DeleteModels: typeWorkspace + "/models/delete",
	}
}

// ServeHTTP implements http.Handler for the hosts REGION.api.azureml.ms.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.ToLower(r.URL.Path)
	switch {
	case path == "/discovery" || strings.HasPrefix(path, "/discovery/"):
		s.discover(w, r)
	case strings.HasPrefix(path, "/mlflow/"):
		s.tracking.ServeHTTP(w, r)
	default:
		out, err := s.serveData(r)
		if err != nil {
			s.writeDataError(w, r, err)
			return
		}
		writeBody(w, http.StatusOK, out)
	}
}

func writeBody(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // documents that came as JSON
		status, b = http.StatusInternalServerError, []byte(`{"error":{"code":"ServiceError","message":"an answer could not be encoded"}}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b)
}

// writeDataError writes an error in the shape of run history's ErrorResponse.
func (s *Service) writeDataError(w http.ResponseWriter, r *http.Request, err error) {
	e := arm.AsError(err)
	level := slog.LevelDebug
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		level = slog.LevelError
	}
	s.log.LogAttrs(r.Context(), level, "data plane request failed", slog.String("method", r.Method),
		slog.String("path", r.URL.Path), slog.Int("status", e.Status), slog.Any("error", err))
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="https://login.microsoftonline.com/common", error="invalid_token"`)
	}
	region, _, _ := strings.Cut(r.Host, ".")
	writeBody(w, e.Status, map[string]any{
		"error":       map[string]any{"code": e.Code, "message": e.Message, "target": e.Target, "details": []any{}},
		"correlation": map[string]any{"operation": "", "request": ""}, "environment": region, "location": region,
		"time": stamp(s.cfg.Clock.Now()),
	})
}

// discover says where the services of a workspace are. Azure answers everybody,
// and azure-ai-ml asks without a token. Only what is served is named.
func (s *Service) discover(w http.ResponseWriter, r *http.Request) {
	self := "https://" + r.Host
	writeBody(w, http.StatusOK, map[string]string{
		"api": self, "history": self, "experimentation": self, "modelmanagement": self,
	})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000+00:00") }

func dataPath() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^/(history|data|modelregistry)/v1\.0(/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+)/(.+)$`)
}

// visit is an authorised request of the data plane.
type visit struct {
	ws     *workspace
	caller arm.Caller
	// run is the job whose token the request has, or "".
	run string
}

func (s *Service) serveData(r *http.Request) (any, error) {
	m := dataPath().FindStringSubmatch(r.URL.Path)
	if m == nil {
		return nil, arm.NotImplemented("%s %s of the workspace's data plane", r.Method, r.URL.Path)
	}
	service, rest := strings.ToLower(m[1]), strings.TrimSuffix(m[3], "/")
	v, err := s.visit(r, m[2], actionRead)
	if err != nil {
		return nil, err
	}
	switch {
	case service == "history":
		return s.history(r, v, rest)
	case service == "data" && r.Method == http.MethodPost && strings.EqualFold(rest, "dataversion/batchGetResolvedUris"):
		return s.resolveOutputs(r, v, "uri")
	case service == "modelregistry" && r.Method == http.MethodPost && strings.EqualFold(rest, "models/batchGetResolvedUris"):
		return s.resolveOutputs(r, v, "path")
	}
	return nil, arm.NotImplemented("%s /%s/v1.0/…/%s of the workspace's data plane", r.Method, service, rest)
}

// visit authenticates a request and checks that its principal holds the action in
// a workspace. A job's token reaches its own runs by being that job's; for all
// else it can do what the job's submitter may. Errors are *arm.Error.
func (s *Service) visit(r *http.Request, workspaceID, action string) (*visit, error) {
	v, err := s.authorized(r, workspaceID, action)
	if err != nil || s.cfg.Network == nil {
		return v, err
	}
	return v, s.cfg.Network.Admits(r.Context(), v.ws.GUID, v.ws.privateHost())
}

// authorized is visit without the networks.
func (s *Service) authorized(r *http.Request, workspaceID, action string) (*visit, error) {
	ctx := r.Context()
	id, err := arm.ParseID(workspaceID)
	if err != nil {
		return nil, arm.BadRequest("UserError", "'%s' is not the ID of a workspace.", workspaceID)
	}
	v := &visit{}
	load := func(tx store.Tx) (err error) {
		v.ws, err = s.workspace(ctx, tx, id)
		return err
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if item, ours, err := s.cfg.Tokens.Verify(token); ours {
		if err != nil {
			return nil, arm.Errorf(http.StatusUnauthorized, "UserError", "The token of the job was not accepted: %s.", err)
		}
		err := s.cfg.Store.View(ctx, func(tx store.Tx) error {
			rec, err := s.runs.Get(tx, item)
			if errors.Is(err, store.ErrNotFound) || err == nil && rec.Deleted {
				return arm.Errorf(http.StatusUnauthorized, "UserError", "The token's job does not exist any more.")
			}
			if err != nil {
				return err
			}
			if err := load(tx); err != nil || rec.Workspace != v.ws.UID {
				return arm.Errorf(http.StatusForbidden, "UserError", "The token of the job '%s' is good for its own workspace alone.", rec.Name)
			}
			v.run, v.caller = rec.Name, rec.Submitter
			return nil
		})
		if err != nil || action == actionRead || action == actionWrite {
			return v, err
		}
	} else if v.caller, err = s.cfg.Authenticator.AuthenticateML(ctx, r); err != nil {
		return nil, err
	}
	ok, err := s.cfg.Authorizer.Allowed(ctx, v.caller.ObjectID, action, false, id.String())
	if err != nil {
		return nil, fmt.Errorf("authorize %s: %w", action, err)
	}
	if !ok {
		return nil, arm.Errorf(http.StatusForbidden, "AuthorizationFailed",
			"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
			v.caller.Name, v.caller.ObjectID, action, id)
	}
	return v, s.cfg.Store.View(ctx, load)
}

// Enter implements mlflow.Access.
func (s *Service) Enter(r *http.Request, workspaceID string, right mlflow.Right) (mlflow.Session, error) {
	v, err := s.visit(r, workspaceID, rightActions()[right])
	if err != nil {
		e := arm.AsError(err)
		code := "INTERNAL_ERROR"
		switch e.Status {
		case http.StatusUnauthorized:
			code = "UNAUTHENTICATED"
		case http.StatusForbidden:
			code = "PERMISSION_DENIED"
		case http.StatusNotFound:
			code = "RESOURCE_DOES_NOT_EXIST"
		case http.StatusBadRequest:
			code = "INVALID_PARAMETER_VALUE"
		default:
			return mlflow.Session{}, err
		}
		return mlflow.Session{}, mlflow.Errorf(e.Status, code, "%s", e.Message)
	}
	return mlflow.Session{Workspace: v.ws.UID, WorkspaceID: v.ws.ID, User: v.caller.Name, Run: v.run}, nil
}

// sign makes a shared access signature for a container, or a blob in it, good
// for so many seconds.
func (s *Service) sign(ctx context.Context, account, container, name, permissions string, seconds int) (string, error) {
	a, err := s.cfg.Accounts.Account(ctx, account)
	if err != nil {
		return "", fmt.Errorf("find storage account %s: %w", account, err)
	}
	sas, err := storage.SignServiceSAS(a, storage.ServiceSAS{
		Container: container, Blob: name, Permissions: permissions, HTTPSOnly: true,
		Expiry: s.cfg.Clock.Now().Add(time.Duration(seconds) * time.Second),
	})
	if err != nil {
		return "", fmt.Errorf("sign for container %s: %w", container, err)
	}
	return sas, nil
}
