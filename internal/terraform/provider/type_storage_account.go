package provider

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func storageVersions() versions { return versions{3: "2023-01-01", 4: "2025-08-01", 5: "2025-08-01"} }

func storageAccount() *resourceType {
	fields := []field{
		region(),
		tags(),
		identity(noIdentity()),
		in("account_kind", "kind"),
		in("access_tier", "properties.accessTier").orElse(""),
		in("https_traffic_only_enabled", "properties.supportsHttpsTrafficOnly").sentAs(true).orElse(false),
		in("allow_nested_items_to_be_public", "properties.allowBlobPublicAccess"),
		in("cross_tenant_replication_enabled", "properties.allowCrossTenantReplication").orElse(false),
		in("shared_access_key_enabled", "properties.allowSharedKeyAccess"),
		in("default_to_oauth_authentication", "properties.defaultToOAuthAuthentication"),
		in("is_hns_enabled", "properties.isHnsEnabled"),
		in("nfsv3_enabled", "properties.isNfsV3Enabled"),
		in("sftp_enabled", "properties.isSftpEnabled"),
		in("local_user_enabled", "properties.isLocalUserEnabled"),
		in("min_tls_version", "properties.minimumTlsVersion").orElse("TLS1_0"),
		in("public_network_access_enabled", "properties.publicNetworkAccess").as(conversion{
			send: enabled().send,
			read: func(v any) any { return !strings.EqualFold(asString(v), "Disabled") },
		}),
		in("dns_endpoint_type", "properties.dnsEndpointType"),
		in("large_file_share_enabled", "properties.largeFileSharesState").orElse(false).as(conversion{
			send: func(v any) any {
				if asBool(v) {
					return "Enabled"
				}
				return nil
			},
			read: enabled().read,
		}),
		in("infrastructure_encryption_enabled", "properties.encryption.requireInfrastructureEncryption").as(onlyTrue()),
		in("queue_encryption_key_type", "properties.encryption.services.queue.keyType"),
		in("table_encryption_key_type", "properties.encryption.services.table.keyType"),
		constant("properties.encryption.keySource", "Microsoft.Storage"),
		in("allowed_copy_scope", "properties.allowedCopyScope"),
		in("edge_zone", "extendedLocation.name").as(location()),
		block("routing", "properties.routingPreference",
			in("choice", "routingChoice"),
			in("publish_internet_endpoints", "publishInternetEndpoints"),
			in("publish_microsoft_endpoints", "publishMicrosoftEndpoints"),
		),
		block("sas_policy", "properties.sasPolicy",
			in("expiration_period", "sasExpirationPeriod"),
			in("expiration_action", "expirationAction"),
		),
		block("custom_domain", "properties.customDomain",
			in("name", "name"),
			send("use_subdomain", "useSubDomainName"),
		),
		block("immutability_policy", "properties.immutableStorageWithVersioning",
			constant("enabled", true),
			in("state", "immutabilityPolicy.state"),
			in("period_since_creation_in_days", "immutabilityPolicy.immutabilityPeriodSinceCreationInDays"),
			in("allow_protected_append_writes", "immutabilityPolicy.allowProtectedAppendWrites"),
		).ifThere(func(o map[string]any) bool { return asObject(o["immutabilityPolicy"]) != nil }),
		networkRules(),
		out("primary_location", "properties.primaryLocation").orElse(""),
		out("secondary_location", "properties.secondaryLocation").orElse(""),
		ours("account_tier", "account_replication_type", "provisioned_billing_model_version"),
		ours("blob_properties", "share_properties", "static_website"),
	}
	return &resourceType{
		name:       "azurerm_storage_account",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Storage/storageAccounts/{name}"},
		apiVersion: storageVersions(),
		update:     updatePut,
		fields:     append(fields, storageEndpoints()...),
		aliases:    []alias{{name: "https_traffic_only_enabled", old: "enable_https_traffic_only", byDefault: true, majors: []int{3}}},
		plan:       planStorageAccount,
		encode:     encodeStorageAccount,
		afterWrite: func(o *operation) error {
			if err := writeStorageServices(o); err != nil {
				return err
			}
			return writeStaticWebsite(o)
		},
		decode:       decodeStorageAccount,
		beforeCreate: checkStorageAccount,
	}
}

// defaultAcls are the network rules of an account for which none are configured.
func defaultAcls() map[string]any {
	return map[string]any{
		"bypass": "AzureServices", "defaultAction": "Allow",
		"ipRules": []any{}, "virtualNetworkRules": []any{}, "resourceAccessRules": []any{},
	}
}

