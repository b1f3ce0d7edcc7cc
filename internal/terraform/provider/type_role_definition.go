package provider

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// roleDefinition is a custom role. Its ID in a state is the definition's ARM ID
// and the scope it was made at, with a bar between them.
func roleDefinition() *resourceType {
	return &resourceType{
		name:       "azurerm_role_definition",
		apiVersion: versions{3: roleDefinitionVersion, 4: roleDefinitionVersion, 5: roleDefinitionVersion},
		fields: []field{
			in("name", "properties.roleName"),
			in("description", "properties.description").sentAs(""),
			blocks("permissions", "properties.permissions",
				in("actions", "actions"), in("not_actions", "notActions"),
				in("data_actions", "dataActions"), in("not_data_actions", "notDataActions")),
			in("assignable_scopes", "properties.assignableScopes"),
			constant("properties.type", "CustomRole"),
			ours("role_definition_id", "role_definition_resource_id", "scope"),
		},
		makeID: func(o *operation) (string, error) {
			guid := asString(o.planned["role_definition_id"])
			if guid == "" {
				guid = uuid.NewString()
			}
			scope := asString(o.planned["scope"])
			return scope + roleDefinitions + "/" + guid + "|" + scope, nil
		},
		importID: func(_ *operation, id string) (map[string]any, error) {
			r, err := parseRole(id)
			return map[string]any{"scope": r.scope, "role_definition_id": r.guid}, err
		},
		store: roleStore{},
	}
}

// roleRef is a custom role by the parts of its ID in a state.
type roleRef struct{ scope, guid string }

// path is where requests for the role go.
func (r roleRef) path() string { return r.scope + roleDefinitions + "/" + r.guid }

func parseRole(id string) (roleRef, error) {
	arm, scope, ok := strings.Cut(id, "|")
	if !ok || strings.Contains(scope, "|") {
		return roleRef{}, fmt.Errorf("could not parse Role Definition ID, invalid format %q", id)
	}
	if !strings.HasPrefix(scope, "/subscriptions/") && !strings.HasPrefix(scope, "/providers/Microsoft.Management/managementGroups/") {
		return roleRef{}, fmt.Errorf("failed to parse scope from Role Definition ID %q", id)
	}
	_, guid, ok := strings.Cut(arm, "roleDefinitions/")
	if !ok || guid == "" {
		return roleRef{}, fmt.Errorf("failed to parse Role Definition ID from resource ID %q", id)
	}
	return roleRef{scope: scope, guid: guid}, nil
}

type roleStore struct{}

func (roleStore) create(o *operation) error {
	r, err := parseRole(o.id)
	if err != nil {
		return err
	}
	if _, err := o.get(o.ctx, r.path(), o.version()); err == nil {
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return fmt.Errorf("checking for presence of existing Role Definition ID for %q (Scope %q): %w", asString(o.planned["name"]), r.scope, err)
	}
	doc := map[string]any{}
	o.codec(true).encode(o.typ.fields, o.kind.Attributes, o.planned, doc)
	if len(asList(getPath(doc, "properties.assignableScopes"))) == 0 {
		setPath(doc, "properties.assignableScopes", []any{r.scope})
	}
	return o.put(o.ctx, r.path(), o.version(), doc)
}

func (roleStore) read(o *operation) (map[string]any, error) {
	r, err := parseRole(o.id)
	if err != nil {
		return nil, err
	}
	doc, err := o.get(o.ctx, r.path(), o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	arm := asString(doc["id"])
	if o.created {
		o.id = arm + "|" + r.scope // the service gives the role an ID of its own
	}
	state := map[string]any{
		"id": o.id, "scope": r.scope, "role_definition_id": r.guid, "role_definition_resource_id": arm,
	}
	o.codec(false).decode(o.typ.fields, o.kind.Attributes, doc, state)
	return state, nil
}

func (roleStore) update(o *operation) error {
	r, err := parseRole(o.id)
	if err != nil {
		return err
	}
	existing, err := o.get(o.ctx, r.path(), o.version())
	if err != nil {
		return err
	}
	doc := map[string]any{}
	o.codec(true).encode(o.typ.fields, o.kind.Attributes, o.planned, doc)
	return o.put(o.ctx, r.path(), o.version(), mergeDocument(existing, doc))
}

func (roleStore) remove(o *operation) error {
	r, err := parseRole(o.id)
	if err != nil {
		return err
	}
	return o.remove(o.ctx, r.path(), o.version())
}
