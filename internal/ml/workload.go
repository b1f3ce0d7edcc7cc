package ml

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/environment"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// execution is all that executing a job needs to know of it.
type execution struct {
	run  *run
	spec *jobSpec
	ws   *workspace
	job  *arm.Resource
	// cluster is what the job's managed identities are of: its compute, or the
	// workspace for a serverless job.
	cluster *arm.Resource
	env     *arm.Resource
	pool    compute.Pool
	code    *place // nil without code
	inputs  map[string]*place
	outputs map[string]*place
	// prepared is the environment's conda file, if it has one.
	prepared *environment.Environment
	// image is the container image that the job runs in, if it does.
	image string
	// node is the first of its nodes.
	node string
}

// load reads a job for its execution. When only its results are to be collected,
// what it ran on and in may be gone.
func (s *Service) load(ctx context.Context, item string, collect bool) (x *execution, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
		x = &execution{inputs: map[string]*place{}, outputs: map[string]*place{}}
		if x.run, err = s.runs.Get(tx, item); errors.Is(err, store.ErrNotFound) || err == nil && x.run.Deleted {
			return errGone
		}
		if err != nil {
			return err
		}
		res := s.kernel.Resources()
		if x.job, err = res.Get(tx, x.run.Job); err != nil {
			return fmt.Errorf("read job: %w", err)
		}
		id := x.job.ParsedID()
		parent, err := s.kernel.Load(ctx, tx, id.Parent())
		if err != nil {
			return err
		}
		x.ws = workspaceOf(parent)
		if x.spec, err = readSpec(x.job.Body.Object("properties")); err != nil {
			return err
		}
		if x.run.Pool != "" {
			x.cluster = parent
		} else {
			x.cluster, err = res.Get(tx, x.run.Compute)
		}
		if collect && errors.Is(err, store.ErrNotFound) {
			x.cluster, err = &arm.Resource{Body: arm.Doc{}}, nil
		}
		if err != nil {
			return fmt.Errorf("read compute: %w", err)
		}
		if !collect {
			if err := s.loadInputs(ctx, tx, x, parent); err != nil {
				return err
			}
		}
		for name, out := range x.spec.Outputs {
			if x.outputs[name], err = s.locate(ctx, tx, x.ws, out.URI); err != nil {
				return fmt.Errorf("find output %s: %w", name, err)
			}
		}
		return nil
	})
	return x, err
}

// loadInputs reads what a job needs to begin.
func (s *Service) loadInputs(ctx context.Context, tx store.Tx, x *execution, parent *arm.Resource) error {
	pool, err := s.compute.PoolStatus(tx, x.run.pool())
	if err != nil {
		return err
	}
	x.pool = pool.Pool
	if x.env, err = s.environmentOf(ctx, tx, parent, x.spec.Environment); err != nil {
		return err
	}
	if x.spec.Code != "" {
		code, err := s.kernel.Resources().Get(tx, x.spec.Code)
		if err != nil {
			return fmt.Errorf("read code version: %w", err)
		}
		if x.code, err = s.locate(ctx, tx, x.ws, code.Body.String("properties.codeUri")); err != nil {
			return fmt.Errorf("find code: %w", err)
		}
	}
	for name, in := range x.spec.Inputs {
		if in.Type != "literal" {
			if x.inputs[name], err = s.locate(ctx, tx, x.ws, in.URI); err != nil {
				return fmt.Errorf("find input %s: %w", name, err)
			}
		}
	}
	return nil
}

// identity is the one with whose rights the job reaches data that has no
// credentials of its own: the submitter's for UserIdentity, else the compute's.
func (x *execution) identity() (principal, grant string) {
	ids := identities(x.cluster, x.run.Pool != "")
	if x.run.Pool != "" && x.spec.Identity != "Managed" {
		ids = nil // a serverless job has one only where it asks for one
	}
	for _, id := range ids {
		if x.spec.IdentityClient == "" || strings.EqualFold(id.Client, x.spec.IdentityClient) {
			grant = id.Principal
			break
		}
	}
	if x.spec.Identity == "UserIdentity" {
		return x.run.Submitter.ObjectID, grant
	}
	return grant, grant
}

// The directories of a job on a node, below the job's root there. They are laid
// out as in the logs of Azure ML's own jobs.
const (
	dirWork = "exe/wd"
	dirData = "cap/data-capability/wd"
	dirLogs = "exe/user_logs"
	dirHome = "home"
	dirTemp = "tmp"
)

