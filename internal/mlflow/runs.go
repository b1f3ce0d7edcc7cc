package mlflow

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/store"
)

type runInfo struct {
	UUID       string `json:"run_uuid"`
	ID         string `json:"run_id"`
	Name       string `json:"run_name"`
	Experiment string `json:"experiment_id"`
	User       string `json:"user_id"`
	Status     string `json:"status"`
	Start      int64  `json:"start_time"`
	End        int64  `json:"end_time,omitempty"`
	Artifacts  string `json:"artifact_uri"`
	Stage      string `json:"lifecycle_stage"`
}

type runData struct {
	Metrics []point `json:"metrics,omitempty"`
	Params  []pair  `json:"params,omitempty"`
	Tags    []pair  `json:"tags,omitempty"`
}

type runBody struct {
	Info   runInfo   `json:"info"`
	Data   runData   `json:"data"`
	Inputs runInputs `json:"inputs"`
}

type runInputs struct {
	Datasets []datasetInput `json:"dataset_inputs,omitempty"`
}

func (r *run) info() runInfo {
	return runInfo{
		UUID: r.ID, ID: r.ID, Name: r.Name, Experiment: r.Experiment, User: r.User, Status: r.Status,
		Start: r.Start, End: r.End, Artifacts: artifactURI(r), Stage: r.Stage,
	}
}

// whole is a run with its latest metrics, params and tags.
func (s *Service) whole(tx store.Tx, r *run) (b runBody, err error) {
	key := runKey(r.Workspace, r.ID)
	b.Info = r.info()
	if b.Data.Metrics, err = latestMetrics(tx, key); err != nil {
		return b, err
	}
	if b.Data.Params, err = pairs(tx, bucketParam, key); err != nil {
		return b, err
	}
	if b.Data.Tags, err = pairs(tx, bucketTag, key); err != nil {
		return b, err
	}
	b.Inputs.Datasets, err = inputs(tx, key)
	return b, err
}

// find returns a run that the session may see, or change.
func (s *Service) find(tx store.Tx, session Session, id string, write bool) (*run, error) {
	if id == "" {
		return nil, invalid("Missing value for required parameter 'run_id'.")
	}
	r, err := s.runs.Get(tx, runKey(session.Workspace, id))
	if errors.Is(err, store.ErrNotFound) || err == nil && !session.sees(r) {
		if session.Run != "" { // do not tell a job which other runs there are
			return nil, denied("The token of job '%s' gives no access to the run '%s'.", session.Run, id)
		}
		return nil, missing("Run with id=%s not found", id)
	}
	if err != nil {
		return nil, err
	}
	if write && r.Stage != stageActive {
		return nil, invalid("The run %s must be in the 'active' state. Current state is %s.", id, r.Stage)
	}
	return r, nil
}

// sees reports whether a session's token reaches a run.
func (x Session) sees(r *run) bool { return x.Run == "" || r.ID == x.Run || r.Owner == x.Run }

func (s *Service) viewRun(c *call, id string) (r *run, err error) {
	err = s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		r, err = s.find(tx, c.Session, id, false)
		return err
	})
	return r, err
}

