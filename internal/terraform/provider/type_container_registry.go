package provider

import (
	"fmt"
	"net/http"
	"strings"
)

func containerRegistry() *resourceType {
	status := oneOf("enabled", "disabled")
	isOn := func(o map[string]any) bool { return len(o) > 0 }
	return &resourceType{
		name:       "azurerm_container_registry",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.ContainerRegistry/registries/{name}"},
		apiVersion: versions{3: "2021-08-01-preview", 4: "2025-11-01", 5: "2025-11-01"},
		update:     updatePatch,
		fields: []field{
			region(),
			tags(),
			identity(noIdentity()),
			send("sku", "sku.name"),
			in("sku", "sku.tier"),
			in("admin_enabled", "properties.adminUserEnabled"),
			in("public_network_access_enabled", "properties.publicNetworkAccess").as(enabled()),
			in("zone_redundancy_enabled", "properties.zoneRedundancy").as(enabled()),
			in("anonymous_pull_enabled", "properties.anonymousPullEnabled").sentAs(false).orElse(false),
			in("data_endpoint_enabled", "properties.dataEndpointEnabled").sentAs(false).orElse(false),
			in("network_rule_bypass_option", "properties.networkRuleBypassOptions"),
			in("network_rule_bypass_for_tasks_enabled", "properties.networkRuleBypassAllowedForTasks"),
			in("role_assignment_mode", "properties.roleAssignmentMode"),
			in("quarantine_policy_enabled", "properties.policies.quarantinePolicy.status").as(status).sentAs("disabled").orElse(false),
			in("export_policy_enabled", "properties.policies.exportPolicy.status").as(status),
			in("azuread_authentication_as_arm_policy_enabled", "properties.policies.azureADAuthenticationAsArmPolicy.status").as(status),
			in("trust_policy_enabled", "properties.policies.trustPolicy.status").as(status),
			constant("properties.encryption.status", "disabled").only(3),
			block("retention_policy", "properties.policies.retentionPolicy",
				in("days", "days"), in("enabled", "status").as(status)).sentAs(map[string]any{"status": "disabled"}).ifThere(isOn),
			block("trust_policy", "properties.policies.trustPolicy",
				in("enabled", "status").as(status)).sentAs(map[string]any{"status": "disabled"}).ifThere(isOn),
			block("network_rule_set", "properties.networkRuleSet",
				in("default_action", "defaultAction"),
				blocks("ip_rule", "ipRules", in("action", "action"), in("ip_range", "value").as(conversion{read: withMask})).sentAs([]any{}),
			),
			out("login_server", "properties.loginServer"),
			out("data_endpoint_host_names", "properties.dataEndpointHostNames").orElse([]any{}),
			ours("admin_username", "admin_password", "retention_policy_in_days", "georeplications"),
		},
		afterWrite: writeReplications,
		plan:       planRegistry,
		beforeCreate: func(o *operation) error {
			if o.major != 3 {
				return nil
			}
			name := asString(o.planned["name"])
			r, err := o.do(o.ctx, http.MethodPost, "/subscriptions/"+o.subscription+"/providers/Microsoft.ContainerRegistry/checkNameAvailability", o.version(),
				map[string]any{"name": name, "type": "Microsoft.ContainerRegistry/registries"})
			if err != nil {
				return fmt.Errorf("checking if the name %q was available: %w", name, err)
			}
			if free, ok := r.doc["nameAvailable"].(bool); ok && !free {
				return fmt.Errorf("the name %q used for the Container Registry needs to be globally unique and isn't available: %s", name, asString(r.doc["message"]))
			}
			return nil
		},
		encode: func(o *operation, doc map[string]any) error {
			if o.major == 3 {
				return nil
			}
			policy := map[string]any{}
			if days, ok := o.planned["retention_policy_in_days"].(float64); ok {
				policy["days"], policy["status"] = days, "enabled"
			} else if o.prior != nil && o.prior["retention_policy_in_days"] != nil {
				policy["status"] = "disabled"
			}
			setPath(doc, "properties.policies.retentionPolicy", policy)
			return nil
		},
		decode: func(o *operation, doc, state map[string]any) error {
			if strings.EqualFold(asString(getPath(doc, "properties.policies.retentionPolicy.status")), "enabled") {
				state["retention_policy_in_days"] = getPath(doc, "properties.policies.retentionPolicy.days")
			} else {
				state["retention_policy_in_days"] = nil
			}
			if err := readReplications(o, doc, state); err != nil {
				return err
			}
			state["admin_username"], state["admin_password"] = "", ""
			if !asBool(state["admin_enabled"]) {
				return nil
			}
			r, err := o.do(o.ctx, http.MethodPost, o.id+"/listCredentials", o.version(), nil)
			if err != nil {
				return fmt.Errorf("retrieving credentials for %q: %w", o.id, err)
			}
			state["admin_username"] = asString(r.doc["username"])
			if passwords := asList(r.doc["passwords"]); len(passwords) > 0 {
				state["admin_password"] = asString(asObject(passwords[0])["value"])
			}
			return nil
		},
	}
}

// withMask writes an address as the range that azurerm keeps.
func withMask(v any) any {
	s := asString(v)
	if s != "" && !strings.Contains(s, "/") {
		return s + "/32"
	}
	return s
}

// planRegistry refuses what only larger registries can do.
func planRegistry(c *change) {
	p := c.planned
	sku := asString(p["sku"])
	if isUnknown(p["sku"]) || sku == "Premium" {
		if p["export_policy_enabled"] == false && p["public_network_access_enabled"] == true {
			c.refuse("export_policy_enabled", "to disable export of artifacts, `public_network_access_enabled` must also be `false`")
		}
		return
	}
	end := ""
	if c.major == 3 {
		end = "."
	}
	if p["public_network_access_enabled"] == false {
		c.refuse("public_network_access_enabled", "`public_network_access_enabled` can only be disabled for a Premium Sku%s", end)
	}
	if p["zone_redundancy_enabled"] == true {
		c.refuse("zone_redundancy_enabled", "ACR zone redundancy can only be applied when using the Premium Sku")
	}
	if p["anonymous_pull_enabled"] == true && sku == "Basic" {
		c.refuse("anonymous_pull_enabled", "`anonymous_pull_enabled` can only be applied when using the Standard/Premium Sku")
	}
	if p["data_endpoint_enabled"] == true {
		c.refuse("data_endpoint_enabled", "`data_endpoint_enabled` can only be applied when using the Premium Sku")
	}
	if p["quarantine_policy_enabled"] == true {
		c.refuse("quarantine_policy_enabled", "an ACR quarantine policy can only be applied when using the Premium Sku. If you are downgrading from a Premium SKU please unset quarantine_policy_enabled")
	}
	if p["export_policy_enabled"] == false {
		c.refuse("export_policy_enabled", "an ACR export policy can only be applied when using the Premium Sku. If you are downgrading from a Premium SKU please unset export_policy_enabled")
	}
	if len(asList(c.config["network_rule_set"])) > 0 {
		c.refuse("network_rule_set", "`network_rule_set` can only be specified for a Premium Sku. If you are reverting from a Premium to Basic SKU please set network_rule_set = []")
	}
}
