package submit

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/jobspec"
)

// Collection is the segment of paths that a kind of asset has.
func Collection(kind jobspec.AssetKind) string {
	switch kind {
	case jobspec.ModelAsset:
		return "models"
	case jobspec.EnvironmentAsset:
		return "environments"
	case jobspec.DatastoreAsset:
		return "datastores"
	case jobspec.ComponentAsset:
		return "components"
	}
	return "data"
}

// Asset uploads what an asset needs and creates it. An asset without a version
// gets the next.
func (s *Submitter) Asset(ctx context.Context, a *jobspec.Asset) (arm.Doc, error) {
	path := s.Workspace + "/" + Collection(a.Kind) + "/" + url.PathEscape(a.Name)
	if a.Kind != jobspec.DatastoreAsset && a.Version == "" {
		var err error
		if a.Version, err = s.nextVersion(ctx, path); err != nil {
			return nil, err
		}
	}
	props, err := s.assetProperties(ctx, a)
	if err != nil {
		return nil, err
	}
	if a.Kind != jobspec.DatastoreAsset {
		path += "/versions/" + url.PathEscape(a.Version)
	}
	var out arm.Doc
	if err := s.Client.Do(ctx, http.MethodPut, path, APIVersion, map[string]any{"properties": props}, &out); err != nil {
		return nil, fmt.Errorf("create %s %s: %w", a.Kind, a.Name, err)
	}
	return out, nil
}

func (s *Submitter) nextVersion(ctx context.Context, path string) (string, error) {
	var c arm.Doc
	err := s.Client.Do(ctx, http.MethodGet, path, APIVersion, nil, &c)
	if client.IsNotFound(err) {
		return "1", nil
	}
	if err != nil {
		return "", err
	}
	if next := c.String("properties.nextVersion"); next != "" {
		return next, nil
	}
	return "1", nil
}

func (s *Submitter) assetProperties(ctx context.Context, a *jobspec.Asset) (map[string]any, error) {
	switch a.Kind {
	case jobspec.DatastoreAsset:
		return a.Datastore, nil
	case jobspec.ComponentAsset:
		spec, err := a.ComponentSpec(ctx, s)
		if err != nil {
			return nil, err
		}
		return map[string]any{"componentSpec": spec, "description": a.Description, "tags": orEmpty(a.Tags), "isAnonymous": false}, nil
	case jobspec.EnvironmentAsset:
		context := ""
		if a.Environment.BuildLocal != "" {
			uri, err := s.uploadFolder(ctx, a.Environment.BuildLocal)
			if err != nil {
				return nil, err
			}
			context = uri
		}
		props := a.Environment.ToREST(context)
		delete(props, "isAnonymous")
		return props, nil
	}
	uri := a.URI
	if a.Local != "" {
		at, err := s.uploadLocal(ctx, string(a.Kind)+" "+a.Name, a.Local, "")
		if err != nil {
			return nil, err
		}
		uri = at
	}
	props := map[string]any{"description": a.Description, "tags": orEmpty(a.Tags), "properties": orEmpty(a.Properties)}
	if a.Kind == jobspec.DataAsset {
		props["dataType"], props["dataUri"] = a.Type, uri
		return props, nil
	}
	props["modelType"], props["modelUri"] = a.Type, uri
	if a.Stage != "" {
		props["stage"] = a.Stage
	}
	if len(a.Flavors) > 0 {
		flavors := map[string]any{}
		for name, data := range a.Flavors {
			flavors[name] = map[string]any{"data": data}
		}
		props["flavors"] = flavors
	}
	return props, nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// uploadFolder puts a build context where its environment refers to it: at a URL
// of the workspace's blob store.
func (s *Submitter) uploadFolder(ctx context.Context, local string) (string, error) {
	files, dir, err := s.snapshot(ctx, local)
	if err != nil {
		return "", err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return "", err
	}
	sas, err := ContainerURL(ctx, s.Client, s.Workspace, defaultDatastore, true, now)
	if err != nil {
		return "", err
	}
	s.progress("uploading %s (%d files)", filepath.Base(local), len(files))
	dir += "/" + filepath.Base(local)
	if err := s.upload(ctx, sas, dir, files); err != nil {
		return "", err
	}
	target, err := client.WithPath(sas, dir)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(target)
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", local, err)
	}
	u.RawQuery = ""
	return u.String(), nil
}

// snapshot lists the files of a directory, or the one file, with the directory
// that their content has in a datastore.
func (s *Submitter) snapshot(ctx context.Context, local string) ([]jobspec.SnapshotFile, string, error) {
	files, err := jobspec.Snapshot(ctx, local)
	if err != nil {
		return nil, "", err
	}
	hash, err := jobspec.Hash(ctx, files)
	return files, "LocalUpload/" + hash, err
}

const defaultDatastore = "workspaceblobstore"

// uploadLocal uploads a file or directory to a datastore and returns its URI.
func (s *Submitter) uploadLocal(ctx context.Context, what, local, datastore string) (string, error) {
	files, dir, err := s.snapshot(ctx, local)
	if err != nil {
		return "", err
	}
	if datastore == "" {
		datastore = defaultDatastore
	}
	now, err := s.Now(ctx)
	if err != nil {
		return "", err
	}
	sas, err := ContainerURL(ctx, s.Client, s.Workspace, datastore, true, now)
	if err != nil {
		return "", err
	}
	s.progress("uploading %s (%d files)", what, len(files))
	path := dir
	if info, err := os.Stat(local); err == nil && !info.IsDir() {
		path = dir + "/" + files[0].Name
	} else {
		dir += "/" + filepath.Base(local)
		path = dir + "/"
	}
	if err := s.upload(ctx, sas, dir, files); err != nil {
		return "", err
	}
	id, err := arm.ParseID(s.Workspace)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("azureml://subscriptions/%s/resourcegroups/%s/workspaces/%s/datastores/%s/paths/%s",
		id.Subscription, id.ResourceGroup, id.Name(), datastore, path), nil
}