// Prepare implements compute.Workload. Nothing of the attempt runs yet when it is
// called, so what an interrupted call left is removed and made again.
func (s *Service) Prepare(ctx context.Context, item compute.Item, nodes []compute.Node) (specs []compute.TaskSpec, err error) {
	x, err := s.load(ctx, item.ID, false)
	if err != nil {
		return nil, plain(err)
	}
	if x.run.Attempt != item.Attempt {
		s.endAttempt(ctx, x) // what the earlier one wrote to its logs
	}
	x.run.Attempt = item.Attempt
	err = s.update(ctx, item.ID, func(_ store.Tx, r *run) error {
		if r.Attempt != item.Attempt {
			r.Attempt, r.Tasks = item.Attempt, nil
		}
		return r.move(eventPrepare, s.cfg.Clock.Now())
	})
	if err != nil {
		return nil, err
	}
	if len(nodes) > 0 {
		x.node = nodes[0].ID
	}
	if err := s.checkNetwork(ctx, x, nodes); err != nil {
		return nil, err
	}
	roots := make([]string, len(nodes))
	defer func() {
		for _, root := range roots {
			if err != nil && root != "" {
				_ = os.RemoveAll(root) // the error that there is says more
			}
		}
	}()
	g, gctx := errgroup.WithContext(ctx)
	for i, n := range nodes {
		if n.Info.Dir == "" {
			_ = g.Wait()
			return nil, fmt.Errorf("node %s has no directory on this machine, so the job's files cannot be brought there", n.ID)
		}
		uid := x.job.UID
		roots[i] = filepath.Join(n.Info.Dir, "cr", "j", fmt.Sprintf("%s-%d", strings.ReplaceAll(uid, "-", "")[:min(16, len(uid)-4)], item.Attempt))
		g.Go(func() error { return s.fill(gctx, x, roots[i]) })
	}
	if err := g.Wait(); err != nil {
		return nil, plain(err)
	}
	if err := s.prepareEnvironment(ctx, x, item, roots[0]); err != nil {
		return nil, plain(err)
	}
	tasks, err := s.openLogs(ctx, x, nodes, roots)
	if err != nil {
		return nil, err
	}
	specs, err = s.commands(ctx, x, item, nodes, tasks)
	if err != nil {
		return nil, plain(err)
	}
	err = s.update(ctx, item.ID, func(_ store.Tx, r *run) error {
		r.Tasks = tasks
		for _, t := range tasks {
			if !slices.Contains(r.Logs, t.LogName) {
				r.Logs = append(r.Logs, t.LogName)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return specs, nil
}

// plain is an error whose text is fit for the job's owner.
func plain(err error) error {
	var e *arm.Error
	if errors.As(err, &e) {
		return errors.New(e.Message)
	}
	return err
}

// fill brings everything that the command needs to one node's root.
func (s *Service) fill(ctx context.Context, x *execution, root string) error {
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("clear the job's directory: %w", err)
	}
	for _, d := range []string{dirWork + "/outputs", dirWork + "/logs", dirData, dirLogs, dirHome, dirTemp} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o700); err != nil {
			return fmt.Errorf("make the job's directory: %w", err)
		}
	}
	if x.code != nil {
		// the service itself brings the code; the job's identity is not asked
		if _, err := s.download(ctx, x.code, filepath.Join(root, dirWork), false); err != nil {
			return fmt.Errorf("download the job's code: %w", err)
		}
	}
	principal, _ := x.identity()
	for name, at := range x.inputs {
		in := x.spec.Inputs[name]
		if err := s.mayUse(ctx, at, principal, false, in.Type != "uri_file"); err != nil {
			return fmt.Errorf("input %s: %w", name, err)
		}
		if in.Mode == "Direct" {
			continue
		}
		if _, err := s.download(ctx, at, inputDir(root, name), in.Type == "uri_file"); err != nil {
			return fmt.Errorf("download input %s: %w", name, err)
		}
	}
	for name, at := range x.outputs {
		if err := s.mayUse(ctx, at, principal, true, false); err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
		if x.spec.Outputs[name].Type == "uri_file" {
			continue // the command makes the file
		}
		if err := os.MkdirAll(outputPath(root, name), 0o700); err != nil {
			return fmt.Errorf("make output %s: %w", name, err)
		}
	}
	return s.restore(ctx, x, root)
}

// restore brings back what earlier attempts at the job wrote, so that it can go
// on from its last checkpoint. (Of Azure it is reported that a restarted job
// finds its outputs directory empty, although the files are in the run.)
func (s *Service) restore(ctx context.Context, x *execution, root string) error {
	if x.run.Attempt < 2 {
		return nil
	}
	from := map[string]*place{}
	for _, dir := range []string{"outputs", "logs"} {
		from[filepath.Join(root, dirWork, dir)] = &place{Account: x.ws.Account, Container: artifactContainer, Path: artifactPrefix(x.run.Name) + "/" + dir + "/"}
	}
	for name, at := range x.outputs {
		if out := x.spec.Outputs[name]; out.Mode != "Direct" && out.Type != "uri_file" {
			back := *at
			back.Path = strings.TrimSuffix(at.Path, "/") + "/"
			from[outputPath(root, name)] = &back
		}
	}
	for dir, at := range from {
		if _, err := s.download(ctx, at, dir, false); err != nil && !errors.Is(err, errNothing) && !blob.HasCode(err, "ContainerNotFound") {
			return fmt.Errorf("bring back what an earlier attempt wrote: %w", err)
		}
	}
	return nil
}

func inputDir(root, name string) string   { return filepath.Join(root, dirData, "INPUT_"+name) }
func outputPath(root, name string) string { return filepath.Join(root, dirData, "OUTPUT_"+name) }

// inputPath is what ${{inputs.name}} becomes for data: a file's own path, or a
// directory.
func (x *execution) inputPath(root, name string) string {
	in, dir := x.spec.Inputs[name], inputDir(root, name)
	if in.Mode == "Direct" {
		return in.URI
	}
	if base := lastSegment(x.inputs[name].Path); in.Type != "uri_folder" && in.Type != "mltable" && base != "" {
		if info, err := os.Stat(filepath.Join(dir, base)); err == nil && info.Mode().IsRegular() {
			return filepath.Join(dir, base)
		}
	}
	return dir
}

// openLogs makes the log file of each process with its first lines.
func (s *Service) openLogs(ctx context.Context, x *execution, nodes []compute.Node, roots []string) ([]task, error) {
	capacity, err := s.cfg.Capacity(ctx)
	if err != nil {
		return nil, fmt.Errorf("capacity of the machine: %w", err)
	}
	head := append(slices.Clone(x.run.Notes), s.substitution(x))
	if x.spec.Distribution == "Mpi" {
		head = append(head, s.mpiLine(x))
	}
	if x.run.Attempt > 1 {
		head = append(head, fmt.Sprintf("This is attempt %d of the job.", x.run.Attempt))
	}
	var tasks []task
	count := len(nodes) * x.spec.Processes
	for i := range nodes {
		lines := head
		if line := capacity.Shortfall(x.pool, nodes[i].Info); line != "" {
			lines = append([]string{line}, head...)
		}
		for range x.spec.Processes {
			t := task{Node: nodes[i].ID, Rank: len(tasks), NodeRank: i, Root: roots[i]}
			// Azure ML numbers the logs of several processes; the first one's is
			// called std_log.txt here always, so that a client that follows the
			// job has one name to look for.
			t.LogName = "user_logs/std_log.txt"
			if t.Rank > 0 {
				t.LogName = fmt.Sprintf("user_logs/std_log_process_%0*d.txt", max(2, len(strconv.Itoa(count-1))), t.Rank)
			}
			t.Log = filepath.Join(t.Root, dirLogs, filepath.Base(t.LogName))
			if err := os.WriteFile(t.Log, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
				return nil, fmt.Errorf("make log: %w", err)
			}
			if t.Base, _, err = s.logLength(ctx, x.ws, x.run.Name, t.LogName); err != nil {
				return nil, err
			}
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// substitution says what the job runs in, and in the place of what.
func (s *Service) substitution(x *execution) string {
	id := x.env.ParsedID()
	if x.image != "" {
		return fmt.Sprintf("The job runs in a container of the image %s (%s).", x.image, s.cfg.Images)
	}
	image := x.env.Body.String("properties.image")
	if x.prepared != nil {
		return fmt.Sprintf("The image of the environment %s:%s is not run here. %s", id.Parent().Name(), id.Name(), x.prepared.Summary)
	}
	what := "no python3 is in its PATH"
	if p := lookPath(s.cfg.BaseEnv, "python3"); p != "" {
		what = "python3 is " + p
	}
	if image != "" {
		return fmt.Sprintf("The image %s of the environment %s:%s is not run here, as jobs are processes without --runner container; the command runs with what this machine has (%s).", image, id.Parent().Name(), id.Name(), what)
	}
	return fmt.Sprintf("The environment %s:%s is not built here, as jobs are processes without --runner container; the command runs with what this machine has (%s).", id.Parent().Name(), id.Name(), what)
}

// lookPath finds an executable in the PATH of an environment, or returns "".
func lookPath(env []string, name string) string {
	for _, kv := range env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			p := filepath.Join(dir, name)
			if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return p
			}
		}
	}
	return ""
}

// Started implements compute.Workload. It is called again after a restart of the
// server, and goes on following the logs.
func (s *Service) Started(ctx context.Context, item compute.Item, _ []compute.Node) error {
	var r *run
	var account, experiment string
	err := s.update(ctx, item.ID, func(tx store.Tx, rec *run) error {
		now := s.cfg.Clock.Now()
		r = rec
		if err := rec.move(eventStart, now); err != nil {
			return err
		}
		job, err := arm.ParseID(rec.Job)
		if err != nil {
			return err
		}
		ws, err := s.workspace(ctx, tx, job)
		if err != nil {
			return err
		}
		account, experiment = ws.Account, rec.Experiment
		return s.tracking.UpdateJobRun(tx, rec.Workspace, rec.Name, mlflow.JobUpdate{Status: mlflow.StatusRunning, Start: rec.Started})
	})
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("record that job %s runs: %w", item.ID, err)
	}
	s.log.Debug("job runs", "job", r.Job, "experiment", experiment)
	s.follow(item.ID, account, r)
	return nil
}

