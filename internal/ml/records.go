package ml

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// run is what is known of a job besides what its ARM resource says. It outlives
// the resource while the job is being ended.
type run struct {
	// Item is the job's ID for compute: see itemID.
	Item string `json:"item"`
	// Job is the ARM ID, Name its last segment.
	Job  string `json:"job"`
	Name string `json:"name"`
	// Workspace is the workspace's UID, Compute the ARM ID of the compute, or "".
	Workspace string `json:"ws"`
	Compute   string `json:"compute"`
	// Pool is the pool of serverless compute that the job is in, and Size the VM size
	// of its nodes. Both are empty for a job with a compute.
	Pool string `json:"pool,omitempty"`
	Size string `json:"size,omitempty"`
	// Policy may stop the job early, if it is a trial of a sweep that has one, and
	// StopReason then says why it did.
	Policy     *earlyPolicy `json:"policy,omitempty"`
	StopReason string       `json:"stopReason,omitempty"`
	// Notes are said at the top of the job's log.
	Notes []string `json:"notes,omitempty"`
	// Submitter is who created the job.
	Submitter arm.Caller `json:"submitter"`
	// Experiment is the ID of the experiment that the run is in, ExperimentName its
	// name when the job was submitted.
	Experiment     string `json:"experiment"`
	ExperimentName string `json:"experimentName,omitempty"`
	// Archived, JobType and Tags are copies for lists.
	Archived bool     `json:"archived,omitempty"`
	Tags     []string `json:"tags,omitempty"`

	Status   Status    `json:"status"`
	Timeline []Moment  `json:"timeline"`
	Created  time.Time `json:"created"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	// Error is why a job failed or was canceled.
	Error *Failure `json:"error,omitempty"`

	// Attempt is how often the job got nodes. Tasks are those of this attempt.
	Attempt int `json:"attempt,omitempty"`
	// Preemptions counts the attempts that ended because nodes were taken away.
	Preemptions int    `json:"preemptions,omitempty"`
	Tasks       []task `json:"tasks,omitempty"`
	// Logs are the names of the logs that there are, such as user_logs/std_log.txt.
	Logs []string `json:"logs,omitempty"`
	// Pipeline is set for a pipeline or sweep job, which compute does not know.
	Pipeline *pipelineState `json:"pipeline,omitempty"`
	// Parent is the item ID of the pipeline that the job is a step of, ParentName
	// its name, and Step the step's.
	Parent     string `json:"parent,omitempty"`
	ParentName string `json:"parentName,omitempty"`
	Step       string `json:"step,omitempty"`
	// Root is the name of the job that the pipeline belongs to in the end, where that
	// is not the pipeline itself.
	Root string `json:"root,omitempty"`
	// Deleted says that the resource is gone, and this record goes when the job
	// has ended.
	Deleted bool `json:"deleted,omitempty"`

	// moves are the statuses that it entered since it was read: putRun tells them.
	moves []Status
}

// Failure is why a job did not complete.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// task is one process of the job's command, or the one there is.
type task struct {
	Node string `json:"node"`
	// Rank is among all processes of the job, NodeRank among its nodes.
	Rank     int `json:"rank"`
	NodeRank int `json:"nodeRank,omitempty"`
	// Root is the directory that belongs to the job on that node.
	Root string `json:"root"`
	// Log is the local log file, LogName the name it has in the job, and Base how
	// long the log was when the attempt began.
	Log     string `json:"log"`
	LogName string `json:"logName"`
	Base    int64  `json:"base,omitempty"`
}

const (
	byList = "list"
	viewA  = "a" // active
	viewZ  = "z" // archived
	viewX  = "x" // all
	// viewPipeline and viewSweep are added to the views of such jobs alone.
	viewPipeline = "p"
	viewSweep    = "s"
)

func runRecords() store.Collection[run] {
	return store.Collection[run]{
		Name: "ml.run",
		Key:  func(r *run) string { return r.Item },
		Indexes: map[string]func(*run) []string{
			// newest first, by view, and by view and tag
			byList: func(r *run) []string {
				if r.Deleted || r.Parent != "" {
					return nil // steps are listed with their pipeline
				}
				view := viewA
				if r.Archived {
					view = viewZ
				}
				var out []string
				views := []string{view, viewX}
				if r.Pipeline != nil {
					kind := viewPipeline
					if r.Pipeline.Sweep != nil {
						kind = viewSweep
					}
					views = append(views, view+kind, viewX+kind)
				}
				for _, v := range views {
					out = append(out, listEntry(r.Workspace, v, "")+r.sortKey())
					for _, t := range r.Tags {
						out = append(out, listEntry(r.Workspace, v, t)+r.sortKey())
					}
				}
				return out
			},
			byDeadline: (*run).deadline,
		},
	}
}

func listEntry(ws, view, tag string) string {
	if tag == "" {
		return ws + "\x01" + view + "\x01"
	}
	return ws + "\x01" + view + "#" + tag + "\x01"
}

// sortKey sorts the newest first.
func (r *run) sortKey() string { return newestFirst(r.Created) }

func newestFirst(t time.Time) string { return fmt.Sprintf("%020d", ^uint64(t.UnixNano())) }

// itemID is the ID that a job has for compute. It holds the resource's UID, so
// that a job that is made again under an old name, in a workspace that is made
// again perhaps, is another item. Its last segment is the job's name.
func itemID(job *arm.Resource) string {
	id := job.ParsedID()
	return id.Parent().Key() + "/jobs/" + job.UID + "/" + strings.ToLower(id.Name())
}

// runOf returns the record of a job.
func (s *Service) runOf(tx store.Tx, job *arm.Resource) (*run, error) {
	r, err := s.runs.Get(tx, itemID(job))
	if err != nil {
		return nil, fmt.Errorf("state of job %s: %w", job.ID, err)
	}
	return r, nil
}

// errGone says that a job was deleted while compute still knew it.
var errGone = errors.New("the job was deleted")

// update changes the record of an item in a transaction of its own.
func (s *Service) update(ctx context.Context, item string, change func(tx store.Tx, r *run) error) error {
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		r, err := s.runs.Get(tx, item)
		if errors.Is(err, store.ErrNotFound) {
			return errGone
		}
		if err != nil {
			return err
		}
		if err := change(tx, r); err != nil {
			return err
		}
		return s.putRun(tx, r)
	})
}
