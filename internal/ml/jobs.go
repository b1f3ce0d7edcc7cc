package ml

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/iso8601"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func (s *Service) jobType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: typeJob,
		// The rule is not documented for REST; this is what run IDs look like.
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}$`),
			Text:    "A job name has 1 to 255 letters, digits, hyphens and underscores and begins with a letter or digit.",
			Error: func(name string) *arm.Error {
				return userError("name", "The job name '%s' is invalid. It must have 1 to 255 letters, digits, hyphens and underscores and begin with a letter or digit.", name)
			},
		},
		SystemData: true, NoProvisioningState: true,
		PutStatus: [2]int{http.StatusCreated, http.StatusOK},
		Methods:   []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Unimplemented: map[string]string{
			"properties.notificationSetting.emails":   "mail about the job",
			"properties.notificationSetting.webhooks": "web hooks about the job",
			"properties.parentJobName":                "making the job a child of another",
			"properties.autologgerSettings":           "automatic logging",
		},
		Validate: s.validateJob,
		Put:      s.putJob,
		Read:     s.readJob,
		Delete:   s.deleteJob,
		List:     s.listJobs,
		Actions:  []arm.Action{{Name: "cancel", Handle: s.cancelJob}},
	}
}

// userError is a refusal as Azure ML words its own: code UserError. The messages
// in this package are Azimuth's; Azure's texts are not known unless a comment
// says so.
func userError(target, format string, args ...any) *arm.Error {
	e := arm.BadRequest("UserError", format, args...)
	e.Target = target
	return e
}

// validateJob checks the body. p.Existing is set for an update.
func (s *Service) validateJob(ctx context.Context, p *arm.Put) error {
	props := p.Resource.Body.Object("properties")
	if props == nil {
		return userError("properties", "The job has no properties.")
	}
	if p.Existing != nil {
		return s.checkUnchanged(ctx, p)
	}
	switch t := props.String("jobType"); {
	case strings.EqualFold(t, "Pipeline"):
		props.Set("jobType", "Pipeline")
		return nil // putPipeline looks at the rest
	case strings.EqualFold(t, "Sweep"):
		props.Set("jobType", "Sweep")
		return nil // putSweep looks at the rest
	case strings.EqualFold(t, "Command"):
		props.Set("jobType", "Command")
	case t == "":
		return userError("properties.jobType", "The required property 'jobType' is missing.")
	default:
		return arm.NotImplemented("jobs of type '%s'", t)
	}
	spec, err := readSpec(props)
	if err != nil {
		return err
	}
	return s.checkReferences(ctx, p, spec)
}

// mutable are the properties that an update may change: what Azure ML's clients
// change to rename, describe, tag and archive. The service lets new entries be
// added to properties.properties, and no old ones be changed, as azure-ai-ml
// says.
func mutable(name string) bool {
	switch strings.ToLower(name) {
	case "tags", "displayname", "description", "isarchived", "properties":
		return true
	}
	return false
}

// checkUnchanged refuses an update that changes what is immutable, and makes the
// new body out of the stored one and what may change.
func (s *Service) checkUnchanged(ctx context.Context, p *arm.Put) error {
	shown, err := p.Kernel.Render(ctx, p.Tx, p.Existing)
	if err != nil {
		return err
	}
	now, asked := shown.Object("properties"), p.Resource.Body.Object("properties")
	stored := p.Existing.Body.Clone()
	props := stored.Object("properties")
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		v := asked[name]
		switch {
		case strings.EqualFold(name, "status"), strings.EqualFold(name, "services"), strings.EqualFold(name, "parameters"),
			strings.EqualFold(name, "error"), strings.EqualFold(name, "queueingInfo"), strings.EqualFold(name, "timeline"), v == nil:
			// read-only, or left out
		case strings.EqualFold(name, "properties"):
			extra, ok := v.(map[string]any)
			if !ok {
				return userError("properties.properties", "'properties.properties' is not an object.")
			}
			have, own := now.Object("properties"), props.Object("properties")
			for k, v := range extra {
				if _, set := have[k]; set && own[k] == nil {
					continue // the service's own, as it was when the client read it
				}
				if old, there := have[k]; !there {
					if props.Object("properties") == nil {
						props.Set("properties", map[string]any{})
					}
					props.Object("properties")[k] = v
				} else if old != v {
					return userError("properties.properties."+k, "The property '%s' of the job cannot be changed: it is '%v'.", k, old)
				}
			}
		case mutable(name):
			props.Delete(name)
			props.Set(name, v)
		case !within(v, now.Get(name)):
			return userError("properties."+name, "A job cannot be changed once it was submitted: '%s' is immutable. Tags, displayName, description and isArchived may change.", name)
		}
	}
	p.Resource.Body = stored
	return checkTexts(props)
}

// within reports whether everything that asked says is what have says. Clients
// send back what they read with nulls and read-only parts left out.
func within(asked, have any) bool {
	switch a := asked.(type) {
	case nil:
		return true
	case map[string]any:
		if len(a) == 0 {
			return true
		}
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		doc := arm.Doc(h)
		for k, v := range a {
			if !within(v, doc.Get(k)) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(a) != len(h) {
			return len(a) == 0 && have == nil
		}
		for i := range a {
			if !within(a[i], h[i]) {
				return false
			}
		}
		return true
	case string:
		h, ok := have.(string)
		if !ok {
			return a == "" && have == nil
		}
		if a == h || strings.HasPrefix(a, "/subscriptions/") && strings.EqualFold(a, h) {
			return true
		}
		x, err1 := iso8601.Duration(a) // PT3600S comes back as PT1H
		y, err2 := iso8601.Duration(h)
		return err1 == nil && err2 == nil && x == y
	}
	return asked == have
}

// putJob completes a new job and queues it, all in the write transaction.
func (s *Service) putJob(ctx context.Context, p *arm.Put) error {
	props := p.Resource.Body.Object("properties")
	if p.Existing != nil {
		return s.updateJob(p, props)
	}
	switch props.String("jobType") {
	case "Pipeline":
		return s.putPipeline(ctx, p, props)
	case "Sweep":
		return s.putSweep(ctx, p, props)
	}
	ws := workspaceOf(p.Parent)
	spec, err := readSpec(props)
	if err != nil {
		return err
	}
	name := p.ID.Name()
	if spec.Compute == "" {
		props.Delete("computeId") // clients may have said "serverless"
	}
	props.Delete("status")
	props.Delete("error")
	props.Delete("services") // Tracking and Studio are computed; others were refused
	props.Default("experimentName", mlflow.DefaultExperiment)
	props.Default("displayName", name)
	props.Default("isArchived", false)
	props.Default("identity", map[string]any{"identityType": "AMLToken"})
	props.Default("resources.instanceCount", 1)
	delete(props.Object("outputs"), "default") // computed
	for out, v := range props.Object("outputs") {
		if m, ok := v.(map[string]any); ok {
			// where azure-ai-ml looks for an output that has no place of its own
			uri := "azureml://datastores/workspaceblobstore/paths/azureml/" + name + "/" + out
			if spec.Outputs[out].Type != "uri_file" {
				uri += "/"
			}
			arm.Doc(m).Default("uri", uri)
			arm.Doc(m).Set("uri", expandPlace(arm.Doc(m).String("uri"), "workspaceblobstore", name, out))
			arm.Doc(m).Default("mode", "ReadWriteMount")
		}
	}
	r := &run{
		Item: itemID(p.Resource), Job: p.Resource.ID, Name: name, Workspace: ws.UID, Compute: spec.Compute,
		Submitter: p.Caller, Created: p.Now,
	}
	if err := r.move(eventSubmit, p.Now); err != nil {
		return err
	}
	r.copyListed(props)
	if err := s.track(p.Tx, r, props, nil); err != nil {
		return err
	}
	if err := s.enqueue(p.Tx, r, ws, spec); err != nil {
		return err
	}
	return s.putRun(p.Tx, r)
}

func submitError(err error, spec *jobSpec) error {
	var many *compute.TooManyNodesError
	var bad *compute.InvalidError
	var quota *compute.QuotaError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &quota): // code and text are Azure's
		e := arm.BadRequest("JobNodeCountExceedsCoreQuota", "The specified subscription has a %s vCPU quota of %d and is less than the requested job node count of %d which maps to %d vCPUs.",
			quota.Quota, quota.Limit, quota.Nodes, quota.Cores)
		e.Target = "properties.resources.instanceCount"
		return e
	case errors.As(err, &many):
		return userError("properties.resources.instanceCount",
			"The job asks for %d nodes, but the compute '%s' has at most %d. Ask for fewer, or make the compute larger.", many.Nodes, lastSegment(spec.Compute), many.Max)
	case errors.Is(err, compute.ErrPoolNotFound):
		return userError("properties.computeId", "The compute '%s' is being deleted.", lastSegment(spec.Compute))
	case errors.As(err, &bad):
		return userError("properties", "The job is invalid: %s.", bad)
	}
	return fmt.Errorf("submit job: %w", err)
}

func (s *Service) updateJob(p *arm.Put, props arm.Doc) error {
	r, err := s.runOf(p.Tx, p.Resource)
	if err != nil {
		return err
	}
	r.copyListed(props)
	if err := s.putRun(p.Tx, r); err != nil {
		return err
	}
	return s.tracking.UpdateJobRun(p.Tx, r.Workspace, r.Name, mlflow.JobUpdate{
		DisplayName: props.String("displayName"), Tags: stringsOf(props.Object("tags")),
	})
}

// copyListed copies what lists look for.
func (r *run) copyListed(props arm.Doc) {
	r.Archived = props.Bool("isArchived", false)
	r.Tags = slices.Sorted(maps.Keys(props.Object("tags")))
}

func stringsOf(d arm.Doc) map[string]string {
	out := map[string]string{}
	for k, v := range d {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

// deleteJob lets a finished job go. Azure's refusal of one that has not ended is
// not known; its SDK documents that jobs are deleted when they have ended.
func (s *Service) deleteJob(ctx context.Context, d *arm.Delete) error {
	r, err := s.runOf(d.Tx, d.Resource)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !r.Status.Terminal() {
		if !d.Cascade {
			return arm.Errorf(http.StatusConflict, "Conflict", "The job '%s' is %s. Cancel it, or wait until it has ended, before it is deleted.", r.Name, r.Status)
		}
		// The workspace goes. The record goes too when compute has ended the job.
		r.Deleted = true
		if err := r.move(eventCancel, d.Now); err != nil {
			return err
		}
		if err := s.putRun(d.Tx, r); err != nil {
			return err
		}
		err := s.compute.CancelIn(d.Tx, r.Item)
		if errors.Is(err, compute.ErrItemNotFound) || errors.Is(err, compute.ErrItemDone) {
			return s.forget(d.Tx, r)
		}
		return err
	}
	if r.Parent != "" && !d.Cascade {
		if parent, err := s.runs.Get(d.Tx, r.Parent); err == nil && !parent.Status.Terminal() {
			return arm.Errorf(http.StatusConflict, "Conflict", "The job '%s' is a step of the pipeline '%s', which is %s.", r.Name, r.ParentName, parent.Status)
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if r.Pipeline != nil && !d.Cascade {
		if err := s.deleteSteps(ctx, d, r); err != nil {
			return err
		}
	}
	if err := s.forget(d.Tx, r); err != nil {
		return err
	}
	if !d.Cascade { // a workspace's runs are removed all together
		if err := s.tracking.DeleteRun(d.Tx, r.Workspace, r.Name); err != nil {
			return err
		}
	}
	// compute still holds the item for the moment between the end of the work and
	// the release of its nodes; then its record stays, under an ID of its own
	if st, err := s.compute.ItemStatus(d.Tx, r.Item); err != nil || st.Phase != compute.PhaseDone {
		if errors.Is(err, compute.ErrItemNotFound) {
			return nil
		}
		return err
	}
	return s.compute.Forget(d.Tx, r.Item)
}

// forget removes the record of a job.
func (s *Service) forget(tx store.Tx, r *run) error {
	if r.Pipeline != nil && r.Pipeline.Sweep != nil { // one that has not ended has some
		if err := dropTrials(tx, r.Item); err != nil {
			return err
		}
	}
	return s.runs.Delete(tx, r.Item)
}

const cancelResultName = "locations/{}/mfeOperationResults/{}"

// cancelJob is POST …/cancel: 202 with a place to ask when it is done, 200 for a
// job that has ended already.
func (s *Service) cancelJob(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var done bool
	var ws *workspace
	var pipeline string
	err := s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		job, err := s.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		if ws, err = s.workspace(ctx, tx, req.ID); err != nil {
			return err
		}
		r, err := s.runOf(tx, job)
		if err != nil {
			return err
		}
		if done = r.Status.Terminal(); done {
			return nil
		}
		if err := s.cancelIn(ctx, tx, r, req.Now); err != nil {
			return err
		}
		if err := s.nestedEnded(ctx, tx, r, req.Now); err != nil {
			return err
		}
		if r.Pipeline != nil {
			pipeline = r.Item
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for pipeline != "" { // and those that it is in
		pipeline = s.writePipelineLog(ctx, ws.Account, pipeline)
	}
	if done {
		return &arm.Response{Status: http.StatusOK}, nil
	}
	h := http.Header{}
	h.Set("Location", fmt.Sprintf("https://%s/subscriptions/%s/providers/%s/locations/%s/mfeOperationResults/%s?api-version=%s",
		req.HTTP.Host, req.ID.Subscription, Namespace, ws.Location, base64.RawURLEncoding.EncodeToString([]byte(req.ID.String())), req.APIVersion))
	h.Set("Retry-After", "1")
	return &arm.Response{Status: http.StatusAccepted, Header: h}, nil
}

// cancelResult is where cancelJob says to ask: 202 until the job has ended.
func (s *Service) cancelResult() arm.Action {
	return arm.Action{Name: cancelResultName, Method: http.MethodGet, Handle: func(ctx context.Context, req *arm.Request) (*arm.Response, error) {
		missing := arm.Errorf(http.StatusNotFound, "OperationNotFound", "The operation '%s' was not found.", req.Args[1])
		b, err := base64.RawURLEncoding.DecodeString(req.Args[1])
		if err != nil {
			return nil, missing
		}
		id, err := arm.ParseID(string(b))
		if err != nil || !strings.EqualFold(id.Type(), typeJob) {
			return nil, missing
		}
		if err := s.kernel.Authorize(ctx, req, typeJob+"/read", id); err != nil {
			return nil, err
		}
		done := true
		err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
			job, err := s.kernel.Load(ctx, tx, id)
			if err != nil {
				return err
			}
			r, err := s.runOf(tx, job)
			if err == nil {
				done = r.Status.Terminal()
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if done {
			return &arm.Response{Status: http.StatusOK}, nil
		}
		h := http.Header{}
		h.Set("Location", "https://"+req.HTTP.Host+req.HTTP.URL.RequestURI())
		h.Set("Retry-After", "1")
		return &arm.Response{Status: http.StatusAccepted, Header: h}, nil
	}}
}

// listJobs lists newest first, with $skip or $skipToken, $top, jobType, tag and
// listViewType, from the records' own index: a page costs what it holds.
func (s *Service) listJobs(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
	const pageSize = 100 // the service's own page size is not known
	size := pageSize
	if req.Query.Get("$top") != "" {
		n, err := req.PageSize()
		if err != nil {
			return nil, err
		}
		size = n
	}
	after, err := skipToken(req)
	if err != nil {
		return nil, err
	}
	view, err := listView(req)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"scheduled", "scheduleid", "properties", "assetname"} {
		if v := req.Query.Get(name); v != "" && !strings.EqualFold(v, "false") {
			return nil, arm.NotImplemented("listing jobs by '%s'", name)
		}
	}
	page := &arm.Page{}
	kind := strings.ToLower(req.Query.Get("jobtype"))
	switch kind {
	case "", "command":
	case "pipeline":
		view += viewPipeline
	case "sweep":
		view += viewSweep
	default:
		return page, nil // there are no others
	}
	err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
		ws, err := s.workspace(ctx, tx, parent)
		if err != nil {
			return err
		}
		entry := listEntry(ws.UID, view, req.Query.Get("tag"))
		var last *run
		seen := 0
		for r, err := range s.runs.By(tx, byList, store.Range{Prefix: entry, After: after, Limit: size + 1}) {
			if err != nil {
				return err
			}
			if seen++; seen > size {
				page.Next = arm.EncodeToken(s.runs.Position(entry+last.sortKey(), last))
				return nil
			}
			last = r
			if kind == "command" && r.Pipeline != nil {
				continue // the page is shorter
			}
			job, err := s.kernel.Resources().Get(tx, r.Job)
			if err != nil {
				return fmt.Errorf("list jobs: %s: %w", r.Job, err)
			}
			doc, err := s.kernel.Render(ctx, tx, job)
			if err != nil {
				return err
			}
			page.Value = append(page.Value, doc)
		}
		return nil
	})
	return page, err
}

func listView(req *arm.Request) (string, error) {
	switch v := req.Query.Get("listviewtype"); strings.ToLower(v) {
	case "", "activeonly":
		return viewA, nil
	case "archivedonly":
		return viewZ, nil
	case "all":
		return viewX, nil
	default:
		return "", userError("listViewType", "The value '%s' of listViewType is none of ActiveOnly, ArchivedOnly and All.", v)
	}
}
