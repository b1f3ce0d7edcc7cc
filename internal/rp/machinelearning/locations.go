package machinelearning

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// vmSizes lists the sizes that can be had. Of sizes without GPUs it is not known
// which region has which: all of them are listed in each.
func (p *provider) vmSizes(_ context.Context, req *arm.Request) (*arm.Response, error) {
	location := arm.NormalizeLocation(req.Args[0])
	if !slices.Contains(arm.Locations(), location) {
		return nil, arm.BadRequest("LocationNotAvailable", "The location '%s' is not known.", req.Args[0])
	}
	list := []any{}
	for _, s := range p.Catalog.VMSizes() {
		if s.Retired(req.Now) || !p.Catalog.Sold(s.Name, location) {
			continue
		}
		doc := map[string]any{
			"name": s.Name, "family": s.Family, "vCPUs": s.VCPUs, "gpus": s.GPUs, "memoryGB": s.MemoryGiB,
			"supportedComputeTypes": []any{typeCluster, typeInstance},
		}
		if s.HourlyUSD > 0 && location == "eastus" { // the one region whose prices are in the table
			doc["estimatedVMPrices"] = map[string]any{
				"billingCurrency": "USD", "unitOfMeasure": "OneHour",
				"values": []any{map[string]any{"osType": "Linux", "vmTier": "Standard", "retailPrice": s.HourlyUSD}},
			}
		}
		list = append(list, doc)
	}
	return arm.OK(map[string]any{"value": list}), nil
}

// usages counts the cores that the computes of a region hold. Nodes that are
// not there count as well, up to a cluster's maximum, as they do in Azure. Of
// serverless jobs, the nodes that they have count.
func (p *provider) usages(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	location := arm.NormalizeLocation(req.Args[0])
	clusters, dedicated, low := 0, 0, 0
	var limits, serverless map[string]int
	families := map[string]int{}
	for _, s := range p.Catalog.VMSizes() {
		families[s.Family] = 0
	}
	err := p.kernel.Store().View(ctx, func(tx store.Tx) (err error) {
		if limits, err = p.Pools.Quotas(tx); err != nil {
			return err
		}
		if serverless, err = p.Pools.ServerlessCores(tx); err != nil {
			return err
		}
		for r, err := range p.kernel.Resources().Find(tx, ComputeType, "location|"+location) {
			if err != nil {
				return err
			}
			size, ok := p.Catalog.VMSize(r.Body.String("properties.properties.vmSize"))
			if !ok {
				continue
			}
			nodes := 1
			if kindOf(r) == typeCluster {
				nodes = r.Body.Int("properties.properties.scaleSettings.maxNodeCount", 0)
			}
			clusters++
			if strings.EqualFold(r.Body.String("properties.properties.vmPriority"), "LowPriority") {
				low += nodes * size.VCPUs
				continue
			}
			dedicated += nodes * size.VCPUs
			families[size.Family] += nodes * size.VCPUs
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	base := "/subscriptions/" + p.kernel.Subscription() + "/providers/" + namespace + "/locations/" + location
	add := func(typ, name, title string, n int) {
		n += serverless[QuotaName(location, name)]
		limit, ok := limits[QuotaName(location, name)]
		if !ok {
			limit = unlimited
		}
		page.Value = append(page.Value, arm.Doc{
			"id": base + "/" + typ + "/" + name, "type": namespace + "/" + typ, "unit": "Count", "currentValue": n, "limit": limit,
			"name": map[string]any{"value": name, "localizedValue": title},
		})
	}
	add("totalCores/usages", "Clusters", "Clusters", clusters)
	add("dedicatedCores/usages", QuotaDedicated, "Total Cluster Dedicated Regional vCPUs", dedicated)
	add("lowPriorityCores/usages", QuotaLowPriority, "Total Cluster LowPriority Regional vCPUs", low)
	for _, f := range slices.Sorted(maps.Keys(families)) {
		add("vmFamily/usages", f, f+" Cluster Dedicated vCPUs", families[f])
	}
	return req.Kernel.PageResponse(req, page), nil
}