// Preempted implements compute.Workload: an attempt has ended because its nodes
// are taken away. What it logged and wrote is kept for the next one, as long as
// it can be had.
func (s *Service) Preempted(ctx context.Context, item compute.Item, reason string) error {
	s.tails.end(item.ID)
	var r *run
	err := s.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
		r, err = s.runs.Get(tx, item.ID)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && r.Deleted {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read job %s: %w", item.ID, err)
	}
	if len(r.Tasks) > 0 && r.Attempt == item.Attempt {
		if err := s.collectResults(ctx, r, false); err != nil {
			if ctx.Err() != nil || !final(err) {
				return fmt.Errorf("keep what the preempted job %s wrote: %w", r.Name, err)
			}
			s.log.Warn("what a preempted job wrote is lost", "job", r.Job, "error", err)
		}
		s.clean(r)
	}
	err = s.update(ctx, item.ID, func(tx store.Tx, rec *run) error {
		rec.Tasks = nil
		before := rec.Status
		if err := rec.move(eventRequeue, s.cfg.Clock.Now()); err != nil {
			return err
		}
		if before != rec.Status {
			rec.Preemptions++
			rec.Timeline[len(rec.Timeline)-1].Reason = reason
		}
		return s.tracking.UpdateJobRun(tx, rec.Workspace, rec.Name, mlflow.JobUpdate{Status: mlflow.StatusScheduled})
	})
	if err != nil && !errors.Is(err, errGone) {
		return fmt.Errorf("queue job %s again: %w", r.Name, err)
	}
	s.log.Info("job was preempted", "job", r.Job, "reason", reason)
	return nil
}

