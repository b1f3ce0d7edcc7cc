package provider

import (
	"fmt"
	"strings"
)

func privateEndpoint() *resourceType {
	return &resourceType{
		name:       "azurerm_private_endpoint",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/privateEndpoints/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			in("subnet_id", "properties.subnet.id"),
			in("custom_network_interface_name", "properties.customNetworkInterfaceName").orElse(""),
			in("edge_zone", "extendedLocation.name").as(location()),
			blocks("ip_configuration", "properties.ipConfigurations",
				in("name", "name"),
				in("private_ip_address", "properties.privateIPAddress"),
				in("subresource_name", "properties.groupId"),
				in("member_name", "properties.memberName"),
			).sentAs([]any{}),
			blocks("custom_dns_configs", "properties.customDnsConfigs",
				out("fqdn", "fqdn"),
				out("ip_addresses", "ipAddresses"),
			),
			ours("private_service_connection", "private_dns_zone_group", "private_dns_zone_configs", "network_interface"),
		},
		// Endpoints in one network are made one after another.
		serial: func(o *operation) string {
			id := asString(o.state()["subnet_id"])
			return networkLock(segmentAfter(id, "resourceGroups"), segmentAfter(id, "virtualNetworks"))
		},
		plan: func(c *change) {
			if c.differs("private_dns_zone_group") {
				c.planned["private_dns_zone_configs"], c.planned["custom_dns_configs"] = unknown, unknown
			}
		},
		encode:     encodeEndpoint,
		afterWrite: writeZoneGroup,
		decode:     decodeEndpoint,
	}
}

const aliasSuffix = ".azure.privatelinkservice"

func encodeEndpoint(o *operation, doc map[string]any) error {
	props := asObject(doc["properties"])
	if zone := getPath(doc, "extendedLocation.name"); zone != nil {
		setPath(doc, "extendedLocation.type", "EdgeZone")
	} else {
		delete(doc, "extendedLocation")
	}
	// what the service made is not sent back
	delete(props, "customDnsConfigs")
	for _, v := range asList(props["ipConfigurations"]) {
		p := asObject(asObject(v)["properties"])
		if isZero(p["memberName"]) {
			p["memberName"] = p["groupId"]
		}
	}
	automatic, manual := []any{}, []any{}
	for _, v := range asList(dropUnknown(o.planned["private_service_connection"])) {
		conn := asObject(v)
		target := asString(conn["private_connection_resource_id"])
		if target == "" {
			target = asString(conn["private_connection_resource_alias"])
		}
		link := map[string]any{"groupIds": append([]any{}, asList(conn["subresource_names"])...), "privateLinkServiceId": target}
		if m := asString(conn["request_message"]); m != "" {
			link["requestMessage"] = m
		}
		entry := map[string]any{"name": conn["name"], "properties": link}
		if asBool(conn["is_manual_connection"]) {
			manual = append(manual, entry)
		} else {
			automatic = append(automatic, entry)
		}
	}
	props["privateLinkServiceConnections"], props["manualPrivateLinkServiceConnections"] = automatic, manual
	return nil
}

// zoneGroups are the IDs of the endpoint's groups, of which it has one at most.
func (o *operation) zoneGroups() ([]string, error) {
	all, err := o.getAll(o.ctx, o.id+"/privateDnsZoneGroups", o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the DNS zone groups of %s: %w", o.id, err)
	}
	var out []string
	for _, g := range all {
		out = append(out, asString(asObject(g)["id"]))
	}
	return out, nil
}

