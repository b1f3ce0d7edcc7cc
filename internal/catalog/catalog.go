// Package catalog is the facts about Azure that come as tables: virtual machine
// sizes and built-in roles. The tables are embedded; their sources are in their
// own columns.
package catalog

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed vm-sizes.csv
var vmSizesCSV []byte

//go:embed roles.json
var rolesJSON []byte

//go:embed gpu-regions.json
var gpuRegionsJSON []byte

// VMSize is one virtual machine size.
type VMSize struct {
	// Name in Azure's casing, "Standard_D4s_v3".
	Name string
	// Family is the quota family, "standardDSv3Family".
	Family string
	// VCPUs and GPUs are counts, MemoryGiB the memory of the machine and
	// GPUMemoryGiB that of each GPU.
	VCPUs, GPUs             int
	MemoryGiB, GPUMemoryGiB float64
	// GPUType is the accelerator's name; "" without one.
	GPUType string
	// HourlyUSD is the Linux list price in eastus; 0 where none is known.
	HourlyUSD float64
	// Retirement is when Azure retires or retired the size; zero if no date is
	// known.
	Retirement time.Time
	// Source says where the row comes from.
	Source string
}

// Retired reports whether the size is gone at t.
func (s VMSize) Retired(t time.Time) bool { return !s.Retirement.IsZero() && !t.Before(s.Retirement) }

// Role is one built-in role definition.
type Role struct {
	// Name is the role's GUID, RoleName what people call it.
	Name        string       `json:"name"`
	RoleName    string       `json:"roleName"`
	Description string       `json:"description"`
	Permissions []Permission `json:"permissions"`
}

// Permission is a block of actions and exceptions of a role. Actions may hold
// "*" wildcards and compare without regard to case.
type Permission struct {
	Actions        []string `json:"actions"`
	NotActions     []string `json:"notActions"`
	DataActions    []string `json:"dataActions"`
	NotDataActions []string `json:"notDataActions"`
}

// Catalog is the loaded tables. It is immutable.
type Catalog struct {
	sizes  []VMSize
	byName map[string]int
	roles  []Role
	// regions are by the lower-case names of the sizes whose regions are known.
	regions map[string][]string
}

// Load parses the embedded tables, once.
var Load = sync.OnceValues(load)

func load() (*Catalog, error) {
	c := &Catalog{byName: map[string]int{}}
	rows, err := csv.NewReader(bytes.NewReader(vmSizesCSV)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("vm-sizes.csv: %w", err)
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	for n, row := range rows[1:] {
		var bad error
		num := func(name string) float64 {
			s := row[col[name]]
			if s == "" {
				return 0
			}
			f, err := strconv.ParseFloat(s, 64)
			if err != nil {
				bad = fmt.Errorf("vm-sizes.csv row %d, %s: %w", n+2, name, err)
			}
			return f
		}
		s := VMSize{
			Name: row[col["name"]], Family: row[col["sku_family"]], GPUType: row[col["gpu_type"]], Source: row[col["source"]],
			VCPUs: int(num("vcpus")), GPUs: int(num("gpu_count")), MemoryGiB: num("memory_gib"),
			GPUMemoryGiB: num("gpu_memory_gb_each"), HourlyUSD: num("payg_linux_eastus_usd_hr"),
		}
		if d := row[col["retirement_date"]]; d != "" {
			if s.Retirement, err = time.Parse(time.DateOnly, d); err != nil {
				bad = fmt.Errorf("vm-sizes.csv row %d: %w", n+2, err)
			}
		}
		if bad != nil {
			return nil, bad
		}
		c.byName[strings.ToLower(s.Name)] = len(c.sizes)
		c.sizes = append(c.sizes, s)
	}
	if err := json.Unmarshal(rolesJSON, &c.roles); err != nil {
		return nil, fmt.Errorf("roles.json: %w", err)
	}
	var priced struct{ Regions map[string][]string }
	if err := json.Unmarshal(gpuRegionsJSON, &priced); err != nil {
		return nil, fmt.Errorf("gpu-regions.json: %w", err)
	}
	c.regions = map[string][]string{}
	for name, regions := range priced.Regions {
		c.regions[strings.ToLower(name)] = regions
	}
	return c, nil
}

// Sold reports whether Azure's price list of June 2026 has the size in a region, in
// its short form. Only the regions of sizes with GPUs are known: all others are sold
// everywhere as far as this table goes. A price is no proof of capacity.
func (c *Catalog) Sold(size, region string) bool {
	regions, known := c.regions[strings.ToLower(size)]
	return !known || slices.Contains(regions, region)
}

// VMSizes is every size there is a row for.
func (c *Catalog) VMSizes() []VMSize { return c.sizes }

// VMSize finds a size by name, any casing.
func (c *Catalog) VMSize(name string) (VMSize, bool) {
	i, ok := c.byName[strings.ToLower(name)]
	if !ok {
		return VMSize{}, false
	}
	return c.sizes[i], true
}

// Roles is every built-in role.
func (c *Catalog) Roles() []Role { return c.roles }
