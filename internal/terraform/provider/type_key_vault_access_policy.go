package provider

import (
	"fmt"
	"net/http"
	"strings"
)

const (
	policyObject      = "/objectId/"
	policyApplication = "/applicationId/"
)

// keyVaultAccessPolicy is one entry of a vault's list of access policies.
func keyVaultAccessPolicy() *resourceType {
	return &resourceType{
		name:       "azurerm_key_vault_access_policy",
		apiVersion: keyVault().apiVersion,
		fields: []field{ours("key_vault_id", "tenant_id", "object_id", "application_id",
			"certificate_permissions", "key_permissions", "secret_permissions", "storage_permissions")},
		store: accessPolicyStore{},
		serial: func(o *operation) string {
			return "policies of " + strings.ToLower(asString(o.state()["key_vault_id"]))
		},
		makeID: func(o *operation) (string, error) {
			id := asString(o.planned["key_vault_id"]) + policyObject + asString(o.planned["object_id"])
			if app := asString(o.planned["application_id"]); app != "" {
				id += policyApplication + app
			}
			return id, nil
		},
		importID: func(_ *operation, id string) (map[string]any, error) {
			vault, object, ok := strings.Cut(id, policyObject)
			if !ok || object == "" || vault == "" {
				return nil, fmt.Errorf("parsing %q: expected {key vault}%s{id} or {key vault}%[2]s{id}%s{id}", id, policyObject, policyApplication)
			}
			object, app, _ := strings.Cut(object, policyApplication)
			return map[string]any{"key_vault_id": vault, "object_id": object, "application_id": app}, nil
		},
	}
}

type accessPolicyStore struct{}

// permissions are the arguments and their names in a policy.
func (accessPolicyStore) permissions() map[string]string {
	return map[string]string{"certificate_permissions": "certificates", "key_permissions": "keys", "secret_permissions": "secrets", "storage_permissions": "storage"}
}

// find returns the entry of the vault's list, or nil, and whether there is a vault.
func (accessPolicyStore) find(o *operation) (policy map[string]any, vault bool, err error) {
	state := o.state()
	doc, err := o.getVault(asString(state["key_vault_id"]))
	if isNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	for _, e := range asList(getPath(doc, "properties.accessPolicies")) {
		p := asObject(e)
		if strings.EqualFold(asString(p["objectId"]), asString(state["object_id"])) && strings.EqualFold(asString(p["applicationId"]), asString(state["application_id"])) {
			return p, true, nil
		}
	}
	return nil, true, nil
}

// configured are the permissions of the plan, as a policy has them.
func (s accessPolicyStore) configured(o *operation) map[string]any {
	out := map[string]any{}
	for arg, name := range s.permissions() {
		list := []any{}
		for _, v := range asList(dropUnknown(o.planned[arg])) {
			list = append(list, strings.ToLower(asString(v)))
		}
		out[name] = list
	}
	return out
}

// send changes the entry: kind is add, replace or remove.
func (s accessPolicyStore) send(o *operation, kind string, granted any) error {
	state := o.state()
	policy := map[string]any{"tenantId": state["tenant_id"], "objectId": state["object_id"], "permissions": granted}
	if app := asString(state["application_id"]); app != "" {
		policy["applicationId"] = app
	}
	body := map[string]any{"properties": map[string]any{"accessPolicies": []any{policy}}}
	return o.change(o.ctx, http.MethodPut, asString(state["key_vault_id"])+"/accessPolicies/"+kind, o.version(), body)
}

func (s accessPolicyStore) create(o *operation) error {
	policy, vault, err := s.find(o)
	switch {
	case err != nil:
		return err
	case !vault:
		return fmt.Errorf("retrieving parent %q: it was not found", asString(o.planned["key_vault_id"]))
	case policy != nil:
		return o.alreadyExists()
	}
	return s.send(o, "add", s.configured(o))
}

func (s accessPolicyStore) read(o *operation) (map[string]any, error) {
	policy, _, err := s.find(o)
	if err != nil || policy == nil {
		return nil, err
	}
	state := o.state()
	out := map[string]any{
		"key_vault_id": state["key_vault_id"], "object_id": asString(policy["objectId"]), "application_id": asString(policy["applicationId"]), "tenant_id": asString(policy["tenantId"]),
	}
	for arg, name := range s.permissions() {
		list := []any{}
		for _, v := range asList(getPath(policy, "permissions."+name)) {
			list = append(list, s.spell(o.kind.Attributes[arg], asString(v)))
		}
		out[arg] = list
	}
	return out, nil
}

// spell writes a permission as azurerm does.
func (accessPolicyStore) spell(a *attribute, permission string) string {
	if a.Each != nil {
		for _, v := range a.Each.Enum {
			if strings.EqualFold(asString(v), permission) {
				return asString(v)
			}
		}
	}
	return permission
}

func (s accessPolicyStore) update(o *operation) error { return s.send(o, "replace", s.configured(o)) }

// remove takes away all that there is: nothing is left of the entry then.
func (s accessPolicyStore) remove(o *operation) error {
	policy, _, err := s.find(o)
	if err != nil || policy == nil {
		return err
	}
	return s.send(o, "remove", policy["permissions"])
}
