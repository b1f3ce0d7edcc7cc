package authorization

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func (p *provider) roleDefinition() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                rbac.DefinitionType,
		Memory:              rbac.Memory,
		Scope:               arm.OnAnything,
		NoProvisioningState: true,
		PutStatus:           [2]int{http.StatusCreated, http.StatusCreated},
		DeleteBody:          true,
		Methods:             []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Index: func(r *arm.Resource) []string {
			return []string{
				rbac.DefinitionIndex(r.Name()), "all",
				"name|" + strings.ToLower(r.Body.String("properties.roleName")),
			}
		},
		// azurerm reads the role of each assignment at the subscription. It works in
		// Azure for who has rights in a resource group alone, so such a principal can
		// read definitions there; Azure's reference does not say so.
		ReadByAll: true,
		Validate:  p.validateDefinition,
		Put:       p.putDefinition,
		Delete:    p.deleteDefinition,
		Default:   p.findDefinition,
		List:      p.listDefinitions,
	}
}

// document is a role definition as ARM shows it.
func document(d *rbac.Definition) arm.Doc {
	list := func(s []string) []any {
		out := []any{}
		for _, v := range s {
			out = append(out, v)
		}
		return out
	}
	typ := "BuiltInRole"
	if d.Custom {
		typ = "CustomRole"
	}
	perms := []any{}
	for _, p := range d.Permissions {
		perms = append(perms, map[string]any{
			"actions": list(p.Actions), "notActions": list(p.NotActions),
			"dataActions": list(p.DataActions), "notDataActions": list(p.NotDataActions),
		})
	}
	return arm.Doc{"properties": map[string]any{
		"roleName": d.RoleName, "type": typ, "description": d.Description,
		"assignableScopes": list(d.AssignableScopes), "permissions": perms,
	}}
}

// home is the ID under which a custom definition is stored.
func (p *provider) home(guid string) string {
	return roleID(arm.ID{Subscription: p.kernel.Subscription()}, guid)
}

// findDefinition is the definition of a GUID at any scope: built-in ones are
// everywhere, custom ones wherever they are assignable.
func (p *provider) findDefinition(_ context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
	d, err := p.Roles().Definition(tx, id.Name())
	if errors.Is(err, store.ErrNotFound) {
		return nil, arm.Errorf(http.StatusNotFound, "RoleDefinitionDoesNotExist",
			"The specified role definition with ID '%s' does not exist.", strings.ReplaceAll(id.Name(), "-", ""))
	}
	if err != nil {
		return nil, err
	}
	if d.Custom {
		return p.kernel.Resources().Get(tx, p.home(d.Name))
	}
	return &arm.Resource{ID: roleID(id, d.Name), Body: document(d), Private: arm.Doc{}}, nil
}

func (p *provider) validateDefinition(_ context.Context, put *arm.Put) error {
	name := put.ID.Name()
	if _, err := uuid.Parse(name); err != nil {
		return arm.BadRequest("InvalidRoleDefinitionId", "The role definition ID '%s' is not valid. The role definition ID must be a GUID.", name)
	}
	for _, d := range p.Roles().BuiltIn() {
		if strings.EqualFold(d.Name, name) {
			return arm.BadRequest("RoleDefinitionUpdateNotPermitted", "The built-in role '%s' cannot be changed.", d.RoleName)
		}
	}
	body := put.Resource.Body
	role := body.String("properties.roleName")
	if role == "" {
		return arm.BadRequest("RoleDefinitionNameNullOrEmpty", "Role definition name cannot be null or empty.")
	}
	var perms []catalog.Permission
	if err := body.Decode("properties.permissions", &perms); err != nil {
		return err
	}
	if len(perms) != 1 {
		// a custom role has one block of permissions
		return arm.BadRequest("InvalidRoleDefinitionPermissions", "A custom role has exactly one set of permissions; this one has %d.", len(perms))
	}
	for _, a := range slices.Concat(perms[0].Actions, perms[0].NotActions, perms[0].DataActions, perms[0].NotDataActions) {
		if a == "" || a != "*" && !strings.Contains(a, "/") {
			return arm.BadRequest("InvalidActionOrNotAction", "'%s' does not match any of the actions supported by the providers.", a)
		}
	}
	var scopes []string
	if err := body.Decode("properties.assignableScopes", &scopes); err != nil {
		return err
	}
	if len(scopes) == 0 {
		scopes = []string{put.ID.Parent().String()}
		body.Set("properties.assignableScopes", []any{scopes[0]})
	}
	for _, s := range scopes {
		id, err := arm.ParseID(s)
		if err != nil || id.IsZero() {
			return arm.BadRequest("LinkedInvalidPropertyId", "Property id '%s' at path 'properties.assignableScopes' is invalid. A custom role cannot be assignable at the tenant.", s)
		}
	}
	for r, err := range p.kernel.Resources().Find(put.Tx, rbac.DefinitionType, "name|"+role) {
		if err != nil {
			return err
		}
		if !strings.EqualFold(r.Name(), name) {
			return arm.Errorf(http.StatusConflict, "RoleDefinitionWithSameNameExists",
				"A custom role with the same name already exists in this directory. Use a different name.")
		}
	}
	for _, d := range p.Roles().BuiltIn() {
		if strings.EqualFold(d.RoleName, role) {
			return arm.Errorf(http.StatusConflict, "RoleDefinitionWithSameNameExists",
				"A built-in role is named '%s'. Use a different name.", role)
		}
	}
	return nil
}

