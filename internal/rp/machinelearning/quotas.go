package machinelearning

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// unlimited is the limit of a usage that no quota was set for.
const unlimited = -1

// The quotas that are not those of a family of sizes.
const (
	QuotaDedicated   = "TotalDedicatedCores"
	QuotaLowPriority = "TotalLowPriorityCores"
)

// QuotaName is how the engine calls a quota, of a family or a total, in a region.
func QuotaName(location, name string) string { return arm.NormalizeLocation(location) + "/" + name }

// workspaceQuota is how the engine calls the part of a family's quota that a
// workspace may use; it is also its ID.
func workspaceQuota(workspaceID, family string) string {
	return arm.Key(workspaceID) + quotaInfix + family
}

const quotaInfix = "/quotas/"

// Quotas are those that nodes count against: dedicated ones against their
// workspace's and their family's and the region's, low-priority ones against one of
// the region.
func Quotas(location, workspaceID, family, priority string) []string {
	if priority == "LowPriority" {
		return []string{QuotaName(location, QuotaLowPriority)}
	}
	return []string{QuotaName(location, family), QuotaName(location, QuotaDedicated), workspaceQuota(workspaceID, family)}
}

// families are the names of all families of sizes.
func (p *provider) families() []string {
	names := map[string]bool{}
	for _, s := range p.Catalog.VMSizes() {
		if s.Family != "" {
			names[s.Family] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// quotas lists the quotas of a region by family, and what workspaces are allowed of
// each.
func (p *provider) quotas(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	location := arm.NormalizeLocation(req.Args[0])
	var limits map[string]int
	workspaces := map[string]string{} // IDs by key
	err := p.kernel.Store().View(ctx, func(tx store.Tx) (err error) {
		if limits, err = p.Pools.Quotas(tx); err != nil {
			return err
		}
		for name := range limits {
			key, _, ok := strings.Cut(name, quotaInfix)
			if !ok || workspaces[key] != "" {
				continue
			}
			ws, err := p.kernel.Resources().Get(tx, key)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if arm.NormalizeLocation(ws.Body.String("location")) == location {
				workspaces[key] = ws.ID
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	add := func(typ, id, family, region string, limit int) {
		doc := arm.Doc{
			"id": id, "type": namespace + "/" + typ + "/quotas", "limit": limit, "unit": "Count",
			"name": map[string]any{"value": family, "localizedValue": family + " Cluster Dedicated vCPUs"},
		}
		if region != "" {
			doc["amlWorkspaceLocation"] = region
		}
		page.Value = append(page.Value, doc)
	}
	for _, family := range p.families() {
		limit, ok := limits[QuotaName(location, family)]
		if !ok {
			limit = unlimited
		}
		add("vmFamily", "/subscriptions/"+p.kernel.Subscription()+quotaInfix+family, family, "", limit)
		for _, key := range slices.Sorted(maps.Keys(workspaces)) {
			if limit, ok := limits[workspaceQuota(key, family)]; ok {
				add("workspaces", workspaces[key]+quotaInfix+family, family, location, limit)
			}
		}
	}
	return req.Kernel.PageResponse(req, page), nil
}

// updateQuotas sets what workspaces are allowed of the quotas of families. The
// statuses are those of the SDK's Status; a negative limit lifts one, which is
// Azimuth's own.
func (p *provider) updateQuotas(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	location := arm.NormalizeLocation(req.Args[0])
	if req.Body == nil || len(req.Body.List("value")) == 0 {
		return nil, arm.BadRequest("BadRequest", "The request names no quotas.")
	}
	out := []any{}
	err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
		out = out[:0]
		limits, err := p.Pools.Quotas(tx)
		if err != nil {
			return err
		}
		for _, v := range req.Body.List("value") {
			item, _ := v.(map[string]any)
			doc := arm.Doc(item)
			limit, ok := doc["limit"].(float64)
			if !ok || limit != math.Trunc(limit) || limit > math.MaxInt32 {
				return arm.BadRequest("BadRequest", "The limit of '%s' is not a number of vCPUs.", doc.String("id"))
			}
			status, err := p.updateQuota(tx, location, doc.String("id"), int(limit), limits)
			if err != nil {
				return err
			}
			out = append(out, map[string]any{
				"id": doc.String("id"), "type": WorkspaceType + "/quotas", "limit": int(limit), "unit": "Count", "status": status,
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return arm.OK(map[string]any{"value": out}), nil
}

// updateQuota sets one of them and returns Azure's word for what became of it.
func (p *provider) updateQuota(tx store.Tx, location, id string, limit int, limits map[string]int) (string, error) {
	i := strings.LastIndex(strings.ToLower(id), quotaInfix)
	if i < 0 {
		return "", arm.BadRequest("BadRequest", "'%s' is not the ID of a workspace's quota.", id)
	}
	ws, err := p.kernel.Resources().Get(tx, id[:i])
	if errors.Is(err, store.ErrNotFound) || err == nil && !strings.EqualFold(ws.ParsedID().Type(), WorkspaceType) {
		return "", arm.BadRequest("BadRequest", "There is no workspace '%s'.", id[:i])
	}
	if err != nil {
		return "", err
	}
	if arm.NormalizeLocation(ws.Body.String("location")) != location {
		return "OperationNotEnabledForRegion", nil
	}
	name := id[i+len(quotaInfix):]
	families := p.families()
	f := slices.IndexFunc(families, func(s string) bool { return strings.EqualFold(s, name) })
	if f < 0 {
		return "InvalidVMFamilyName", nil
	}
	family := families[f]
	if all, ok := limits[QuotaName(location, family)]; ok && limit > all {
		return "InvalidQuotaExceedsSubscriptionLimit", nil
	}
	if limit >= 0 {
		least, err := p.leastCores(tx, ws, family)
		if err != nil {
			return "", err
		}
		if limit < least {
			return "InvalidQuotaBelowClusterMinimum", nil
		}
	}
	return "Success", p.Pools.SetQuota(tx, workspaceQuota(ws.ID, family), limit)
}

// leastCores are those that the clusters of a workspace never give up.
func (p *provider) leastCores(tx store.Tx, ws *arm.Resource, family string) (cores int, err error) {
	for r, err := range p.kernel.Resources().Children(tx, ws.ParsedID(), ComputeType) {
		if err != nil {
			return 0, err
		}
		const in = "properties.properties."
		size, ok := p.Catalog.VMSize(r.Body.String(in + "vmSize"))
		if ok && size.Family == family && kindOf(r) == typeCluster && !strings.EqualFold(r.Body.String(in+"vmPriority"), "LowPriority") {
			cores += size.VCPUs * r.Body.Int(in+"scaleSettings.minNodeCount", 0)
		}
	}
	return cores, nil
}

// liftQuotas forgets what a workspace was allowed.
func (p *provider) liftQuotas(tx store.Tx, workspaceID string) error {
	limits, err := p.Pools.Quotas(tx)
	if err != nil {
		return err
	}
	for name := range limits {
		if strings.HasPrefix(name, workspaceQuota(workspaceID, "")) {
			if err := p.Pools.SetQuota(tx, name, -1); err != nil {
				return err
			}
		}
	}
	return nil
}

// withinQuotas refuses an instance of a size that a quota has no room for at all.
// The sentence is Azure's.
func (p *provider) withinQuotas(tx store.Tx, location, workspaceID string, size catalog.VMSize) error {
	limits, err := p.Pools.Quotas(tx)
	if err != nil {
		return err
	}
	for _, name := range Quotas(location, workspaceID, size.Family, "Dedicated") {
		if limit, ok := limits[name]; ok && limit < size.VCPUs {
			return arm.BadRequest("BadRequest", "The specified subscription has a total vCPU quota of %d and cannot accomodate for at least 1 requested compute training cluster and/or compute instance's node which maps to %d vCPUs.",
				limit, size.VCPUs)
		}
	}
	return nil
}