func (s *Service) createRun(c *call) (any, error) {
	var q struct {
		Experiment string  `json:"experiment_id"`
		User       string  `json:"user_id"`
		Name       string  `json:"run_name"`
		Start      integer `json:"start_time"`
		Tags       []pair  `json:"tags"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	for _, t := range q.Tags {
		if err := checkPair("tag", t); err != nil {
			return nil, err
		}
		if t.Key == "mlflow.runName" && q.Name == "" {
			q.Name = t.Value
		}
	}
	var body runBody
	err := s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		e, err := s.experiment(tx, c.Workspace, first(q.Experiment, "0"))
		if err != nil {
			return err
		}
		if e.ID == "0" {
			if e, err = s.experimentNamed(tx, c.Workspace, DefaultExperiment); err != nil {
				return err
			}
		}
		if e.Stage != stageActive {
			return invalid("The experiment %s must be in the 'active' state. Current state is %s.", e.ID, e.Stage)
		}
		r := &run{
			Workspace: c.Workspace, ID: uuid.NewString(), Experiment: e.ID, Name: q.Name, User: first(q.User, c.User),
			Status: StatusRunning, Stage: stageActive, Start: int64(q.Start), Owner: c.Run,
		}
		if r.Name == "" {
			r.Name = "run-" + r.ID[:8]
		}
		if r.Start == 0 {
			r.Start = millis(s.cfg.Clock.Now())
		}
		if err := s.runs.Put(tx, r); err != nil {
			return err
		}
		key := runKey(c.Workspace, r.ID)
		for _, t := range append(q.Tags, pair{"mlflow.runName", r.Name}) {
			if err := putTag(tx, key, t); err != nil {
				return err
			}
		}
		body, err = s.whole(tx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"run": body}, nil
}

// runRef is the part of a request that names a run; run_uuid is the old name.
type runRef struct {
	RunID   string `json:"run_id"`
	RunUUID string `json:"run_uuid"`
}

func (q runRef) id() string { return first(q.RunID, q.RunUUID) }

func (s *Service) getRun(c *call) (any, error) {
	var q runRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	var body runBody
	err := s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		r, err := s.find(tx, c.Session, q.id(), false)
		if err != nil {
			return err
		}
		body, err = s.whole(tx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"run": body}, nil
}

func (s *Service) updateRun(c *call) (any, error) {
	var q struct {
		runRef
		Status string  `json:"status"`
		End    integer `json:"end_time"`
		Name   string  `json:"run_name"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	switch q.Status {
	case "", StatusRunning, StatusScheduled, StatusFinished, StatusFailed, StatusKilled:
	default:
		return nil, invalid("Invalid value '%s' for parameter 'status' supplied.", q.Status)
	}
	var info runInfo
	err := s.changeRun(c, q.id(), func(tx store.Tx, r *run) error {
		if q.Status != "" {
			r.Status = q.Status
		}
		if q.End != 0 {
			r.End = int64(q.End)
		}
		if q.Name != "" {
			r.Name = q.Name
			if err := putTag(tx, runKey(r.Workspace, r.ID), pair{"mlflow.runName", q.Name}); err != nil {
				return err
			}
		}
		info = r.info()
		return s.runs.Put(tx, r)
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"run_info": info}, nil
}

// changeRun runs change on an active run in one transaction.
func (s *Service) changeRun(c *call, id string, change func(tx store.Tx, r *run) error) error {
	return s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		r, err := s.find(tx, c.Session, id, true)
		if err != nil {
			return err
		}
		return change(tx, r)
	})
}

func (s *Service) deleteRun(c *call) (any, error) {
	var q runRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return struct{}{}, s.changeRun(c, q.id(), func(tx store.Tx, r *run) error {
		r.Stage, r.Deleted = stageDeleted, millis(s.cfg.Clock.Now())
		return s.runs.Put(tx, r)
	})
}

func (s *Service) restoreRun(c *call) (any, error) {
	var q runRef
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return struct{}{}, s.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		r, err := s.find(tx, c.Session, q.id(), false)
		if err != nil {
			return err
		}
		r.Stage, r.Deleted = stageActive, 0
		return s.runs.Put(tx, r)
	})
}

