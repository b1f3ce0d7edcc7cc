package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/template"
)

// DeploymentType is the type of template deployments.
const DeploymentType = namespace + "/deployments"

// The states of a deployment.
const (
	stateRunning   = "Running"
	stateSucceeded = "Succeeded"
	stateFailed    = "Failed"
	stateCanceled  = "Canceled"
)

// deployment is the deployment of a template to a resource group or to the
// subscription.
func (s *Service) deployment() *arm.ResourceType {
	act := func(name string, absent bool, handle func(context.Context, *arm.Request) (*arm.Response, error)) arm.Action {
		return arm.Action{Name: name, Absent: absent, Handle: handle}
	}
	return &arm.ResourceType{
		Type:         DeploymentType,
		Scope:        arm.InGroupOrSubscription,
		Methods:      []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		DeleteStatus: http.StatusAccepted,
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[-\w.()]{1,64}$`),
			Text:    "A deployment name has 1 to 64 letters, digits, '-', '_', '.', '(' and ')'.",
			Error: func(name string) *arm.Error {
				return arm.BadRequest("InvalidDeploymentName", "The name '%s' of the deployment is not valid: it has 1 to 64 letters, digits, '-', '_', '.', '(' and ')'.", name)
			},
		},
		Prepare: func(ctx context.Context, req *arm.Request) (err error) {
			req.Prepared, err = s.prepare(ctx, req, req.ID, req.Body, true)
			return err
		},
		Put:    s.putDeployment,
		Delete: s.deleteDeployment,
		List:   s.listDeployments,
		Actions: []arm.Action{
			act("validate", true, s.validateDeployment),
			act("whatIf", true, s.whatIf),
			act("cancel", false, s.cancelDeployment),
			act("exportTemplate", false, s.exportDeployment),
		},
	}
}

// prepared is a request to deploy, checked as far as that goes beforehand.
type prepared struct {
	mode   string
	raw    map[string]any // the template
	params map[string]template.Value
	plan   *template.Plan
	env    *template.Env
}

// asError gives an error of a template the shape of an answer.
func asError(err error) error {
	var e *template.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Code == "NotImplemented" {
		return arm.NotImplemented("%s", e.Message)
	}
	return arm.BadRequest(e.Code, "%s", e.Message)
}

// prepare reads the body of a deployment. With writable, it makes sure that the caller
// may write all that the template names.
func (s *Service) prepare(ctx context.Context, req *arm.Request, id arm.ID, body arm.Doc, writable bool) (*prepared, error) {
	props := body.Object("properties")
	if props == nil {
		return nil, arm.BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'Required property 'properties' not found in JSON.'.")
	}
	for _, link := range []string{"templateLink", "parametersLink"} {
		if props.Has(link) {
			return nil, arm.NotImplemented("'%s' of a deployment: it fetches nothing from elsewhere; send the document in the request", link)
		}
	}
	for _, name := range []string{"onErrorDeployment", "extensionConfigs", "externalInputs", "externalInputDefinitions"} {
		if props.Has(name) {
			return nil, arm.NotImplemented("'%s' of a deployment", name)
		}
	}
	if level := props.String("validationLevel"); level != "" && !strings.EqualFold(level, "Provider") {
		return nil, arm.NotImplemented("'validationLevel' %s of a deployment", level)
	}
	if level := props.String("debugSetting.detailLevel"); level != "" && !strings.EqualFold(level, "none") {
		return nil, arm.NotImplemented("'debugSetting.detailLevel' %s of a deployment", level)
	}
	p := &prepared{}
	for _, mode := range []string{"Incremental", "Complete"} {
		if strings.EqualFold(props.String("mode"), mode) {
			p.mode = mode
		}
	}
	switch location := body.String("location"); {
	case p.mode == "":
		return nil, arm.BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'The mode '%s' of the deployment is not one of 'Incremental, Complete'.'.", props.String("mode"))
	case id.ResourceGroup == "" && p.mode == "Complete":
		return nil, arm.BadRequest("InvalidDeployment", "The mode 'Complete' is not supported for deployments to a subscription.")
	case id.ResourceGroup == "" && location == "":
		return nil, arm.BadRequest("InvalidDeployment", "The 'location' property must be specified for '%s'. Please see https://aka.ms/deploy-to-subscription for usage details.", id.Name())
	case id.ResourceGroup == "" && !slices.Contains(arm.Locations(), arm.NormalizeLocation(location)):
		return nil, arm.BadRequest("LocationNotAvailableForDeployment", "The provided location '%s' is not available for deployment. List of available regions is '%s'.", location, strings.Join(arm.Locations(), ","))
	case id.ResourceGroup != "" && location != "":
		return nil, arm.BadRequest("InvalidDeployment", "The 'location' property is not allowed for '%s' at resource group scope. Please see https://aka.ms/deploy-to-subscription for usage details.", id.Name())
	}
	raw := props.Object("template")
	if raw == nil {
		return nil, arm.BadRequest("InvalidTemplate", "Deployment template validation failed: 'The template is missing.'.")
	}
	p.raw = raw
	t, err := template.Parse(raw)
	if err != nil {
		return nil, asError(err)
	}
	if p.env, err = s.environment(ctx, req.Caller, id, body.String("location"), props, req.Now); err != nil {
		return nil, err
	}
	if p.params, err = t.Parameters(ctx, p.env, props.Object("parameters")); err != nil {
		return nil, asError(err)
	}
	if p.plan, err = t.Expand(ctx, p.env, p.params); err != nil {
		return nil, asError(err)
	}
	if !writable {
		return p, nil
	}
	return p, s.checkWritable(ctx, req.Caller, p.plan)
}

// checkWritable refuses a plan with resources that are not there to be made, or
// that the caller may not write, before anything is written.
func (s *Service) checkWritable(ctx context.Context, caller arm.Caller, plan *template.Plan) error {
	var denied []string
	var bad []*arm.Error
	err := s.kernel.Store().View(ctx, func(tx store.Tx) error {
		for _, r := range plan.Resources {
			if !r.Deployed() {
				continue
			}
			err := s.kernel.Writable(ctx, tx, caller, r.ID)
			e := (*arm.Error)(nil)
			switch {
			case err == nil:
			case !errors.As(err, &e) || e.Status == http.StatusNotImplemented:
				return err
			case e.Status == http.StatusForbidden:
				denied = append(denied, fmt.Sprintf(
					"Authorization failed for template resource '%s' of type '%s'. The client '%s' with object id '%s' does not have permission to perform action '%s/write' at scope '%s'.",
					r.Name, r.Type, caller.Name, caller.ObjectID, r.Type, r.ID))
			default:
				e.Target = r.ID
				bad = append(bad, e)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(denied) == 1:
		return arm.Errorf(http.StatusForbidden, "InvalidTemplateDeployment", "The template deployment failed with error: '%s'.", denied[0])
	case len(denied) > 1:
		return arm.Errorf(http.StatusForbidden, "InvalidTemplateDeployment", "Deployment failed with multiple errors: '%s'", strings.Join(denied, ":"))
	case len(bad) > 0:
		return notValid(bad)
	}
	return nil
}

func notValid(details []*arm.Error) error {
	e := arm.BadRequest("InvalidTemplateDeployment", "The template deployment is not valid according to the validation procedure. See inner errors for details.")
	e.Details = details
	return e
}

// environment is what the expressions of a deployment know of where it is.
func (s *Service) environment(ctx context.Context, caller arm.Caller, id arm.ID, location string, props arm.Doc, now time.Time) (*template.Env, error) {
	plain := func(d arm.Doc) map[string]any {
		m, _ := template.Normalize(map[string]any(d.Clone())).(map[string]any)
		return m
	}
	env := &template.Env{
		Subscription: plain(s.kernel.SubscriptionDoc()),
		Tenant:       map[string]any{"tenantId": s.kernel.Tenant(), "id": "/tenants/" + s.kernel.Tenant()},
		Deployer:     map[string]any{"objectId": caller.ObjectID, "tenantId": caller.TenantID, "userPrincipalName": caller.Name},
		Environment:  plain(s.kernel.Environment()),
		Deployment: map[string]any{
			"name": id.Name(), "properties": plain(arm.Doc{
				"template": map[string]any(props.Object("template")), "parameters": map[string]any(props.Object("parameters")),
				"mode": props.String("mode"), "provisioningState": "Accepted",
			}),
		},
		Provider: func(namespace, typ string) map[string]any { return s.kernel.Describe(namespace, typ) },
		Zones:    zones,
		Now:      now,
		NewGUID:  uuid.NewString,
	}
	if location != "" {
		env.Deployment["location"] = location
	}
	group, ok := id.Group()
	if !ok {
		return env, nil
	}
	err := s.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := s.kernel.Load(ctx, tx, group)
		if err != nil {
			return err
		}
		doc, err := s.kernel.Render(ctx, tx, r)
		env.Group = plain(doc)
		return err
	})
	return env, err
}

// show is a deployment's parameters or outputs as answers have them: secure ones
// have no value.
func show(values map[string]template.Value) map[string]any {
	out := map[string]any{}
	for name, v := range values {
		doc := map[string]any{"type": v.Type}
		if !v.Secure() {
			doc["value"] = template.Plain(v.Value)
		}
		out[name] = doc
	}
	return out
}

// describe is the properties of a deployment that its template and parameters give.
func (p *prepared) describe() arm.Doc {
	types := map[string]map[string]map[string]bool{}
	dependencies := []any{}
	about := func(r *template.Resource) map[string]any {
		return map[string]any{"id": r.ID, "resourceType": r.Type, "resourceName": r.Name}
	}
	for _, r := range p.plan.Resources {
		if !r.Deployed() {
			continue
		}
		ns, typ, _ := strings.Cut(r.Type, "/")
		if types[ns] == nil {
			types[ns] = map[string]map[string]bool{}
		}
		if types[ns][typ] == nil {
			types[ns][typ] = map[string]bool{}
		}
		if len(r.DependsOn) == 0 {
			continue
		}
		doc := about(r)
		on := []any{}
		for _, j := range r.DependsOn {
			on = append(on, about(p.plan.Resources[j]))
		}
		doc["dependsOn"] = on
		dependencies = append(dependencies, doc)
	}
	providers := []any{}
	for _, ns := range slices.Sorted(maps.Keys(types)) {
		list := []any{}
		for _, typ := range slices.Sorted(maps.Keys(types[ns])) {
			list = append(list, map[string]any{"resourceType": typ, "locations": []any{nil}})
		}
		providers = append(providers, map[string]any{"namespace": ns, "resourceTypes": list})
	}
	return arm.Doc{
		"templateHash": template.Hash(p.raw), "parameters": show(p.params), "mode": p.mode,
		"providers": providers, "dependencies": dependencies,
	}
}

// putDeployment records a deployment and has the engine begin with it.
func (s *Service) putDeployment(_ context.Context, p *arm.Put) error {
	pre, ok := p.Prepared.(*prepared)
	if !ok {
		return errors.New("put deployment: it is not prepared")
	}
	if e := p.Existing; e != nil {
		if e.Body.String("properties.provisioningState") == stateRunning {
			return active(p.ID, e)
		}
		if was, is := e.Body.String("location"), p.Resource.Body.String("location"); was != "" && arm.NormalizeLocation(was) != arm.NormalizeLocation(is) {
			return arm.Errorf(http.StatusConflict, "InvalidDeploymentLocation", "Invalid deployment location '%s'. The deployment '%s' already exists in location '%s'.", is, p.ID.Name(), was)
		}
	}
	grooms, err := s.remember(p.Tx, p.ID, p.Now)
	if err != nil {
		return err
	}
	correlation := p.HTTP.Header.Get("X-Ms-Correlation-Request-Id")
	if correlation == "" {
		correlation = uuid.NewString()
	}
	doc := arm.Doc{"properties": map[string]any(pre.describe())}
	for _, name := range []string{"location", "tags"} {
		if v := p.Resource.Body.Get(name); v != nil {
			doc[name] = v
		}
	}
	doc.Set("properties.provisioningState", stateRunning)
	doc.Set("properties.timestamp", arm.Timestamp(p.Now))
	doc.Set("properties.duration", duration(0))
	doc.Set("properties.correlationId", correlation)
	p.Resource.Body = doc
	p.Resource.UID = uuid.NewString() // of this run
	p.Defer()
	if err := s.forgetOperations(p.Tx, p.ID); err != nil {
		return err
	}
	r := &run{ID: p.Resource.ID, UID: p.Resource.UID, Running: true}
	if err := s.seal(r, &work{
		Template: pre.raw, Parameters: pre.params, Mode: pre.mode, Location: p.Resource.Body.String("location"),
		Caller: p.Caller, Correlation: correlation, Begun: p.Now,
	}); err != nil {
		return err
	}
	if err := s.runs.Put(p.Tx, r); err != nil {
		return err
	}
	id, caller := p.Resource.ID, p.Caller
	p.After(func() {
		s.start(id, false)
		if grooms {
			s.groom(id, caller)
		}
	})
	return nil
}

func active(id arm.ID, r *arm.Resource) error {
	return arm.Errorf(http.StatusConflict, "DeploymentActive",
		"Unable to edit or replace deployment '%s': previous deployment from '%s' is still active. Please see https://aka.ms/arm-deploy for usage details.",
		id.Name(), r.Body.String("properties.timestamp"))
}

// duration writes a duration as ISO 8601 does, in seconds.
func duration(d time.Duration) string {
	return fmt.Sprintf("PT%sS", strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.7f", d.Seconds()), "0"), "."))
}

// deleteDeployment forgets a deployment; what it made stays. One that is under way
// is deleted with its group only.
func (s *Service) deleteDeployment(_ context.Context, d *arm.Delete) error {
	id := d.Resource.ParsedID()
	if d.Resource.Body.String("properties.provisioningState") == stateRunning {
		if !d.Cascade {
			// that it is refused is documented, its code is not
			return arm.Errorf(http.StatusConflict, "DeploymentActive", "The deployment '%s' cannot be deleted while it is running.", id.Name())
		}
		d.After(func() { s.cancelRun(d.Resource.ID, d.Resource.UID) })
	}
	if err := d.Tx.Delete(historyBucket, historyKey(id)); err != nil {
		return err
	}
	if err := s.forgetOperations(d.Tx, id); err != nil {
		return err
	}
	return s.runs.Delete(d.Tx, arm.Key(d.Resource.ID))
}

// cancelDeployment ends a deployment that is under way. What is being written by
// then is finished.
func (s *Service) cancelDeployment(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var uid string
	err := s.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := s.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		if state := r.Body.String("properties.provisioningState"); state != stateRunning {
			return arm.Errorf(http.StatusConflict, "DeploymentCannotBeCancelled", "The deployment '%s' cannot be cancelled because its provisioning state is '%s'.", req.ID.Name(), state)
		}
		uid = r.UID
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.cancelRun(req.ID.String(), uid)
	return &arm.Response{Status: http.StatusNoContent}, nil
}

// listDeployments lists the deployments at a scope, of which there are up to 800.
func (s *Service) listDeployments(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
	want, err := stateFilter(req.Query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	err = s.kernel.Store().View(ctx, func(tx store.Tx) error {
		if group, ok := parent.Group(); ok {
			if _, err := s.kernel.Load(ctx, tx, group); err != nil {
				return err
			}
		}
		last := ""
		for r, err := range s.kernel.Resources().Children(tx, parent, DeploymentType) {
			if err != nil {
				return err
			}
			if arm.Key(r.ID) <= after || want != "" && !strings.EqualFold(want, r.Body.String("properties.provisioningState")) {
				continue
			}
			if len(page.Value) == size {
				page.Next = arm.EncodeToken(last)
				return nil
			}
			doc, err := s.kernel.Render(ctx, tx, r)
			if err != nil {
				return err
			}
			page.Value, last = append(page.Value, doc), arm.Key(r.ID)
		}
		return nil
	})
	return page, err
}

var stateTerm = regexp.MustCompile(`(?i)^\s*provisioningState\s+eq\s+'([a-z]+)'\s*$`)

// stateFilter is the one filter that deployments are listed with.
func stateFilter(filter string) (string, error) {
	if strings.TrimSpace(filter) == "" {
		return "", nil
	}
	m := stateTerm.FindStringSubmatch(filter)
	if m == nil {
		return "", arm.BadRequest("InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string.", filter)
	}
	return m[1], nil
}

// exportDeployment answers the template of a deployment.
func (s *Service) exportDeployment(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var w *work
	err := s.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := s.runs.Get(tx, req.ID.Key())
		if err != nil {
			return fmt.Errorf("read the template of %s: %w", req.ID, err)
		}
		w, err = s.open(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return arm.OK(arm.Doc{"template": w.Template}), nil
}

// validateDeployment says what is wrong with a deployment, or how it would be.
func (s *Service) validateDeployment(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	p, err := s.prepare(ctx, req, req.ID, req.Body, true)
	if err != nil {
		return nil, err
	}
	trials, err := s.try(ctx, req.Caller, p.plan)
	if err != nil {
		return nil, err
	}
	var bad []*arm.Error
	validated := []any{}
	for i, r := range p.plan.Resources {
		if !r.Deployed() {
			continue
		}
		validated = append(validated, map[string]any{"id": r.ID})
		if t, ok := trials[i]; ok && t.Err != nil {
			e := *arm.AsError(t.Err)
			e.Target = r.ID
			bad = append(bad, &e)
		}
	}
	if len(bad) > 0 {
		return nil, notValid(bad)
	}
	doc := p.describe()
	doc["provisioningState"] = stateSucceeded
	doc["timestamp"] = arm.Timestamp(req.Now)
	doc["duration"] = duration(0)
	doc["correlationId"] = uuid.NewString()
	doc["validatedResources"] = validated
	return arm.OK(arm.Doc{"id": req.ID.String(), "name": req.ID.Name(), "type": DeploymentType, "properties": map[string]any(doc)}), nil
}

// calculateTemplateHash is open to everyone of the tenant, as it reads nothing.
func calculateTemplateHash() arm.Action {
	return arm.Action{Name: "calculateTemplateHash", Handle: func(_ context.Context, req *arm.Request) (*arm.Response, error) {
		if req.Body == nil {
			return nil, arm.BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'the body is empty'.")
		}
		return arm.OK(arm.Doc{"minifiedTemplate": template.Minify(req.Body), "templateHash": template.Hash(req.Body)}), nil
	}}
}

// seal puts what is to be done into a record.
func (s *Service) seal(r *run, w *work) error {
	b, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("encode deployment: %w", err)
	}
	if r.Sealed, err = s.deps.Sealer.Seal(b); err != nil {
		return fmt.Errorf("seal deployment: %w", err)
	}
	return nil
}

func (s *Service) open(r *run) (*work, error) {
	b, err := s.deps.Sealer.Open(r.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open deployment %s: %w", r.ID, err)
	}
	w := &work{}
	return w, json.Unmarshal(b, w)
}
