package ml

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The files of runs are in the container azureml of the workspace's default
// storage account, each run's below ExperimentRun/dcid.NAME.

// artifactPage is how many artifacts run history lists at once.
const artifactPage = 500

// runArtifacts serves what stands below …/runs/NAME/artifacts.
func (s *Service) runArtifacts(ctx context.Context, h *runHistory, op string, q url.Values) (any, error) {
	prefix := artifactPrefix(h.Name) + "/"
	container := "dcid." + h.Name
	path := strings.TrimPrefix(q.Get("path"), "/")
	describe := func(name string) map[string]any {
		return map[string]any{
			"artifactId": "ExperimentRun/" + container + "/" + name, "origin": "ExperimentRun", "container": container, "path": name,
			"dataPath": map[string]any{"dataStoreName": artifactStore, "relativePath": prefix + name},
		}
	}
	content := func(name string) (map[string]any, error) {
		at, err := s.address(ctx, h.ws, prefix+name)
		return map[string]any{"contentUri": at, "origin": "ExperimentRun", "container": container, "path": name}, err
	}
	switch op {
	case "", "/path", "/prefix/contentinfo":
		out := map[string]any{}
		value, next := []any{}, ""
		for b, err := range s.cfg.Blobs.ListBlobs(ctx, h.ws.Account, artifactContainer, prefix+path) {
			if blob.HasCode(err, "ContainerNotFound") {
				break
			}
			if err != nil {
				return nil, err
			}
			name := strings.TrimPrefix(b.Name, prefix)
			if after := q.Get("continuationToken"); after != "" && name <= after {
				continue
			}
			if len(value) == artifactPage {
				out["continuationToken"] = next
				break
			}
			item := describe(name)
			if op == "/prefix/contentinfo" {
				if item, err = content(name); err != nil {
					return nil, err
				}
			}
			value, next = append(value, item), name
		}
		out["value"] = value
		return out, nil
	case "/metadata", "/contentinfo":
		_, ok, err := s.artifactSize(ctx, h.ws, prefix+path)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, arm.Errorf(http.StatusNotFound, "UserError", "The run %s has no artifact %s.", h.Name, path)
		}
		if op == "/metadata" {
			return describe(path), nil
		}
		return content(path)
	}
	return nil, arm.NotImplemented("GET /history/v1.0/…/artifacts%s", op)
}

func (s *Service) artifactSize(ctx context.Context, ws *workspace, name string) (size int64, ok bool, err error) {
	p, err := s.cfg.Blobs.StatBlob(ctx, ws.Account, artifactContainer, name)
	if blob.HasCode(err, "BlobNotFound") || blob.HasCode(err, "ContainerNotFound") {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return p.Size, true, nil
}

// artifacts is the artifact store as MLflow's API reaches it.
type artifacts struct{ s *Service }

func (a artifacts) workspace(ctx context.Context, id string) (ws *workspace, err error) {
	err = a.s.cfg.Store.View(ctx, func(tx store.Tx) error {
		parsed, err := arm.ParseID(id)
		if err != nil {
			return err
		}
		ws, err = a.s.workspace(ctx, tx, parsed)
		return err
	})
	return ws, err
}

// List implements mlflow.Artifacts.
func (a artifacts) List(ctx context.Context, workspaceID, dir, after string, limit int) (files []mlflow.Artifact, more bool, err error) {
	ws, err := a.workspace(ctx, workspaceID)
	if err != nil {
		return nil, false, err
	}
	prefix, last := dir+"/", ""
	for b, err := range a.s.cfg.Blobs.ListBlobs(ctx, ws.Account, artifactContainer, prefix) {
		if blob.HasCode(err, "ContainerNotFound") {
			break
		}
		if err != nil {
			return nil, false, err
		}
		name, _, nested := strings.Cut(strings.TrimPrefix(b.Name, prefix), "/")
		full := prefix + name
		place := full // as it is ordered among blob names
		if nested {
			place += "/"
		}
		if name == "" || place == last || after != "" && place <= after {
			continue
		}
		if len(files) == limit {
			return files, true, nil
		}
		last = place
		f := mlflow.Artifact{Path: full, IsDir: nested}
		if !nested {
			f.Size = b.Size
		}
		files = append(files, f)
	}
	return files, false, nil
}

// Open implements mlflow.Artifacts.
func (a artifacts) Open(ctx context.Context, workspaceID, file string) (io.ReadCloser, int64, error) {
	ws, err := a.workspace(ctx, workspaceID)
	if err != nil {
		return nil, 0, err
	}
	r, p, err := a.s.cfg.Blobs.OpenBlob(ctx, ws.Account, artifactContainer, file)
	if blob.HasCode(err, "BlobNotFound") || blob.HasCode(err, "ContainerNotFound") {
		return nil, 0, mlflow.Errorf(http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST", "There is no artifact '%s'.", file)
	}
	if err != nil {
		return nil, 0, err
	}
	return r, p.Size, nil
}

// Put implements mlflow.Artifacts.
func (a artifacts) Put(ctx context.Context, workspaceID, file string, content io.Reader) error {
	ws, err := a.workspace(ctx, workspaceID)
	if err != nil {
		return err
	}
	if err := a.s.cfg.Blobs.EnsureContainer(ctx, ws.Account, artifactContainer); err != nil {
		return err
	}
	_, err = a.s.cfg.Blobs.PutBlob(ctx, ws.Account, artifactContainer, file, content, blob.Headers{ContentType: contentType(file)})
	return err
}
