package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// ValidateResourceTypeConfig checks a configuration without asking any service.
func (s *server) ValidateResourceTypeConfig(_ context.Context, req *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	resp := &tfprotov5.ValidateResourceTypeConfigResponse{}
	k, rt, err := s.resource(req.TypeName)
	if err != nil {
		resp.Diagnostics = failure("validating the configuration", err)
		return resp, nil
	}
	config, err := s.object(req.Config, k.Attributes)
	if err != nil {
		resp.Diagnostics = failure("reading the configuration", err)
		return resp, nil
	}
	c := &checker{major: s.p.cfg.Major, config: config}
	c.check(k.Attributes)
	if k.Deprecated != "" {
		c.warn(nil, "Deprecated Resource", k.Deprecated)
	}
	if rt != nil && rt.validate != nil {
		rt.validate(c)
	}
	resp.Diagnostics = c.diags
	return resp, nil
}

// UpgradeResourceState decodes a stored state. Attributes that the schema has no
// longer are dropped, those that it has gained are null until the next refresh.
func (s *server) UpgradeResourceState(_ context.Context, req *tfprotov5.UpgradeResourceStateRequest) (*tfprotov5.UpgradeResourceStateResponse, error) {
	resp := &tfprotov5.UpgradeResourceStateResponse{}
	k, _, err := s.resource(req.TypeName)
	if err != nil {
		resp.Diagnostics = failure("reading the state", err)
		return resp, nil
	}
	if req.RawState == nil {
		return resp, nil
	}
	t := k.Attributes.objectType()
	val, err := req.RawState.UnmarshalWithOpts(t, tfprotov5.UnmarshalOpts{
		ValueFromJSONOpts: tftypes.ValueFromJSONOpts{IgnoreUndefinedAttributes: true},
	})
	if err != nil {
		resp.Diagnostics = failure(fmt.Sprintf("reading the state of %s, schema version %d", req.TypeName, req.Version), err)
		return resp, nil
	}
	tree, err := fromTF(val)
	if err == nil {
		resp.UpgradedState, err = dynamic(asObject(tree), k.Attributes)
	}
	if err != nil {
		resp.Diagnostics = failure("writing the state", err)
	}
	return resp, nil
}

