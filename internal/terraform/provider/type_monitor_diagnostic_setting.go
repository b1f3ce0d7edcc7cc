package provider

import (
	"errors"
	"fmt"
	"strings"
)

const diagnosticSettings = "/providers/Microsoft.Insights/diagnosticSettings/"

// monitorDiagnosticSetting belongs to any resource. Its ID in Terraform is that of
// the resource and its name, with a bar between.
func monitorDiagnosticSetting() *resourceType {
	return &resourceType{
		name:       "azurerm_monitor_diagnostic_setting",
		apiVersion: versions{3: "2021-05-01-preview", 4: "2021-05-01-preview", 5: "2021-05-01-preview"},
		fields: []field{ours("name", "target_resource_id", "log_analytics_workspace_id", "storage_account_id", "eventhub_name",
			"eventhub_authorization_rule_id", "partner_solution_id", "log_analytics_destination_type", "enabled_log", "log", "metric", "enabled_metric")},
		store: settingStore{},
		makeID: func(o *operation) (string, error) {
			return asString(o.planned["target_resource_id"]) + "|" + asString(o.planned["name"]), nil
		},
		importID: func(_ *operation, id string) (map[string]any, error) {
			target, name, err := splitSetting(id)
			return map[string]any{"target_resource_id": target, "name": name}, err
		},
		plan: planDiagnosticSetting,
	}
}

func splitSetting(id string) (target, name string, err error) {
	parts := strings.Split(id, "|")
	if len(parts) != 2 {
		return "", "", fmt.Errorf("expected the Monitor Diagnostics ID to be in the format `{resourceId}|{name}` but got %d segments", len(parts))
	}
	return parts[0], parts[1], nil
}

