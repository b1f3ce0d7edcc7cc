package provider

import (
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
)

// driver calls a server as Terraform does, without one.
type driver struct {
	t     *testing.T
	srv   *server
	azure *fakeAzure
}

type obj = map[string]any

// newDriver configures a provider of a major version; features are the contents
// of the features block.
func newDriver(t *testing.T, major int, features obj) *driver {
	t.Helper()
	azure := newFakeAzure(t)
	p, err := New(azure.config(major))
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{t: t, srv: p.newServer(), azure: azure}
	if diags := d.configure(obj{"features": []any{features}}); len(diags) > 0 {
		t.Fatal(diags[0].Summary, diags[0].Detail)
	}
	return d
}

func (d *driver) configure(config obj) []*tfprotov5.Diagnostic {
	d.t.Helper()
	as := d.srv.p.table.Provider
	resp, err := d.srv.ConfigureProvider(d.t.Context(), &tfprotov5.ConfigureProviderRequest{Config: d.value(complete(as, config), as)})
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.Diagnostics
}

// complete gives a configuration the attributes that it leaves out.
func complete(as attributes, config obj) obj {
	out := obj{}
	for name, a := range as {
		v := config[name]
		if a.nested() {
			elems := []any{}
			for _, e := range asList(v) {
				elems = append(elems, complete(a.Attributes, asObject(e)))
			}
			switch {
			case isUnknown(v):
				elems = nil
			case v != nil || a.Block:
				v = elems
			}
		}
		out[name] = v
	}
	return out
}

func (d *driver) value(o obj, as attributes) *tfprotov5.DynamicValue {
	d.t.Helper()
	dv, err := dynamic(o, as)
	if err != nil {
		d.t.Fatal(err)
	}
	return dv
}

func (d *driver) object(dv *tfprotov5.DynamicValue, as attributes) obj {
	d.t.Helper()
	o, err := d.srv.object(dv, as)
	if err != nil {
		d.t.Fatal(err)
	}
	return o
}

func (d *driver) kind(typ string) *kind { return d.srv.p.table.Resources[typ] }

// missing is a type of the schema that is not implemented, or "".
func (d *driver) missing() string {
	for _, typ := range slices.Sorted(maps.Keys(d.srv.p.table.Resources)) {
		if d.srv.p.types[typ] == nil {
			return typ
		}
	}
	return ""
}

func (d *driver) validate(typ string, config obj) []*tfprotov5.Diagnostic {
	d.t.Helper()
	as := d.kind(typ).Attributes
	resp, err := d.srv.ValidateResourceTypeConfig(d.t.Context(), &tfprotov5.ValidateResourceTypeConfigRequest{TypeName: typ, Config: d.value(complete(as, config), as)})
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.Diagnostics
}

func (d *driver) plan(typ string, prior, config obj) (obj, *tfprotov5.PlanResourceChangeResponse) {
	d.t.Helper()
	as := d.kind(typ).Attributes
	cfg := d.value(complete(as, config), as)
	resp, err := d.srv.PlanResourceChange(d.t.Context(), &tfprotov5.PlanResourceChangeRequest{
		TypeName: typ, PriorState: d.value(prior, as), ProposedNewState: cfg, Config: cfg,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return d.object(resp.PlannedState, as), resp
}

// apply plans and applies; config nil deletes.
func (d *driver) apply(typ string, prior, config obj) (obj, []*tfprotov5.Diagnostic) {
	d.t.Helper()
	as := d.kind(typ).Attributes
	req := &tfprotov5.ApplyResourceChangeRequest{TypeName: typ, PriorState: d.value(prior, as), PlannedState: d.value(nil, as), Config: d.value(nil, as)}
	if config != nil {
		planned, resp := d.plan(typ, prior, config)
		if len(resp.Diagnostics) > 0 {
			return prior, resp.Diagnostics
		}
		req.PlannedState, req.Config = d.value(planned, as), d.value(complete(as, config), as)
	}
	resp, err := d.srv.ApplyResourceChange(d.t.Context(), req)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.object(resp.NewState, as), resp.Diagnostics
}

// must applies and fails the test on any error.
func (d *driver) must(typ string, prior, config obj) obj {
	d.t.Helper()
	state, diags := d.apply(typ, prior, config)
	if len(diags) > 0 {
		d.t.Fatalf("%s: %s %s", typ, diags[0].Summary, diags[0].Detail)
	}
	return state
}

func (d *driver) read(typ string, state obj) (obj, []*tfprotov5.Diagnostic) {
	d.t.Helper()
	as := d.kind(typ).Attributes
	resp, err := d.srv.ReadResource(d.t.Context(), &tfprotov5.ReadResourceRequest{TypeName: typ, CurrentState: d.value(state, as)})
	if err != nil {
		d.t.Fatal(err)
	}
	return d.object(resp.NewState, as), resp.Diagnostics
}

// group makes the resource group rg.
func (d *driver) group() {
	d.t.Helper()
	d.must("azurerm_resource_group", nil, obj{"name": "rg", "location": "eastus"})
}

// wantError checks that there is one error, with a text in it.
func wantError(t *testing.T, diags []*tfprotov5.Diagnostic, text string) {
	t.Helper()
	for _, d := range diags {
		if d.Severity == tfprotov5.DiagnosticSeverityError && strings.Contains(d.Summary+" "+d.Detail, text) {
			return
		}
	}
	t.Errorf("no error says %q: %s", text, says(diags))
}

func says(diags []*tfprotov5.Diagnostic) string {
	var out []string
	for _, d := range diags {
		out = append(out, d.Summary+" "+d.Detail)
	}
	return strings.Join(out, "; ")
}

// readGzip decodes a gzipped JSON file of testdata.
func readGzip(t *testing.T, path string, into any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		t.Fatal(err)
	}
}