// ReadResource refreshes a state.
func (s *server) ReadResource(ctx context.Context, req *tfprotov5.ReadResourceRequest) (*tfprotov5.ReadResourceResponse, error) {
	resp := &tfprotov5.ReadResourceResponse{NewState: req.CurrentState, Private: req.Private, NewIdentity: req.CurrentIdentity}
	k, rt, err := s.resource(req.TypeName)
	if err != nil {
		resp.Diagnostics = failure("refreshing the state", err)
		return resp, nil
	}
	if rt == nil {
		resp.Diagnostics = notImplemented(req.TypeName)
		return resp, nil
	}
	state, err := s.object(req.CurrentState, k.Attributes)
	if err != nil || state == nil {
		if err != nil {
			resp.Diagnostics = failure("reading the state", err)
		}
		return resp, nil
	}
	ses, err := s.session(ctx)
	if err != nil {
		resp.Diagnostics = failure("refreshing the state", err)
		return resp, nil
	}
	limit, err := k.timeout("read", state)
	if err != nil {
		resp.Diagnostics = failure("refreshing the state", err)
		return resp, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	o := &operation{session: ses, ctx: ctx, typ: rt, kind: k, id: asString(state["id"]), prior: state}
	read, err := o.read(state)
	if err != nil {
		resp.Diagnostics = []*tfprotov5.Diagnostic{problem(err, nil)}
		return resp, nil
	}
	if resp.NewState, err = dynamic(read, k.Attributes); err != nil {
		resp.Diagnostics = failure("writing the state of "+req.TypeName, err)
		resp.NewState = req.CurrentState
	}
	return resp, nil
}

// PlanResourceChange says what apply will do.
func (s *server) PlanResourceChange(_ context.Context, req *tfprotov5.PlanResourceChangeRequest) (*tfprotov5.PlanResourceChangeResponse, error) {
	// azurerm's schemas have optional arguments with defaults, which only
	// providers of the plugin SDK's age may plan.
	resp := &tfprotov5.PlanResourceChangeResponse{
		PlannedState: req.ProposedNewState, PlannedPrivate: req.PriorPrivate,
		PlannedIdentity: req.PriorIdentity,
		//lint:ignore SA1019 azurerm is of the plugin SDK, whose plans need it
		UnsafeToUseLegacyTypeSystem: true,
	}
	k, rt, err := s.resource(req.TypeName)
	if err != nil {
		resp.Diagnostics = failure("planning", err)
		return resp, nil
	}
	proposed, err := s.object(req.ProposedNewState, k.Attributes)
	if err != nil {
		resp.Diagnostics = failure("reading the plan", err)
		return resp, nil
	}
	if proposed == nil {
		return resp, nil // a deletion
	}
	if rt == nil {
		resp.Diagnostics = notImplemented(req.TypeName)
		return resp, nil
	}
	prior, err := s.object(req.PriorState, k.Attributes)
	if err != nil {
		resp.Diagnostics = failure("reading the state", err)
		return resp, nil
	}
	config, err := s.object(req.Config, k.Attributes)
	if err != nil {
		resp.Diagnostics = failure("reading the configuration", err)
		return resp, nil
	}
	c := &change{major: s.p.cfg.Major, typ: rt, kind: k, prior: prior, config: config}
	c.run()
	resp.Diagnostics = c.diags
	resp.RequiresReplace = c.replace
	if resp.PlannedState, err = dynamic(c.planned, k.Attributes); err != nil {
		resp.Diagnostics = append(resp.Diagnostics, failure("writing the plan of "+req.TypeName, err)...)
		resp.PlannedState = req.ProposedNewState
	}
	return resp, nil
}

// ApplyResourceChange creates, updates or deletes a resource.
func (s *server) ApplyResourceChange(ctx context.Context, req *tfprotov5.ApplyResourceChangeRequest) (*tfprotov5.ApplyResourceChangeResponse, error) {
	resp := &tfprotov5.ApplyResourceChangeResponse{
		NewState: req.PriorState, Private: req.PlannedPrivate,
		NewIdentity: req.PlannedIdentity,
		//lint:ignore SA1019 azurerm is of the plugin SDK, whose answers need it
		UnsafeToUseLegacyTypeSystem: true,
	}
	k, rt, err := s.resource(req.TypeName)
	if err != nil {
		resp.Diagnostics = failure("applying", err)
		return resp, nil
	}
	if rt == nil {
		resp.Diagnostics = notImplemented(req.TypeName)
		return resp, nil
	}
	o := &operation{typ: rt, kind: k, scratch: map[string]any{}}
	for _, v := range []struct {
		from *tfprotov5.DynamicValue
		to   *map[string]any
	}{{req.PriorState, &o.prior}, {req.PlannedState, &o.planned}, {req.Config, &o.config}} {
		if *v.to, err = s.object(v.from, k.Attributes); err != nil {
			resp.Diagnostics = failure("reading the plan", err)
			return resp, nil
		}
	}
	if o.session, err = s.session(ctx); err != nil {
		resp.Diagnostics = failure("applying", err)
		return resp, nil
	}
	o.id = asString(o.prior["id"])
	verb := "update"
	switch {
	case o.planned == nil:
		verb = "delete"
	case o.prior == nil:
		verb = "create"
	}
	limit, err := k.timeout(verb, o.planned, o.prior)
	if err != nil {
		resp.Diagnostics = failure("applying", err)
		return resp, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	o.ctx = ctx
	if rt.serial != nil {
		defer s.lock(rt.serial(o))()
	}
	state, err := o.apply(verb)
	if err != nil {
		resp.Diagnostics = []*tfprotov5.Diagnostic{problem(explainTimeout(ctx, err, verb, limit.String()), errorPath(err, rt, k, o.major))}
	}
	if resp.NewState, err = dynamic(state, k.Attributes); err != nil {
		resp.Diagnostics = append(resp.Diagnostics, failure("writing the state of "+req.TypeName, err)...)
		resp.NewState = req.PriorState
	}
	return resp, nil
}

// apply runs the change and returns the state to keep, also when it failed.
func (o *operation) apply(verb string) (map[string]any, error) {
	switch verb {
	case "delete":
		if err := o.destroy(); err != nil {
			return o.prior, err
		}
		return nil, nil
	case "update":
		state, err := o.modify()
		if err != nil {
			return o.prior, err
		}
		return state, nil
	}
	state, err := o.create()
	if err == nil || !o.created {
		return state, err
	}
	// The service took the request, so there may be something: with a state,
	// Terraform marks it as tainted and deletes it before the next attempt.
	if there, readErr := o.read(o.planned); readErr == nil {
		return there, err
	}
	partial, _ := dropUnknown(o.planned).(map[string]any)
	partial = cloneObject(partial)
	partial["id"] = o.id
	return partial, err
}

func explainTimeout(ctx context.Context, err error, verb, limit string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w (the %s timeout is %s)", err, verb, limit)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w (interrupted)", err)
	}
	return err
}

