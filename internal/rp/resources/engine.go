package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/template"
)

// run is the record of a deployment's template and, while it is carried out, of
// what that takes.
type run struct {
	// ID is the deployment's. UID tells this run from others of the same ID.
	ID, UID string
	Running bool   `json:",omitempty"`
	Sealed  []byte // work
}

// work is what a run does. Of a finished one only the template is kept.
type work struct {
	Template    map[string]any
	Parameters  map[string]template.Value `json:",omitempty"`
	Mode        string
	Location    string `json:",omitempty"`
	Caller      arm.Caller
	Correlation string
	Begun       time.Time
}

const runBucket = "deploymentRun"

func runRecords() store.Collection[run] {
	return store.Collection[run]{
		Name: runBucket,
		Key:  func(r *run) string { return arm.Key(r.ID) },
		Indexes: map[string]func(*run) []string{
			"running": func(r *run) []string {
				if r.Running {
					return []string{"running"}
				}
				return nil
			},
		},
	}
}

// parallel is how many resources of one deployment are written at a time.
const parallel = 8

// start carries a deployment out in the background.
func (s *Service) start(id string, resumed bool) {
	ctx, cancel := context.WithCancel(s.ctx)
	a := &activity{cancel: cancel, resumed: resumed, over: make(chan struct{})}
	s.mu.Lock()
	if before := s.active[arm.Key(id)]; before != nil {
		before.cancel() // its group was deleted and made again
	}
	s.active[arm.Key(id)] = a
	s.mu.Unlock()
	s.tasks.Go(func() {
		defer cancel()
		err := s.carryOut(ctx, id, a)
		s.mu.Lock()
		if s.active[arm.Key(id)] == a {
			delete(s.active, arm.Key(id))
		}
		s.mu.Unlock()
		close(a.over)
		s.log("carry out a deployment", id, err)
	})
}

// cancelRun cancels the run of the given UID, if it is under way.
func (s *Service) cancelRun(id, uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.active[arm.Key(id)]; a != nil && (a.uid == uid || a.uid == "") {
		a.canceled = true
		a.cancel()
	}
}

// deploying is a deployment as it is carried out.
type deploying struct {
	s    *Service
	run  *run
	work *work
	id   arm.ID
	plan *template.Plan
	// resumed is set when a former process began it.
	resumed bool
	// outputs are the IDs of what was written, with those of nested deployments.
	outputs []string
}

