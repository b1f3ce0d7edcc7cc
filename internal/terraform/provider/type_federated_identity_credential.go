package provider

const federatedCredentials = "/federatedIdentityCredentials/"

func federatedIdentityCredential() *resourceType {
	// identity is the argument that names the identity: azurerm 4 has both.
	identity := func(o *operation) string {
		if id := asString(o.state()["user_assigned_identity_id"]); id != "" {
			return id
		}
		return asString(o.state()["parent_id"])
	}
	form := idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}" + federatedCredentials + "{name}"}
	arguments := func(id string) (map[string]any, error) {
		args, err := form.parse(id)
		if err != nil {
			return nil, err
		}
		parent := id[:len(id)-len(federatedCredentials)-len(asString(args["name"]))]
		delete(args, "identity")
		args["parent_id"], args["user_assigned_identity_id"] = parent, parent
		return args, nil
	}
	return &resourceType{
		name:       "azurerm_federated_identity_credential",
		apiVersion: versions{3: "2023-01-31", 4: "2024-11-30", 5: "2024-11-30"},
		update:     updatePut,
		fields: []field{
			in("issuer", "properties.issuer"),
			in("subject", "properties.subject"),
			in("audience", "properties.audiences"),
			ours("name", "resource_group_name", "parent_id", "user_assigned_identity_id"),
		},
		aliases: []alias{{name: "user_assigned_identity_id", old: "parent_id", majors: []int{4}}},
		// Azure takes one change of an identity's credentials at a time
		serial: identity,
		makeID: func(o *operation) (string, error) {
			return identity(o) + federatedCredentials + asString(o.planned["name"]), nil
		},
		importID: func(o *operation, id string) (map[string]any, error) {
			args, err := arguments(id)
			for name := range args {
				if o.kind.Attributes[name] == nil {
					delete(args, name)
				}
			}
			return args, err
		},
		decode: func(o *operation, _, state map[string]any) error {
			args, err := arguments(o.id)
			for name, v := range args {
				if o.kind.Attributes[name] != nil {
					state[name] = v
				}
			}
			return err
		},
	}
}