// Finished implements compute.Workload: it collects logs and outputs and ends
// the job.
func (s *Service) Finished(ctx context.Context, item compute.Item, outcome compute.Outcome) error {
	var r *run
	err := s.update(ctx, item.ID, func(_ store.Tx, rec *run) error {
		r = rec
		return rec.move(eventCollect, s.cfg.Clock.Now())
	})
	if errors.Is(err, errGone) {
		s.tails.end(item.ID)
		return nil
	}
	if err != nil {
		return fmt.Errorf("finish job: %w", err)
	}
	s.tails.end(item.ID)
	if r.Status.Terminal() { // only the directory was left to be removed
		s.clean(r)
		s.logStep(ctx, r)
		return nil
	}
	failure := s.failure(r, outcome)
	if len(r.Tasks) > 0 && !r.Deleted {
		if err := s.collectResults(ctx, r, true); err != nil {
			if ctx.Err() != nil || !final(err) {
				return fmt.Errorf("collect the results of job %s: %w", r.Name, err)
			}
			if failure == nil {
				failure = &Failure{"OutputCollectionFailed", "The job's logs or outputs could not be stored: " + plain(err).Error()}
			}
			s.log.Warn("results of job are lost", "job", r.Job, "error", err)
		}
	}
	err = s.update(ctx, item.ID, func(tx store.Tx, rec *run) error {
		r = rec
		now := s.cfg.Clock.Now()
		e, status := eventComplete, mlflow.StatusFinished
		switch {
		case outcome.Cause == compute.StopTimeout || outcome.Result == compute.Canceled:
			// "The max run duration …, after which the job will be cancelled", says
			// the SDK of limits.timeout.
			e, status = eventStop, mlflow.StatusKilled
		case failure != nil:
			e, status = eventFail, mlflow.StatusFailed
		}
		if failure == nil && rec.StopReason != "" && e == eventStop {
			failure = &Failure{"EarlyTermination", rec.StopReason} // the code is Azimuth's
		}
		rec.Error = failure
		if err := rec.move(e, now); err != nil {
			return err
		}
		if err := s.cfg.Identities.Revoke(tx, rec.Item); err != nil {
			return err
		}
		if rec.Deleted {
			return nil // the workspace is gone, and its runs with it
		}
		if rec.Parent != "" {
			if err := s.stepEnded(ctx, tx, rec, now); err != nil {
				return err
			}
		}
		return s.tracking.UpdateJobRun(tx, rec.Workspace, rec.Name, mlflow.JobUpdate{Status: status, End: now})
	})
	if err != nil {
		return fmt.Errorf("end job %s: %w", r.Name, err)
	}
	s.clean(r)
	if r.Deleted {
		return s.cfg.Store.Update(ctx, func(tx store.Tx) error { return s.runs.Delete(tx, item.ID) })
	}
	s.logStep(ctx, r)
	s.log.Info("job ended", "job", r.Job, "status", string(r.Status))
	return nil
}

