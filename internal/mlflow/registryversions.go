package mlflow

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func (s *Service) createVersion(c *call) (any, error) {
	var q struct {
		Name        string `json:"name"`
		Source      string `json:"source"`
		RunID       string `json:"run_id"`
		RunLink     string `json:"run_link"`
		Description string `json:"description"`
		Tags        []pair `json:"tags"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	switch {
	case q.Source == "":
		return nil, invalid("Missing value for required parameter 'source'.")
	case strings.HasPrefix(q.Source, "/"), strings.HasPrefix(q.Source, "file:"), strings.HasPrefix(q.Source, "."), strings.Contains(q.Source, ".."):
		return nil, invalid("Invalid model version source: '%s'. To use a local path as a model version source is not possible here: log the model to a run first.", q.Source)
	}
	tags, err := tagMap(q.Tags)
	if err != nil {
		return nil, err
	}
	var body versionBody
	err = s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		m, err := s.findModel(tx, c.WorkspaceID, q.Name)
		if err != nil {
			return err
		}
		if q.RunID != "" {
			if _, err := s.find(tx, c.Session, q.RunID, false); err != nil {
				return err
			}
		}
		now := s.cfg.Clock.Now()
		v := &ModelVersion{
			Name: m.Name, Source: q.Source, RunID: q.RunID, RunLink: q.RunLink, Description: q.Description, Tags: tags,
			User: c.User, Stage: modelStages()[0], Created: now, Updated: now,
		}
		if err := s.cfg.Models.SaveModelVersion(tx, c.WorkspaceID, v); err != nil {
			return err
		}
		body = v.body(m)
		return nil
	})
	return map[string]any{"model_version": body}, err
}

func (s *Service) getVersion(c *call) (any, error) {
	v, err := s.readVersion(c)
	return map[string]any{"model_version": v}, err
}

func (s *Service) readVersion(c *call) (body versionBody, err error) {
	var q modelRef
	if err := c.read(&q); err != nil {
		return body, err
	}
	err = s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		m, v, err := s.findVersion(tx, c.WorkspaceID, q.Name, q.Version)
		if err != nil {
			return err
		}
		body = v.body(m)
		return nil
	})
	return body, err
}

// downloadURI is where a client gets the files of a version.
func (s *Service) downloadURI(c *call) (any, error) {
	v, err := s.readVersion(c)
	return map[string]any{"artifact_uri": v.Source}, err
}

func (s *Service) updateVersion(c *call) (any, error) {
	var q struct {
		modelRef
		Description string `json:"description"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return s.changeVersion(c, q.Name, q.Version, func(_ store.Tx, v *ModelVersion) error {
		v.Description = q.Description
		return nil
	})
}

func (s *Service) deleteVersion(c *call) (any, error) {
	var q modelRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	_, err := s.changeModel(c, q.Name, func(tx store.Tx, m *RegisteredModel) error {
		if _, _, err := s.findVersion(tx, c.WorkspaceID, q.Name, q.Version); err != nil {
			return err
		}
		for alias, version := range m.Aliases {
			if version == q.Version {
				delete(m.Aliases, alias)
			}
		}
		return s.cfg.Models.RemoveModelVersion(tx, c.WorkspaceID, q.Name, q.Version)
	})
	return struct{}{}, err
}

func (s *Service) transitionStage(c *call) (any, error) {
	var q struct {
		modelRef
		Stage   string `json:"stage"`
		Archive bool   `json:"archive_existing_versions"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	stage, err := modelStage(q.Stage)
	if err != nil {
		return nil, err
	}
	if q.Archive && stage != "Staging" && stage != "Production" {
		return nil, invalid("Model version transition cannot archive existing model versions because '%s' is not an Active stage. Valid stages are Staging and Production.", q.Stage)
	}
	return s.changeVersion(c, q.Name, q.Version, func(tx store.Tx, v *ModelVersion) error {
		v.Stage = stage
		if !q.Archive {
			return nil
		}
		var others []*ModelVersion
		for other, err := range s.cfg.Models.ModelVersions(tx, c.WorkspaceID, q.Name) {
			if err != nil {
				return err
			}
			if other.Version != v.Version && other.Stage == stage {
				others = append(others, other)
			}
		}
		for _, other := range others {
			other.Stage, other.Updated = "Archived", s.cfg.Clock.Now()
			if err := s.cfg.Models.SaveModelVersion(tx, c.WorkspaceID, other); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) setVersionTag(c *call) (any, error) {
	var q struct {
		modelRef
		pair
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	_, err := s.changeVersion(c, q.Name, q.Version, func(_ store.Tx, v *ModelVersion) error { return setTag(&v.Tags, q.pair) })
	return struct{}{}, err
}

func (s *Service) deleteVersionTag(c *call) (any, error) {
	var q struct {
		modelRef
		Key string `json:"key"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	_, err := s.changeVersion(c, q.Name, q.Version, func(_ store.Tx, v *ModelVersion) error {
		delete(v.Tags, q.Key)
		return nil
	})
	return struct{}{}, err
}