// mirror says that two arguments of a version are the same list, the second less
// what is not enabled.
func mirror(as attributes) (pairs [][2]string) {
	for _, p := range [][2]string{{"log", "enabled_log"}, {"metric", "enabled_metric"}} {
		if as[p[0]] != nil && as[p[1]] != nil {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// planDiagnosticSetting fills in the argument of a pair that is not configured.
func planDiagnosticSetting(c *change) {
	for _, p := range mirror(c.kind.Attributes) {
		all, enabled := p[0], p[1]
		switch {
		case len(asList(c.config[all])) > 0:
			c.planned[enabled] = onlyEnabled(c.kind.Attributes[enabled], asList(c.planned[all]))
		case !hasUnknown(c.planned[enabled]):
			c.planned[all] = asEnabled(c.kind.Attributes[all], asList(c.planned[enabled]))
		}
	}
}

func onlyEnabled(a *attribute, list []any) []any {
	out := []any{}
	for _, e := range list {
		if o := asObject(e); o["enabled"] != false {
			out = append(out, shaped(a, o))
		}
	}
	return out
}

func asEnabled(a *attribute, list []any) []any {
	out := []any{}
	for _, e := range list {
		o := shaped(a, asObject(e))
		o["enabled"] = true
		out = append(out, o)
	}
	return out
}

// shaped has the attributes of a block and no others.
func shaped(a *attribute, o map[string]any) map[string]any {
	out := map[string]any{}
	for name, inner := range a.Attributes {
		out[name] = cloneValue(o[name])
		if inner.Block && out[name] == nil {
			out[name] = []any{}
		}
	}
	return out
}

// settingStore keeps diagnostic settings.
type settingStore struct{}

func (settingStore) path(o *operation) (string, error) {
	target, name, err := splitSetting(o.id)
	return target + diagnosticSettings + name, err
}

func (s settingStore) create(o *operation) error {
	path, err := s.path(o)
	if err != nil {
		return err
	}
	if _, err := o.get(o.ctx, path, o.version()); err == nil {
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return fmt.Errorf("checking for presence of existing Monitor Diagnostic Setting: %w", err)
	}
	return s.update(o)
}

func (s settingStore) update(o *operation) error {
	path, err := s.path(o)
	if err != nil {
		return err
	}
	p := o.planned
	props := map[string]any{}
	enabled := false
	for list, names := range map[string][]string{"logs": {"log", "enabled_log"}, "metrics": {"metric", "enabled_metric"}} {
		out := []any{}
		for _, name := range names {
			a := o.kind.Attributes[name]
			if a == nil || len(out) > 0 {
				continue
			}
			for _, e := range asList(p[name]) {
				doc := encodeCategory(asObject(e))
				if list == "logs" && (doc["category"] == nil) == (doc["categoryGroup"] == nil) {
					return errors.New("exactly one of `category` or `category_group` must be specified")
				}
				enabled = enabled || asBool(doc["enabled"])
				out = append(out, doc)
			}
		}
		props[list] = out
	}
	if !enabled {
		return errors.New("at least one type of Log or Metric must be enabled")
	}
	for arg, property := range map[string]string{
		"log_analytics_workspace_id": "workspaceId", "storage_account_id": "storageAccountId", "partner_solution_id": "marketplacePartnerId",
		"eventhub_authorization_rule_id": "eventHubAuthorizationRuleId", "log_analytics_destination_type": "logAnalyticsDestinationType",
	} {
		if v := asString(dropUnknown(p[arg])); v != "" {
			props[property] = v
		}
	}
	if props["eventHubAuthorizationRuleId"] != nil {
		props["eventHubName"] = asString(p["eventhub_name"])
	}
	return o.put(o.ctx, path, o.version(), map[string]any{"properties": props})
}

func encodeCategory(e map[string]any) map[string]any {
	doc := map[string]any{"enabled": e["enabled"] != false}
	if v := asString(e["category"]); v != "" {
		doc["category"] = v
	}
	if v := asString(e["category_group"]); v != "" {
		doc["categoryGroup"] = v
	}
	if r := first(e["retention_policy"]); r != nil {
		days, _ := r["days"].(float64)
		doc["retentionPolicy"] = map[string]any{"enabled": asBool(r["enabled"]), "days": days}
	}
	return doc
}

func (s settingStore) read(o *operation) (map[string]any, error) {
	target, name, err := splitSetting(o.id)
	if err != nil {
		return nil, err
	}
	doc, err := o.get(o.ctx, target+diagnosticSettings+name, o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	state := map[string]any{
		"name": name, "target_resource_id": target, "eventhub_name": getPath(doc, "properties.eventHubName"),
		"log_analytics_destination_type": asString(getPath(doc, "properties.logAnalyticsDestinationType")),
	}
	for arg, property := range map[string]string{
		"log_analytics_workspace_id": "workspaceId", "storage_account_id": "storageAccountId", "partner_solution_id": "marketplacePartnerId",
		"eventhub_authorization_rule_id": "eventHubAuthorizationRuleId",
	} {
		if v := asString(getPath(doc, "properties."+property)); v != "" {
			state[arg] = canonicalID(v)
		} else {
			state[arg] = nil
		}
	}
	for arg, list := range map[string]string{"log": "logs", "enabled_log": "logs", "metric": "metrics", "enabled_metric": "metrics"} {
		a := o.kind.Attributes[arg]
		if a == nil {
			continue
		}
		out := []any{}
		for _, v := range asList(getPath(doc, "properties."+list)) {
			c := asObject(v)
			if strings.HasPrefix(arg, "enabled_") && !asBool(c["enabled"]) {
				continue
			}
			e := map[string]any{"category": c["category"], "category_group": c["categoryGroup"], "enabled": asBool(c["enabled"])}
			if r := asObject(c["retentionPolicy"]); r != nil {
				e["retention_policy"] = []any{map[string]any{"enabled": asBool(r["enabled"]), "days": r["days"]}}
			}
			out = append(out, shaped(a, e))
		}
		state[arg] = out
	}
	return state, nil
}

func (s settingStore) remove(o *operation) error {
	path, err := s.path(o)
	if err != nil {
		return err
	}
	return o.client.remove(o.ctx, path, o.version())
}
