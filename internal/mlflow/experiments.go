package mlflow

import (
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/store"
)

type experimentBody struct {
	ID       string `json:"experiment_id"`
	Name     string `json:"name"`
	Location string `json:"artifact_location"`
	Stage    string `json:"lifecycle_stage"`
	Created  int64  `json:"creation_time"`
	Updated  int64  `json:"last_update_time"`
	Tags     []pair `json:"tags,omitempty"`
}

func (e *experiment) body() experimentBody {
	b := experimentBody{ID: e.ID, Name: e.Name, Location: e.Location, Stage: e.Stage, Created: e.Created, Updated: e.Updated}
	if b.Location == "" {
		b.Location = "mlflow-artifacts:/ExperimentRun"
	}
	for k, v := range e.Tags {
		b.Tags = append(b.Tags, pair{k, v})
	}
	slices.SortFunc(b.Tags, func(a, b pair) int { return strings.Compare(a.Key, b.Key) })
	return b
}

// experiment returns one by ID. MLflow's clients say "0" for the experiment that
// is there from the start, which here is DefaultExperiment, and which a write
// makes.
func (s *Service) experiment(tx store.Tx, ws, id string) (*experiment, error) {
	if id == "0" {
		for e, err := range s.exps.By(tx, "name", store.Range{Prefix: store.Exact(ws + "/" + DefaultExperiment), Limit: 1}) {
			return e, err
		}
		return &experiment{Workspace: ws, ID: "0", Name: DefaultExperiment, Stage: stageActive}, nil
	}
	e, err := s.exps.Get(tx, ws+"/"+id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, missing("No Experiment with id=%s exists", id)
	}
	return e, err
}

