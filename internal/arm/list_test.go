package arm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// all follows a list to its end.
func all(e *rptest.Env, path string) []string {
	out := []string{}
	for path != "" {
		r := e.Want(200, "GET", path, nil)
		out = append(out, r.Names()...)
		path = r.Body.String("nextLink")
	}
	return out
}

func TestLists(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	other := rptest.Sub + "/resourceGroups/rg-One2"
	e.Want(201, "PUT", other, `{"location":"eastus"}`)
	for i := range 5 {
		e.Want(201, "PUT", toys+fmt.Sprintf("boxes/b%d", i), fmt.Sprintf(`{"location":"eastus","tags":{"n":"%d","team":"x"},"properties":{"colour":"red"}}`, i))
	}
	e.Want(201, "PUT", other+"/providers/Microsoft.Toy/boxes/far", `{"location":"westus","properties":{"colour":"blue"}}`)
	e.Want(201, "PUT", toys+"rooms/room", `{}`)
	e.Want(201, "PUT", toys+"boxes/b0/items/one", `{}`)
	e.Want(201, "PUT", toys+"boxes/b0/items/two", `{}`)
	five := []string{"b0", "b1", "b2", "b3", "b4"}
	for _, tc := range []struct {
		path string
		want []string
	}{
		{toys + "boxes?x=1", five},
		{toys + "BOXES?x=1", five},
		{rptest.Sub + "/providers/Microsoft.Toy/boxes?x=1", append(slices.Clone(five), "far")},
		{other + "/providers/Microsoft.Toy/rooms?x=1", []string{}},
		{toys + "boxes/b0/items?x=1", []string{"one", "two"}},
		{toys + "boxes/b1/items?x=1", []string{}},
		{rptest.Sub + "/resourceGroups?x=1", []string{"rg-One", "rg-One2"}},
		{rptest.Group + "/resources?x=1", append(slices.Clone(five), "room")},
		{rptest.Sub + "/resources?x=1", append(slices.Clone(five), "room", "far")},
		{rptest.Sub + "/resources?$filter=resourceType eq 'microsoft.toy/boxes' and location eq 'westus'", []string{"far"}},
		{rptest.Sub + "/resources?$filter=name eq 'b3'", []string{"b3"}},
		{rptest.Sub + "/resources?$filter=tagName eq 'n' and tagValue eq '2'", []string{"b2"}},
		{rptest.Sub + "/resources?$filter=tagName eq 'team'", five},
		{rptest.Sub + "/resources?$filter=resourceGroup eq 'RG-ONE2'", []string{"far"}},
		{rptest.Sub + "/resources?$filter=resourceType ne 'Microsoft.Toy/boxes'", []string{"room"}},
		{rptest.Sub + "/resources?$filter=name eq 'it''s'", []string{}},
	} {
		for _, top := range []string{"", "&$top=1", "&$top=2", "&$top=100000"} {
			if got := all(e, tc.path+top); !slices.Equal(got, tc.want) {
				t.Errorf("%s%s = %v, want %v", tc.path, top, got, tc.want)
			}
		}
	}
	e.Refused(404, "ResourceGroupNotFound", "none", "GET", rptest.Sub+"/resourceGroups/none/resources", nil)
	e.Refused(404, "ResourceNotFound", "none", "GET", toys+"boxes/none/items", nil)
	e.Refused(400, "InvalidFilterInQueryString", "x y", "GET", rptest.Sub+"/resources?$filter=x y", nil)
	e.Refused(501, "NotImplementedByAzimuth", "'colour'", "GET", rptest.Sub+"/resources?$filter=colour eq 'red'", nil)
	e.Refused(501, "NotImplementedByAzimuth", "'gt'", "GET", rptest.Sub+"/resources?$filter=name gt 'a'", nil)
	if r := e.As(rptest.Guest, "GET", toys+"boxes", nil); r.Status != 403 {
		t.Errorf("a guest's list = %d", r.Status)
	}

	r := e.Want(200, "GET", rptest.Group+"/resources?$expand=provisioningState&$top=1", nil)
	first := arm.Doc(r.Body.List("value")[0].(map[string]any))
	if first.String("provisioningState") != "Succeeded" || first.Has("properties") || first.Has("createdTime") {
		t.Errorf("summary: %s", r.Raw)
	}

	err := e.Store.View(t.Context(), func(tx store.Tx) error {
		names := func(seq func(func(*arm.Resource, error) bool)) (out []string) {
			for r, err := range seq {
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, r.Name())
			}
			return out
		}
		res := e.Kernel.Resources()
		if got := names(res.Find(tx, "microsoft.toy/boxes", "colour|RED")); len(got) != 5 {
			t.Errorf("Find = %v", got)
		}
		if got := names(res.FindFrom(tx, "Microsoft.Toy/boxes", "colour|", true)); len(got) != 6 || got[5] != "far" {
			t.Errorf("FindFrom = %v", got)
		}
		b2, err := res.Get(tx, toys+"boxes/B2")
		if err != nil {
			return err
		}
		at := res.FindPosition(b2, "Microsoft.Toy/boxes", "colour|red")
		if got := names(res.FindPage(tx, "Microsoft.Toy/boxes", "colour|red", at)); !slices.Equal(got, []string{"b3", "b4"}) {
			t.Errorf("FindPage = %v", got)
		}
		if got := names(res.Tracked(tx, rptest.Subscription)); len(got) != 7 {
			t.Errorf("Tracked = %v", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProviders(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	r := e.Want(200, "GET", rptest.Sub+"/providers", nil)
	found := false
	for _, v := range r.Body.List("value") {
		d := arm.Doc(v.(map[string]any))
		found = found || d.String("namespace") == "Microsoft.Toy" && d.String("registrationState") == "Registered" && len(d.List("resourceTypes")) == 7
	}
	if !found {
		t.Errorf("providers: %s", r.Raw)
	}
	toyProvider := rptest.Sub + "/providers/Microsoft.Toy"
	e.Want(200, "POST", toyProvider+"/unregister", nil)
	if r := e.Want(200, "GET", toyProvider, nil); r.Body.String("registrationState") != "Unregistered" {
		t.Errorf("unregistered: %s", r.Raw)
	}
	if r := e.Want(200, "POST", toyProvider+"/register", nil); r.Body.String("registrationState") != "Registered" {
		t.Errorf("registered: %s", r.Raw)
	}
	ops := e.Want(200, "GET", "/providers/Microsoft.Toy/operations", nil).Names()
	for _, want := range []string{"Microsoft.Toy/boxes/read", "Microsoft.Toy/boxes/items/parts/delete", "Microsoft.Toy/boxes/open/action", "Microsoft.Toy/boxes/lid/action"} {
		if !slices.Contains(ops, want) {
			t.Errorf("operations lack %s: %v", want, ops)
		}
	}
	if slices.Contains(ops, "Microsoft.Toy/marks/delete") {
		t.Error("operations have what the type leaves out")
	}
	for path, want := range map[string]string{"/subscriptions": "", "/tenants": "", rptest.Sub + "/locations": "eastus"} {
		r := e.Want(200, "GET", path, nil)
		if len(r.Body.List("value")) == 0 || want != "" && !slices.Contains(r.Names(), want) {
			t.Errorf("%s: %s", path, r.Raw)
		}
	}
	if r := e.Want(200, "GET", rptest.Sub, nil); r.Body.String("tenantId") != rptest.Tenant || r.Body.String("state") != "Enabled" {
		t.Errorf("subscription: %s", r.Raw)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"name eq 'a'", "substringof('a', name) and location ne 'b' or tagName eq 'c' and tagValue eq 'd'", "startswith(tagName, 'it''s')"} {
		f.Add(s)
	}
	r := &arm.Resource{ID: rptest.Group + "/providers/Microsoft.Toy/boxes/b"}
	f.Fuzz(func(t *testing.T, s string) {
		filter, err := arm.ParseFilter(s)
		if err != nil {
			if e := arm.AsError(err); e.Status != 400 && e.Status != 501 {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		filter.Match(r, arm.Doc{"location": "eastus", "tags": map[string]any{"c": "d"}})
	})
}
