package provider

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

const (
	roleDefinitionVersion = "2022-05-01-preview"
	roleAssignments       = "/providers/Microsoft.Authorization/roleAssignments/"
	roleDefinitions       = "/providers/Microsoft.Authorization/roleDefinitions"
)

func roleAssignment() *resourceType {
	return &resourceType{
		name:       "azurerm_role_assignment",
		apiVersion: versions{3: "2020-04-01-preview", 4: "2022-04-01", 5: "2022-04-01"},
		update:     updatePut,
		fields: []field{
			in("principal_id", "properties.principalId"),
			in("principal_type", "properties.principalType"),
			in("description", "properties.description").sentAs(""),
			in("condition", "properties.condition"),
			in("condition_version", "properties.conditionVersion"),
			in("delegated_managed_identity_resource_id", "properties.delegatedManagedIdentityResourceId"),
			in("role_definition_id", "properties.roleDefinitionId"),
			ours("name", "scope", "role_definition_name", "skip_service_principal_aad_check"),
		},
		plan: func(c *change) {
			if c.planned["skip_service_principal_aad_check"] == unknown && c.config["skip_service_principal_aad_check"] == nil {
				c.planned["skip_service_principal_aad_check"] = nil
			}
			if c.major > 3 && c.config["condition"] == nil && c.config["condition_version"] != nil {
				c.refuse("condition_version", "`condition_version` should not be set without `condition`")
			}
			if c.config["condition_version"] == nil && c.kind.Attributes["condition_version"].Computed && c.planned["condition_version"] == unknown {
				c.planned["condition_version"] = nil
				if c.config["condition"] != nil {
					c.planned["condition_version"] = "2.0"
				}
			}
		},
		makeID: func(o *operation) (string, error) {
			name := asString(o.planned["name"])
			if name == "" {
				name = uuid.NewString()
			}
			return strings.TrimSuffix(asString(o.planned["scope"]), "/") + roleAssignments + name, nil
		},
		importID: func(_ *operation, id string) (map[string]any, error) {
			scope, name, err := splitExtension(id, roleAssignments)
			return map[string]any{"scope": scope, "name": name}, err
		},
		encode: func(o *operation, doc map[string]any) error {
			if asBool(o.planned["skip_service_principal_aad_check"]) {
				setPath(doc, "properties.principalType", "ServicePrincipal")
			}
			if asString(getPath(doc, "properties.roleDefinitionId")) != "" {
				return nil
			}
			role := asString(o.planned["role_definition_name"])
			if role == "" {
				return errors.New("Error: either role_definition_id or role_definition_name needs to be set") //nolint:staticcheck // azurerm's words
			}
			def, err := o.findRole(asString(o.planned["scope"]), role)
			if err != nil {
				return err
			}
			setPath(doc, "properties.roleDefinitionId", asString(def["id"]))
			return nil
		},
		// A principal that was just made may not be known everywhere yet.
		retryCreate: func(err error) bool { return hasCode(err, "PrincipalNotFound") },
		decode: func(o *operation, doc, state map[string]any) error {
			scope, name, err := splitExtension(o.id, roleAssignments)
			if err != nil {
				return err
			}
			state["scope"], state["name"] = scope, name
			id := asString(state["role_definition_id"])
			// The same role has an ID under every scope; the configured one stays.
			if was := asString(o.state()["role_definition_id"]); was != "" && strings.EqualFold(lastSegment(was), lastSegment(id)) {
				state["role_definition_id"] = was
			}
			def, err := o.get(o.ctx, id, roleDefinitionVersion)
			if err != nil {
				return fmt.Errorf("loading Role Definition %q: %w", id, err)
			}
			state["role_definition_name"] = asString(getPath(def, "properties.roleName"))
			return nil
		},
	}
}

// splitExtension reads the scope and the name of an extension resource, such as a
// role assignment, from its ID. infix is what stands between them.
func splitExtension(id, infix string) (scope, name string, err error) {
	i := strings.LastIndex(strings.ToLower(id), strings.ToLower(infix))
	if i < 0 || !strings.HasPrefix(id, "/") {
		return "", "", fmt.Errorf("parsing %q: expected {scope}%s{name}", id, infix)
	}
	name = id[i+len(infix):]
	if name == "" || strings.ContainsAny(name, "/|") {
		return "", "", fmt.Errorf("parsing %q: expected {scope}%s{name}", id, infix)
	}
	if scope = id[:i]; scope == "" {
		scope = "/"
	}
	return scope, name, nil
}

// findRole looks a role up by its name as seen from a scope.
func (o *operation) findRole(scope, name string) (map[string]any, error) {
	filter := url.QueryEscape("roleName eq '" + strings.ReplaceAll(name, "'", "''") + "'")
	found, err := o.getAll(o.ctx, strings.TrimSuffix(scope, "/")+roleDefinitions+"?%24filter="+filter, roleDefinitionVersion)
	if err != nil {
		return nil, fmt.Errorf("loading Role Definition List: %w", err)
	}
	if len(found) != 1 {
		if o.major == 3 {
			return nil, fmt.Errorf("loading Role Definition List: could not find role '%s'", name)
		}
		return nil, fmt.Errorf("listing role definitions: could not find role `%s`", name)
	}
	return asObject(found[0]), nil
}
