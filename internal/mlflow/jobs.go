package mlflow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Job is a job as a run: what the job service says of it.
type Job struct {
	// Workspace is the UID of the workspace, Name the job's name and the run's ID.
	Workspace, Name string
	// Experiment is the experiment's name.
	Experiment string
	// DisplayName becomes the run's name.
	DisplayName string
	// User is who submitted the job.
	User string
	// Created is when.
	Created time.Time
	// Tags are the job's own.
	Tags map[string]string
	// Watch, when not empty, is what Config.Watch is told of the run's metrics with.
	Watch string
}

// CreateJobRun makes the run of a new job, and its experiment if need be, in the
// caller's transaction, and returns the experiment's ID. A run of that name that
// is there already is an error: Errorf's RESOURCE_ALREADY_EXISTS.
func (s *Service) CreateJobRun(tx store.Tx, j Job) (experimentID string, err error) {
	if _, err := s.runs.Get(tx, runKey(j.Workspace, j.Name)); err == nil {
		return "", Errorf(400, "RESOURCE_ALREADY_EXISTS", "The run '%s' exists already.", j.Name)
	} else if !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("create run of job %s: %w", j.Name, err)
	}
	e, err := s.experimentNamed(tx, j.Workspace, j.Experiment)
	if err != nil {
		return "", fmt.Errorf("create run of job %s: %w", j.Name, err)
	}
	r := &run{
		Workspace: j.Workspace, ID: j.Name, Experiment: e.ID, Name: j.DisplayName, User: j.User,
		Status: StatusScheduled, Stage: stageActive, Start: millis(j.Created), Job: true, Watch: j.Watch,
	}
	if err := s.runs.Put(tx, r); err != nil {
		return "", fmt.Errorf("create run of job %s: %w", j.Name, err)
	}
	tags := maps.Clone(j.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags["mlflow.user"], tags["mlflow.runName"], tags["mlflow.source.type"] = j.User, j.DisplayName, "JOB"
	for k, v := range tags {
		if err := putTag(tx, runKey(j.Workspace, j.Name), pair{k, v}); err != nil {
			return "", fmt.Errorf("create run of job %s: %w", j.Name, err)
		}
	}
	return e.ID, nil
}

// UpdateJobRun brings the run of a job in line with it: status is one of the
// Status constants, "" to leave it; the start and end are set when not zero.
// displayName and tags, when not nil, replace the name and are added. A run that
// is not there is not an error.
func (s *Service) UpdateJobRun(tx store.Tx, workspace, name string, u JobUpdate) error {
	r, err := s.runs.Get(tx, runKey(workspace, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("update run of job %s: %w", name, err)
	}
	if u.Status != "" {
		r.Status = u.Status
	}
	if !u.Start.IsZero() {
		r.Start = millis(u.Start)
	}
	if !u.End.IsZero() {
		r.End = millis(u.End)
	}
	if u.DisplayName != "" {
		r.Name = u.DisplayName
	}
	if err := s.runs.Put(tx, r); err != nil {
		return fmt.Errorf("update run of job %s: %w", name, err)
	}
	for _, k := range slices.Sorted(maps.Keys(u.Tags)) {
		if err := putTag(tx, runKey(workspace, name), pair{k, u.Tags[k]}); err != nil {
			return fmt.Errorf("update run of job %s: %w", name, err)
		}
	}
	return nil
}

// JobUpdate is what changed of a job. Zero values change nothing.
type JobUpdate struct {
	Status      string
	Start, End  time.Time
	DisplayName string
	Tags        map[string]string
}

// DeleteRun removes a run with all that was logged to it, in the caller's
// transaction. A run that is not there is not an error.
func (s *Service) DeleteRun(tx store.Tx, workspace, name string) error {
	key := runKey(workspace, name)
	for _, bucket := range []string{bucketParam, bucketTag, bucketLatest, bucketMetric, bucketInput} {
		var keys []string
		for e, err := range tx.Scan(bucket, store.Range{Prefix: key + "\x00"}) {
			if err != nil {
				return fmt.Errorf("delete run %s: %w", name, err)
			}
			keys = append(keys, e.Key)
		}
		for _, k := range keys {
			if err := tx.Delete(bucket, k); err != nil {
				return fmt.Errorf("delete run %s: %w", name, err)
			}
		}
	}
	return s.runs.Delete(tx, key)
}

// DeleteWorkspace records, in the caller's transaction, that a workspace is
// gone. Collect removes its data.
func (s *Service) DeleteWorkspace(tx store.Tx, workspace string) error {
	return tx.Put(bucketGone, workspace, nil)
}

// Collect removes what deleted workspaces left, a little per transaction. Call
// it at start and after a workspace was deleted.
func (s *Service) Collect(ctx context.Context) error {
	const batch = 500
	buckets := []string{bucketParam, bucketTag, bucketLatest, bucketMetric, bucketInput, s.runs.Name, s.runs.Name + "/experiment",
		s.exps.Name, s.exps.Name + "/name", s.exps.Name + "/time"}
	for {
		more := false
		err := s.cfg.Store.Update(ctx, func(tx store.Tx) error {
			for gone, err := range tx.Scan(bucketGone, store.Range{Limit: 1}) {
				if err != nil {
					return err
				}
				more = true
				left := batch
				for _, bucket := range buckets {
					var keys []string
					for e, err := range tx.Scan(bucket, store.Range{Prefix: gone.Key + "/", Limit: left}) {
						if err != nil {
							return err
						}
						keys = append(keys, e.Key)
					}
					for _, k := range keys {
						if err := tx.Delete(bucket, k); err != nil {
							return err
						}
					}
					if left -= len(keys); left == 0 {
						return nil
					}
				}
				return tx.Delete(bucketGone, gone.Key)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("remove the runs of deleted workspaces: %w", err)
		}
		if !more {
			return nil
		}
	}
}

// LatestMetrics returns the last value of each metric of a run, by name.
func (s *Service) LatestMetrics(tx store.Tx, workspace, name string) (map[string]float64, error) {
	points, err := latestMetrics(tx, runKey(workspace, name))
	if err != nil {
		return nil, fmt.Errorf("metrics of run %s: %w", name, err)
	}
	out := make(map[string]float64, len(points))
	for _, p := range points {
		out[p.Key] = float64(p.Value)
	}
	return out, nil
}

// ExperimentID returns the ID of the experiment that a run is in, or "".
func (s *Service) ExperimentID(tx store.Tx, workspace, name string) (string, error) {
	r, err := s.runs.Get(tx, runKey(workspace, name))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return r.Experiment, nil
}

// experimentNamed returns the experiment with a name, and makes it if need be.
func (s *Service) experimentNamed(tx store.Tx, ws, name string) (*experiment, error) {
	for e, err := range s.exps.By(tx, "name", store.Range{Prefix: store.Exact(ws + "/" + name), Limit: 1}) {
		return e, err
	}
	now := millis(s.cfg.Clock.Now())
	e := &experiment{Workspace: ws, ID: uuid.NewString(), Name: name, Stage: stageActive, Created: now, Updated: now}
	return e, s.exps.Put(tx, e)
}