// writeZoneGroup makes the endpoint's zone group, or makes it anew: the zones of
// one that is there cannot be exchanged.
func writeZoneGroup(o *operation) error {
	want := first(dropUnknown(o.planned["private_dns_zone_group"]))
	if o.prior != nil {
		was := first(o.prior["private_dns_zone_group"])
		if equalValues(was["name"], want["name"]) && equalValues(was["private_dns_zone_ids"], want["private_dns_zone_ids"]) {
			return nil
		}
		groups, err := o.zoneGroups()
		if err != nil {
			return err
		}
		for _, id := range groups {
			if err := o.remove(o.ctx, id, o.version()); err != nil {
				return fmt.Errorf("deleting %s: %w", id, err)
			}
		}
	}
	if want == nil {
		return nil
	}
	configs := []any{}
	for _, id := range stringList(want["private_dns_zone_ids"]) {
		configs = append(configs, map[string]any{"name": lastSegment(id), "properties": map[string]any{"privateDnsZoneId": id}})
	}
	id := o.id + "/privateDnsZoneGroups/" + asString(want["name"])
	doc := map[string]any{"name": o.planned["name"], "properties": map[string]any{"privateDnsZoneConfigs": configs}}
	if err := o.put(o.ctx, id, o.version(), doc); err != nil {
		return fmt.Errorf("creating %s: %w", id, err)
	}
	return nil
}

func decodeEndpoint(o *operation, doc, state map[string]any) error {
	address := ""
	interfaces := []any{}
	for _, v := range asList(getPath(doc, "properties.networkInterfaces")) {
		id := asString(asObject(v)["id"])
		interfaces = append(interfaces, map[string]any{"id": id, "name": lastSegment(id)})
		nic, err := o.get(o.ctx, id, o.version())
		if err != nil {
			return fmt.Errorf("retrieving %s: %w", id, err)
		}
		if confs := asList(getPath(nic, "properties.ipConfigurations")); len(confs) > 0 && address == "" {
			address = asString(getPath(asObject(confs[0]), "properties.privateIPAddress"))
		}
	}
	state["network_interface"] = interfaces
	before := asList(state["private_service_connection"])
	connections := []any{}
	for list, manual := range map[string]bool{"privateLinkServiceConnections": false, "manualPrivateLinkServiceConnections": true} {
		for _, v := range asList(getPath(doc, "properties."+list)) {
			conn := asObject(v)
			target := asString(getPath(conn, "properties.privateLinkServiceId"))
			read := map[string]any{
				"name": conn["name"], "is_manual_connection": manual, "private_ip_address": address,
				"subresource_names": asList(getPath(conn, "properties.groupIds")), "request_message": "",
			}
			if manual {
				read["request_message"] = asString(getPath(conn, "properties.requestMessage"))
			}
			at := "private_connection_resource_id"
			if strings.HasSuffix(target, aliasSuffix) {
				at = "private_connection_resource_alias"
			}
			read[at] = target
			if i := len(connections); i < len(before) {
				// an ID may come back in another case
				if was := asString(asObject(before[i])[at]); strings.EqualFold(was, target) {
					read[at] = was
				}
			}
			connections = append(connections, fillObject(o.kind.Attributes["private_service_connection"].Attributes, read))
		}
	}
	state["private_service_connection"] = connections
	return decodeZoneGroups(o, state)
}

func decodeZoneGroups(o *operation, state map[string]any) error {
	ids, err := o.zoneGroups()
	if err != nil {
		return err
	}
	groups, configs := []any{}, []any{}
	for _, id := range ids {
		doc, err := o.get(o.ctx, id, o.version())
		if err != nil {
			return fmt.Errorf("retrieving %s: %w", id, err)
		}
		zones := []any{}
		for _, v := range asList(getPath(doc, "properties.privateDnsZoneConfigs")) {
			conf := asObject(v)
			zone := asString(getPath(conf, "properties.privateDnsZoneId"))
			zones = append(zones, zone)
			sets := []any{}
			for _, s := range asList(getPath(conf, "properties.recordSets")) {
				set := asObject(s)
				sets = append(sets, map[string]any{
					"fqdn": set["fqdn"], "name": set["recordSetName"], "ttl": set["ttl"], "type": set["recordType"], "ip_addresses": asList(set["ipAddresses"]),
				})
			}
			configs = append(configs, map[string]any{
				"id": id + "/privateDnsZoneConfigs/" + asString(conf["name"]), "name": conf["name"], "private_dns_zone_id": zone, "record_sets": sets,
			})
		}
		groups = append(groups, map[string]any{"id": id, "name": lastSegment(id), "private_dns_zone_ids": zones})
	}
	state["private_dns_zone_group"], state["private_dns_zone_configs"] = groups, configs
	return nil
}