func (s *Service) createExperiment(c *call) (any, error) {
	var q struct {
		Name     string `json:"name"`
		Location string `json:"artifact_location"`
		Tags     []pair `json:"tags"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if q.Name == "" || strings.ContainsRune(q.Name, 0) {
		return nil, invalid("Invalid experiment name: '%s'", q.Name)
	}
	if q.Location != "" {
		return nil, notImplemented("an experiment's own artifact_location")
	}
	e := &experiment{Workspace: c.Workspace, ID: uuid.NewString(), Name: q.Name, Stage: stageActive, Tags: map[string]string{}}
	for _, t := range q.Tags {
		if err := checkPair("tag", t); err != nil {
			return nil, err
		}
		e.Tags[t.Key] = t.Value
	}
	err := s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		for _, err := range s.exps.By(tx, "name", store.Range{Prefix: store.Exact(c.Workspace + "/" + q.Name), Limit: 1}) {
			if err != nil {
				return err
			}
			return Errorf(400, "RESOURCE_ALREADY_EXISTS", "Experiment '%s' already exists.", q.Name)
		}
		e.Created = millis(s.cfg.Clock.Now())
		e.Updated = e.Created
		return s.exps.Put(tx, e)
	})
	if err != nil {
		return nil, err
	}
	return map[string]string{"experiment_id": e.ID}, nil
}

func (s *Service) getExperiment(c *call) (any, error) {
	var q struct {
		ID string `json:"experiment_id"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	var e *experiment
	err := s.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		e, err = s.experiment(tx, c.Workspace, q.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"experiment": e.body()}, nil
}

func (s *Service) getExperimentByName(c *call) (any, error) {
	var q struct {
		Name string `json:"experiment_name"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	var e *experiment
	err := s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		for found, err := range s.exps.By(tx, "name", store.Range{Prefix: store.Exact(c.Workspace + "/" + q.Name), Limit: 1}) {
			e = found
			return err
		}
		return missing("Could not find experiment with name '%s'", q.Name)
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"experiment": e.body()}, nil
}

// changeExperiment changes an experiment that is really there.
func (s *Service) changeExperiment(c *call, id string, change func(tx store.Tx, e *experiment) error) error {
	return s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		if c.Run != "" {
			return denied("A job's token cannot change an experiment.")
		}
		e, err := s.experiment(tx, c.Workspace, id)
		if err != nil {
			return err
		}
		if e.ID == "0" {
			if e, err = s.experimentNamed(tx, c.Workspace, DefaultExperiment); err != nil {
				return err
			}
		}
		if err := change(tx, e); err != nil {
			return err
		}
		e.Updated = millis(s.cfg.Clock.Now())
		return s.exps.Put(tx, e)
	})
}

func (s *Service) updateExperiment(c *call) (any, error) {
	var q struct {
		ID      string `json:"experiment_id"`
		NewName string `json:"new_name"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return struct{}{}, s.changeExperiment(c, q.ID, func(tx store.Tx, e *experiment) error {
		if q.NewName == "" || q.NewName == e.Name {
			return nil
		}
		for _, err := range s.exps.By(tx, "name", store.Range{Prefix: store.Exact(c.Workspace + "/" + q.NewName), Limit: 1}) {
			if err != nil {
				return err
			}
			return Errorf(400, "RESOURCE_ALREADY_EXISTS", "Experiment '%s' already exists.", q.NewName)
		}
		e.Name = q.NewName
		return nil
	})
}

func (s *Service) deleteExperiment(c *call) (any, error) { return s.moveExperiment(c, stageDeleted) }

func (s *Service) restoreExperiment(c *call) (any, error) { return s.moveExperiment(c, stageActive) }

// moveExperiment deletes an experiment, its runs staying as they are, or brings
// it back.
func (s *Service) moveExperiment(c *call, stage string) (any, error) {
	var q struct {
		ID string `json:"experiment_id"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return struct{}{}, s.changeExperiment(c, q.ID, func(_ store.Tx, e *experiment) error {
		if e.Stage == stage {
			return invalid("The experiment %s is %s already.", e.ID, stage)
		}
		e.Stage = stage
		return nil
	})
}

func (s *Service) setExperimentTag(c *call) (any, error) {
	var q struct {
		ID string `json:"experiment_id"`
		pair
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if err := checkPair("tag", q.pair); err != nil {
		return nil, err
	}
	return struct{}{}, s.changeExperiment(c, q.ID, func(_ store.Tx, e *experiment) error {
		if e.Tags == nil {
			e.Tags = map[string]string{}
		}
		e.Tags[q.Key] = q.Value
		return nil
	})
}

func (s *Service) searchExperiments(c *call) (any, error) {
	var q struct {
		Max       integer  `json:"max_results"`
		PageToken string   `json:"page_token"`
		Filter    string   `json:"filter"`
		OrderBy   []string `json:"order_by"`
		View      string   `json:"view_type"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	limit, err := pageSize(q.Max)
	if err != nil {
		return nil, err
	}
	order, err := parseOrder(q.OrderBy)
	if err != nil {
		return nil, err
	}
	f, err := parseFilter(q.Filter, "attribute", "tag")
	if err != nil {
		return nil, err
	}
	stages, err := viewType(q.View)
	if err != nil {
		return nil, err
	}
	after, err := unpackToken(q.PageToken)
	if err != nil {
		return nil, err
	}
	if !newestExperiments(order) {
		return s.sortedExperiments(c, f, order, stages, limit, after)
	}
	found, next := []experimentBody{}, ""
	err = s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		var last *experiment
		for e, err := range s.exps.By(tx, "time", store.Range{Prefix: c.Workspace + "/", After: after}) {
			if err != nil {
				return err
			}
			if !stages[e.Stage] {
				continue
			}
			ok, err := f.match(&experimentValues{e})
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if len(found) == limit {
				next = packToken(s.exps.Position(c.Workspace+"/"+descending(last.Updated), last))
				return nil
			}
			found, last = append(found, e.body()), e
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[string]any{"experiments": found}
	if next != "" {
		out["next_page_token"] = next
	}
	return out, nil
}

// newestExperiments reports whether an order is that of the index.
func newestExperiments(order []ordering) bool {
	return len(order) == 0 || order[0].name == "last_update_time" && order[0].descending
}

// sortedExperiments is searchExperiments in an order that has no index: all
// experiments are read, and the token counts.
func (s *Service) sortedExperiments(c *call, f filter, order []ordering, stages map[string]bool, limit int, after string) (any, error) {
	x := &registrySearch{filter: f, order: order, limit: limit}
	if after != "" {
		var err error
		if x.skip, err = strconv.Atoi(after); err != nil || x.skip < 0 {
			return nil, invalid("Invalid page token")
		}
	}
	found, next := []experimentBody{}, ""
	err := s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		var all []*experimentValues
		for e, err := range s.exps.By(tx, "time", store.Range{Prefix: c.Workspace + "/"}) {
			if err != nil {
				return err
			}
			if stages[e.Stage] {
				all = append(all, &experimentValues{e})
			}
		}
		rows, token, err := page(x, all, func(a, b *experimentValues) int { return strings.Compare(a.e.ID, b.e.ID) })
		for _, v := range rows {
			found = append(found, v.e.body())
		}
		next = token
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer("experiments", found, next), nil
}

// experimentValues is an experiment as a filter sees it.
type experimentValues struct{ e *experiment }

func (v *experimentValues) value(kind, name string) (value, error) {
	if kind == "tag" {
		s, ok := v.e.Tags[name]
		return value{text: s, ok: ok}, nil
	}
	switch name {
	case "name":
		return value{text: v.e.Name, ok: true}, nil
	case "experiment_id":
		return value{text: v.e.ID, ok: true}, nil
	case "creation_time":
		return value{number: float64(v.e.Created), numeric: true, ok: true}, nil
	case "last_update_time":
		return value{number: float64(v.e.Updated), numeric: true, ok: true}, nil
	}
	return value{}, invalid("Invalid attribute key '%s' specified. Valid keys are name, experiment_id, creation_time, last_update_time.", name)
}

func pageSize(n integer) (int, error) {
	switch {
	case n == 0:
		return 1000, nil
	case n < 0 || n > maxSearch:
		return 0, invalid("Invalid value %d for parameter 'max_results' supplied. It must be at least 1 and at most %d.", n, maxSearch)
	}
	return int(n), nil
}

func viewType(s string) (map[string]bool, error) {
	switch strings.ToUpper(s) {
	case "", "ACTIVE_ONLY", "1":
		return map[string]bool{stageActive: true}, nil
	case "DELETED_ONLY", "2":
		return map[string]bool{stageDeleted: true}, nil
	case "ALL", "3":
		return map[string]bool{stageActive: true, stageDeleted: true}, nil
	}
	return nil, invalid("Invalid view type '%s'", s)
}

func packToken(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func unpackToken(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return "", invalid("Invalid page token '%s'", s)
	}
	return string(b), nil
}
