package provider

func publicIP() *resourceType {
	return &resourceType{
		name:       "azurerm_public_ip",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/publicIPAddresses/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			send("name", "name"),
			in("allocation_method", "properties.publicIPAllocationMethod"),
			in("sku", "sku.name"),
			in("sku_tier", "sku.tier"),
			in("ip_version", "properties.publicIPAddressVersion"),
			in("idle_timeout_in_minutes", "properties.idleTimeoutInMinutes"),
			in("zones", "zones"),
			in("edge_zone", "extendedLocation.name").as(location()),
			in("ddos_protection_mode", "properties.ddosSettings.protectionMode").orElse("VirtualNetworkInherited"),
			in("ddos_protection_plan_id", "properties.ddosSettings.ddosProtectionPlan.id"),
			in("public_ip_prefix_id", "properties.publicIPPrefix.id"),
			in("domain_name_label", "properties.dnsSettings.domainNameLabel").orElse(""),
			in("domain_name_label_scope", "properties.dnsSettings.domainNameLabelScope").orElse(""),
			in("reverse_fqdn", "properties.dnsSettings.reverseFqdn").orElse(""),
			in("ip_tags", "properties.ipTags").as(ipTags()),
			out("fqdn", "properties.dnsSettings.fqdn").orElse(""),
			out("ip_address", "properties.ipAddress"),
		},
		plan: func(c *change) {
			p := c.planned
			sku, tier := asString(p["sku"]), asString(p["sku_tier"])
			if c.major > 3 && c.create() && sku == "Basic" {
				c.refuse("sku", "creation of new `Basic` SKU public IP addresses is no longer permitted following its deprecation on March 31, 2025. This also affects `allocation_method` set to `Dynamic`, as it is only available with the `Basic` SKU. For more information, see https://azure.microsoft.com/updates/upgrade-to-standard-sku-public-ip-addresses-in-azure-by-30-september-2025-basic-sku-will-be-retired/")
			}
			if tier == "Global" && sku != "Standard" {
				c.refuse("sku_tier", "`sku` must be set to `Standard` when `sku_tier` is set to `Global`")
			}
			if c.differs("domain_name_label_scope") && (!isZero(c.prior["domain_name_label_scope"]) || isZero(p["domain_name_label_scope"])) {
				c.forceNew("domain_name_label_scope")
			}
		},
		encode: func(_ *operation, doc map[string]any) error {
			if zone := getPath(doc, "extendedLocation.name"); zone != nil {
				setPath(doc, "extendedLocation.type", "EdgeZone")
			} else {
				delete(doc, "extendedLocation")
			}
			// An address without a label has no settings of names at all.
			if s := asObject(getPath(doc, "properties.dnsSettings")); isZero(s["domainNameLabel"]) && isZero(s["reverseFqdn"]) {
				asObject(doc["properties"])["dnsSettings"] = nil
			}
			return nil
		},
	}
}

// ipTags is a map that Azure keeps as a list of pairs.
func ipTags() conversion {
	return conversion{
		send: func(v any) any {
			out := []any{}
			for k, tag := range asObject(v) {
				out = append(out, map[string]any{"ipTagType": k, "tag": tag})
			}
			return out
		},
		read: func(v any) any {
			out := map[string]any{}
			for _, e := range asList(v) {
				out[asString(asObject(e)["ipTagType"])] = asObject(e)["tag"]
			}
			return out
		},
	}
}
