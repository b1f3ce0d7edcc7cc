package provider

import "fmt"

// storageService is a part of a storage account that is a document of its own.
type storageService struct {
	attr, path string
	fields     []field
	on         func(kind string) bool
}

func corsRules() field {
	return blocks("cors_rule", "properties.cors.corsRules",
		in("allowed_headers", "allowedHeaders").sentAs([]any{}),
		in("allowed_methods", "allowedMethods").sentAs([]any{}),
		in("allowed_origins", "allowedOrigins").sentAs([]any{}),
		in("exposed_headers", "exposedHeaders").sentAs([]any{}),
		in("max_age_in_seconds", "maxAgeInSeconds"),
	).sentAs([]any{})
}

// retention is a block that is a policy with a switch.
func retention(attr, path string, more ...field) field {
	return block(attr, path, append([]field{constant("enabled", true), in("days", "days")}, more...)...).
		sentAs(map[string]any{"enabled": false}).
		ifThere(func(o map[string]any) bool { return asBool(o["enabled"]) })
}

func storageServiceDocuments() []storageService {
	return []storageService{
		{
			attr: "blob_properties", path: "/blobServices/default",
			on: func(kind string) bool { return kind != "FileStorage" },
			fields: []field{
				corsRules(),
				in("versioning_enabled", "properties.isVersioningEnabled"),
				in("change_feed_enabled", "properties.changeFeed.enabled"),
				in("change_feed_retention_in_days", "properties.changeFeed.retentionInDays"),
				in("default_service_version", "properties.defaultServiceVersion").orElse(""),
				in("last_access_time_enabled", "properties.lastAccessTimeTrackingPolicy.enable"),
				retention("delete_retention_policy", "properties.deleteRetentionPolicy", in("permanent_delete_enabled", "allowPermanentDelete")),
				retention("container_delete_retention_policy", "properties.containerDeleteRetentionPolicy"),
				retention("restore_policy", "properties.restorePolicy"),
			},
		},
		{
			attr: "share_properties", path: "/fileServices/default",
			on: func(kind string) bool { return kind == "StorageV2" || kind == "FileStorage" },
			fields: []field{
				corsRules(),
				retention("retention_policy", "properties.shareDeleteRetentionPolicy"),
				block("smb", "properties.protocolSettings.smb",
					in("versions", "versions").as(words(";")),
					in("authentication_types", "authenticationMethods").as(words(";")),
					in("kerberos_ticket_encryption_type", "kerberosTicketEncryption").as(words(";")),
					in("channel_encryption_type", "channelEncryption").as(words(";")),
					in("multichannel_enabled", "multichannel.enabled"),
				).ifThere(func(o map[string]any) bool { return len(o) > 0 }),
			},
		},
	}
}

// writeStorageServices sends the parts that are configured.
func writeStorageServices(o *operation) error {
	for _, s := range storageServiceDocuments() {
		a := o.kind.Attributes[s.attr]
		if a == nil || len(asList(o.config[s.attr])) == 0 {
			continue
		}
		if o.prior != nil && a.same(o.prior[s.attr], o.planned[s.attr]) {
			continue
		}
		doc := map[string]any{}
		o.codec(false).encode(s.fields, a.Attributes, first(o.planned[s.attr]), doc)
		if err := o.put(o.ctx, o.id+s.path, o.version(), doc); err != nil {
			return fmt.Errorf("updating `%s` of %q: %w", s.attr, o.id, err)
		}
	}
	return nil
}

func readStorageServices(o *operation, doc, state map[string]any) error {
	for _, s := range storageServiceDocuments() {
		a := o.kind.Attributes[s.attr]
		if a == nil {
			continue
		}
		if !s.on(asString(doc["kind"])) {
			state[s.attr] = []any{}
			continue
		}
		part, err := o.get(o.ctx, o.id+s.path, o.version())
		if err != nil {
			return fmt.Errorf("reading `%s` of %q: %w", s.attr, o.id, err)
		}
		elem := fillObject(a.Attributes, map[string]any{})
		o.codec(false).decode(s.fields, a.Attributes, part, elem)
		state[s.attr] = []any{elem}
	}
	return nil
}
