package provider

func userAssignedIdentity() *resourceType {
	return &resourceType{
		name:       "azurerm_user_assigned_identity",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"},
		apiVersion: versions{3: "2023-01-31", 4: "2024-11-30", 5: "2024-11-30"},
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			in("isolation_scope", "properties.isolationScope"),
			out("client_id", "properties.clientId"),
			out("principal_id", "properties.principalId"),
			out("tenant_id", "properties.tenantId"),
		},
	}
}