// carryOut does all of a deployment and records its end. It returns without one
// when the process ends.
func (s *Service) carryOut(ctx context.Context, id string, a *activity) error {
	d := &deploying{s: s, resumed: a.resumed}
	// also a run that is canceled already has an end to record
	err := s.kernel.Store().View(context.WithoutCancel(ctx), func(tx store.Tx) error {
		r, err := s.runs.Get(tx, arm.Key(id))
		if err != nil {
			return err
		}
		d.run = r
		d.work, err = s.open(r)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && !d.run.Running {
		return nil // it was deleted
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	a.uid = d.run.UID
	s.mu.Unlock()
	if d.id, err = arm.ParseID(d.run.ID); err != nil {
		return err
	}
	outputs, failed := d.deploy(ctx)
	s.mu.Lock()
	canceled := a.canceled
	s.mu.Unlock()
	if ctx.Err() != nil && !canceled {
		return nil // the process ends: the next one goes on
	}
	state := stateSucceeded
	switch {
	case canceled:
		state = stateCanceled
		failed = arm.Errorf(http.StatusConflict, "DeploymentCanceled", "The deployment '%s' was canceled.", d.id.Name())
	case failed != nil:
		state = stateFailed
	}
	return d.end(context.WithoutCancel(ctx), state, outputs, failed)
}

// end records how a deployment ended.
func (d *deploying) end(ctx context.Context, state string, outputs map[string]template.Value, failed *arm.Error) error {
	s := d.s
	operation := ""
	err := s.kernel.Store().Update(ctx, func(tx store.Tx) error {
		r, err := s.runs.Get(tx, arm.Key(d.run.ID))
		if errors.Is(err, store.ErrNotFound) || err == nil && r.UID != d.run.UID {
			return nil // it was deleted, and perhaps made again
		}
		if err != nil {
			return err
		}
		r.Running = false
		w := work{Template: d.work.Template}
		if err := s.seal(r, &w); err != nil {
			return err
		}
		if err := s.runs.Put(tx, r); err != nil {
			return err
		}
		err = s.kernel.Resources().Update(tx, d.run.ID, func(r *arm.Resource) error {
			now := s.kernel.Clock().Now()
			operation = r.Operation
			r.Modified = now
			r.Body.Set("properties.provisioningState", state)
			r.Body.Set("properties.duration", duration(now.Sub(d.work.Begun)))
			r.Body.Set("properties.timestamp", arm.Timestamp(now))
			if failed != nil {
				var doc map[string]any
				if err := json.Unmarshal(failed.Envelope(), &doc); err != nil {
					return err
				}
				r.Body.Set("properties.error", doc["error"])
				return nil
			}
			r.Body.Set("properties.outputs", show(outputs))
			list := []any{}
			for _, id := range d.outputs {
				list = append(list, map[string]any{"id": id})
			}
			r.Body.Set("properties.outputResources", list)
			return nil
		})
		if err != nil {
			return err
		}
		return s.kernel.EndOperation(tx, operation, failed, state == stateCanceled)
	})
	s.kernel.OperationEnded(operation)
	return err
}

// deploy writes the resources of a deployment, each after those it depends on.
func (d *deploying) deploy(ctx context.Context) (map[string]template.Value, *arm.Error) {
	s, w := d.s, d.work
	props := arm.Doc{"template": w.Template, "mode": w.Mode, "parameters": map[string]any{}}
	env, err := s.environment(ctx, w.Caller, d.id, w.Location, props, w.Begun)
	if err != nil {
		return nil, d.failure([]*arm.Error{arm.AsError(err)})
	}
	for name, v := range w.Parameters {
		v.Value = template.Normalize(v.Value) // as it came out of the record
		w.Parameters[name] = v
	}
	t, err := template.Parse(w.Template)
	if err == nil {
		d.plan, err = t.Expand(ctx, env, w.Parameters)
	}
	if err != nil {
		return nil, d.failure([]*arm.Error{arm.AsError(asError(err))})
	}
	failed, err := d.resources(ctx)
	if err != nil {
		return nil, d.failure([]*arm.Error{arm.AsError(err)})
	}
	if len(failed) == 0 && w.Mode == "Complete" && ctx.Err() == nil {
		failed = d.clean(ctx)
	}
	if len(failed) > 0 || ctx.Err() != nil {
		return nil, d.failure(failed)
	}
	began := s.kernel.Clock().Now()
	outputs, err := d.plan.Outputs(ctx, d)
	if err != nil {
		e := arm.AsError(asError(err))
		d.record(ctx, &operation{Key: "outputs", What: "EvaluateDeploymentOutput", Begun: began}, e)
		if e.Code == "InvalidTemplate" {
			e = arm.BadRequest("DeploymentOutputEvaluationFailed", "Unable to evaluate template outputs: %s. Please see error details and deployment operations. Please see https://aka.ms/arm-common-errors for usage details.", e.Message)
		}
		return nil, d.failure([]*arm.Error{e})
	}
	d.record(ctx, &operation{Key: "outputs", What: "EvaluateDeploymentOutput", Begun: began}, nil)
	return outputs, nil
}

// failure is the error of a deployment that failed.
func (d *deploying) failure(details []*arm.Error) *arm.Error {
	e := arm.Errorf(http.StatusConflict, "DeploymentFailed",
		"At least one resource deployment operation failed. Please list deployment operations for details. Please see https://aka.ms/arm-deployment-operations for usage details.")
	e.Target = d.id.String()
	e.Details = details
	return e
}

// resources writes all resources. What depends on a failed one is not begun, and
// all that may be written is.
func (d *deploying) resources(ctx context.Context) (failed []*arm.Error, err error) {
	done, err := d.s.succeeded(ctx, d.id)
	if err != nil {
		return nil, err
	}
	type result struct {
		i   int
		ids []string
		err *arm.Error
	}
	n := len(d.plan.Resources)
	waits, users := make([]int, n), make([][]int, n)
	var ready []int
	for i, r := range d.plan.Resources {
		if !r.Deployed() {
			continue
		}
		waits[i] = len(r.DependsOn)
		for _, j := range r.DependsOn {
			users[j] = append(users[j], i)
		}
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	made := make([][]string, n)
	results := make(chan result)
	running := 0
	for len(ready) > 0 && ctx.Err() == nil || running > 0 {
		for ctx.Err() == nil && running < parallel && len(ready) > 0 {
			i := ready[0]
			ready = ready[1:]
			running++
			go func() {
				ids, err := d.one(ctx, i, done)
				results <- result{i, ids, err}
			}()
		}
		r := <-results
		running--
		if r.err != nil {
			failed = append(failed, r.err)
			continue
		}
		made[r.i] = r.ids
		for _, j := range users[r.i] {
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	for _, ids := range made {
		d.outputs = append(d.outputs, ids...)
	}
	return failed, nil
}

// one writes a resource, waits until it is there and records what came of it.
func (d *deploying) one(ctx context.Context, i int, done map[string]bool) ([]string, *arm.Error) {
	r := d.plan.Resources[i]
	op := &operation{Key: arm.Key(r.ID), What: "Create", Target: r.ID, Type: r.Type, Name: r.Name, Begun: d.s.kernel.Clock().Now()}
	var doc arm.Doc
	var err error
	if done[op.Key] { // before the process was killed
		doc, err = d.Reference(ctx, r.ID, r.APIVersion)
	} else {
		doc, err = d.write(ctx, i)
	}
	if err != nil {
		e := *arm.AsError(asError(err))
		if ctx.Err() == nil {
			d.record(ctx, op, &e)
		}
		e.Target = r.ID
		return nil, &e
	}
	if !done[op.Key] {
		d.record(ctx, op, nil)
	}
	if !strings.EqualFold(r.Type, DeploymentType) {
		return []string{doc.String("id")}, nil
	}
	var ids []string
	for _, o := range doc.List("properties.outputResources") {
		if m, ok := o.(map[string]any); ok {
			ids = append(ids, arm.Doc(m).String("id"))
		}
	}
	return ids, nil
}

func (d *deploying) write(ctx context.Context, i int) (arm.Doc, error) {
	r := d.plan.Resources[i]
	body, err := d.plan.Body(ctx, i, d)
	if err != nil {
		return nil, err
	}
	_, err = d.act(ctx, http.MethodPut, r.ID, r.APIVersion, body)
	if e := (*arm.Error)(nil); d.resumed && errors.As(err, &e) && e.Code == "DeploymentActive" {
		err = nil // it is nested in this one, and was resumed as well
	}
	if err != nil {
		return nil, err
	}
	return d.settled(ctx, r.ID, r.APIVersion)
}

// settled waits for the end of what writes a resource.
func (d *deploying) settled(ctx context.Context, id, version string) (arm.Doc, error) {
	for {
		d.s.mu.Lock()
		a := d.s.active[arm.Key(id)] // a nested deployment
		d.s.mu.Unlock()
		if a != nil {
			select {
			case <-a.over:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		doc, err := d.Reference(ctx, id, version)
		if err != nil {
			return nil, err
		}
		p := arm.Doc(doc)
		switch state := p.String("properties.provisioningState"); strings.ToLower(state) {
		case "", "succeeded", "ready":
			return doc, nil
		case "failed", "canceled":
			e := arm.Errorf(http.StatusConflict, "ResourceDeploymentFailure",
				"The resource write operation failed to complete successfully, because it reached terminal provisioning state '%s'.", state)
			if inner := p.Object("properties.error"); inner != nil {
				e.Details = []*arm.Error{readError(inner)}
			}
			return nil, e
		}
		if err := clock.Sleep(ctx, d.s.kernel.Clock(), time.Second); err != nil {
			return nil, err
		}
	}
}

// readError is an error as a document has it.
func readError(doc arm.Doc) *arm.Error {
	e := arm.Errorf(http.StatusConflict, doc.String("code"), "%s", doc.String("message"))
	e.Target = doc.String("target")
	for _, v := range doc.List("details") {
		if m, ok := v.(map[string]any); ok {
			e.Details = append(e.Details, readError(m))
		}
	}
	return e
}

// act makes a request as the deployment's caller.
func (d *deploying) act(ctx context.Context, method, path, version string, body arm.Doc) (*arm.Response, error) {
	return d.s.kernel.Act(ctx, arm.Act{
		Caller: d.work.Caller, Method: method, Path: path, APIVersion: version, Body: body, CorrelationID: d.work.Correlation,
	})
}

// Reference implements template.Runtime.
func (d *deploying) Reference(ctx context.Context, id, version string) (map[string]any, error) {
	resp, err := d.act(ctx, http.MethodGet, id, version, nil)
	if err != nil {
		return nil, err
	}
	v, err := plain(resp.Body)
	m, _ := v.(map[string]any)
	return m, err
}

// List implements template.Runtime.
func (d *deploying) List(ctx context.Context, action, id, version string, body map[string]any) (any, error) {
	resp, err := d.act(ctx, http.MethodPost, strings.TrimSuffix(id, "/")+"/"+action, version, body)
	if err != nil {
		return nil, err
	}
	return plain(resp.Body)
}

// plain is an answer as it goes over the wire.
func plain(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	var out any
	return out, json.Unmarshal(b, &out)
}

// clean deletes what is in the group and not in the template, as mode Complete
// asks for. What is in use by others goes after them.
func (d *deploying) clean(ctx context.Context) []*arm.Error {
	keep := map[string]bool{}
	for _, r := range d.plan.Resources {
		if r.Condition {
			keep[arm.Key(r.ID)] = true
		}
	}
	for _, id := range d.outputs {
		keep[arm.Key(id)] = true
	}
	var extra []string
	err := d.s.kernel.Store().View(ctx, func(tx store.Tx) error {
		group, _ := d.id.Group()
		for r, err := range d.s.kernel.Resources().InGroup(tx, group) {
			if err != nil {
				return err
			}
			if !keep[arm.Key(r.ID)] {
				extra = append(extra, r.ID)
			}
		}
		return nil
	})
	if err != nil {
		return []*arm.Error{arm.AsError(err)}
	}
	slices.SortStableFunc(extra, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	for {
		var left []string
		var failed []*arm.Error
		for _, id := range extra {
			began := d.s.kernel.Clock().Now()
			err := d.remove(ctx, id)
			parsed, _ := arm.ParseID(id)
			op := &operation{Key: "delete" + arm.Key(id), What: "Delete", Target: id, Type: parsed.Type(), Name: parsed.FullName(), Begun: began}
			if err == nil {
				d.record(ctx, op, nil)
				continue
			}
			e := *arm.AsError(err)
			e.Target = id
			left, failed = append(left, id), append(failed, &e)
		}
		if len(left) == 0 || len(left) == len(extra) || ctx.Err() != nil {
			return failed
		}
		extra = left
	}
}

func (d *deploying) remove(ctx context.Context, id string) error {
	const version = "2021-04-01" // any: it is answered without a document
	resp, err := d.act(ctx, http.MethodDelete, id, version, nil)
	if err != nil {
		return err
	}
	for resp.Status == http.StatusAccepted {
		_, err := d.Reference(ctx, id, version)
		if e := (*arm.Error)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if err := clock.Sleep(ctx, d.s.kernel.Clock(), time.Second); err != nil {
			return err
		}
	}
	return nil
}
