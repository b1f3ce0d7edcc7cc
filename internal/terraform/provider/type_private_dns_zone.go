package provider

import (
	"fmt"
	"strings"
)

func privateDNSVersions() versions {
	return versions{3: "2020-06-01", 4: "2024-06-01", 5: "2024-06-01"}
}

const zonePattern = "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/privateDnsZones/{name}"

func privateDNSZone() *resourceType {
	return &resourceType{
		name:       "azurerm_private_dns_zone",
		id:         idForm{pattern: zonePattern},
		apiVersion: privateDNSVersions(),
		update:     updatePut,
		fields: append([]field{
			tags(),
			constant("location", "global"),
			ours("soa_record"),
		}, zoneCounts()...),
		afterWrite: func(o *operation) error {
			soa := first(o.config["soa_record"])
			if soa == nil {
				return nil
			}
			soa = first(o.planned["soa_record"])
			doc := map[string]any{}
			o.codec(false).encode(soaFields(), o.kind.Attributes["soa_record"].Attributes, soa, doc)
			if err := o.put(o.ctx, o.id+"/SOA/@", o.version(), doc); err != nil {
				return fmt.Errorf("creating/updating %s: %w", o.id+"/SOA/@", err)
			}
			return nil
		},
		decode: func(o *operation, _, state map[string]any) error {
			block := o.kind.Attributes["soa_record"]
			if block == nil {
				return nil // the data source
			}
			doc, err := o.get(o.ctx, o.id+"/SOA/@", o.version())
			if err != nil {
				return fmt.Errorf("retrieving %s: %w", o.id+"/SOA/@", err)
			}
			soa := map[string]any{}
			o.codec(false).decode(soaFields(), block.Attributes, doc, soa)
			state["soa_record"] = []any{fillObject(block.Attributes, soa)}
			return nil
		},
	}
}

func zoneCounts() []field {
	return []field{
		out("number_of_record_sets", "properties.numberOfRecordSets"),
		out("max_number_of_record_sets", "properties.maxNumberOfRecordSets"),
		out("max_number_of_virtual_network_links", "properties.maxNumberOfVirtualNetworkLinks"),
		out("max_number_of_virtual_network_links_with_registration", "properties.maxNumberOfVirtualNetworkLinksWithRegistration"),
	}
}

func soaFields() []field {
	return []field{
		in("email", "properties.soaRecord.email"),
		in("expire_time", "properties.soaRecord.expireTime"),
		in("minimum_ttl", "properties.soaRecord.minimumTtl"),
		in("refresh_time", "properties.soaRecord.refreshTime"),
		in("retry_time", "properties.soaRecord.retryTime"),
		in("ttl", "properties.ttl"),
		in("tags", "properties.metadata").sentAs(map[string]any{}).orElse(map[string]any{}),
		out("host_name", "properties.soaRecord.host"),
		out("serial_number", "properties.soaRecord.serialNumber"),
		out("fqdn", "properties.fqdn"),
	}
}

// dataPrivateDNSZone finds a zone by its name alone where no group is given.
func dataPrivateDNSZone() *dataSource {
	ds := dataOf(privateDNSZone(), "Private DNS Zone")
	ds.read = func(o *operation, config map[string]any) (map[string]any, error) {
		name, group := asString(config["name"]), asString(config["resource_group_name"])
		if group == "" {
			zones, err := o.getAll(o.ctx, "/subscriptions/"+o.subscription+"/providers/Microsoft.Network/privateDnsZones", o.version())
			if err != nil {
				return nil, fmt.Errorf("listing private DNS zones: %w", err)
			}
			for _, z := range zones {
				if id := asString(asObject(z)["id"]); strings.EqualFold(lastSegment(id), name) {
					group = segmentAfter(id, "resourceGroups")
				}
			}
			if group == "" {
				return nil, fmt.Errorf("unable to determine the Resource Group for Private DNS Zone %q in Subscription %q", name, o.subscription)
			}
		}
		o.id = o.typ.id.build(o.subscription, map[string]any{"name": name, "resource_group_name": group})
		doc, err := o.get(o.ctx, o.id, o.version())
		if isNotFound(err) {
			return nil, ds.notFound(o.id)
		}
		if err != nil {
			return nil, fmt.Errorf("retrieving %q: %w", o.id, err)
		}
		state := map[string]any{"id": o.id, "name": name, "resource_group_name": group}
		o.codec(false).decode(append(zoneCounts(), tags()), o.kind.Attributes, doc, state)
		return state, nil
	}
	return ds
}

// inZone makes the ID of what stands in a zone: 5.x is told the zone's ID, those
// before its name and group.
func inZone(pattern string) (idForm, func(*operation) (string, error)) {
	form := idForm{pattern: pattern, parent: "private_dns_zone_id"}
	return form, func(o *operation) (string, error) {
		f := form
		if o.major < 5 {
			f.parent = ""
		}
		return f.build(o.subscription, o.state()), nil
	}
}
