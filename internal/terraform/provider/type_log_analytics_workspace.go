package provider

import (
	"net/http"
	"strconv"
)

func logAnalyticsWorkspace() *resourceType {
	skus := spelled("Free", "PerGB2018", "PerNode", "Premium", "Standalone", "Standard", "CapacityReservation", "LACluster", "Unlimited")
	return &resourceType{
		name:       "azurerm_log_analytics_workspace",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.OperationalInsights/workspaces/{name}"},
		apiVersion: versions{3: "2022-10-01", 4: "2023-09-01", 5: "2025-07-01"},
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			identity(nil),
			in("sku", "properties.sku.name").as(skus).sentAs("PerGB2018"),
			in("reservation_capacity_in_gb_per_day", "properties.sku.capacityReservationLevel"),
			in("retention_in_days", "properties.retentionInDays"),
			in("daily_quota_gb", "properties.workspaceCapping.dailyQuotaGb"),
			in("allow_resource_only_permissions", "properties.features.enableLogAccessUsingOnlyResourcePermissions"),
			in("immediate_data_purge_on_30_days_enabled", "properties.features.immediatePurgeDataOn30Days").as(onlyTrue()),
			in("local_authentication_disabled", "properties.features.disableLocalAuth").sentAs(false).orElse(false).only(3),
			in("local_authentication_enabled", "properties.features.disableLocalAuth").as(inverted()).sentAs(false).orElse(true),
			in("cmk_for_query_forced", "properties.forceCmkForQuery").as(onlyTrue()),
			in("data_collection_rule_id", "properties.defaultDataCollectionRuleResourceId"),
			in("internet_ingestion_enabled", "properties.publicNetworkAccessForIngestion").as(enabled()),
			in("internet_query_enabled", "properties.publicNetworkAccessForQuery").as(enabled()),
			in("internet_ingestion_access_type", "properties.publicNetworkAccessForIngestion"),
			in("internet_query_access_type", "properties.publicNetworkAccessForQuery"),
			out("workspace_id", "properties.customerId"),
			ours("primary_shared_key", "secondary_shared_key"),
		},
		aliases: []alias{{name: "local_authentication_enabled", old: "local_authentication_disabled", inverse: true, byDefault: true, majors: []int{4}}},
		plan: func(c *change) {
			sku, reserved := asString(c.planned["sku"]), c.config["reservation_capacity_in_gb_per_day"]
			switch {
			case reserved != nil && c.config["sku"] != nil && !isUnknown(c.planned["sku"]) && sku != "CapacityReservation":
				c.refuse("reservation_capacity_in_gb_per_day", "`reservation_capacity_in_gb_per_day` can only be used with the `CapacityReservation` SKU")
			case reserved == nil && sku == "CapacityReservation":
				c.refuse("reservation_capacity_in_gb_per_day", "`reservation_capacity_in_gb_per_day` must be set when using the `CapacityReservation` SKU")
			}
			if c.differs("sku") {
				was := asString(c.prior["sku"])
				between := func(s string) bool { return s == "PerGB2018" || s == "CapacityReservation" }
				if was != "" && was != "LACluster" && !(between(was) && between(sku)) {
					c.forceNew("sku")
				}
			}
		},
		decode: func(o *operation, _, state map[string]any) error {
			// azurerm takes a refusal to show the keys for no keys.
			keys, err := o.do(o.ctx, http.MethodPost, o.id+"/sharedKeys", o.version(), nil)
			state["primary_shared_key"], state["secondary_shared_key"] = "", ""
			if err == nil {
				state["primary_shared_key"] = asString(keys.doc["primarySharedKey"])
				state["secondary_shared_key"] = asString(keys.doc["secondarySharedKey"])
			}
			return nil
		},
		deleteQuery: func(o *operation) string {
			force := o.feature("log_analytics_workspace.permanently_delete_on_destroy", o.major == 3)
			return "force=" + strconv.FormatBool(force)
		},
	}
}
