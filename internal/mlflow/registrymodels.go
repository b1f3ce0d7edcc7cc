package mlflow

import (
	"errors"
	"net/http"
	"regexp"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// modelRef names a model or, with a version, one of its versions.
type modelRef struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

func (s *Service) createModel(c *call) (any, error) {
	var q struct {
		modelRef
		Description string `json:"description"`
		Tags        []pair `json:"tags"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if q.Name == "" {
		return nil, invalid("Registered model name cannot be empty.")
	}
	tags, err := tagMap(q.Tags)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Clock.Now()
	m := &RegisteredModel{Name: q.Name, Description: q.Description, Tags: tags, Created: now, Updated: now}
	var body modelBody
	err = s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		if err := s.nameIsFree(tx, c.WorkspaceID, q.Name); err != nil {
			return err
		}
		if err := s.cfg.Models.SaveModel(tx, c.WorkspaceID, m); err != nil {
			return err
		}
		body, err = s.modelBody(tx, c.WorkspaceID, m)
		return err
	})
	return map[string]any{"registered_model": body}, err
}

func (s *Service) nameIsFree(tx store.Tx, ws, name string) error {
	switch _, err := s.cfg.Models.Model(tx, ws, name); {
	case errors.Is(err, ErrNoModel):
		return nil
	case err != nil:
		return err
	}
	return Errorf(http.StatusBadRequest, "RESOURCE_ALREADY_EXISTS", "Registered Model (name=%s) already exists.", name)
}

func (s *Service) getModel(c *call) (any, error) {
	var q modelRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	var body modelBody
	err := s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		m, err := s.findModel(tx, c.WorkspaceID, q.Name)
		if err != nil {
			return err
		}
		body, err = s.modelBody(tx, c.WorkspaceID, m)
		return err
	})
	return map[string]any{"registered_model": body}, err
}

func (s *Service) renameModel(c *call) (any, error) {
	var q struct {
		modelRef
		NewName string `json:"new_name"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if q.NewName == "" {
		return nil, invalid("Registered model name cannot be empty.")
	}
	return s.changeModel(c, q.Name, func(tx store.Tx, m *RegisteredModel) error {
		if err := s.nameIsFree(tx, c.WorkspaceID, q.NewName); err != nil {
			return err
		}
		m.Name = q.NewName
		return s.cfg.Models.RenameModel(tx, c.WorkspaceID, q.Name, q.NewName)
	})
}

func (s *Service) updateModel(c *call) (any, error) {
	var q struct {
		modelRef
		Description string `json:"description"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return s.changeModel(c, q.Name, func(_ store.Tx, m *RegisteredModel) error {
		m.Description = q.Description
		return nil
	})
}

func (s *Service) deleteModel(c *call) (any, error) {
	var q modelRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return struct{}{}, s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		if _, err := s.findModel(tx, c.WorkspaceID, q.Name); err != nil {
			return err
		}
		return s.cfg.Models.RemoveModel(tx, c.WorkspaceID, q.Name)
	})
}

func (s *Service) setModelTag(c *call) (any, error) {
	var q struct {
		modelRef
		pair
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	_, err := s.changeModel(c, q.Name, func(_ store.Tx, m *RegisteredModel) error { return setTag(&m.Tags, q.pair) })
	return struct{}{}, err
}

func (s *Service) deleteModelTag(c *call) (any, error) {
	var q struct {
		modelRef
		Key string `json:"key"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	_, err := s.changeModel(c, q.Name, func(_ store.Tx, m *RegisteredModel) error {
		delete(m.Tags, q.Key)
		return nil
	})
	return struct{}{}, err
}

type aliasRef struct {
	modelRef
	Alias string `json:"alias"`
}

// aliasName is what MLflow accepts, less what it keeps for itself.
var aliasName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[\w\-]{1,255}$`)
})

var versionLike = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(v\d+|latest)$`)
})

func (s *Service) setAlias(c *call) (any, error) {
	var q aliasRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if !aliasName().MatchString(q.Alias) || versionLike().MatchString(q.Alias) {
		return nil, invalid("Invalid alias name: '%s'. It may have letters, digits, underscores and dashes, and be neither 'latest' nor like v1.", q.Alias)
	}
	_, err := s.changeModel(c, q.Name, func(tx store.Tx, m *RegisteredModel) error {
		if _, _, err := s.findVersion(tx, c.WorkspaceID, q.Name, q.Version); err != nil {
			return err
		}
		if m.Aliases == nil {
			m.Aliases = map[string]string{}
		}
		m.Aliases[q.Alias] = q.Version
		return nil
	})
	return struct{}{}, err
}

func (s *Service) deleteAlias(c *call) (any, error) {
	var q aliasRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	_, err := s.changeModel(c, q.Name, func(_ store.Tx, m *RegisteredModel) error {
		delete(m.Aliases, q.Alias)
		return nil
	})
	return struct{}{}, err
}

func (s *Service) getAlias(c *call) (any, error) {
	var q aliasRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	var body versionBody
	err := s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		m, err := s.findModel(tx, c.WorkspaceID, q.Name)
		if err != nil {
			return err
		}
		version, ok := m.Aliases[q.Alias]
		if !ok {
			return invalid("Registered model alias %s not found.", q.Alias)
		}
		_, v, err := s.findVersion(tx, c.WorkspaceID, q.Name, version)
		if err != nil {
			return err
		}
		body = v.body(m)
		return nil
	})
	return map[string]any{"model_version": body}, err
}

func (s *Service) getLatestVersions(c *call) (any, error) {
	var q struct {
		modelRef
		Stages []string `json:"stages"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	for i, stage := range q.Stages {
		canonical, err := modelStage(stage)
		if err != nil {
			return nil, err
		}
		q.Stages[i] = canonical
	}
	var found []versionBody
	err := s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		m, err := s.findModel(tx, c.WorkspaceID, q.Name)
		if err != nil {
			return err
		}
		found, err = s.latestVersions(tx, c.WorkspaceID, m, q.Stages)
		return err
	})
	return map[string]any{"model_versions": found}, err
}
