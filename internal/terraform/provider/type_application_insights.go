package provider

import (
	"errors"
	"fmt"
)

// billingVersion is the api-version of a component's billing features.
const billingVersion = "2015-05-01"

func applicationInsights() *resourceType {
	return &resourceType{
		name:       "azurerm_application_insights",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Insights/components/{name}"},
		apiVersion: versions{3: "2020-02-02", 4: "2020-02-02", 5: "2020-02-02"},
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			send("name", "name"),
			send("name", "properties.ApplicationId"),
			send("application_type", "kind"),
			in("application_type", "properties.Application_Type").as(spelled("web", "other", "ios", "java", "MobileCenter", "Node.JS", "phone", "store")),
			in("workspace_id", "properties.WorkspaceResourceId").as(conversion{read: func(v any) any { return canonicalID(asString(v)) }}),
			in("retention_in_days", "properties.RetentionInDays"),
			in("sampling_percentage", "properties.SamplingPercentage").sentAs(100.0),
			in("disable_ip_masking", "properties.DisableIpMasking").sentAs(false).orElse(false).only(3),
			in("local_authentication_disabled", "properties.DisableLocalAuth").sentAs(false).orElse(false).only(3),
			in("ip_masking_enabled", "properties.DisableIpMasking").as(inverted()).sentAs(false).orElse(true),
			in("local_authentication_enabled", "properties.DisableLocalAuth").as(inverted()).sentAs(false).orElse(true),
			in("force_customer_storage_for_profiler", "properties.ForceCustomerStorageForProfiler").orElse(false),
			in("internet_ingestion_enabled", "properties.publicNetworkAccessForIngestion").as(enabled()),
			in("internet_query_enabled", "properties.publicNetworkAccessForQuery").as(enabled()),
			out("app_id", "properties.AppId"),
			out("instrumentation_key", "properties.InstrumentationKey"),
			out("connection_string", "properties.ConnectionString"),
			ours("daily_data_cap_in_gb", "daily_data_cap_notifications_enabled", "daily_data_cap_notifications_disabled"),
		},
		aliases: []alias{
			{name: "ip_masking_enabled", old: "disable_ip_masking", inverse: true, byDefault: true, majors: []int{4}},
			{name: "local_authentication_enabled", old: "local_authentication_disabled", inverse: true, byDefault: true, majors: []int{4}},
			{name: "daily_data_cap_notifications_enabled", old: "daily_data_cap_notifications_disabled", inverse: true, byDefault: true, majors: []int{4}},
		},
		encode: func(o *operation, _ map[string]any) error {
			if asString(o.prior["workspace_id"]) == "" || asString(o.planned["workspace_id"]) != "" {
				return nil
			}
			if o.major == 3 {
				return errors.New("`workspace_id` can not be removed after set")
			}
			return errors.New("`workspace_id` cannot be removed after set. If `workspace_id` is not specified but you encounter a diff, this might indicate a Microsoft initiated automatic migration from classic resources to workspace-based resources. If this is the case, please update `workspace_id` in your config file to the new value")
		},
		afterWrite: writeBilling,
		decode:     readBilling,
	}
}

// writeBilling sets a component's daily cap, which has a document of its own.
func writeBilling(o *operation) error {
	path := o.id + "/currentbillingfeatures"
	doc, err := o.get(o.ctx, path, billingVersion)
	if err != nil {
		return fmt.Errorf("retrieving the billing features of %q: %w", o.id, err)
	}
	if v, ok := o.planned["daily_data_cap_in_gb"].(float64); ok {
		setPath(doc, "DataVolumeCap.Cap", v)
	}
	if stop, ok := capNotificationsOff(o.planned); ok {
		setPath(doc, "DataVolumeCap.StopSendNotificationWhenHitCap", stop)
	}
	if err := o.put(o.ctx, path, billingVersion, doc); err != nil {
		return fmt.Errorf("updating the billing features of %q: %w", o.id, err)
	}
	return nil
}

func capNotificationsOff(state map[string]any) (off, known bool) {
	if v, ok := state["daily_data_cap_notifications_disabled"].(bool); ok {
		return v, true
	}
	if v, ok := state["daily_data_cap_notifications_enabled"].(bool); ok {
		return !v, true
	}
	return false, false
}

func readBilling(o *operation, _, state map[string]any) error {
	doc, err := o.get(o.ctx, o.id+"/currentbillingfeatures", billingVersion)
	if err != nil {
		return fmt.Errorf("retrieving the billing features of %q: %w", o.id, err)
	}
	if v := getPath(doc, "DataVolumeCap.Cap"); v != nil {
		state["daily_data_cap_in_gb"] = v
	}
	off := asBool(getPath(doc, "DataVolumeCap.StopSendNotificationWhenHitCap"))
	state["daily_data_cap_notifications_disabled"] = off
	state["daily_data_cap_notifications_enabled"] = !off
	return nil
}