func (p *provider) putDefinition(_ context.Context, put *arm.Put) error {
	// one definition has one home, however it is addressed
	put.Resource.ID = p.home(put.ID.Name())
	if put.Existing == nil {
		old, err := p.kernel.Resources().Get(put.Tx, put.Resource.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		put.Existing = old
	}
	if old := put.Existing; old != nil {
		put.Resource.UID, put.Resource.Created, put.Resource.CreatedBy = old.UID, old.Created, old.CreatedBy
	}
	d, err := rbac.CustomDefinition(put.Resource)
	if err != nil {
		return err
	}
	put.Resource.Body = document(d)
	props := put.Resource.Body.Object("properties")
	props["createdOn"], props["createdBy"] = arm.Timestamp(put.Resource.Created), nil
	if put.Existing != nil {
		props["createdBy"] = put.Existing.Body.Get("properties.createdBy")
	} else {
		props["createdBy"] = put.Caller.ObjectID
	}
	props["updatedOn"], props["updatedBy"] = arm.Timestamp(put.Now), put.Caller.ObjectID
	return nil
}

func (p *provider) deleteDefinition(_ context.Context, d *arm.Delete) error {
	for _, err := range p.kernel.Resources().Find(d.Tx, rbac.AssignmentType, roleIndex(d.Resource.Name())) {
		if err != nil {
			return err
		}
		return arm.BadRequest("RoleDefinitionHasAssignments",
			"There are existing role assignments referencing role (code: RoleDefinitionHasAssignments)")
	}
	return nil
}

func (p *provider) listDefinitions(ctx context.Context, req *arm.Request, scope arm.ID) (*arm.Page, error) {
	t, err := parseTerms(req.Query.Get("$filter"), "rolename", "type", "atscopeandbelow()")
	if err != nil {
		return nil, err
	}
	match := func(d *rbac.Definition) bool {
		typ := "BuiltInRole"
		if d.Custom {
			typ = "CustomRole"
		}
		return (!t.has("rolename") || strings.EqualFold(d.RoleName, t["rolename"])) &&
			(!t.has("type") || strings.EqualFold(typ, t["type"]))
	}
	page := &arm.Page{}
	add := func(d *rbac.Definition) {
		doc := document(d)
		doc["id"], doc["name"], doc["type"] = roleID(scope, d.Name), d.Name, rbac.DefinitionType
		page.Value = append(page.Value, doc)
	}
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		if _, err := p.scopeExists(ctx, tx, scope); err != nil {
			return err
		}
		for _, d := range p.Roles().BuiltIn() {
			if match(d) {
				add(d)
			}
		}
		// a directory has at most 5,000 custom roles
		for r, err := range p.kernel.Resources().Find(tx, rbac.DefinitionType, "all") {
			if err != nil {
				return err
			}
			d, err := rbac.CustomDefinition(r)
			if err != nil {
				return err
			}
			if match(d) && assignable(d, scope, t.has("atscopeandbelow()")) {
				add(d)
			}
		}
		return nil
	})
	return page, err
}

// assignable reports whether a custom role can be assigned at scope or, when
// below is set, somewhere in it.
func assignable(d *rbac.Definition, scope arm.ID, below bool) bool {
	if scope.IsZero() {
		return true
	}
	for _, s := range d.AssignableScopes {
		id, err := arm.ParseID(s)
		if err != nil {
			continue
		}
		if within(scope, id) || below && within(id, scope) {
			return true
		}
	}
	return false
}

// within reports whether inner is outer or in it.
func within(inner, outer arm.ID) bool {
	return outer.IsZero() || inner.Key() == outer.Key() || strings.HasPrefix(inner.Key(), outer.Key()+"/")
}

// scopeExists loads what a list is asked of; nil for tenant and subscription.
func (p *provider) scopeExists(ctx context.Context, tx store.Tx, scope arm.ID) (*arm.Resource, error) {
	if len(scope.Providers) == 0 && scope.ResourceGroup == "" {
		return nil, nil
	}
	return p.kernel.Load(ctx, tx, scope)
}
