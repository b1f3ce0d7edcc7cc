package ml

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// readJob adds to a job's document what changes by itself.
func (s *Service) readJob(ctx context.Context, tx store.Tx, res *arm.Resource) error {
	r, err := s.runOf(tx, res)
	if err != nil {
		return err
	}
	ws, err := s.workspace(ctx, tx, res.ParsedID())
	if err != nil {
		return err
	}
	props := res.Body.Object("properties")
	status, waiting, err := s.statusNow(tx, r)
	if err != nil {
		return err
	}
	props.Set("status", string(status))
	props.Set("services", map[string]any{
		"Tracking": map[string]any{"jobServiceType": "Tracking", "endpoint": "azureml://" + ws.host() + "/mlflow/v1.0" + ws.path() + "?"},
		"Studio":   map[string]any{"jobServiceType": "Studio", "endpoint": "https://ml.azure.com/runs/" + r.Name + "?wsid=" + ws.path()},
	})
	// azure-ai-ml reads a job's logs and files from this output, and takes all
	// that follows the datastore's name for the path
	if props.Object("outputs") == nil {
		props.Set("outputs", map[string]any{})
	}
	props.Object("outputs")["default"] = map[string]any{
		"jobOutputType": "uri_folder", "mode": "ReadWriteMount",
		"uri": "azureml://datastores/workspaceartifactstore/" + artifactPrefix(r.Name),
	}
	params := map[string]any{}
	for name, v := range props.Object("inputs") {
		if in, ok := v.(map[string]any); ok && arm.Doc(in).String("jobInputType") == "literal" {
			params[name] = arm.Doc(in).Get("value")
		}
	}
	props.Set("parameters", params)
	if props.Object("properties") == nil {
		props.Set("properties", map[string]any{})
	}
	list := make([]any, len(r.Timeline))
	for i, m := range r.Timeline {
		list[i] = m.doc()
	}
	props.Set("timeline", list) // Azimuth's own: Azure shows it in the studio alone
	for name, v := range r.properties() {
		props.Object("properties")[name] = v
	}
	if r.Error != nil {
		// The ARM contract has no place for it: Azure shows it in the run's
		// details. It is repeated here so that one GET tells why a job failed.
		props.Set("error", map[string]any{"code": r.Error.Code, "message": r.Error.Message})
	}
	if waiting != "" {
		// run history's property of that name, repeated for the same reason
		props.Set("queueingInfo", map[string]any{"message": waiting})
	}
	return nil
}

// statusNow is the job's status, and why it waits if it does. A job whose nodes
// were taken away is queued again before the workload hears of it.
func (s *Service) statusNow(tx store.Tx, r *run) (status Status, waiting string, err error) {
	if r.Status.Terminal() {
		return r.Status, "", nil
	}
	item, err := s.compute.ItemStatus(tx, r.Item)
	if errors.Is(err, compute.ErrItemNotFound) {
		return r.Status, "", nil
	}
	if err != nil {
		return "", "", err
	}
	if item.Phase == compute.PhaseQueued && r.Status != CancelRequested {
		return Queued, item.Waiting, nil
	}
	return r.Status, "", nil
}

// Timeline returns when a job entered each status, in order. jobID is its ARM ID;
// the error wraps store.ErrNotFound when there is none.
func (s *Service) Timeline(tx store.Tx, jobID string) ([]Moment, error) {
	job, err := s.kernel.Resources().Get(tx, jobID)
	if err != nil {
		return nil, fmt.Errorf("timeline of job %s: %w", jobID, err)
	}
	r, err := s.runOf(tx, job)
	if err != nil {
		return nil, err
	}
	return r.Timeline, nil
}

// properties are what the service adds to a job's properties, all strings. The
// two times are seen in the service's answers and documented nowhere.
func (r *run) properties() map[string]string {
	const form = "2006-01-02 15:04:05"
	out := map[string]string{"_azureml.ComputeTargetType": "amlctrain"}
	if r.Pipeline != nil && r.Pipeline.Sweep != nil {
		if best := r.Pipeline.best(); best != nil {
			out["best_child_run_id"] = best.Run // azure-ai-ml downloads it
		}
	}
	if r.Pipeline != nil {
		delete(out, "_azureml.ComputeTargetType") // what it is for a pipeline is not known
	}
	if r.Parent != "" {
		out["azureml.moduleName"] = r.Step // azure-ai-ml finds a step by it
		out["azimuth.parentJob"], out["azimuth.step"] = r.ParentName, r.Step
	}
	set := func(name string, t time.Time) {
		if !t.IsZero() {
			out[name] = t.UTC().Format(form)
		}
	}
	set("StartTimeUtc", r.Started)
	set("EndTimeUtc", r.Ended)
	// Azimuth's own
	if r.Attempt > 0 {
		out["azimuth.attempts"] = strconv.Itoa(r.Attempt)
	}
	if r.Preemptions > 0 {
		out["azimuth.preemptions"] = strconv.Itoa(r.Preemptions)
	}
	return out
}
