package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
)

// cliSchemas is what `terraform providers schema -json` prints of a provider.
type cliSchemas struct {
	Provider          cliSchema            `json:"provider"`
	ResourceSchemas   map[string]cliSchema `json:"resource_schemas"`
	DataSourceSchemas map[string]cliSchema `json:"data_source_schemas"`
	shared            bool
}

type cliSchema struct {
	Version int64    `json:"version"`
	Block   cliBlock `json:"block"`
}

type cliBlock struct {
	Attributes map[string]struct {
		Type       json.RawMessage `json:"type"`
		Required   bool            `json:"required"`
		Optional   bool            `json:"optional"`
		Computed   bool            `json:"computed"`
		Sensitive  bool            `json:"sensitive"`
		WriteOnly  bool            `json:"write_only"`
		Deprecated bool            `json:"deprecated"`
	} `json:"attributes"`
	BlockTypes map[string]struct {
		NestingMode string   `json:"nesting_mode"`
		Block       cliBlock `json:"block"`
		MinItems    int64    `json:"min_items"`
		MaxItems    int64    `json:"max_items"`
	} `json:"block_types"`
}

// TestSchemasAgree compares every attribute that is served with azurerm's own.
func TestSchemasAgree(t *testing.T) {
	for _, major := range []int{3, 4, 5} {
		t.Run(fmt.Sprintf("%d.x", major), func(t *testing.T) {
			var want cliSchemas
			readGzip(t, fmt.Sprintf("testdata/schema-%d.json.gz", major), &want)
			agree(t, newDriver(t, major, nil).srv, &want)
		})
	}
}

// TestSchemasAgreeWithShared does the same with the project's shared copy, where
// there is one. That copy has fewer types, and no attribute that is called
// description.
func TestSchemasAgreeWithShared(t *testing.T) {
	for major, version := range map[int]string{3: "3.117.1", 5: "5.2.0"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "shared", "azurerm", "schema-"+version+".json"))
		if err != nil {
			t.Skip("there is no shared copy here")
		}
		var want cliSchemas
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		want.shared = true
		agree(t, newDriver(t, major, nil).srv, &want)
	}
}

func agree(t *testing.T, srv *server, want *cliSchemas) {
	t.Helper()
	got, err := srv.GetProviderSchema(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{t: t, shared: want.shared}
	c.block("provider", got.Provider.Block, want.Provider.Block)
	c.schemas(got.ResourceSchemas, want.ResourceSchemas, "")
	c.schemas(got.DataSourceSchemas, want.DataSourceSchemas, "data.")
	if c.attributes < 1000 {
		t.Errorf("only %d attributes were compared", c.attributes)
	}
	t.Logf("%d attributes and blocks agree", c.attributes)
}

type comparison struct {
	t          *testing.T
	shared     bool
	attributes int
}

func (c *comparison) schemas(got map[string]*tfprotov5.Schema, want map[string]cliSchema, prefix string) {
	c.t.Helper()
	if c.shared {
		got = maps.Clone(got)
		maps.DeleteFunc(got, func(name string, _ *tfprotov5.Schema) bool { _, ok := want[name]; return !ok })
	}
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		c.t.Errorf("the types are %v, want %v", g, w)
		return
	}
	for name, w := range want {
		if got[name].Version != w.Version {
			c.t.Errorf("%s%s: schema version %d, want %d", prefix, name, got[name].Version, w.Version)
		}
		c.block(prefix+name, got[name].Block, w.Block)
	}
}

func (c *comparison) block(path string, got *tfprotov5.SchemaBlock, want cliBlock) {
	seen := map[string]bool{}
	for _, a := range got.Attributes {
		w, ok := want.Attributes[a.Name]
		at := path + "." + a.Name
		if !ok {
			if c.shared && a.Name == "description" {
				continue
			}
			c.t.Errorf("%s is served, but azurerm has no such attribute", at)
			continue
		}
		seen[a.Name] = true
		c.attributes++
		//lint:ignore SA1019 the form of the comparison
		raw, err := a.Type.MarshalJSON()
		if err != nil {
			c.t.Fatal(err)
		}
		if !c.sameType(raw, w.Type) {
			c.t.Errorf("%s: type %s, want %s", at, raw, w.Type)
		}
		g := [...]bool{a.Required, a.Optional, a.Computed, a.Sensitive, a.WriteOnly, a.Deprecated}
		if ww := [...]bool{w.Required, w.Optional, w.Computed, w.Sensitive, w.WriteOnly, w.Deprecated}; g != ww {
			c.t.Errorf("%s: required, optional, computed, sensitive, write-only, deprecated are %v, want %v", at, g, ww)
		}
	}
	for name := range want.Attributes {
		if !seen[name] {
			c.t.Errorf("%s.%s is not served", path, name)
		}
	}
	c.blocks(path, got.BlockTypes, want)
}

