package provider

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"sort"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

//go:embed tables/*.json.gz
var tableFiles embed.FS

// table is azurerm's public schema of one major version, as far as the tables
// go.
type table struct {
	// Version is the azurerm release that the table describes.
	Version     string           `json:"version"`
	Provider    attributes       `json:"provider"`
	Resources   map[string]*kind `json:"resources"`
	DataSources map[string]*kind `json:"data_sources"`
}

// kind is the schema of one resource type or data source.
type kind struct {
	Version    int64      `json:"version"`
	Attributes attributes `json:"attributes"`
	// Timeouts are Go durations by operation: create, read, update, delete.
	Timeouts   map[string]string `json:"timeouts"`
	Deprecated string            `json:"deprecated"`
	// HasUpdate is false where every change replaces the resource.
	HasUpdate bool `json:"has_update"`
}

// attributes are the arguments and attributes of a block, by name.
type attributes map[string]*attribute

// attribute is one argument, attribute or nested block, with what azurerm's
// plugin SDK schema says of it.
type attribute struct {
	// Type is string, bool, int, float, map, list, set, or object (timeouts).
	Type string `json:"type"`
	// Elem is the element type of a collection of primitives.
	Elem string `json:"elem"`
	// Attributes are those of each element of a collection of objects.
	Attributes attributes `json:"attributes"`
	// Block says that the configuration has it as a nested block. A collection
	// of objects without it is an attribute.
	Block bool `json:"block"`

	Required   bool   `json:"required"`
	Optional   bool   `json:"optional"`
	Computed   bool   `json:"computed"`
	Sensitive  bool   `json:"sensitive"`
	WriteOnly  bool   `json:"write_only"`
	ForceNew   bool   `json:"force_new"`
	Deprecated string `json:"deprecated"`
	Default    any    `json:"default"`

	// These name other arguments as "a.0.b" from the resource's root.
	ConflictsWith []string `json:"conflicts_with"`
	ExactlyOneOf  []string `json:"exactly_one_of"`
	AtLeastOneOf  []string `json:"at_least_one_of"`
	RequiredWith  []string `json:"required_with"`

	MinItems int64 `json:"min_items"`
	MaxItems int64 `json:"max_items"`
	// BlockMin and BlockMax are what the provider protocol says of a nested
	// block, which differs from MinItems and MaxItems for computed ones.
	BlockMin int64 `json:"block_min"`
	BlockMax int64 `json:"block_max"`

	// Suppress says which differences are none: case, location or order.
	Suppress string `json:"suppress"`
	// State says how the state keeps the argument: "location" is lower case
	// without spaces.
	State string `json:"state"`
	check
	// Each holds what is checked of every element of a collection.
	Each *check `json:"each"`
}

// check is what can be said of a value without asking the service.
type check struct {
	Enum []any    `json:"enum"`
	Min  *float64 `json:"min"`
	Max  *float64 `json:"max"`
	// ID is a resource ID pattern with * for names.
	ID string `json:"id"`
	// Rule names a rule of rules.go; Text is azurerm's message for it, with KEY
	// for the argument and %q for the value.
	Rule string `json:"rule"`
	Text string `json:"text"`
	// Any are checks of which one has to hold.
	Any []check `json:"any"`
}

// loadTable reads the schema table of an azurerm major version: 3, 4 or 5.
func loadTable(major int) (*table, error) {
	raw, err := tableFiles.ReadFile(fmt.Sprintf("tables/azurerm-%d.json.gz", major))
	if err != nil {
		return nil, fmt.Errorf("no schema table for azurerm %d.x: the built-in provider has 3.x, 4.x and 5.x", major)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("open schema table %d: %w", major, err)
	}
	t := &table{}
	if err := json.NewDecoder(z).Decode(t); err != nil {
		return nil, fmt.Errorf("read schema table %d: %w", major, err)
	}
	return t, nil
}

// names returns the attribute names in order.
func (as attributes) names() []string {
	out := make([]string, 0, len(as))
	for n := range as {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// objectType is the Terraform type of a block with these attributes.
func (as attributes) objectType() tftypes.Object {
	m := make(map[string]tftypes.Type, len(as))
	for n, a := range as {
		m[n] = a.tfType()
	}
	return tftypes.Object{AttributeTypes: m}
}

// tfType is the Terraform type of the attribute's value.
func (a *attribute) tfType() tftypes.Type {
	switch a.Type {
	case "list":
		return tftypes.List{ElementType: a.elemType()}
	case "set":
		return tftypes.Set{ElementType: a.elemType()}
	case "map":
		return tftypes.Map{ElementType: a.elemType()}
	case "object":
		return a.Attributes.objectType()
	}
	return primitiveType(a.Type)
}

func (a *attribute) elemType() tftypes.Type {
	if a.Attributes != nil {
		return a.Attributes.objectType()
	}
	return primitiveType(a.Elem)
}

func primitiveType(name string) tftypes.Type {
	switch name {
	case "bool":
		return tftypes.Bool
	case "int", "float", "number":
		return tftypes.Number
	}
	return tftypes.String
}

// nested reports whether the attribute is a list or set of objects.
func (a *attribute) nested() bool {
	return a.Attributes != nil && (a.Type == "list" || a.Type == "set")
}
