package provider

import (
	"fmt"
	"slices"
	"strings"
)

// outboundRule is what the types of rules of managed networks have in common. azurerm
// says the type at the top of the document as well.
func outboundRule(kind, rule string, fields ...field) *resourceType {
	return &resourceType{
		name: "azurerm_machine_learning_workspace_network_outbound_rule_" + kind,
		id: idForm{
			pattern: "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}/outboundRules/{name}",
			parent:  "workspace_id",
		},
		apiVersion: machineLearningVersions(),
		update:     updatePut,
		fields: append([]field{
			send("name", "name"),
			constant("type", rule),
			constant("properties.type", rule),
			constant("properties.category", "UserDefined"),
		}, fields...),
	}
}

func machineLearningOutboundRuleFQDN() *resourceType {
	return outboundRule("fqdn", "FQDN", in("destination_fqdn", "properties.destination"))
}

func machineLearningOutboundRuleServiceTag() *resourceType {
	return outboundRule("service_tag", "ServiceTag",
		in("service_tag", "properties.destination.serviceTag"),
		in("protocol", "properties.destination.protocol"),
		in("port_ranges", "properties.destination.portRanges"),
	)
}

func machineLearningOutboundRulePrivateEndpoint() *resourceType {
	t := outboundRule("private_endpoint", "PrivateEndpoint",
		in("service_resource_id", "properties.destination.serviceResourceId"),
		in("sub_resource_target", "properties.destination.subresourceTarget"),
		in("spark_enabled", "properties.destination.sparkEnabled").sentAs(false),
	)
	t.update = updateNone
	t.encode = func(o *operation, _ map[string]any) error {
		id, group := asString(o.planned["service_resource_id"]), asString(o.planned["sub_resource_target"])
		groups := endpointGroups(segmentAfter(id, "providers"))
		if !slices.ContainsFunc(groups, func(g string) bool { return strings.EqualFold(g, group) }) {
			return fmt.Errorf("unsupported resource type: %s. Sub resource type supported by Service Resource ID: %s is %s", group, id, strings.Join(groups, ", "))
		}
		return nil
	}
	return t
}

// endpointGroups are the sub-resources to which azurerm lets rules lead, by the
// namespace of the resource.
func endpointGroups(namespace string) []string {
	switch namespace {
	case "Microsoft.KeyVault":
		return []string{"vault"}
	case "Microsoft.Cache":
		return []string{"redisCache"}
	case "Microsoft.MachineLearningServices":
		return []string{"amlworkspace"}
	case "Microsoft.Storage":
		return []string{"blob", "table", "queue", "file", "web", "dfs"}
	}
	return nil
}