// final reports whether trying again cannot mend an error. A full disk is one:
// what a job cannot store is in the way itself.
func final(err error) bool {
	var refused *blob.Error
	var e *arm.Error
	return errors.Is(err, blob.ErrNoAccount) || errors.Is(err, store.ErrNotFound) || errors.As(err, &e) ||
		errors.As(err, &refused) && refused.Status >= 400 && refused.Status < 500 ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, store.ErrFull)
}

// failure is why a job did not complete, or nil. Codes and texts are Azimuth's
// but for UserError, which is Azure's for a command that fails.
func (s *Service) failure(r *run, o compute.Outcome) *Failure {
	switch {
	case o.Result == compute.Completed:
		return nil
	case o.Cause == compute.StopTimeout:
		return &Failure{"JobTimeout", o.Reason + " It was canceled."}
	case o.Result == compute.Canceled:
		return nil
	}
	switch o.Cause {
	case compute.StopPrepare:
		return &Failure{"PreparationFailed", "The job could not be prepared: " + o.Reason}
	case compute.StopLost:
		return &Failure{"NodeLost", o.Reason}
	case compute.StopPreempted:
		// the text is the service's
		return &Failure{"PreemptionError", "AzureMLCompute job failed. PreemptionError: Nodes of this job got pre-empted. Check if the run has failed or restarted. Reason: Received pre-emption warning signal"}
	case compute.StopPool:
		return &Failure{"ComputeDeleted", o.Reason}
	}
	f := &Failure{"UserError", "Execution failed. " + o.Reason}
	if i := o.FailedTask; i >= 0 && i < len(r.Tasks) {
		if tail := lastLines(r.Tasks[i].Log); tail != "" {
			f.Message += " The last lines of " + r.Tasks[i].LogName + ":\n" + tail
		}
	}
	return f
}

// lastLines is the end of a log, for an error message.
func lastLines(path string) string {
	const most, lines = 4 << 10, 15
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	start := max(0, info.Size()-most)
	b := make([]byte, min(info.Size(), most))
	n, _ := f.ReadAt(b, start)
	all := strings.Split(strings.TrimRight(strings.ToValidUTF8(string(b[:n]), "?"), "\n"), "\n")
	if start > 0 && len(all) > 1 {
		all = all[1:] // the first may be cut
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// clean removes a job's directories. What cannot be removed goes with the node.
func (s *Service) clean(r *run) {
	seen := ""
	for _, t := range r.Tasks {
		if t.Root == seen {
			continue
		}
		seen = t.Root
		if err := os.RemoveAll(t.Root); err != nil {
			s.log.Warn("remove the directory of a job", "job", r.Job, "error", err)
		}
	}
}

// tokenLife is how long a job's token is good: as long as a job may live in
// Azure.
const tokenLife = 21 * 24 * time.Hour
