package mlflow

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Models keeps registered models: in Azure Machine Learning they are the models
// of the workspace, whoever registered them. Workspaces are given by ARM ID.
type Models interface {
	// Model returns a model, or ErrNoModel.
	Model(tx store.Tx, workspace, name string) (*RegisteredModel, error)
	// SaveModel makes or replaces a model. An *Error says what is wrong with it.
	SaveModel(tx store.Tx, workspace string, m *RegisteredModel) error
	// RemoveModel removes a model with its versions.
	RemoveModel(tx store.Tx, workspace, name string) error
	// RenameModel gives a model with its versions another name, which is free.
	RenameModel(tx store.Tx, workspace, name, to string) error
	// AllModels yields the models by name.
	AllModels(tx store.Tx, workspace string) iter.Seq2[*RegisteredModel, error]
	// ModelVersion returns a version, or ErrNoModel.
	ModelVersion(tx store.Tx, workspace, name, version string) (*ModelVersion, error)
	// SaveModelVersion makes or replaces a version. One without a number is new and
	// gets the next.
	SaveModelVersion(tx store.Tx, workspace string, v *ModelVersion) error
	// RemoveModelVersion removes a version.
	RemoveModelVersion(tx store.Tx, workspace, name, version string) error
	// ModelVersions yields the versions of a model, newest first.
	ModelVersions(tx store.Tx, workspace, name string) iter.Seq2[*ModelVersion, error]
}

// ErrNoModel is returned for a model or version that is not there.
var ErrNoModel = errors.New("mlflow: no such model")

// RegisteredModel is a model without its versions.
type RegisteredModel struct {
	Name, Description string
	Created, Updated  time.Time
	Tags              map[string]string
	// Aliases maps an alias to the version that it means.
	Aliases map[string]string
}

// ModelVersion is a version of a model.
type ModelVersion struct {
	Name, Version, Description string
	// Source is where the files are, RunID the run that made them, or "".
	Source, RunID, RunLink string
	User                   string
	// Stage is "None", "Staging", "Production" or "Archived", or what another
	// client of Azure Machine Learning says.
	Stage            string
	Created, Updated time.Time
	Tags             map[string]string
}

// Stages of a version, in MLflow's order.
func modelStages() []string { return []string{"None", "Staging", "Production", "Archived"} }

func modelStage(s string) (string, error) {
	for _, stage := range modelStages() {
		if strings.EqualFold(s, stage) {
			return stage, nil
		}
	}
	return "", invalid("Invalid Model Version stage: %s. Value must be one of %s.", s, strings.Join(modelStages(), ", "))
}

type modelBody struct {
	Name        string        `json:"name"`
	Created     int64         `json:"creation_timestamp"`
	Updated     int64         `json:"last_updated_timestamp"`
	Description string        `json:"description,omitempty"`
	Latest      []versionBody `json:"latest_versions,omitempty"`
	Tags        []pair        `json:"tags,omitempty"`
	Aliases     []aliasBody   `json:"aliases,omitempty"`
}

type aliasBody struct {
	Alias   string `json:"alias"`
	Version string `json:"version"`
}

type versionBody struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Created     int64    `json:"creation_timestamp"`
	Updated     int64    `json:"last_updated_timestamp"`
	User        string   `json:"user_id,omitempty"`
	Stage       string   `json:"current_stage"`
	Description string   `json:"description,omitempty"`
	Source      string   `json:"source"`
	RunID       string   `json:"run_id,omitempty"`
	Status      string   `json:"status"`
	Tags        []pair   `json:"tags,omitempty"`
	RunLink     string   `json:"run_link,omitempty"`
	Aliases     []string `json:"aliases,omitempty"`
}

func sortedPairs(m map[string]string) []pair {
	var out []pair
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, pair{k, m[k]})
	}
	return out
}

func (v *ModelVersion) body(m *RegisteredModel) versionBody {
	b := versionBody{
		Name: v.Name, Version: v.Version, Created: millis(v.Created), Updated: millis(v.Updated), User: v.User, Stage: v.Stage,
		Description: v.Description, Source: v.Source, RunID: v.RunID, Status: "READY", Tags: sortedPairs(v.Tags), RunLink: v.RunLink,
	}
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		if m.Aliases[alias] == v.Version {
			b.Aliases = append(b.Aliases, alias)
		}
	}
	return b
}

