package provider

import "strings"

func managementLock() *resourceType {
	return &resourceType{
		name:       "azurerm_management_lock",
		apiVersion: versions{3: "2020-05-01", 4: "2020-05-01", 5: "2020-05-01"},
		update:     updateNone,
		fields: []field{
			in("lock_level", "properties.level"),
			in("notes", "properties.notes").sentAs(""),
			ours("name", "scope"),
		},
		makeID: func(o *operation) (string, error) {
			return strings.TrimSuffix(asString(o.planned["scope"]), "/") + managementLocks + asString(o.planned["name"]), nil
		},
		importID: func(_ *operation, id string) (map[string]any, error) {
			scope, name, err := splitExtension(id, managementLocks)
			return map[string]any{"scope": scope, "name": name}, err
		},
		decode: func(o *operation, _, state map[string]any) error {
			scope, name, err := splitExtension(o.id, managementLocks)
			state["scope"], state["name"] = scope, name
			return err
		},
	}
}

const managementLocks = "/providers/Microsoft.Authorization/locks/"