func networkRules() field {
	allow := func(property string) conversion {
		c := keyed(property)
		send := c.send
		c.send = func(v any) any {
			rules := asList(send(v))
			for _, r := range rules {
				asObject(r)["action"] = "Allow"
			}
			return rules
		}
		return c
	}
	return block("network_rules", "properties.networkAcls",
		in("default_action", "defaultAction"),
		in("bypass", "bypass").as(words(", ")),
		in("ip_rules", "ipRules").as(allow("value")).sentAs([]any{}),
		in("virtual_network_subnet_ids", "virtualNetworkRules").as(allow("id")).sentAs([]any{}),
		blocks("private_link_access", "resourceAccessRules",
			in("endpoint_resource_id", "resourceId"),
			in("endpoint_tenant_id", "tenantId"),
		).sentAs([]any{}),
	).sentAs(defaultAcls()).ifThere(func(o map[string]any) bool {
		return !strings.EqualFold(asString(o["bypass"]), "AzureServices") || !strings.EqualFold(asString(o["defaultAction"]), "Allow") ||
			len(asList(o["ipRules"])) > 0 || len(asList(o["virtualNetworkRules"])) > 0 || len(asList(o["resourceAccessRules"])) > 0
	})
}

// storageServices have an endpoint each.
func storageServiceNames() []string { return []string{"blob", "dfs", "file", "queue", "table", "web"} }

// storageEndpoints maps the addresses of an account; their hosts follow in
// decodeStorageAccount.
func storageEndpoints() []field {
	var fields []field
	for _, place := range []string{"primary", "secondary"} {
		for _, service := range storageServiceNames() {
			path := "properties." + place + "Endpoints."
			for infix, inner := range map[string]string{"": "", "internet_": "internetEndpoints.", "microsoft_": "microsoftEndpoints."} {
				if infix == "internet_" && (service == "queue" || service == "table") {
					continue // Azure has no internet routing for these
				}
				name := place + "_" + service + "_" + infix
				fields = append(fields, out(name+"endpoint", path+inner+service).orElse(""), ours(name+"host"))
			}
		}
		fields = append(fields, ours(place+"_access_key", place+"_connection_string", place+"_blob_connection_string"))
	}
	return fields
}

func planStorageAccount(c *change) {
	p := c.planned
	kind := asString(p["account_kind"])
	tiered := []string{"BlobStorage", "FileStorage", "StorageV2"}
	if c.config["access_tier"] != nil && !isUnknown(p["account_kind"]) && !slices.Contains(tiered, kind) {
		c.refuse("access_tier", "`access_tier` is only available for accounts where `kind` is set to one of: %s", strings.Join(tiered, " / "))
	}
	if c.create() {
		return
	}
	if c.differs("account_kind") && !(asString(c.prior["account_kind"]) == "Storage" && kind == "StorageV2") {
		c.forceNew("account_kind")
	}
	if asBool(c.prior["large_file_share_enabled"]) && p["large_file_share_enabled"] == false {
		c.forceNew("large_file_share_enabled")
	}
	zonal := func(r any) bool { return slices.Contains([]string{"ZRS", "GZRS", "RAGZRS"}, asString(r)) }
	if c.differs("account_replication_type") && zonal(c.prior["account_replication_type"]) != zonal(p["account_replication_type"]) {
		c.forceNew("account_replication_type")
	}
}

// checkStorageAccount makes the checks that azurerm makes before it creates.
func checkStorageAccount(o *operation) error {
	p := o.planned
	kind := asString(p["account_kind"])
	blobs := first(p["blob_properties"])
	hns := asBool(p["is_hns_enabled"])
	switch {
	case hns && !slices.Contains([]string{"BlobStorage", "BlockBlobStorage", "StorageV2"}, kind):
		return fmt.Errorf("`is_hns_enabled` can only be used for accounts with `kind` set to one of: BlobStorage / BlockBlobStorage / StorageV2")
	case asBool(p["nfsv3_enabled"]) && !hns:
		return fmt.Errorf("`nfsv3_enabled` can only be used when `is_hns_enabled` is `true`")
	case hns && asBool(blobs["versioning_enabled"]):
		return fmt.Errorf("`versioning_enabled` can't be true when `is_hns_enabled` is true")
	case len(asList(blobs["restore_policy"])) > 0 && !asBool(blobs["versioning_enabled"]):
		return fmt.Errorf("`blob_properties.restore_policy` can't be set when `versioning_enabled` is false")
	case kind == "BlobStorage" && asString(p["account_replication_type"]) == "ZRS":
		return fmt.Errorf("`account_replication_type` of `ZRS` isn't supported for Blob Storage accounts")
	case kind == "FileStorage" && asString(p["account_tier"]) != "Premium" && o.major < 5:
		return fmt.Errorf("`account_tier` must be `Premium` for File Storage accounts")
	}
	return nil
}