func (s *Service) logMetric(c *call) (any, error) {
	var q struct {
		runRef
		Key       string  `json:"key"`
		Value     *number `json:"value"`
		Timestamp integer `json:"timestamp"`
		Step      integer `json:"step"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if q.Value == nil {
		return nil, invalid("Missing value for required parameter 'value'.")
	}
	return struct{}{}, s.log1(c, q.id(), batch{Metrics: []point{{q.Key, *q.Value, q.Timestamp, q.Step}}})
}

func (s *Service) logParam(c *call) (any, error) {
	var q struct {
		runRef
		pair
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return struct{}{}, s.log1(c, q.id(), batch{Params: []pair{q.pair}})
}

func (s *Service) setTag(c *call) (any, error) {
	var q struct {
		runRef
		pair
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return struct{}{}, s.log1(c, q.id(), batch{Tags: []pair{q.pair}})
}

type batch struct {
	Metrics []point `json:"metrics"`
	Params  []pair  `json:"params"`
	Tags    []pair  `json:"tags"`
}

func (s *Service) logBatch(c *call) (any, error) {
	var q struct {
		runRef
		batch
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	for _, l := range []struct {
		name    string
		n, most int
	}{
		{"metrics", len(q.Metrics), maxBatchMetrics}, {"params", len(q.Params), maxBatchParams}, {"tags", len(q.Tags), maxBatchTags},
		{"metrics, params, and tags", len(q.Metrics) + len(q.Params) + len(q.Tags), maxBatchTotal},
	} {
		if l.n > l.most {
			return nil, invalid("A batch logging request can contain at most %d %s. Got %d %s. Please split up %s across multiple requests and try again.",
				l.most, l.name, l.n, l.name, l.name)
		}
	}
	return struct{}{}, s.log1(c, q.id(), q.batch)
}

// log1 writes a batch in one transaction: all of it, or nothing.
func (s *Service) log1(c *call, id string, b batch) error {
	for _, m := range b.Metrics {
		if err := checkName("metric", m.Key); err != nil {
			return err
		}
	}
	params := map[string]string{}
	for _, p := range b.Params {
		if err := checkPair("param", p); err != nil {
			return err
		}
		if v, twice := params[p.Key]; twice && v != p.Value {
			return invalid("Duplicate parameter keys have been submitted: '%s'. Please ensure the request contains only one param value per param key.", p.Key)
		}
		params[p.Key] = p.Value
	}
	for _, t := range b.Tags {
		if err := checkPair("tag", t); err != nil {
			return err
		}
	}
	return s.changeRun(c, id, func(tx store.Tx, r *run) error {
		key := runKey(r.Workspace, r.ID)
		for _, p := range b.Params {
			if err := putParam(tx, key, r.ID, p); err != nil {
				return err
			}
		}
		for _, m := range b.Metrics {
			if err := putMetric(tx, key, m); err != nil {
				return err
			}
		}
		if r.Watch != "" && s.cfg.Watch != nil && len(b.Metrics) > 0 {
			points := make([]Point, len(b.Metrics))
			for i, m := range b.Metrics {
				points[i] = Point{m.Key, float64(m.Value)}
			}
			if err := s.cfg.Watch(c.ctx, tx, r.Watch, points); err != nil {
				return err
			}
		}
		for _, t := range b.Tags {
			if err := putTag(tx, key, t); err != nil {
				return err
			}
			if t.Key == "mlflow.runName" && t.Value != r.Name {
				r.Name = t.Value
				if err := s.runs.Put(tx, r); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s *Service) deleteTag(c *call) (any, error) {
	var q struct {
		runRef
		Key string `json:"key"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	return struct{}{}, s.changeRun(c, q.id(), func(tx store.Tx, r *run) error {
		key := rowKey(runKey(r.Workspace, r.ID), q.Key)
		if _, err := tx.Get(bucketTag, key); errors.Is(err, store.ErrNotFound) {
			return missing("No tag with name: %s in run with id %s", q.Key, r.ID)
		} else if err != nil {
			return err
		}
		return tx.Delete(bucketTag, key)
	})
}

func (s *Service) metricHistory(c *call) (any, error) {
	var q struct {
		runRef
		Key       string  `json:"metric_key"`
		PageToken string  `json:"page_token"`
		Max       integer `json:"max_results"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if q.Key == "" {
		return nil, invalid("Missing value for required parameter 'metric_key'.")
	}
	if q.Max < 0 {
		return nil, invalid("Invalid value %d for parameter 'max_results' supplied.", q.Max)
	}
	after, err := unpackToken(q.PageToken)
	if err != nil {
		return nil, err
	}
	var points []point
	var next string
	err = s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		r, err := s.find(tx, c.Session, q.id(), false)
		if err != nil {
			return err
		}
		points, next, err = history(tx, runKey(r.Workspace, r.ID), q.Key, after, int(q.Max))
		return err
	})
	if err != nil {
		return nil, err
	}
	out := map[string]any{"metrics": points}
	if next != "" {
		out["next_page_token"] = packToken(next)
	}
	return out, nil
}

func (s *Service) searchRuns(c *call) (any, error) {
	var q struct {
		Experiments []string `json:"experiment_ids"`
		Filter      string   `json:"filter"`
		View        string   `json:"run_view_type"`
		Max         integer  `json:"max_results"`
		OrderBy     []string `json:"order_by"`
		PageToken   string   `json:"page_token"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	limit, err := pageSize(q.Max)
	if err != nil {
		return nil, err
	}
	f, err := parseFilter(q.Filter, "metric", "param", "tag", "attribute")
	if err != nil {
		return nil, err
	}
	order, err := parseOrder(q.OrderBy)
	if err != nil {
		return nil, err
	}
	stages, err := viewType(q.View)
	if err != nil {
		return nil, err
	}
	token, err := unpackToken(q.PageToken)
	if err != nil {
		return nil, err
	}
	x := &search{s: s, session: c.Session, filter: f, order: order, stages: stages, limit: limit, token: token}
	slices.Sort(q.Experiments)
	x.experiments = slices.Compact(q.Experiments)
	err = s.cfg.Store.View(c.ctx, x.run)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if len(x.found) > 0 {
		out["runs"] = x.found
	}
	if x.next != "" {
		out["next_page_token"] = packToken(x.next)
	}
	return out, nil
}

func lower(s string) string { return strings.ToLower(s) }