// errorPath finds the argument that an Azure error is about, by its target.
func errorPath(err error, rt *resourceType, k *kind, major int) *tftypes.AttributePath {
	var e *azureError
	if !errors.As(err, &e) || e.Target == "" {
		return nil
	}
	target := strings.ToLower(strings.TrimPrefix(e.Target, "properties."))
	for name, f := range mappedAttributes(rt.fields, major) {
		path := strings.ToLower(strings.TrimPrefix(f.path, "properties."))
		if k.Attributes[name] != nil && path != "" && (path == target || lastPart(path) == target) {
			return tftypes.NewAttributePath().WithAttributeName(name)
		}
	}
	return nil
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// ImportResourceState makes a state that holds an ID and what can be told from it;
// Terraform refreshes it next.
func (s *server) ImportResourceState(ctx context.Context, req *tfprotov5.ImportResourceStateRequest) (*tfprotov5.ImportResourceStateResponse, error) {
	resp := &tfprotov5.ImportResourceStateResponse{}
	k, rt, err := s.resource(req.TypeName)
	if err != nil {
		resp.Diagnostics = failure("importing", err)
		return resp, nil
	}
	if rt == nil {
		resp.Diagnostics = notImplemented(req.TypeName)
		return resp, nil
	}
	if req.ID == "" {
		resp.Diagnostics = failure("importing "+req.TypeName, errors.New("an ID is required; the built-in provider does not import by identity"))
		return resp, nil
	}
	ses, err := s.session(ctx)
	if err != nil {
		resp.Diagnostics = failure("importing", err)
		return resp, nil
	}
	state := fillObject(k.Attributes, map[string]any{})
	o := &operation{session: ses, ctx: ctx, typ: rt, kind: k, id: req.ID}
	var args map[string]any
	if rt.importID != nil {
		args, err = rt.importID(o, req.ID)
	} else {
		args, err = rt.id.parse(req.ID)
	}
	if err != nil {
		resp.Diagnostics = failure("importing "+req.TypeName, err)
		return resp, nil
	}
	for n, v := range args {
		if k.Attributes[n] != nil {
			state[n] = v
		}
	}
	state["id"] = req.ID
	for name, a := range k.Attributes {
		if a.Block && a.nested() {
			state[name] = []any{}
		}
	}
	dv, err := dynamic(state, k.Attributes)
	if err != nil {
		resp.Diagnostics = failure("importing "+req.TypeName, err)
		return resp, nil
	}
	resp.ImportedResources = []*tfprotov5.ImportedResource{{TypeName: req.TypeName, State: dv}}
	return resp, nil
}
