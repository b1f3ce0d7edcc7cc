package provider

import (
	"fmt"
	"slices"
	"strings"
)

// endpointArgument is what the argument for the endpoint of a region is called.
func endpointArgument(as attributes) string {
	if as["global_endpoint_routing_enabled"] != nil {
		return "global_endpoint_routing_enabled"
	}
	return "regional_endpoint_enabled"
}

// replicationsOf are the documents of a registry's other regions, by location.
func replicationsOf(o *operation, state map[string]any) map[string]map[string]any {
	out := map[string]map[string]any{}
	a := o.kind.Attributes["georeplications"]
	if a == nil {
		return out
	}
	for _, e := range asList(dropUnknown(state["georeplications"])) {
		r := asObject(e)
		where := asString(location().send(r["location"]))
		doc := map[string]any{"location": where, "tags": asObject(r["tags"]), "properties": map[string]any{
			"zoneRedundancy": enabled().send(asBool(r["zone_redundancy_enabled"])), "regionEndpointEnabled": asBool(r[endpointArgument(a.Attributes)]),
		}}
		out[where] = doc
	}
	return out
}

// writeReplications removes regions that are not configured any more or changed,
// and adds those that are new, as azurerm does.
func writeReplications(o *operation) error {
	before, after := map[string]map[string]any{}, replicationsOf(o, o.planned)
	if o.prior != nil {
		before = replicationsOf(o, o.prior)
	}
	for where, doc := range before {
		if equalValues(doc, after[where]) {
			delete(after, where)
			continue
		}
		if err := o.client.remove(o.ctx, o.id+"/replications/"+where, o.version()); err != nil && !isNotFound(err) {
			return fmt.Errorf("deleting the replication of %q to %q: %w", o.id, where, err)
		}
	}
	for where, doc := range after {
		if err := o.put(o.ctx, o.id+"/replications/"+where, o.version(), doc); err != nil {
			return fmt.Errorf("creating the replication of %q to %q: %w", o.id, where, err)
		}
	}
	return nil
}

// readReplications lists the regions besides the registry's own, in their order.
func readReplications(o *operation, doc, state map[string]any) error {
	a := o.kind.Attributes["georeplications"]
	if a == nil {
		return nil
	}
	out := []any{}
	if asString(getPath(doc, "sku.name")) == "Premium" {
		all, err := o.getAll(o.ctx, o.id+"/replications", o.version())
		if err != nil {
			return fmt.Errorf("listing the replications of %q: %w", o.id, err)
		}
		home := location().send(doc["location"])
		for _, v := range all {
			r := asObject(v)
			if location().send(r["location"]) == home {
				continue
			}
			out = append(out, map[string]any{
				"location": location().send(r["location"]), "tags": asObject(r["tags"]),
				"zone_redundancy_enabled":      strings.EqualFold(asString(getPath(r, "properties.zoneRedundancy")), "Enabled"),
				endpointArgument(a.Attributes): asBool(getPath(r, "properties.regionEndpointEnabled")),
			})
		}
		slices.SortFunc(out, func(a, b any) int {
			return strings.Compare(asString(asObject(a)["location"]), asString(asObject(b)["location"]))
		})
	}
	state["georeplications"] = out
	return nil
}
