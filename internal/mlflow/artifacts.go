package mlflow

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// artifacts serves MLflow's artifact proxy, to which clients turn for artifact
// URIs of the scheme mlflow-artifacts: GET lists or downloads, PUT uploads.
// Paths begin with a run's root in the artifact store.
func (s *Service) artifacts(w http.ResponseWriter, r *http.Request, workspace, op string) error {
	write := r.Method == http.MethodPut
	right := ReadRuns
	if write {
		right = WriteRuns
	}
	session, err := s.cfg.Access.Enter(r, workspace, right)
	if err != nil {
		return err
	}
	name, ok := strings.CutPrefix(op, "artifacts")
	if !ok || name != "" && name[0] != '/' {
		return notImplemented("MLflow's " + r.Method + " api/2.0/mlflow-artifacts/" + op)
	}
	name = strings.TrimPrefix(name, "/")
	list := name == "" && r.Method == http.MethodGet
	if list {
		name = r.URL.Query().Get("path")
	}
	name, ok = clean(name)
	if !ok {
		return invalid("Invalid path: '%s'", name)
	}
	runID, ok := strings.CutPrefix(name, artifactRoot(""))
	if !ok {
		return denied("The path '%s' is not that of a run.", name)
	}
	runID, _, _ = strings.Cut(runID, "/")
	err = s.cfg.Store.View(r.Context(), func(tx store.Tx) error {
		_, err := s.find(tx, session, runID, write)
		return err
	})
	if err != nil {
		return err
	}
	switch {
	case list:
		files, more, err := s.cfg.Artifacts.List(r.Context(), session.WorkspaceID, name, "", maxSearch)
		if err != nil {
			return err
		}
		if more {
			return notImplemented("listing more than " + strconv.Itoa(maxSearch) + " artifacts at once")
		}
		if files == nil { // MLflow's client reads the list without a check
			files = []Artifact{}
		}
		for i := range files { // relative to what was listed, as MLflow has it
			files[i].Path = strings.TrimPrefix(strings.TrimPrefix(files[i].Path, name), "/")
		}
		writeJSON(w, http.StatusOK, map[string]any{"files": files})
		return nil
	case r.Method == http.MethodGet:
		content, size, err := s.cfg.Artifacts.Open(r.Context(), session.WorkspaceID, name)
		if err != nil {
			return err
		}
		defer content.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if _, err := io.Copy(w, content); err != nil {
			s.log.Debug("artifact download ended early", "path", name, "error", err)
		}
		return nil
	case write:
		if err := s.cfg.Artifacts.Put(r.Context(), session.WorkspaceID, name, r.Body); err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, struct{}{})
		return nil
	}
	return notImplemented("MLflow's " + r.Method + " of an artifact")
}

func (s *Service) listArtifacts(c *call) (any, error) {
	var q struct {
		RunID     string `json:"run_id"`
		RunUUID   string `json:"run_uuid"`
		Path      string `json:"path"`
		PageToken string `json:"page_token"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	dir, ok := clean(q.Path)
	if !ok {
		return nil, invalid("Invalid path: '%s'", q.Path)
	}
	r, err := s.viewRun(c, first(q.RunID, q.RunUUID))
	if err != nil {
		return nil, err
	}
	root := artifactRoot(r.ID)
	full := root
	if dir != "" {
		full += "/" + dir
	}
	const page = 1000
	files, more, err := s.cfg.Artifacts.List(c.ctx, c.WorkspaceID, full, q.PageToken, page)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"root_uri": artifactURI(r)}
	if more {
		last := files[len(files)-1]
		token := last.Path
		if last.IsDir {
			token += "/"
		}
		out["next_page_token"] = token
	}
	for i := range files {
		files[i].Path = strings.TrimPrefix(files[i].Path, root+"/")
	}
	if len(files) > 0 { // MLflow leaves the list out when it is empty
		out["files"] = files
	}
	return out, nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// artifactURI is where a client finds a run's files. Azure answers with an
// azureml:// URI, which only MLflow with its azureml-mlflow plugin understands;
// this one every MLflow client does, and it leads to the same files.
func artifactURI(r *run) string { return "mlflow-artifacts:/" + artifactRoot(r.ID) }
