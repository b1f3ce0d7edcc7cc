package provider

import (
	"errors"
	"fmt"
	"strings"
)

func storageManagementPolicy() *resourceType {
	return &resourceType{
		name: "azurerm_storage_management_policy",
		id: idForm{
			pattern: "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Storage/storageAccounts/{}/managementPolicies/default",
			parent:  "storage_account_id",
		},
		apiVersion: storageVersions(),
		update:     updatePut,
		fields: []field{
			ours("storage_account_id"),
			blocks("rule", "properties.policy.rules",
				in("name", "name"),
				in("enabled", "enabled"),
				constant("type", "Lifecycle"),
				block("filters", "definition.filters",
					in("prefix_match", "prefixMatch"),
					in("blob_types", "blobTypes"),
					blocks("match_blob_index_tag", "blobIndexMatch", in("name", "name"), in("operation", "op"), in("value", "value")),
				),
				block("actions", "definition.actions",
					block("base_blob", "baseBlob", baseBlobActions()...),
					block("snapshot", "snapshot", pastBlobActions("delete_after_days_since_creation_greater_than")...),
					block("version", "version", pastBlobActions("delete_after_days_since_creation")...),
				),
			).sentAs([]any{}),
		},
		encode: func(o *operation, _ map[string]any) error {
			for _, r := range asList(o.planned["rule"]) {
				if err := checkLifecycleRule(asObject(r)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// days is a number of days, of which -1 is none.
func days() conversion {
	return conversion{
		send: func(v any) any {
			if v == float64(-1) {
				return nil
			}
			return v
		},
		read: func(v any) any { return v },
	}
}

// since are the three moments that the age of a blob counts from, as azurerm and
// as Azure name them.
func since() map[string]string {
	return map[string]string{
		"modification": "daysAfterModificationGreaterThan", "last_access_time": "daysAfterLastAccessTimeGreaterThan",
		"creation": "daysAfterCreationGreaterThan",
	}
}

// lifecycleActions are what happens to blobs, as azurerm and as Azure name it.
func lifecycleActions() map[string]string {
	return map[string]string{"tier_to_cool": "tierToCool", "tier_to_cold": "tierToCold", "tier_to_archive": "tierToArchive", "delete": "delete"}
}

func baseBlobActions() []field {
	fields := []field{
		in("auto_tier_to_hot_from_cool_enabled", "enableAutoTierToHotFromCool").as(onlyTrue()).orElse(false),
		in("tier_to_archive_after_days_since_last_tier_change_greater_than", "tierToArchive.daysAfterLastTierChangeGreaterThan").as(days()),
	}
	for action, path := range lifecycleActions() {
		for from, property := range since() {
			fields = append(fields, in(action+"_after_days_since_"+from+"_greater_than", path+"."+property).as(days()))
		}
	}
	return fields
}

// pastBlobActions are those of snapshots and versions, which differ in one name.
func pastBlobActions(remove string) []field {
	const created = ".daysAfterCreationGreaterThan"
	return []field{
		in(remove, "delete"+created).as(days()),
		in("change_tier_to_cool_after_days_since_creation", "tierToCool"+created).as(days()),
		in("change_tier_to_archive_after_days_since_creation", "tierToArchive"+created).as(days()),
		in("tier_to_cold_after_days_since_creation_greater_than", "tierToCold"+created).as(days()),
		in("tier_to_archive_after_days_since_last_tier_change_greater_than", "tierToArchive.daysAfterLastTierChangeGreaterThan").as(days()),
	}
}

// checkLifecycleRule makes the checks that azurerm makes before it sends a rule.
func checkLifecycleRule(rule map[string]any) error {
	actions := first(rule["actions"])
	tags := len(asList(first(rule["filters"])["match_blob_index_tag"])) > 0
	if tags && len(asList(actions["snapshot"]))+len(asList(actions["version"])) > 0 {
		return errors.New("`match_blob_index_tag` is not supported as a filter for versions and snapshots")
	}
	base := first(actions["base_blob"])
	set := func(name string) bool {
		n, ok := base[name].(float64)
		return ok && n != -1
	}
	if asBool(base["auto_tier_to_hot_from_cool_enabled"]) && !set("tier_to_cool_after_days_since_last_access_time_greater_than") {
		return errors.New("`auto_tier_to_hot_from_cool_enabled` must be used together with `tier_to_cool_after_days_since_last_access_time_greater_than`")
	}
	for action := range lifecycleActions() {
		var names, there []string
		for _, from := range []string{"modification", "last_access_time", "creation"} {
			name := action + "_after_days_since_" + from + "_greater_than"
			names = append(names, "`"+name+"`")
			if set(name) {
				there = append(there, name)
			}
		}
		if len(there) > 1 {
			return fmt.Errorf("only one of %s can be specified at the same time", strings.Join(names, ", "))
		}
	}
	return nil
}
