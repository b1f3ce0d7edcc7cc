package provider

import (
	"fmt"
	"strings"
)

// aiWorkspace is what hubs and projects have in common: they are workspaces of
// another kind.
func aiWorkspace(name, kind string, id idForm, fields ...field) *resourceType {
	return &resourceType{
		name:       name,
		id:         id,
		apiVersion: machineLearningVersions(),
		update:     updatePut,
		fields: append([]field{
			region(),
			tags(),
			identity(nil),
			send("name", "name"),
			constant("kind", kind),
			in("high_business_impact_enabled", "properties.hbiWorkspace").as(onlyTrue()).orElse(false),
			in("primary_user_assigned_identity", "properties.primaryUserAssignedIdentity"),
			in("description", "properties.description"),
			in("friendly_name", "properties.friendlyName"),
		}, fields...),
		importID: func(o *operation, text string) (map[string]any, error) {
			args, err := id.parse(text)
			if err != nil {
				return nil, err
			}
			doc, err := o.get(o.ctx, text, o.version())
			if err != nil {
				return nil, fmt.Errorf("retrieving %q: %w", text, err)
			}
			if k := asString(doc["kind"]); !strings.EqualFold(k, kind) {
				return nil, fmt.Errorf("importing %q: specified workspace is not of kind `%s`, got `%s`", text, kind, k)
			}
			return args, nil
		},
	}
}

func aiFoundry() *resourceType {
	canonical := conversion{read: func(v any) any { return canonicalID(asString(v)) }}
	t := aiWorkspace("azurerm_ai_foundry", "Hub", idForm{pattern: workspaceID},
		in("application_insights_id", "properties.applicationInsights").as(canonical),
		in("key_vault_id", "properties.keyVault").as(canonical),
		in("storage_account_id", "properties.storageAccount"),
		in("container_registry_id", "properties.containerRegistry"),
		in("public_network_access", "properties.publicNetworkAccess"),
		block("managed_network", "properties.managedNetwork", in("isolation_mode", "isolationMode")),
		block("encryption", "properties.encryption",
			constant("status", "Enabled"),
			in("key_vault_id", "keyVaultProperties.keyVaultArmId"),
			in("key_id", "keyVaultProperties.keyIdentifier"),
			in("user_assigned_identity_id", "identity.userAssignedIdentity"),
		).ifThere(func(o map[string]any) bool { return strings.EqualFold(asString(o["status"]), "Enabled") }),
		out("discovery_url", "properties.discoveryUrl"),
		out("workspace_id", "properties.workspaceId"),
	)
	t.deleteQuery = purgeWorkspace
	return t
}

func aiFoundryProject() *resourceType {
	// a project stands in the resource group of its hub, and azurerm has no argument
	// for it
	const pattern = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{name}"
	t := aiWorkspace("azurerm_ai_foundry_project", "Project", idForm{pattern: pattern},
		in("ai_services_hub_id", "properties.hubResourceId"),
		out("project_id", "properties.workspaceId"),
	)
	t.makeID = func(o *operation) (string, error) {
		hub, name, ok := strings.Cut(asString(o.planned["ai_services_hub_id"]), "/workspaces/")
		if !ok || name == "" {
			return "", fmt.Errorf("parsing %q: expected the ID of a workspace", asString(o.planned["ai_services_hub_id"]))
		}
		return hub + "/workspaces/" + asString(o.planned["name"]), nil
	}
	t.encode = func(o *operation, doc map[string]any) error {
		if o.prior == nil {
			return nil
		}
		// what is the hub's is not sent back
		for _, name := range []string{"managedNetwork", "keyVault", "storageAccount", "containerRegistry", "applicationInsights", "encryption"} {
			setPath(doc, "properties."+name, nil)
		}
		return nil
	}
	return t
}
