package resources

import (
	"context"
	_ "embed" // what is left out
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// exportRules says what of a group goes into its template.
//
//go:embed export.json
var exportRules []byte

// exportTable is export.json.
type exportTable struct {
	// Versions are the API versions of namespaces, by lower-case name.
	Versions map[string]string `json:"versions"`
	// Skip are types that no template makes, in lower case.
	Skip []string `json:"skip"`
	// Computed are paths of properties that the service sets, by lower-case type;
	// those of "*" hold for all.
	Computed map[string][]string `json:"computed"`
}

const templateSchema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"

// exporter makes a template of a group.
type exporter struct {
	s       *Service
	req     *arm.Request
	rules   exportTable
	options map[string]bool
	// chosen are the resources, by lower-case ID.
	chosen map[string]*exported
	params arm.Doc
	failed []*arm.Error
}

// exported is one resource of the template.
type exported struct {
	id  arm.ID
	typ *arm.ResourceType
	doc arm.Doc
}

// exportGroup is POST …/exportTemplate of a resource group.
func (s *Service) exportGroup(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	x := &exporter{s: s, req: req, options: map[string]bool{}, chosen: map[string]*exported{}, params: arm.Doc{}}
	if err := json.Unmarshal(exportRules, &x.rules); err != nil {
		return nil, fmt.Errorf("read the rules of exports: %w", err)
	}
	for o := range strings.SplitSeq(req.Body.String("options"), ",") {
		o = strings.ToLower(strings.TrimSpace(o))
		switch o {
		case "", "none":
		case "includeparameterdefaultvalue", "includecomments", "skipresourcenameparameterization", "skipallparameterization":
			x.options[o] = true
		default:
			return nil, arm.BadRequest("InvalidExportTemplateOptions", "The option '%s' of the export is not valid.", o)
		}
	}
	if f := req.Body.String("outputFormat"); f != "" && !strings.EqualFold(f, "Json") {
		return nil, arm.NotImplemented("exports in the format '%s'", f)
	}
	var want []string
	for _, v := range req.Body.List("resources") {
		id, _ := v.(string)
		want = append(want, arm.Key(id))
	}
	if len(want) == 0 {
		return nil, arm.BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'resources is required'.")
	}
	if err := x.collect(ctx, want); err != nil {
		return nil, err
	}
	list := []any{}
	for _, key := range slices.Sorted(maps.Keys(x.chosen)) {
		list = append(list, map[string]any(x.resource(x.chosen[key])))
	}
	out := arm.Doc{"template": arm.Doc{
		"$schema": templateSchema, "contentVersion": "1.0.0.0", "parameters": map[string]any(x.params), "variables": map[string]any{}, "resources": list,
	}}
	if len(x.failed) > 0 {
		e := arm.Errorf(0, "ExportTemplateCompletedWithErrors", "Export template operation completed with errors. Some resources were not exported. Please see details for more information.")
		e.Details = x.failed
		var doc map[string]any
		if err := json.Unmarshal(e.Envelope(), &doc); err != nil {
			return nil, err
		}
		out["error"] = doc["error"]
	}
	return arm.OK(out), nil
}

// collect finds the resources to export.
func (x *exporter) collect(ctx context.Context, want []string) error {
	all := slices.Contains(want, "*")
	wanted := func(id arm.ID) bool {
		for {
			if all || slices.Contains(want, id.Key()) {
				return true
			}
			if id.Type() == arm.TypeResourceGroup || id.IsZero() {
				return false
			}
			id = id.Parent() // children go with what they are in
		}
	}
	k := x.s.kernel
	err := k.Store().View(ctx, func(tx store.Tx) error {
		for r, err := range k.Resources().Below(tx, x.req.ID) {
			if err != nil {
				return err
			}
			id := r.ParsedID()
			t := k.TypeOf(id.Type())
			if len(id.Providers) != 1 || t == nil || !wanted(id) || x.skipped(t) {
				continue
			}
			doc, err := k.Render(ctx, tx, r)
			if err != nil {
				return err
			}
			x.chosen[id.Key()] = &exported{id, t, doc}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// what is in others that are left out is left out
	maps.DeleteFunc(x.chosen, func(_ string, e *exported) bool {
		for p := e.id.Parent(); p.Type() != arm.TypeResourceGroup; p = p.Parent() {
			if t := k.TypeOf(p.Type()); t == nil || x.skipped(t) && t.Default == nil {
				return true
			}
		}
		return false
	})
	return x.collectVirtual(ctx)
}

// skipped says whether a template does not make resources of a type.
func (x *exporter) skipped(t *arm.ResourceType) bool {
	puts := len(t.Methods) == 0 || slices.Contains(t.Methods, http.MethodPut)
	low := strings.ToLower(t.Type)
	return !puts || slices.ContainsFunc(x.rules.Skip, func(s string) bool { return low == s || strings.HasPrefix(low, s+"/") })
}

// collectVirtual asks for the resources that live in data planes, as the caller may.
func (x *exporter) collectVirtual(ctx context.Context) error {
	for _, key := range slices.Sorted(maps.Keys(x.chosen)) {
		e := x.chosen[key]
		for _, t := range x.s.kernel.TypesBelow(e.typ.Type) {
			if !t.Virtual || x.skipped(t) {
				continue
			}
			names := strings.Split(strings.TrimPrefix(t.Type, e.typ.Type+"/"), "/")
			path := e.id.String()
			for _, n := range names[:len(names)-1] {
				path += "/" + n + "/default"
			}
			for next := path + "/" + names[len(names)-1]; next != ""; {
				resp, err := x.s.kernel.Act(ctx, arm.Act{Caller: x.req.Caller, Method: http.MethodGet, Path: next, APIVersion: x.version(t)})
				if e := (*arm.Error)(nil); errors.As(err, &e) {
					if e.Status != http.StatusNotFound && e.Status != http.StatusNotImplemented {
						x.failed = append(x.failed, e)
					}
					break
				}
				if err != nil {
					return err
				}
				page, err := plain(resp.Body)
				if err != nil {
					return err
				}
				doc, _ := page.(map[string]any)
				for _, v := range arm.Doc(doc).List("value") {
					m, _ := v.(map[string]any)
					id, err := arm.ParseID(arm.Doc(m).String("id"))
					if err != nil {
						continue
					}
					x.chosen[id.Key()] = &exported{id, t, m}
				}
				next = "" // the first page holds all that a template may
			}
		}
	}
	return nil
}

func (x *exporter) version(t *arm.ResourceType) string {
	ns, _, _ := strings.Cut(strings.ToLower(t.Type), "/")
	if v := x.rules.Versions[ns]; v != "" {
		return v
	}
	return "2021-04-01"
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// parameter is the parameter for a value, "" when values are written as they are.
func (x *exporter) parameter(id arm.ID, suffix, value string) string {
	if x.options["skipallparameterization"] || suffix == "name" && x.options["skipresourcenameparameterization"] {
		return ""
	}
	_, typ, _ := strings.Cut(id.Type(), "/")
	name := notInNames.ReplaceAllString(typ+"_"+id.Name()+"_"+suffix, "_")
	def := map[string]any{"type": "String"}
	if x.options["includeparameterdefaultvalue"] {
		def["defaultValue"] = value
	}
	x.params[name] = def
	return name
}

// nameOf is the expression, without brackets, of the name of a resource.
func (x *exporter) nameOf(id arm.ID) []string {
	var out []string
	at := arm.ID{Subscription: id.Subscription, ResourceGroup: id.ResourceGroup}
	for i, typ := range id.Providers[0].Types {
		name := id.Providers[0].Names[i]
		if i == 0 {
			at = at.Child(id.Providers[0].Namespace+"/"+typ, name)
			if p := x.parameter(at, "name", name); p != "" {
				out = append(out, "parameters('"+p+"')")
				continue
			}
		} else {
			at = at.Child(typ, name)
		}
		out = append(out, "'"+strings.ReplaceAll(name, "'", "''")+"'")
	}
	return out
}

func (x *exporter) idOf(id arm.ID) string {
	return "[resourceId('" + id.Type() + "', " + strings.Join(x.nameOf(id), ", ") + ")]"
}

// fullName is the name of a resource in the template.
func (x *exporter) fullName(id arm.ID) string {
	parts := x.nameOf(id)
	if len(parts) == 1 {
		if name, ok := strings.CutPrefix(parts[0], "'"); ok {
			return escaped(strings.ReplaceAll(strings.TrimSuffix(name, "'"), "''", "'"))
		}
		return "[" + parts[0] + "]"
	}
	if strings.HasPrefix(parts[0], "'") {
		return escaped(id.FullName())
	}
	rest, _ := strings.CutPrefix(id.FullName(), id.Providers[0].Names[0])
	return "[concat(" + parts[0] + ", '" + strings.ReplaceAll(rest, "'", "''") + "')]"
}

func escaped(s string) string {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return "[" + s
	}
	return s
}

// resource is a resource as the template has it.
func (x *exporter) resource(e *exported) arm.Doc {
	on := map[string]bool{}
	for p := e.id.Parent(); p.Type() != arm.TypeResourceGroup; p = p.Parent() {
		if x.chosen[p.Key()] != nil {
			on[x.idOf(p)] = true
		}
	}
	body := e.doc.Clone()
	for _, path := range slices.Concat(x.rules.Computed["*"], x.rules.Computed[strings.ToLower(e.typ.Type)]) {
		drop(map[string]any(body), strings.Split(path, "."))
	}
	// what is in it and a resource of its own is left to that
	for _, c := range x.s.kernel.TypesBelow(e.typ.Type) {
		name := strings.TrimPrefix(c.Type, e.typ.Type+"/")
		if !strings.Contains(name, "/") && !x.skipped(c) {
			body.Delete("properties." + name)
		}
	}
	if body.String("identity.type") == "None" {
		body.Delete("identity")
	}
	for key := range body.Object("identity.userAssignedIdentities") {
		body.Object("identity.userAssignedIdentities")[key] = map[string]any{}
	}
	out := arm.Doc{"type": e.typ.Type, "apiVersion": x.version(e.typ), "name": x.fullName(e.id)}
	if x.options["includecomments"] {
		out["comments"] = "Generalized from resource: '" + e.id.String() + "'."
	}
	for k, v := range body {
		if m, ok := v.(map[string]any); v == nil || ok && len(m) == 0 && k != "properties" {
			continue
		}
		out[k] = x.refer(v, e.id, on)
	}
	if len(on) > 0 {
		var list []any
		for _, d := range slices.Sorted(maps.Keys(on)) {
			list = append(list, d)
		}
		out["dependsOn"] = list
	}
	return out
}

// drop removes a path; "*" stands for every element of an array, "**" for any depth.
func drop(v any, path []string) {
	switch v := v.(type) {
	case map[string]any:
		if path[0] == "**" {
			drop(v, path[1:])
			for _, x := range v {
				drop(x, path)
			}
			return
		}
		for k, x := range v {
			if !strings.EqualFold(k, path[0]) {
				continue
			}
			if len(path) == 1 {
				delete(v, k)
			} else {
				drop(x, path[1:])
			}
		}
	case []any:
		if path[0] == "*" {
			path = path[1:]
		} else if path[0] != "**" {
			return
		}
		for _, x := range v {
			drop(x, path)
		}
	}
}

// refer writes IDs in a value as expressions, and notes what they make it depend on.
func (x *exporter) refer(v any, self arm.ID, on map[string]bool) any {
	switch v := v.(type) {
	case string:
		return x.referred(v, self, on)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = x.refer(e, self, on)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[x.referred(k, self, on)] = x.refer(e, self, on)
		}
		return out
	}
	return v
}

func (x *exporter) referred(s string, self arm.ID, on map[string]bool) string {
	if !strings.HasPrefix(strings.ToLower(s), "/subscriptions/") {
		return escaped(s)
	}
	id, err := arm.ParseID(s)
	if err != nil || len(id.Providers) == 0 {
		return escaped(s)
	}
	for p := id; len(p.Providers) == 1 && len(p.Providers[0].Types) > 0 && p.Type() != arm.TypeResourceGroup; p = p.Parent() {
		if x.chosen[p.Key()] == nil {
			continue
		}
		if p.Key() != self.Key() && !strings.HasPrefix(self.Key(), p.Key()+"/") {
			on[x.idOf(p)] = true
		}
		return x.idOf(id)
	}
	if p := x.parameter(id, "externalid", s); p != "" {
		return "[parameters('" + p + "')]"
	}
	return escaped(s)
}
