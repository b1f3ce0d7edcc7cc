package resources

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/template"
)

// try carries the resources of a plan out in the order of their dependencies and
// takes them back. Those are left out of the answer whose bodies are not known
// beforehand, what depends on them, and nested deployments.
func (s *Service) try(ctx context.Context, caller arm.Caller, plan *template.Plan) (map[int]arm.Trial, error) {
	var acts []arm.Act
	var places []int
	left := map[int]bool{}
	var visit func(i int) error
	visited := map[int]bool{}
	visit = func(i int) error {
		if visited[i] {
			return nil
		}
		visited[i] = true
		r := plan.Resources[i]
		for _, j := range r.DependsOn {
			if err := visit(j); err != nil {
				return err
			}
			left[i] = left[i] || left[j]
		}
		if !r.Deployed() || left[i] || strings.EqualFold(r.Type, DeploymentType) {
			left[i] = true
			return nil
		}
		body, err := plan.Body(ctx, i, nil)
		if err != nil {
			return asError(err)
		}
		if left[i] = unknown(body); left[i] {
			return nil
		}
		acts = append(acts, arm.Act{Caller: caller, Method: http.MethodPut, Path: r.ID, APIVersion: r.APIVersion, Body: body})
		places = append(places, i)
		return nil
	}
	for i := range plan.Resources {
		if err := visit(i); err != nil {
			return nil, err
		}
	}
	trials, err := s.kernel.Try(ctx, acts)
	if err != nil {
		return nil, err
	}
	out := map[int]arm.Trial{}
	for n, t := range trials {
		out[places[n]] = t
	}
	return out, nil
}

// unknown says whether an evaluated body still has expressions in it.
func unknown(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.HasPrefix(v, "[") && strings.HasSuffix(v, "]") && !strings.HasPrefix(v, "[[")
	case []any:
		return slices.ContainsFunc(v, unknown)
	case map[string]any:
		for _, x := range v {
			if unknown(x) {
				return true
			}
		}
	}
	return false
}

// whatIf answers what a deployment would change.
func (s *Service) whatIf(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	format := req.Body.String("properties.whatIfSettings.resultFormat")
	idsOnly := strings.EqualFold(format, "ResourceIdOnly")
	if format != "" && !idsOnly && !strings.EqualFold(format, "FullResourcePayloads") {
		return nil, arm.BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'The result format '%s' is not valid.'.", format)
	}
	p, err := s.prepare(ctx, req, req.ID, req.Body, true)
	if err != nil {
		return nil, err
	}
	w := &whatIf{s: s, req: req, idsOnly: idsOnly, seen: map[string]bool{}}
	if err := w.add(ctx, p, 0); err != nil {
		return nil, err
	}
	if len(w.bad) > 0 {
		return nil, notValid(w.bad)
	}
	if err := w.others(ctx, p.mode == "Complete"); err != nil {
		return nil, err
	}
	slices.SortFunc(w.changes, func(a, b arm.Doc) int { return strings.Compare(a.String("resourceId"), b.String("resourceId")) })
	return arm.OK(arm.Doc{"status": stateSucceeded, "properties": map[string]any{"correlationId": uuid.NewString(), "changes": w.changes}}), nil
}

// whatIf collects the changes of a deployment and those in it.
type whatIf struct {
	s       *Service
	req     *arm.Request
	idsOnly bool
	seen    map[string]bool
	changes []arm.Doc
	bad     []*arm.Error
}

func (w *whatIf) change(id, kind string, before, after arm.Doc) {
	doc := arm.Doc{"resourceId": id, "changeType": kind}
	if w.idsOnly {
		if kind == "Modify" || kind == "NoChange" {
			doc["changeType"] = "Deploy"
		}
		w.changes = append(w.changes, doc)
		return
	}
	if before != nil {
		doc["before"] = before
	}
	if after != nil {
		doc["after"] = after
	}
	if kind == "Modify" {
		doc["delta"] = delta("", map[string]any(before), map[string]any(after))
	}
	w.changes = append(w.changes, doc)
}

// maxNesting is how deep deployments may be nested.
const maxNesting = 10

// add takes what a deployment changes.
func (w *whatIf) add(ctx context.Context, p *prepared, depth int) error {
	trials, err := w.s.try(ctx, w.req.Caller, p.plan)
	if err != nil {
		return err
	}
	for i, r := range p.plan.Resources {
		if !r.Deployed() {
			continue
		}
		w.seen[arm.Key(r.ID)] = true
		body, err := p.plan.Body(ctx, i, nil)
		if err != nil {
			return asError(err)
		}
		if strings.EqualFold(r.Type, DeploymentType) {
			if err := w.nested(ctx, r, body, depth); err != nil {
				return err
			}
			continue
		}
		t, tried := trials[i]
		if tried && t.Err != nil {
			e := *arm.AsError(t.Err)
			e.Target = r.ID
			w.bad = append(w.bad, &e)
			continue
		}
		before, after := t.Before, t.After
		if !tried {
			if before, err = w.current(ctx, r.ID); err != nil {
				return err
			}
		}
		if after == nil { // as far as it is known
			after = before.Clone()
			if after == nil {
				after = arm.Doc{"id": r.ID, "name": lastOf(r.Name), "type": r.Type}
			}
			maps.Copy(after, body)
			if before != nil {
				after = before.Clone()
				after.Merge(body)
			}
		}
		before, after = comparable(before, r.APIVersion), comparable(after, r.APIVersion)
		switch {
		case before == nil:
			w.change(r.ID, "Create", nil, after)
		case reflect.DeepEqual(before, after):
			w.change(r.ID, "NoChange", before, after)
		default:
			w.change(r.ID, "Modify", before, after)
		}
	}
	return nil
}

