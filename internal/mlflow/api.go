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
	"sync"
)

// Access decides about requests.
type Access interface {
	// Enter authenticates r and checks that its principal has a right in the
	// workspace with the given ARM ID. Its error is an *Error.
	Enter(r *http.Request, workspaceID string, right Right) (Session, error)
}

// Right is what an operation needs.
type Right int

// The rights: to the runs and experiments of a workspace, and to its models.
const (
	ReadRuns Right = iota
	WriteRuns
	ReadModels
	WriteModels
	DeleteModels
)

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

func repeated(name string) bool {
	return name == "order_by" || name == "experiment_ids" || name == "stages"
}

type route struct {
	method string // "" for GET and POST
	right  Right
	handle func(*call) (any, error)
}

// table lists the operations by what follows /api/2.0/mlflow/.
func (s *Service) table() map[string]route {
	return map[string]route{
		"experiments/create":             {"POST", WriteRuns, s.createExperiment},
		"experiments/search":             {"", ReadRuns, s.searchExperiments},
		"experiments/get":                {"GET", ReadRuns, s.getExperiment},
		"experiments/get-by-name":        {"GET", ReadRuns, s.getExperimentByName},
		"experiments/update":             {"POST", WriteRuns, s.updateExperiment},
		"experiments/delete":             {"POST", WriteRuns, s.deleteExperiment},
		"experiments/restore":            {"POST", WriteRuns, s.restoreExperiment},
		"experiments/set-experiment-tag": {"POST", WriteRuns, s.setExperimentTag},
		"runs/create":                    {"POST", WriteRuns, s.createRun},
		"runs/get":                       {"GET", ReadRuns, s.getRun},
		"runs/update":                    {"POST", WriteRuns, s.updateRun},
		"runs/delete":                    {"POST", WriteRuns, s.deleteRun},
		"runs/restore":                   {"POST", WriteRuns, s.restoreRun},
		"runs/search":                    {"POST", ReadRuns, s.searchRuns},
		"runs/log-metric":                {"POST", WriteRuns, s.logMetric},
		"runs/log-batch":                 {"POST", WriteRuns, s.logBatch},
		"runs/log-inputs":                {"POST", WriteRuns, s.logInputs},
		"runs/log-parameter":             {"POST", WriteRuns, s.logParam},
		"runs/set-tag":                   {"POST", WriteRuns, s.setTag},
		"runs/delete-tag":                {"POST", WriteRuns, s.deleteTag},
		"metrics/get-history":            {"GET", ReadRuns, s.metricHistory},
		"artifacts/list":                 {"GET", ReadRuns, s.listArtifacts},
	}
}

// registry lists the operations of the model registry by method and what follows
// /api/2.0/mlflow/: one path has several.
func (s *Service) registry() map[string]route {
	return map[string]route{
		"POST registered-models/create":              {"POST", WriteModels, s.createModel},
		"GET registered-models/get":                  {"GET", ReadModels, s.getModel},
		"POST registered-models/rename":              {"POST", WriteModels, s.renameModel},
		"PATCH registered-models/update":             {"PATCH", WriteModels, s.updateModel},
		"DELETE registered-models/delete":            {"DELETE", DeleteModels, s.deleteModel},
		"GET registered-models/search":               {"GET", ReadModels, s.searchModels},
		"POST registered-models/search":              {"POST", ReadModels, s.searchModels},
		"GET registered-models/get-latest-versions":  {"GET", ReadModels, s.getLatestVersions},
		"POST registered-models/get-latest-versions": {"POST", ReadModels, s.getLatestVersions},
		"POST registered-models/set-tag":             {"POST", WriteModels, s.setModelTag},
		"DELETE registered-models/delete-tag":        {"DELETE", WriteModels, s.deleteModelTag},
		"POST registered-models/alias":               {"POST", WriteModels, s.setAlias},
		"DELETE registered-models/alias":             {"DELETE", WriteModels, s.deleteAlias},
		"GET registered-models/alias":                {"GET", ReadModels, s.getAlias},
		"POST model-versions/create":                 {"POST", WriteModels, s.createVersion},
		"GET model-versions/get":                     {"GET", ReadModels, s.getVersion},
		"PATCH model-versions/update":                {"PATCH", WriteModels, s.updateVersion},
		"DELETE model-versions/delete":               {"DELETE", DeleteModels, s.deleteVersion},
		"GET model-versions/search":                  {"GET", ReadModels, s.searchVersions},
		"POST model-versions/search":                 {"POST", ReadModels, s.searchVersions},
		"GET model-versions/get-download-uri":        {"GET", ReadModels, s.downloadURI},
		"POST model-versions/transition-stage":       {"POST", WriteModels, s.transitionStage},
		"POST model-versions/set-tag":                {"POST", WriteModels, s.setVersionTag},
		"DELETE model-versions/delete-tag":           {"DELETE", WriteModels, s.deleteVersionTag},
	}
}

// workspacePath is where a workspace's tracking server is, on the regional host
// of the workspace's data plane: azureml-mlflow and Azure's tracking URIs use
// v1.0 and v2.0 alike.
var workspacePath = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^/mlflow/v[12]\.0(/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+)/api/(2\.0|3\.0)/(mlflow|mlflow-artifacts)/(.+)$`)
})

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
	if !ok {
		rt, ok = s.models[r.Method+" "+op]
	}
	if !ok || version != "2.0" {
		// authenticate first: who may not ask does not learn what is here
		_, err := s.cfg.Access.Enter(r, workspace, ReadRuns)
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
	session, err := s.cfg.Access.Enter(r, workspace, rt.right)
	if err != nil {
		return nil, err
	}
	c := &call{Session: session, ctx: r.Context()}
	switch {
	case r.Method == http.MethodGet && rt.method != http.MethodPost:
		if c.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return nil, invalid("The query is malformed: %s", err)
		}
	case r.Method == http.MethodPost && rt.method != http.MethodGet, r.Method == rt.method:
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