func (c *comparison) blocks(path string, got []*tfprotov5.SchemaNestedBlock, want cliBlock) {
	if len(got) != len(want.BlockTypes) {
		c.t.Errorf("%s: %d blocks, want %d", path, len(got), len(want.BlockTypes))
	}
	modes := map[tfprotov5.SchemaNestedBlockNestingMode]string{
		tfprotov5.SchemaNestedBlockNestingModeList: "list", tfprotov5.SchemaNestedBlockNestingModeSet: "set", tfprotov5.SchemaNestedBlockNestingModeSingle: "single",
	}
	for _, b := range got {
		at := path + "." + b.TypeName
		w, ok := want.BlockTypes[b.TypeName]
		if !ok {
			c.t.Errorf("%s is served, but azurerm has no such block", at)
			continue
		}
		c.attributes++
		if modes[b.Nesting] != w.NestingMode || b.MinItems != w.MinItems || b.MaxItems != w.MaxItems {
			c.t.Errorf("%s: %s of %d to %d, want %s of %d to %d", at, modes[b.Nesting], b.MinItems, b.MaxItems, w.NestingMode, w.MinItems, w.MaxItems)
		}
		c.block(at, b.Block, w.Block)
	}
}

// sameType compares types as JSON, whatever the order of their keys.
func (c *comparison) sameType(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	if c.shared {
		dropDescription(x)
	}
	return equalValues(x, y)
}

func dropDescription(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			dropDescription(e)
		}
	case map[string]any:
		delete(v, "description")
		for _, e := range v {
			dropDescription(e)
		}
	}
}

// TestMappingsAreOfTheSchema checks that no mapping names an attribute that no
// major version has, and lists the arguments that have no mapping.
func TestMappingsAreOfTheSchema(t *testing.T) {
	left := map[string][]string{}
	providers := map[int]*Provider{}
	for _, major := range []int{3, 4, 5} {
		providers[major] = newDriver(t, major, nil).srv.p
	}
	for _, rt := range resourceTypes() {
		known := map[string]bool{}
		for _, major := range []int{3, 4, 5} {
			k := providers[major].table.Resources[rt.name]
			if k == nil {
				continue // a type of later versions
			}
			everyPath(k.Attributes, "", known)
			for _, path := range unsupportedArguments(rt.fields, rt.managed(), k.Attributes, major, "") {
				at := rt.name + "." + path
				left[at] = append(left[at], fmt.Sprint(major))
			}
			if rt.apiVersion[major] == "" {
				t.Errorf("%s has no api-version for %d.x", rt.name, major)
			}
		}
		if len(known) == 0 {
			t.Errorf("%s is in no table", rt.name)
		}
		for _, f := range rt.fields {
			for name := range mappedAttributes([]field{f}, 0) {
				if f.majors == nil && !known[name] {
					t.Errorf("%s maps %s, which no major version has", rt.name, name)
				}
			}
		}
	}
	want, err := os.ReadFile("testdata/unmapped.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, at := range slices.Sorted(maps.Keys(left)) {
		got += fmt.Sprintf("%s %v\n", at, left[at])
	}
	if got != string(want) {
		t.Errorf("testdata/unmapped.txt, the arguments that are refused, should be:\n%s", got)
	}
}

func everyPath(as attributes, prefix string, into map[string]bool) {
	for name, a := range as {
		into[prefix+name] = true
		everyPath(a.Attributes, prefix+name+".", into)
	}
}

// unsupportedArguments lists the arguments of a schema that no field covers.
func unsupportedArguments(fields []field, managed map[string]bool, as attributes, major int, prefix string) []string {
	known := mappedAttributes(fields, major)
	var out []string
	for _, name := range as.names() {
		a, f := as[name], known[name]
		if managed[name] || !a.Required && !a.Optional || f != nil && f.fields == nil {
			continue
		}
		if f == nil {
			out = append(out, prefix+name)
			continue
		}
		out = append(out, unsupportedArguments(f.fields, nil, a.Attributes, major, prefix+name+".")...)
	}
	return out
}

// TestEveryTypeHasALife checks that terraform takes every type through its life
// in test.TestConformance.
func TestEveryTypeHasALife(t *testing.T) {
	for _, rt := range resourceTypes() {
		if _, err := os.Stat(filepath.Join("..", "..", "..", "test", "testdata", "conformance", rt.name, "main.tf")); err != nil {
			t.Errorf("%s has no folder in test/testdata/conformance, see the README.md there: %v", rt.name, err)
		}
	}
}
