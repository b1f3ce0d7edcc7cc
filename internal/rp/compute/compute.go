// Package compute is the part of the resource provider Microsoft.Compute that tools
// ask before they choose a machine: which sizes there are, and where. There are no
// virtual machines.
package compute

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
)

const namespace = "Microsoft.Compute"

// Provider returns the operations of the namespace over the catalogue of sizes.
// Of what Azure tells of a size they tell what the catalogue knows: zones, disks and
// most capabilities are left out.
func Provider(sizes *catalog.Catalog) *arm.Provider {
	p := &provider{sizes}
	return &arm.Provider{Namespace: namespace, Actions: []arm.Action{
		{Name: "skus", Method: http.MethodGet, Permission: namespace + "/skus/read", Handle: p.skus},
		{Name: "locations/{}/vmSizes", Method: http.MethodGet, Permission: namespace + "/locations/vmSizes/read", Handle: p.vmSizes},
	}}
}

type provider struct{ sizes *catalog.Catalog }

// offered are the sizes that Azure still has in a region.
func (p *provider) offered(req *arm.Request, region string) []catalog.VMSize {
	var out []catalog.VMSize
	for _, s := range p.sizes.VMSizes() {
		if !s.Retired(req.Now) && p.sizes.Sold(s.Name, region) {
			out = append(out, s)
		}
	}
	return out
}

func (p *provider) vmSizes(_ context.Context, req *arm.Request) (*arm.Response, error) {
	region := arm.NormalizeLocation(req.Args[0])
	if !slices.Contains(arm.Locations(), region) {
		return nil, arm.BadRequest("NoRegisteredProviderFound", "No registered resource provider found for location '%s' and API version '%s' for type 'locations/vmSizes'.", req.Args[0], req.APIVersion)
	}
	page := &arm.Page{}
	for _, s := range p.offered(req, region) {
		page.Value = append(page.Value, arm.Doc{"name": s.Name, "numberOfCores": s.VCPUs, "memoryInMB": int(s.MemoryGiB * 1024)})
	}
	return req.Kernel.PageResponse(req, page), nil
}

// skus lists sizes, one entry for each region, as Azure does.
func (p *provider) skus(_ context.Context, req *arm.Request) (*arm.Response, error) {
	regions := arm.Locations()
	if f := strings.TrimSpace(req.Query.Get("$filter")); f != "" {
		words := strings.SplitN(f, " ", 3)
		if len(words) != 3 || !strings.EqualFold(words[0], "location") || !strings.EqualFold(words[1], "eq") {
			return nil, arm.NotImplemented("$filter '%s' of SKUs", f) // Azure knows location alone
		}
		region := arm.NormalizeLocation(strings.Trim(words[2], "'"))
		if regions = []string{region}; !slices.Contains(arm.Locations(), region) {
			regions = nil
		}
	}
	page := &arm.Page{}
	for _, region := range regions {
		for _, s := range p.offered(req, region) {
			page.Value = append(page.Value, sku(&s, region))
		}
	}
	return req.Kernel.PageResponse(req, page), nil
}

func sku(s *catalog.VMSize, region string) arm.Doc {
	capabilities := []any{}
	add := func(name string, v float64) {
		if v > 0 {
			capabilities = append(capabilities, map[string]any{"name": name, "value": strconv.FormatFloat(v, 'f', -1, 64)})
		}
	}
	add("vCPUs", float64(s.VCPUs))
	add("MemoryGB", s.MemoryGiB)
	add("GPUs", float64(s.GPUs))
	tier, size, _ := strings.Cut(s.Name, "_")
	return arm.Doc{
		"resourceType": "virtualMachines", "name": s.Name, "tier": tier, "size": size, "family": s.Family,
		"locations": []any{region}, "locationInfo": []any{map[string]any{"location": region, "zones": []any{}, "zoneDetails": []any{}}},
		"capabilities": capabilities, "restrictions": []any{},
	}
}
