package ml

import (
	"fmt"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Observer is told what becomes of jobs.
type Observer interface {
	// JobMoved says that a job has entered a status, in the transaction that makes
	// it so.
	JobMoved(tx store.Tx, m JobMove) error
}

// JobMove is a status that a job has entered.
type JobMove struct {
	// Workspace is the ARM ID of the workspace and Name the job's name. Parent is the
	// name of the pipeline or sweep that the job is a step of, or "".
	Workspace, Name, Parent string
	// Experiment is the name of its experiment.
	Experiment string
	// Status is what it entered, Reason why, where there is something to say.
	Status Status
	Reason string
	// Compute is the ARM ID of the compute, or "".
	Compute string
	// Submitter is who created the job.
	Submitter arm.Caller
	// At is when. Created, Started and Ended are zero when they have not come.
	At, Created, Started, Ended time.Time
	// Error is why the job failed or was canceled; nil for nothing.
	Error *Failure
}

// putRun stores a run and tells the statuses that it has entered since it was
// read.
func (s *Service) putRun(tx store.Tx, r *run) error {
	if err := s.runs.Put(tx, r); err != nil {
		return err
	}
	moves := r.moves
	r.moves = nil
	if s.cfg.Observer == nil {
		return nil
	}
	id, err := arm.ParseID(r.Job)
	if err != nil {
		return fmt.Errorf("run of %s: %w", r.Job, err)
	}
	for i, status := range moves {
		// the last of the timeline are these
		at := r.Timeline[len(r.Timeline)-min(len(moves)-i, len(r.Timeline))]
		m := JobMove{
			Workspace: id.Parent().String(), Name: r.Name, Parent: r.ParentName, Experiment: r.ExperimentName, Status: status, Reason: at.Reason,
			Compute: r.Compute, Submitter: r.Submitter, At: at.At, Created: r.Created, Started: r.Started, Error: r.Error,
		}
		if status.Terminal() {
			m.Ended = r.Ended
		}
		if err := s.cfg.Observer.JobMoved(tx, m); err != nil {
			return fmt.Errorf("tell that job %s is %s: %w", r.Name, status, err)
		}
	}
	return nil
}
