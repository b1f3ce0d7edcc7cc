package ml

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A pipeline has no process of its own and nobody watches it. Its steps are child
// jobs like any other, and the transaction that ends one is the one that submits
// those that waited for it, or ends the pipeline. So a crash at any moment leaves
// it between two steps, and what has ended is never looked at again.

// pipelineState is how far a pipeline is.
type pipelineState struct {
	// Continue says that a failed step stops only those that read from it.
	Continue bool `json:"continue,omitempty"`
	// Reruns says that Azure could have taken results of an earlier run for some steps.
	Reruns bool `json:"reruns,omitempty"`
	// Steps come after those that they read from.
	Steps []stepState `json:"steps"`
	// Sweep is set for a sweep job, whose steps are its trials.
	Sweep *sweepState `json:"sweep,omitempty"`
}

// kind is the type of job, step what its children are called in texts.
func (p *pipelineState) kind() string {
	if p.Sweep != nil {
		return "Sweep"
	}
	return "Pipeline"
}

func (p *pipelineState) step() string {
	if p.Sweep != nil {
		return "Trial"
	}
	return "Step"
}

type stepState struct {
	Name string `json:"name"`
	// Run is the name of the child job, Item its ID for compute once it was
	// submitted.
	Run   string   `json:"run"`
	Item  string   `json:"item,omitempty"`
	Reads []string `json:"reads,omitempty"`
	// Status is "" for a step that waits, Running from its submission on, and then
	// how it ended; skipped when it never ran.
	Status    Status    `json:"status,omitempty"`
	Submitted time.Time `json:"submitted,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	// Error is why it did not complete.
	Error string `json:"error,omitempty"`
	// Nested is set for a step that has steps of its own: a pipeline or a sweep.
	Nested bool `json:"nested,omitempty"`
	// Exports are the outputs of a sweep that are outputs of the pipeline, too, by
	// their names there.
	Exports map[string]string `json:"exports,omitempty"`
	// Values are what a trial of a sweep is given, Metric what it reached.
	Values map[string]string `json:"values,omitempty"`
	Metric *float64          `json:"metric,omitempty"`
}

// skipped is the status of a step that will not run.
const skipped Status = "NotStarted"

// pipelineLog is the log of a pipeline, by the name that azure-ai-ml looks for.
const pipelineLog = "logs/azureml/executionlogs.txt"

// putPipeline completes a new pipeline job and submits its first steps, all in
// the write transaction.
func (s *Service) putPipeline(ctx context.Context, p *arm.Put, props arm.Doc) error {
	completeJob(props, p.ID.Name())
	props.Default("settings", map[string]any{})
	plan, err := s.planPipeline(ctx, p, props, nil)
	if err != nil {
		return err
	}
	return s.openSteps(ctx, p, props, plan.state(p.Resource), pipelineLog)
}

// state is that of the pipeline's run. It puts what the jobs of the steps are in the
// resource.
func (plan *pipelinePlan) state(res *arm.Resource) *pipelineState {
	state, bodies := &pipelineState{Continue: plan.Continue, Reruns: plan.Reruns}, map[string]any{}
	for _, st := range plan.Steps {
		state.Steps = append(state.Steps, stepState{Name: st.Name, Run: st.Run, Reads: st.Reads, Exports: st.Exports})
		bodies[st.Name] = map[string]any(st.Body)
	}
	res.Private["steps"] = bodies
	return state
}

// putSweep completes a new sweep job and submits its first trials, all in the
// write transaction.
func (s *Service) putSweep(ctx context.Context, p *arm.Put, props arm.Doc) error {
	completeJob(props, p.ID.Name())
	state, body, err := s.planSweep(ctx, p, props, nil)
	if err != nil {
		return err
	}
	p.Resource.Private["trial"] = map[string]any(body)
	return s.openSteps(ctx, p, props, state, sweepLog)
}

// openSteps makes the run of a job that has steps, and submits the first.
func (s *Service) openSteps(ctx context.Context, p *arm.Put, props arm.Doc, state *pipelineState, log string) error {
	ws := workspaceOf(p.Parent)
	r := &run{
		Item: itemID(p.Resource), Job: p.Resource.ID, Name: p.ID.Name(), Workspace: ws.UID, Submitter: p.Caller, Created: p.Now,
		Logs: []string{log}, Pipeline: state,
	}
	if err := r.move(eventOpen, p.Now); err != nil {
		return err
	}
	r.copyListed(props)
	if err := s.track(p.Tx, r, props, nil); err != nil {
		return err
	}
	err := s.tracking.UpdateJobRun(p.Tx, r.Workspace, r.Name, mlflow.JobUpdate{Status: mlflow.StatusRunning, Start: p.Now})
	if err != nil {
		return err
	}
	for i := range r.Pipeline.Steps {
		st := &r.Pipeline.Steps[i]
		if len(st.Reads) > 0 || r.Pipeline.full() {
			continue
		}
		if err := s.submitStep(ctx, p.Tx, r, p.Resource, st, p.Now); err != nil {
			return inStep(err, "properties.jobs."+st.Name)
		}
	}
	if err := s.putRun(p.Tx, r); err != nil {
		return err
	}
	s.deadlineChanged()
	p.After(func() { s.writePipelineLog(context.WithoutCancel(ctx), ws.Account, r.Item) })
	return nil
}

// completeJob adds what any job with steps has, and removes what is computed.
func completeJob(props arm.Doc, name string) {
	props.Delete("status")
	props.Delete("error")
	props.Delete("services")
	props.Default("experimentName", mlflow.DefaultExperiment)
	props.Default("displayName", name)
	props.Default("isArchived", false)
}

// full says that no more trials may run at once.
func (p *pipelineState) full() bool {
	if p.Sweep == nil {
		return false
	}
	n := 0
	for _, st := range p.Steps {
		if st.Status == Running {
			n++
		}
	}
	return n >= p.Sweep.Concurrent
}

// track makes the run of a new job.
func (s *Service) track(tx store.Tx, r *run, props arm.Doc, tags map[string]string) error {
	all := stringsOf(props.Object("tags"))
	for k, v := range tags {
		all[k] = v
	}
	watch := ""
	if r.Policy != nil {
		watch = r.Item
	}
	experiment, err := s.tracking.CreateJobRun(tx, mlflow.Job{
		Workspace: r.Workspace, Name: r.Name, Experiment: props.String("experimentName"), DisplayName: props.String("displayName"),
		User: r.Submitter.Name, Created: r.Created, Tags: all, Watch: watch,
	})
	var taken *mlflow.Error
	if errors.As(err, &taken) {
		return arm.Errorf(409, "Conflict", "There is a run with the ID '%s' in the workspace that is no job; job names and run IDs are one.", r.Name)
	}
	r.Experiment, r.ExperimentName = experiment, props.String("experimentName")
	return err
}

// submitStep makes the child job of a step and queues it. A refusal, which is an
// *arm.Error, has changed nothing.
func (s *Service) submitStep(ctx context.Context, tx store.Tx, r *run, parent *arm.Resource, st *stepState, now time.Time) error {
	var props arm.Doc
	var err error
	if r.Pipeline.Sweep != nil {
		props, err = s.trial(tx, r, parent, st, now)
	} else {
		props, err = stepBody(parent, st.Name)
	}
	if err != nil {
		return err
	}
	ws, err := s.kernel.Resources().Get(tx, parent.ParsedID().Parent().String())
	if err != nil {
		return fmt.Errorf("read workspace: %w", err)
	}
	child := &arm.Resource{
		ID: parent.ParsedID().Parent().Child("jobs", st.Run).String(), UID: uuid.NewString(), ETag: uuid.NewString(), Created: now, Modified: now,
		CreatedBy: parent.CreatedBy, ModifiedBy: parent.CreatedBy, Private: arm.Doc{}, Body: arm.Doc{"properties": map[string]any(props)},
	}
	c := &run{
		Item: itemID(child), Job: child.ID, Name: st.Run, Workspace: r.Workspace,
		Submitter: r.Submitter, Created: now, Parent: r.Item, ParentName: r.Name, Step: st.Name,
	}
	if root := r.root(); root != r.Name {
		c.Root = root
	}
	if props.String("jobType") != "Command" {
		return s.openNested(ctx, tx, st, c, child, ws)
	}
	spec, err := readSpec(props)
	if err != nil {
		return err
	}
	c.Compute = spec.Compute
	if err := s.enqueue(tx, c, workspaceOf(ws), spec); err != nil {
		return err
	}
	if err := c.move(eventSubmit, now); err != nil {
		return err
	}
	if w := r.Pipeline.Sweep; w != nil {
		c.Policy = w.Policy
	}
	c.copyListed(props)
	// the tags by which MLflow's clients find the parent of a run
	if err := s.track(tx, c, props, map[string]string{"mlflow.parentRunId": r.Name}); err != nil {
		return fmt.Errorf("make the run of step %s: %s", st.Name, err)
	}
	if err := s.kernel.Resources().Put(tx, child); err != nil {
		return err
	}
	if err := s.putRun(tx, c); err != nil {
		return err
	}
	st.Item, st.Status, st.Submitted = c.Item, Running, now
	return nil
}

// stepEnded takes a pipeline on, in the transaction that ended one of its steps.
func (s *Service) stepEnded(ctx context.Context, tx store.Tx, child *run, now time.Time) error {
	r, err := s.runs.Get(tx, child.Parent)
	if errors.Is(err, store.ErrNotFound) || err == nil && (r.Deleted || r.Status.Terminal()) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pipeline of step %s: %w", child.Step, err)
	}
	for i := range r.Pipeline.Steps {
		st := &r.Pipeline.Steps[i]
		if st.Item != child.Item || st.Status.Terminal() {
			continue
		}
		if err := s.settle(tx, r, st, child, now); err != nil {
			return err
		}
	}
	if err := s.advance(ctx, tx, r, now); err != nil {
		return fmt.Errorf("pipeline %s: %w", r.Name, err)
	}
	if err := s.putRun(tx, r); err != nil {
		return err
	}
	if r.Parent != "" && r.Status.Terminal() {
		return s.stepEnded(ctx, tx, r, now)
	}
	return nil
}

// settle writes down how a step ended.
func (s *Service) settle(tx store.Tx, r *run, st *stepState, child *run, now time.Time) error {
	st.Status, st.Ended = child.Status, now
	if child.Error != nil {
		st.Error = child.Error.Message
	}
	if r.Pipeline.Sweep != nil {
		metrics, err := s.tracking.LatestMetrics(tx, r.Workspace, st.Run)
		if err != nil {
			return fmt.Errorf("metrics of trial %s: %w", st.Run, err)
		}
		if v, ok := metrics[r.Pipeline.Sweep.Metric]; ok && v-v == 0 { // JSON has no NaN and no infinity
			st.Metric = &v
		}
	}
	if child.Pipeline != nil && child.Pipeline.Sweep != nil {
		return s.bestOutputs(tx, r, st, child)
	}
	return nil
}

// advance submits the steps that can start now, skips those that cannot any more,
// and ends the pipeline when nothing is left to run.
func (s *Service) advance(ctx context.Context, tx store.Tx, r *run, now time.Time) error {
	parent, err := s.kernel.Resources().Get(tx, r.Job)
	if err != nil {
		return err
	}
	steps := r.Pipeline.Steps
	if w := r.Pipeline.Sweep; w != nil && !w.Deadline.IsZero() && !now.Before(w.Deadline) && r.Status == Running && slices.ContainsFunc(steps, stepState.open) {
		// "Once this limit is reached, the system cancels the sweep job, including
		// all its trials", says Azure's reference.
		r.Error = &Failure{"JobTimeout", "The sweep ran for longer than its timeout. It was canceled."}
		if err := r.move(eventCancel, now); err != nil {
			return err
		}
	}
	for again := true; again; {
		again = false
		stop := r.Status == CancelRequested || !r.Pipeline.Continue && slices.ContainsFunc(steps, stepState.failed)
		for i := range steps {
			st := &steps[i]
			if st.Status != "" {
				continue
			}
			switch ready, lost := r.Pipeline.inputs(st); {
			case stop || lost:
				st.Status = skipped
			case ready && !r.Pipeline.full():
				err := s.submitStep(ctx, tx, r, parent, st, now)
				var refused *arm.Error
				if errors.As(err, &refused) {
					st.Status, st.Ended, st.Error = Failed, now, refused.Message
					again = true // those before it may have to be stopped
				} else if err != nil {
					return err
				}
				again = again || st.failed() // a nested one that could not begin
			}
		}
		if stop {
			ended, err := s.stopSteps(ctx, tx, r, now)
			if err != nil {
				return err
			}
			again = again || ended
		}
	}
	if slices.ContainsFunc(steps, stepState.open) {
		return nil
	}
	return s.endPipeline(tx, r, now)
}

// open says that a step has not ended.
func (st stepState) open() bool { return st.Status == "" || st.Status == Running }

func (st stepState) failed() bool { return st.Status == Failed || st.Status == Canceled }

// inputs says whether all that a step reads is there, or will never be.
func (p *pipelineState) inputs(st *stepState) (ready, lost bool) {
	ready = true
	for _, from := range p.Steps {
		if !slices.Contains(st.Reads, from.Name) || from.Status == Completed {
			continue
		}
		ready = false
		lost = lost || from.failed() || from.Status == skipped
	}
	return ready, lost
}

// stopSteps asks that the steps that run end. It reports whether one has ended by that:
// one with steps of its own, of which none ran.
func (s *Service) stopSteps(ctx context.Context, tx store.Tx, r *run, now time.Time) (ended bool, err error) {
	for i := range r.Pipeline.Steps {
		st := &r.Pipeline.Steps[i]
		if st.Status != Running {
			continue
		}
		c, err := s.runs.Get(tx, st.Item)
		if errors.Is(err, store.ErrNotFound) || err == nil && c.Status.Terminal() {
			continue
		}
		if err != nil {
			return false, err
		}
		if err := s.cancelIn(ctx, tx, c, now); err != nil {
			return false, err
		}
		if c.Status.Terminal() {
			ended = true
			if err := s.settle(tx, r, st, c, now); err != nil {
				return false, err
			}
		}
	}
	return ended, nil
}

// cancelIn asks that a job end.
func (s *Service) cancelIn(ctx context.Context, tx store.Tx, r *run, now time.Time) error {
	if err := r.move(eventCancel, now); err != nil {
		return err
	}
	if r.Pipeline != nil {
		if err := s.advance(ctx, tx, r, now); err != nil {
			return err
		}
		return s.putRun(tx, r)
	}
	if err := s.putRun(tx, r); err != nil {
		return err
	}
	// what compute does not know any more is being finished by it
	if err := s.compute.CancelIn(tx, r.Item); err != nil && !errors.Is(err, compute.ErrItemDone) {
		return err
	}
	return nil
}

// endPipeline ends a pipeline of which nothing is left to run.
func (s *Service) endPipeline(tx store.Tx, r *run, now time.Time) error {
	e, status := eventComplete, mlflow.StatusFinished
	var failed []string
	why := ""
	for _, st := range r.Pipeline.Steps {
		if !st.failed() {
			continue
		}
		failed = append(failed, "'"+st.Name+"'")
		if why == "" && st.Error != "" {
			why = fmt.Sprintf(" Step '%s' (%s): %s", st.Name, st.Run, st.Error)
		}
	}
	if r.Pipeline.Sweep != nil && slices.ContainsFunc(r.Pipeline.Steps, func(st stepState) bool { return st.Status == Completed }) {
		failed = nil // one trial is enough; what Azure makes of some that fail is not known
	}
	complete := !slices.ContainsFunc(r.Pipeline.Steps, func(st stepState) bool { return st.Status != Completed })
	switch {
	case r.Status == CancelRequested && !complete:
		e, status = eventStop, mlflow.StatusKilled
	case len(failed) > 0: // the text is Azimuth's
		e, status = eventFail, mlflow.StatusFailed
		r.Error = &Failure{"UserError", "The pipeline failed: of its steps, " + strings.Join(failed, ", ") + " did not complete." + why}
		if r.Pipeline.Sweep != nil {
			r.Error.Message = "The sweep failed: none of its trials completed." + strings.Replace(why, " Step ", " Trial ", 1)
		}
	}
	if err := dropTrials(tx, r.Item); err != nil {
		return err
	}
	if err := r.move(eventCollect, now); err != nil {
		return err
	}
	if err := r.move(e, now); err != nil {
		return err
	}
	s.log.Info("pipeline ended", "job", r.Job, "status", string(r.Status))
	return s.tracking.UpdateJobRun(tx, r.Workspace, r.Name, mlflow.JobUpdate{Status: status, End: now})
}

// deleteSteps removes the child jobs of a pipeline that has ended.
func (s *Service) deleteSteps(ctx context.Context, d *arm.Delete, r *run) error {
	res := s.kernel.Resources()
	for _, st := range r.Pipeline.Steps {
		id := d.Resource.ParsedID().Parent().Child("jobs", st.Run)
		child, err := res.Get(d.Tx, id.Key())
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		one := *d
		one.Resource = child
		if err := s.deleteJob(ctx, &one); err != nil {
			return err
		}
		if err := res.Remove(d.Tx, id.Key()); err != nil {
			return err
		}
	}
	return nil
}

// log is what a pipeline's log says: which step went when. The form is Azimuth's.
func (p *pipelineState) log(r *run) []byte {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	if p.Reruns {
		lines = append(lines, line{r.Created, "Each step runs, as with force_rerun: results of earlier runs are not reused here. Azure would reuse those of a step that is the same and reads the same."})
	}
	for _, st := range p.Steps {
		if !st.Submitted.IsZero() {
			text := fmt.Sprintf("%s %s: submitted as job %s.", p.step(), st.Name, st.Run)
			if st.Values != nil {
				text += " " + st.values()
			}
			lines = append(lines, line{st.Submitted, text})
		}
		if !st.Ended.IsZero() {
			text := fmt.Sprintf("%s %s: %s.", p.step(), st.Name, st.Status)
			if st.Metric != nil {
				text += fmt.Sprintf(" %s=%v", p.Sweep.Metric, *st.Metric)
			}
			if st.Error != "" {
				text += " " + strings.ReplaceAll(st.Error, "\n", "\n  ")
			}
			lines = append(lines, line{st.Ended, text})
		}
	}
	if r.Status.Terminal() {
		for _, st := range p.Steps {
			if st.Status == skipped {
				lines = append(lines, line{r.Ended, fmt.Sprintf("%s %s: not run.", p.step(), st.Name)})
			}
		}
		lines = append(lines, line{r.Ended, fmt.Sprintf("The %s ended: %s.", strings.ToLower(p.kind()), r.Status)})
		if p.Sweep != nil && p.best() != nil {
			lines = append(lines, line{r.Ended, fmt.Sprintf("The best trial is %s: %s.", p.best().Run, p.best().values())})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var out bytes.Buffer
	for _, l := range lines {
		fmt.Fprintf(&out, "[%s] %s\n", l.at.UTC().Format("2006-01-02 15:04:05Z"), l.text)
	}
	return out.Bytes()
}

// writePipelineLog writes a pipeline's log as it is now. The pipeline does not
// depend on it: what cannot be written is logged. It returns the item of the pipeline
// that this one is a step of, or "".
func (s *Service) writePipelineLog(ctx context.Context, account, item string) (parent string) {
	s.pipelineLogs.Lock() // so that no older log is written over a newer one
	defer s.pipelineLogs.Unlock()
	return s.writeLogs(ctx, account, item)
}

func (s *Service) writeLogs(ctx context.Context, account, item string) (parent string) {
	var r *run
	err := s.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
		r, err = s.runs.Get(tx, item)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && r.Deleted {
		return ""
	}
	if err == nil {
		parent = r.Parent
		if err = s.cfg.Blobs.EnsureContainer(ctx, account, artifactContainer); err == nil {
			_, err = s.cfg.Blobs.PutBlob(ctx, account, artifactContainer, artifactPrefix(r.Name)+"/"+r.Logs[0],
				bytes.NewReader(r.Pipeline.log(r)), blob.Headers{ContentType: contentType(r.Logs[0])})
		}
	}
	if err != nil {
		s.log.Warn("write the log of a pipeline", "item", item, "error", err)
		return ""
	}
	for _, st := range r.Pipeline.Steps {
		if st.Nested && st.Status == Running { // it may have just begun
			s.writeLogs(ctx, account, st.Item)
		}
	}
	return parent
}

// logStep writes the log of the pipeline that a job is a step of.
func (s *Service) logStep(ctx context.Context, r *run) {
	if r.Parent != "" && !r.Deleted {
		s.logFrom(ctx, r, r.Parent)
	}
}

// logPipeline writes the log of a pipeline and of those that it is in.
func (s *Service) logPipeline(ctx context.Context, r *run) { s.logFrom(ctx, r, r.Item) }

// logFrom writes the log of the pipeline that an item is, in the workspace of r, and of
// those that it is in.
func (s *Service) logFrom(ctx context.Context, r *run, item string) {
	var account string
	err := s.cfg.Store.View(ctx, func(tx store.Tx) error {
		job, err := arm.ParseID(r.Job)
		if err != nil {
			return err
		}
		ws, err := s.workspace(ctx, tx, job)
		if err == nil {
			account = ws.Account
		}
		return err
	})
	if err != nil {
		s.log.Warn("find the log of a pipeline", "job", r.Job, "error", err)
		return
	}
	for item != "" {
		item = s.writePipelineLog(ctx, account, item)
	}
}
