package ml

import (
	"errors"
	"iter"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// models keeps MLflow's registered models as the models of the workspace, so that
// each client of Azure Machine Learning sees what another registered. What ARM's
// documents have no place for (aliases, and the source in MLflow's words) is in
// the resources' private part. It implements mlflow.Models.
type models struct{ s *Service }

const typeModelVersion = typeWorkspace + "/models/versions"

func modelID(workspace, name string) (arm.ID, error) {
	ws, err := arm.ParseID(workspace)
	if err != nil {
		return arm.ID{}, err
	}
	return ws.Child("models", name), nil
}

func asMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func registered(r *arm.Resource) *mlflow.RegisteredModel {
	props := r.Body.Object("properties")
	return &mlflow.RegisteredModel{
		Name: r.Name(), Description: props.String("description"), Created: r.Created, Updated: r.Modified,
		Tags: stringsOf(props.Object("tags")), Aliases: stringsOf(r.Private.Object("aliases")),
	}
}

// Model implements mlflow.Models.
func (m models) Model(tx store.Tx, workspace, name string) (*mlflow.RegisteredModel, error) {
	r, err := m.resource(tx, workspace, name)
	if err != nil {
		return nil, err
	}
	return registered(r), nil
}

func (m models) resource(tx store.Tx, workspace, name string) (*arm.Resource, error) {
	id, err := modelID(workspace, name)
	if err != nil {
		return nil, err
	}
	r, err := m.s.kernel.Resources().Get(tx, id.Key())
	if errors.Is(err, store.ErrNotFound) {
		return nil, mlflow.ErrNoModel
	}
	return r, err
}

// SaveModel implements mlflow.Models.
func (m models) SaveModel(tx store.Tx, workspace string, model *mlflow.RegisteredModel) error {
	r, err := m.resource(tx, workspace, model.Name)
	if errors.Is(err, mlflow.ErrNoModel) {
		if r, err = m.newContainer(workspace, model); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	r.Modified, r.ETag = model.Updated, uuid.NewString()
	props := r.Body.Object("properties")
	props.Set("description", model.Description)
	props.Set("tags", asMap(model.Tags))
	r.Private.Set("aliases", asMap(model.Aliases))
	return m.s.kernel.Resources().Put(tx, r)
}

func (m models) newContainer(workspace string, model *mlflow.RegisteredModel) (*arm.Resource, error) {
	if !assetName().MatchString(model.Name) {
		return nil, mlflow.Errorf(400, "INVALID_PARAMETER_VALUE", "Invalid model name: '%s'. A model of Azure Machine Learning has 1 to 255 letters, digits, hyphens, dots and underscores and begins with a letter or digit.", model.Name)
	}
	id, err := modelID(workspace, model.Name)
	if err != nil {
		return nil, err
	}
	return &arm.Resource{
		ID: id.String(), UID: uuid.NewString(), Created: model.Created, Private: arm.Doc{},
		Body: arm.Doc{"properties": map[string]any{"isArchived": false, "tags": map[string]any{}, "properties": map[string]any{}, "nextVersion": "1"}},
	}, nil
}

// RemoveModel implements mlflow.Models.
func (m models) RemoveModel(tx store.Tx, workspace, name string) error {
	id, err := modelID(workspace, name)
	if err != nil {
		return err
	}
	all, err := m.versions(tx, id)
	if err != nil {
		return err
	}
	for _, v := range all {
		if err := m.s.kernel.Resources().Remove(tx, v.ID); err != nil {
			return err
		}
	}
	return m.s.kernel.Resources().Remove(tx, id.Key())
}

func (m models) versions(tx store.Tx, id arm.ID) ([]*arm.Resource, error) {
	var all []*arm.Resource
	for v, err := range m.s.kernel.Resources().Children(tx, id, typeModelVersion) {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// RenameModel implements mlflow.Models.
func (m models) RenameModel(tx store.Tx, workspace, name, to string) error {
	r, err := m.resource(tx, workspace, name)
	if err != nil {
		return err
	}
	target, err := m.newContainer(workspace, &mlflow.RegisteredModel{Name: to})
	if err != nil {
		return err
	}
	from, id, res := r.ParsedID(), target.ParsedID(), m.s.kernel.Resources()
	all, err := m.versions(tx, from)
	if err != nil {
		return err
	}
	move := func(r *arm.Resource, id arm.ID) error {
		if err := res.Remove(tx, r.ID); err != nil {
			return err
		}
		r.ID = id.String()
		return res.Put(tx, r)
	}
	for _, v := range all {
		if err := move(v, id.Child("versions", v.Name())); err != nil {
			return err
		}
	}
	return move(r, id)
}

// AllModels implements mlflow.Models.
func (m models) AllModels(tx store.Tx, workspace string) iter.Seq2[*mlflow.RegisteredModel, error] {
	return func(yield func(*mlflow.RegisteredModel, error) bool) {
		ws, err := arm.ParseID(workspace)
		if err != nil {
			yield(nil, err)
			return
		}
		for r, err := range m.s.kernel.Resources().Children(tx, ws, typeWorkspace+"/models") {
			if err != nil {
				yield(nil, err)
				return
			}
			if hidden(r) {
				continue
			}
			if !yield(registered(r), nil) {
				return
			}
		}
	}
}

// hidden reports whether lists leave a model out: it is archived, or the
// container of anonymous versions.
func hidden(r *arm.Resource) bool {
	return r.Body.Bool("properties.isArchived", false) || r.Body.Bool("properties.isAnonymous", false)
}

const artifactURIs = "azureml://datastores/" + artifactStore + "/paths/"

const proxiedURIs = "mlflow-artifacts:/"

func modelVersion(r *arm.Resource) *mlflow.ModelVersion {
	props := r.Body.Object("properties")
	v := &mlflow.ModelVersion{
		Name: r.ParsedID().Parent().Name(), Version: r.Name(), Description: props.String("description"),
		Source: r.Private.String("mlflow.source"), RunID: props.String("jobName"), RunLink: r.Private.String("mlflow.runLink"),
		User: r.CreatedBy.Name, Stage: props.String("stage"), Created: r.Created, Updated: r.Modified, Tags: stringsOf(props.Object("tags")),
	}
	if v.Stage == "" {
		v.Stage = "None"
	}
	if v.Source == "" { // another client's: what is in the artifact store, MLflow reads through its proxy
		v.Source = props.String("modelUri")
		if path, ok := strings.CutPrefix(v.Source, artifactURIs); ok {
			v.Source = proxiedURIs + path
		}
	}
	return v
}

// ModelVersion implements mlflow.Models.
func (m models) ModelVersion(tx store.Tx, workspace, name, version string) (*mlflow.ModelVersion, error) {
	id, err := modelID(workspace, name)
	if err != nil {
		return nil, err
	}
	r, err := m.s.kernel.Resources().Get(tx, id.Child("versions", version).Key())
	if errors.Is(err, store.ErrNotFound) {
		return nil, mlflow.ErrNoModel
	}
	if err != nil {
		return nil, err
	}
	return modelVersion(r), nil
}

// SaveModelVersion implements mlflow.Models.
func (m models) SaveModelVersion(tx store.Tx, workspace string, v *mlflow.ModelVersion) error {
	container, err := m.resource(tx, workspace, v.Name)
	if err != nil {
		return err
	}
	res := m.s.kernel.Resources()
	var r *arm.Resource
	if v.Version == "" {
		if r, err = m.newVersion(tx, container, v); err != nil {
			return err
		}
	} else if r, err = res.Get(tx, container.ParsedID().Child("versions", v.Version).Key()); err != nil {
		return err
	}
	r.Modified, r.ETag = v.Updated, uuid.NewString()
	props := r.Body.Object("properties")
	props.Set("description", v.Description)
	props.Set("tags", asMap(v.Tags))
	props.Set("stage", v.Stage)
	return res.Put(tx, r)
}

// newVersion makes the next version of a model.
func (m models) newVersion(tx store.Tx, container *arm.Resource, v *mlflow.ModelVersion) (*arm.Resource, error) {
	props := container.Body.Object("properties")
	next, err := strconv.ParseInt(props.String("nextVersion"), 10, 64)
	if err != nil {
		next = 1
	}
	v.Version = strconv.FormatInt(next, 10)
	props.Set("latestVersion", v.Version)
	props.Set("nextVersion", strconv.FormatInt(next+1, 10))
	container.Modified = v.Updated
	if err := m.s.kernel.Resources().Put(tx, container); err != nil {
		return nil, err
	}
	uri := v.Source
	if path, ok := strings.CutPrefix(uri, proxiedURIs); ok {
		uri = artifactURIs + strings.TrimPrefix(path, "/")
	}
	r := &arm.Resource{
		ID: container.ParsedID().Child("versions", v.Version).String(), UID: uuid.NewString(), Created: v.Created,
		CreatedBy: arm.Author{Name: v.User, Type: "Application"}, ModifiedBy: arm.Author{Name: v.User, Type: "Application"},
		Private: arm.Doc{"mlflow": map[string]any{"source": v.Source, "runLink": v.RunLink}},
		Body: arm.Doc{"properties": map[string]any{
			"modelUri": uri, "modelType": "mlflow_model", "flavors": map[string]any{}, "isAnonymous": false, "isArchived": false,
			"properties": map[string]any{},
		}},
	}
	if v.RunID != "" {
		r.Body.Set("properties.jobName", v.RunID)
	}
	return r, nil
}

// RemoveModelVersion implements mlflow.Models.
func (m models) RemoveModelVersion(tx store.Tx, workspace, name, version string) error {
	id, err := modelID(workspace, name)
	if err != nil {
		return err
	}
	r, err := m.s.kernel.Resources().Get(tx, id.Child("versions", version).Key())
	if err != nil {
		return err
	}
	if err := m.s.forgetVersion(tx, r); err != nil {
		return err
	}
	return m.s.kernel.Resources().Remove(tx, r.ID)
}

// ModelVersions implements mlflow.Models.
func (m models) ModelVersions(tx store.Tx, workspace, name string) iter.Seq2[*mlflow.ModelVersion, error] {
	return func(yield func(*mlflow.ModelVersion, error) bool) {
		id, err := modelID(workspace, name)
		if err != nil {
			yield(nil, err)
			return
		}
		for r, err := range m.s.kernel.Resources().Children(tx, id, typeModelVersion) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !hidden(r) && !yield(modelVersion(r), nil) {
				return
			}
		}
	}
}
