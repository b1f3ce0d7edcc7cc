package mlflow

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Access decides about requests.
type Access interface {
	// Enter authenticates r and checks that its principal may read, or write, the
	// runs of the workspace with the given ARM ID. Its error is an *Error.
	Enter(r *http.Request, workspaceID string, write bool) (Session, error)
}

// Session is an authorised request.
type Session struct {
	// Workspace is the workspace's UID, WorkspaceID its ARM ID.
	Workspace, WorkspaceID string
	// User is who asks, for the user_id of runs.
	User string
	// Run, when set, is the job whose token authenticates the request: it sees
	// and changes its own run, and those that it made, and no others.
	Run string
}

// Artifacts keeps the files of runs. Paths are relative to the workspace's
// artifact store, with slashes.
type Artifacts interface {
	// List returns what is directly in the directory dir, in order, behind the
	// entry after (its path; a directory's with a slash at the end), and whether
	// there is more.
	List(ctx context.Context, workspaceID, dir, after string, limit int) (files []Artifact, more bool, err error)
	// Open returns a file's content and size; an *Error when there is none.
	Open(ctx context.Context, workspaceID, file string) (io.ReadCloser, int64, error)
	// Put writes a file.
	Put(ctx context.Context, workspaceID, file string, content io.Reader) error
}

// Artifact is a file or a directory of a run.
type Artifact struct {
	Path  string `json:"path"`
	IsDir bool   `json:"is_dir"`
	Size  int64  `json:"file_size,omitempty"`
}

// call is one request of an operation.
type call struct {
	Session
	ctx   context.Context
	query url.Values
	body  []byte
}

// read decodes the request into out: the body of a POST, the query of a GET.
func (c *call) read(out any) error {
	body := c.body
	if c.query != nil {
		// a repeated name is a list; numbers come as strings, which the types take
		m := map[string]any{}
		for k, v := range c.query {
			if k = strings.TrimSuffix(k, "[]"); len(v) == 1 && !repeated(k) {
				m[k] = v[0]
			} else {
				m[k] = v
			}
		}
		var err error
		if body, err = json.Marshal(m); err != nil {
			return invalid("The query is malformed.")
		}
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	if err := json.Unmarshal(body, out); err != nil {
		return invalid("The request is malformed: %s", err)
	}
	return nil
}

func repeated(name string) bool { return name == "order_by" || name == "experiment_ids" }

type route struct {
	method string // "" for GET and POST
	write  bool
	handle func(*call) (any, error)
}

// table lists the operations by what follows /api/2.0/mlflow/.
func (s *Service) table() map[string]route {
	return map[string]route{
		"experiments/create":             {"POST", true, s.createExperiment},
		"experiments/search":             {"", false, s.searchExperiments},
		"experiments/get":                {"GET", false, s.getExperiment},
		"experiments/get-by-name":        {"GET", false, s.getExperimentByName},
		"experiments/update":             {"POST", true, s.updateExperiment},
		"experiments/set-experiment-tag": {"POST", true, s.setExperimentTag},
		"runs/create":                    {"POST", true, s.createRun},
		"runs/get":                       {"GET", false, s.getRun},
		"runs/update":                    {"POST", true, s.updateRun},
		"runs/delete":                    {"POST", true, s.deleteRun},
		"runs/restore":                   {"POST", true, s.restoreRun},
		"runs/search":                    {"POST", false, s.searchRuns},
		"runs/log-metric":                {"POST", true, s.logMetric},
		"runs/log-batch":                 {"POST", true, s.logBatch},
		"runs/log-parameter":             {"POST", true, s.logParam},
		"runs/set-tag":                   {"POST", true, s.setTag},
		"runs/delete-tag":                {"POST", true, s.deleteTag},
		"metrics/get-history":            {"GET", false, s.metricHistory},
		"artifacts/list":                 {"GET", false, s.listArtifacts},
	}
}

// workspacePath is where a workspace's tracking server is, on the regional host
// of the workspace's data plane: azureml-mlflow and Azure's tracking URIs use
// v1.0 and v2.0 alike.
func workspacePath() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^/mlflow/v[12]\.0(/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+)/api/(2\.0|3\.0)/(mlflow|mlflow-artifacts)/(.+)$`)
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := workspacePath().FindStringSubmatch(r.URL.Path)
	if m == nil {
		s.writeError(w, r, Errorf(http.StatusNotFound, "ENDPOINT_NOT_FOUND", "There is no MLflow endpoint at %s.", r.URL.Path))
		return
	}
	workspace, version, part, op := m[1], m[2], strings.ToLower(m[3]), strings.TrimSuffix(m[4], "/")
	if part == "mlflow-artifacts" && version == "2.0" {
		if err := s.artifacts(w, r, workspace, op); err != nil {
			s.writeError(w, r, err)
		}
		return
	}
	rt, ok := s.routes[op]
	if !ok || version != "2.0" {
		// authenticate first: who may not ask does not learn what is here
		_, err := s.cfg.Access.Enter(r, workspace, false)
		if err == nil {
			err = notImplemented("MLflow's " + r.Method + " api/" + version + "/mlflow/" + op)
		}
		s.writeError(w, r, err)
		return
	}
	out, err := s.call(r, rt, workspace)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, out)
}

func (s *Service) call(r *http.Request, rt route, workspace string) (any, error) {
	session, err := s.cfg.Access.Enter(r, workspace, rt.write)
	if err != nil {
		return nil, err
	}
	c := &call{Session: session, ctx: r.Context()}
	switch {
	case r.Method == http.MethodGet && rt.method != http.MethodPost:
		if c.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return nil, invalid("The query is malformed: %s", err)
		}
	case r.Method == http.MethodPost && rt.method != http.MethodGet:
		c.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			return nil, invalid("The request body could not be read: %s", err)
		}
		if len(c.body) > maxBody {
			return nil, Errorf(http.StatusRequestEntityTooLarge, "INVALID_PARAMETER_VALUE", "The request body is larger than %d bytes.", maxBody)
		}
	default:
		return nil, Errorf(http.StatusMethodNotAllowed, "BAD_REQUEST", "The method %s is not allowed here.", r.Method)
	}
	return rt.handle(c)
}

// artifactRoot is where a run's files are in the workspace's artifact store, as
// Azure Machine Learning lays it out.
func artifactRoot(runID string) string { return "ExperimentRun/dcid." + runID }

// clean is a relative path without tricks, or false.
func clean(p string) (string, bool) {
	if p == "" || p == "." || p == "/" {
		return "", true
	}
	c := path.Clean(p)
	return c, c == strings.TrimSuffix(p, "/") && c != ".." && !strings.HasPrefix(c, "../") && !strings.HasPrefix(c, "/")
}