func lastOf(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// comparable is a resource without what changes by itself.
func comparable(doc arm.Doc, version string) arm.Doc {
	if doc == nil {
		return nil
	}
	v, err := plain(doc)
	m, ok := v.(map[string]any)
	if err != nil || !ok {
		return doc
	}
	out := arm.Doc(m)
	for _, name := range []string{"etag", "systemData", "properties.provisioningState",
		// as the types have it that say when they were written
		"properties.modifiedOn", "properties.modifiedDate", "properties.lastModifiedTime", "properties.updatedOn", "properties.updatedBy",
	} {
		out.Delete(name)
	}
	for _, name := range []string{"properties", "tags"} { // none and an empty one are the same
		if p := out.Object(name); p != nil && len(p) == 0 {
			out.Delete(name)
		}
	}
	dropETags(m)
	out["apiVersion"] = version
	return out
}

func dropETags(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "etag")
		for _, x := range v {
			dropETags(x)
		}
	case []any:
		for _, x := range v {
			dropETags(x)
		}
	}
}

// current is a resource as it is, or nil.
func (w *whatIf) current(ctx context.Context, id string) (doc arm.Doc, err error) {
	parsed, err := arm.ParseID(id)
	if err != nil {
		return nil, arm.BadRequest("InvalidResourceId", "'%s' is not a resource ID.", id)
	}
	err = w.s.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := w.s.kernel.Load(ctx, tx, parsed)
		if err != nil {
			return err
		}
		doc, err = w.s.kernel.Render(ctx, tx, r)
		return err
	})
	if err != nil && arm.AsError(err).Status == http.StatusNotFound {
		return nil, nil
	}
	return doc, err
}

// nested takes what a nested deployment changes, where that can be known.
func (w *whatIf) nested(ctx context.Context, r *template.Resource, body arm.Doc, depth int) error {
	id, err := arm.ParseID(r.ID)
	if err != nil {
		return arm.BadRequest("InvalidResourceId", "'%s' is not a resource ID.", r.ID)
	}
	reason := ""
	switch {
	case depth >= maxNesting:
		reason = "The deployment is nested too deep."
	case unknown(map[string]any(body.Object("properties.parameters"))):
		reason = "The parameters of the nested deployment are known when it is deployed."
	default:
		p, err := w.s.prepare(ctx, w.req, id, body, false)
		if err == nil {
			return w.add(ctx, p, depth+1)
		}
		e := arm.AsError(err)
		if e.Status == http.StatusNotImplemented || e.Status >= 500 {
			return err
		}
		reason = e.Message
	}
	w.changes = append(w.changes, arm.Doc{"resourceId": r.ID, "changeType": "Unsupported", "unsupportedReason": reason})
	return nil
}

// others takes what is in the group and not in the template: it stays, or goes in
// mode Complete.
func (w *whatIf) others(ctx context.Context, complete bool) error {
	group, ok := w.req.ID.Group()
	if !ok {
		return nil
	}
	return w.s.kernel.Store().View(ctx, func(tx store.Tx) error {
		for r, err := range w.s.kernel.Resources().InGroup(tx, group) {
			if err != nil {
				return err
			}
			if w.seen[arm.Key(r.ID)] {
				continue
			}
			doc, err := w.s.kernel.Render(ctx, tx, r)
			if err != nil {
				return err
			}
			kind := "Ignore"
			if complete {
				kind = "Delete"
			}
			w.change(r.ID, kind, comparable(doc, ""), nil)
		}
		return nil
	})
}

// delta lists how after differs from before: properties of objects by their path,
// elements of arrays below their array.
func delta(path string, before, after any) []any {
	out := []any{}
	b, bok := before.(map[string]any)
	a, aok := after.(map[string]any)
	if !bok || !aok {
		return append(out, changed(path, before, after))
	}
	names := map[string]bool{}
	for k := range b {
		names[k] = true
	}
	for k := range a {
		names[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		x, had := b[k]
		y, has := a[k]
		at := strings.TrimPrefix(path+"."+k, ".")
		_, xo := x.(map[string]any)
		_, yo := y.(map[string]any)
		switch {
		case reflect.DeepEqual(x, y):
		case !had:
			out = append(out, arm.Doc{"path": at, "propertyChangeType": "Create", "before": nil, "after": y, "children": nil})
		case !has:
			out = append(out, arm.Doc{"path": at, "propertyChangeType": "Delete", "before": x, "after": nil, "children": nil})
		case xo && yo:
			out = append(out, delta(at, x, y)...)
		default:
			out = append(out, changed(at, x, y))
		}
	}
	return out
}

// changed is a value that is another now.
func changed(path string, before, after any) arm.Doc {
	x, xl := before.([]any)
	y, yl := after.([]any)
	if !xl || !yl {
		return arm.Doc{"path": path, "propertyChangeType": "Modify", "before": before, "after": after, "children": nil}
	}
	children := []any{}
	for i := range max(len(x), len(y)) {
		at := strconv.Itoa(i)
		switch {
		case i >= len(x):
			children = append(children, arm.Doc{"path": at, "propertyChangeType": "Create", "before": nil, "after": y[i], "children": nil})
		case i >= len(y):
			children = append(children, arm.Doc{"path": at, "propertyChangeType": "Delete", "before": x[i], "after": nil, "children": nil})
		case !reflect.DeepEqual(x[i], y[i]):
			one := arm.Doc{"path": at, "propertyChangeType": "Modify", "before": x[i], "after": y[i], "children": nil}
			if _, ok := x[i].(map[string]any); ok {
				if _, ok := y[i].(map[string]any); ok {
					one["children"] = delta("", x[i], y[i])
				}
			}
			children = append(children, one)
		}
	}
	return arm.Doc{"path": path, "propertyChangeType": "Array", "before": before, "after": after, "children": children}
}