func encodeStorageAccount(o *operation, doc map[string]any) error {
	p := o.planned
	tier := asString(p["account_tier"])
	doc["sku"] = map[string]any{
		"tier": tier,
		"name": tier + asString(p["provisioned_billing_model_version"]) + "_" + asString(p["account_replication_type"]),
	}
	props := asObject(doc["properties"])
	kind := asString(p["account_kind"])
	if slices.Contains([]string{"BlobStorage", "FileStorage", "StorageV2"}, kind) {
		if asString(props["accessTier"]) == "" {
			props["accessTier"] = "Hot"
		}
	} else {
		delete(props, "accessTier")
	}
	if zone := getPath(doc, "extendedLocation.name"); zone != nil {
		setPath(doc, "extendedLocation.type", "EdgeZone")
	} else {
		delete(doc, "extendedLocation")
	}
	for _, r := range asList(getPath(doc, "properties.networkAcls.resourceAccessRules")) {
		if rule := asObject(r); asString(rule["tenantId"]) == "" {
			rule["tenantId"] = o.tenant
		}
	}
	return nil
}

func decodeStorageAccount(o *operation, doc, state map[string]any) error {
	decodeStorageSKU(doc, state)
	decodeStorageHosts(state)
	if err := o.readStorageKeys(state); err != nil {
		return err
	}
	if err := readStorageServices(o, doc, state); err != nil {
		return err
	}
	return readStaticWebsite(o, doc, state)
}

// decodeStorageSKU takes a name such as StandardV2_LRS apart.
func decodeStorageSKU(doc, state map[string]any) {
	tier := asString(getPath(doc, "sku.tier"))
	name, replication, _ := strings.Cut(asString(getPath(doc, "sku.name")), "_")
	if tier == "" {
		tier = strings.TrimSuffix(name, "V2")
	}
	state["account_tier"], state["account_replication_type"] = tier, replication
	state["provisioned_billing_model_version"] = nil
	if version := strings.TrimPrefix(name, tier); version != "" && version != name {
		state["provisioned_billing_model_version"] = version
	}
}

// decodeStorageHosts reads the hosts of the endpoints.
func decodeStorageHosts(state map[string]any) {
	for _, place := range []string{"primary", "secondary"} {
		for _, service := range storageServiceNames() {
			for _, infix := range []string{"", "internet_", "microsoft_"} {
				name := place + "_" + service + "_" + infix
				host := ""
				if u, err := url.Parse(asString(state[name+"endpoint"])); err == nil {
					host = u.Host
				}
				state[name+"host"] = host
			}
		}
	}
}

// readStorageKeys reads the keys of an account and makes connection strings of
// them. Whoever may not see the keys gets none.
func (o *operation) readStorageKeys(state map[string]any) error {
	account := asString(state["name"])
	keys := []string{"", ""}
	r, err := o.do(o.ctx, http.MethodPost, o.id+"/listKeys?%24expand=kerb", o.version(), nil)
	if err != nil {
		status := statusOf(err)
		if status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusConflict {
			return fmt.Errorf("listing Keys for %q: %w", o.id, err)
		}
	} else {
		for i, k := range asList(r.doc["keys"]) {
			if i < len(keys) {
				keys[i] = asString(asObject(k)["value"])
			}
		}
	}
	for i, place := range []string{"primary", "secondary"} {
		state[place+"_access_key"] = keys[i]
		state[place+"_connection_string"], state[place+"_blob_connection_string"] = "", ""
		if keys[i] == "" {
			continue
		}
		state[place+"_connection_string"] = fmt.Sprintf("DefaultEndpointsProtocol=https;AccountName=%s;AccountKey=%s;EndpointSuffix=%s", account, keys[i], o.storageSuffix)
		if blob := asString(state[place+"_blob_endpoint"]); blob != "" {
			state[place+"_blob_connection_string"] = fmt.Sprintf("DefaultEndpointsProtocol=https;BlobEndpoint=%s;AccountName=%s;AccountKey=%s", blob, account, keys[i])
		}
	}
	return nil
}