// compareVersions orders versions by number; those that are none come first.
func compareVersions(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	switch {
	case errX != nil && errY != nil:
		return strings.Compare(a, b)
	case errX != nil:
		return -1
	case errY != nil:
		return 1
	}
	return cmp.Compare(x, y)
}

// latestVersions is the newest version of each of the stages; of all that there
// are when none is named.
func (s *Service) latestVersions(tx store.Tx, ws string, m *RegisteredModel, stages []string) ([]versionBody, error) {
	newest := map[string]*ModelVersion{}
	for v, err := range s.cfg.Models.ModelVersions(tx, ws, m.Name) {
		if err != nil {
			return nil, err
		}
		if have := newest[v.Stage]; have == nil || compareVersions(v.Version, have.Version) > 0 {
			newest[v.Stage] = v
		}
	}
	if len(stages) == 0 {
		stages = slices.Sorted(maps.Keys(newest))
	}
	var out []versionBody
	for _, stage := range stages {
		if v := newest[stage]; v != nil {
			out = append(out, v.body(m))
		}
	}
	return out, nil
}

func (s *Service) modelBody(tx store.Tx, ws string, m *RegisteredModel) (modelBody, error) {
	b := modelBody{Name: m.Name, Created: millis(m.Created), Updated: millis(m.Updated), Description: m.Description, Tags: sortedPairs(m.Tags)}
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		b.Aliases = append(b.Aliases, aliasBody{alias, m.Aliases[alias]})
	}
	var err error
	b.Latest, err = s.latestVersions(tx, ws, m, nil)
	return b, err
}

func (s *Service) findModel(tx store.Tx, ws, name string) (*RegisteredModel, error) {
	if name == "" {
		return nil, invalid("Missing value for required parameter 'name'.")
	}
	m, err := s.cfg.Models.Model(tx, ws, name)
	if errors.Is(err, ErrNoModel) {
		return nil, missing("Registered Model with name=%s not found", name)
	}
	return m, err
}

func (s *Service) findVersion(tx store.Tx, ws, name, version string) (*RegisteredModel, *ModelVersion, error) {
	m, err := s.findModel(tx, ws, name)
	if err != nil {
		return nil, nil, err
	}
	if version == "" {
		return nil, nil, invalid("Missing value for required parameter 'version'.")
	}
	v, err := s.cfg.Models.ModelVersion(tx, ws, name, version)
	if errors.Is(err, ErrNoModel) {
		return nil, nil, missing("Model Version (name=%s, version=%s) not found", name, version)
	}
	return m, v, err
}

// changeModel changes a model in one transaction and answers with it.
func (s *Service) changeModel(c *call, name string, change func(tx store.Tx, m *RegisteredModel) error) (any, error) {
	var body modelBody
	err := s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		m, err := s.findModel(tx, c.WorkspaceID, name)
		if err != nil {
			return err
		}
		if err := change(tx, m); err != nil {
			return err
		}
		m.Updated = s.cfg.Clock.Now()
		if err := s.cfg.Models.SaveModel(tx, c.WorkspaceID, m); err != nil {
			return err
		}
		body, err = s.modelBody(tx, c.WorkspaceID, m)
		return err
	})
	return map[string]any{"registered_model": body}, err
}

// changeVersion changes a version in one transaction and answers with it.
func (s *Service) changeVersion(c *call, name, version string, change func(tx store.Tx, v *ModelVersion) error) (any, error) {
	var body versionBody
	err := s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		m, v, err := s.findVersion(tx, c.WorkspaceID, name, version)
		if err != nil {
			return err
		}
		if err := change(tx, v); err != nil {
			return err
		}
		v.Updated = s.cfg.Clock.Now()
		body = v.body(m)
		return s.cfg.Models.SaveModelVersion(tx, c.WorkspaceID, v)
	})
	return map[string]any{"model_version": body}, err
}

func setTag(tags *map[string]string, p pair) error {
	if err := checkPair("tag", p); err != nil {
		return err
	}
	if *tags == nil {
		*tags = map[string]string{}
	}
	(*tags)[p.Key] = p.Value
	return nil
}

func tagMap(list []pair) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range list {
		if err := setTag(&out, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}
