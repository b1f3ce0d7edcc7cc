package authorization

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func (p *provider) roleAssignment() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                rbac.AssignmentType,
		Memory:              rbac.Memory,
		Scope:               arm.OnAnything,
		NoProvisioningState: true,
		// clients of the oldest versions take nothing but 201 from a PUT
		PutStatus:  [2]int{http.StatusCreated, http.StatusCreated},
		DeleteBody: true,
		Methods:    []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Unimplemented: map[string]string{
			"properties.delegatedManagedIdentityResourceId": "assigns to an identity of another tenant",
		},
		Index: func(r *arm.Resource) []string {
			principal, scope := r.Body.String("properties.principalId"), r.Body.String("properties.scope")
			return []string{
				rbac.AssignmentIndex(principal, scope),
				scopeIndex(scope),
				roleIndex(r.Body.String("properties.roleDefinitionId")),
			}
		},
		Facts:    p.assignmentFacts,
		Validate: p.validateAssignment,
		Put:      p.putAssignment,
		List:     p.listAssignments,
	}
}

// scopeIndex is the entry of an assignment by its scope. Entries sort with
// those of enclosed scopes behind them.
func scopeIndex(scope string) string {
	if scope == "/" {
		scope = ""
	}
	return "scope|" + arm.Key(scope)
}

// roleIndex is the entry of an assignment by its role.
func roleIndex(roleID string) string { return "role|" + guidOf(roleID) }

func (p *provider) validateAssignment(_ context.Context, put *arm.Put) error {
	if _, err := uuid.Parse(put.ID.Name()); err != nil {
		return arm.BadRequest("InvalidRoleAssignmentId",
			"The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", put.ID.Name())
	}
	body, scope := put.Resource.Body, put.ID.Parent()
	principal, role := body.String("properties.principalId"), body.String("properties.roleDefinitionId")
	if _, err := uuid.Parse(principal); err != nil {
		return arm.BadRequest("InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")
	}
	if role == "" {
		return arm.BadRequest("InvalidCreateRoleAssignmentRequest",
			"The request to create role assignment '%s' is not valid. Role definition ID is missing.", put.ID.Name())
	}
	if err := checkCondition(body.String("properties.condition"), body.String("properties.conditionVersion")); err != nil {
		return err
	}
	if e := put.Existing; e != nil {
		if !strings.EqualFold(e.Body.String("properties.principalId"), principal) ||
			guidOf(e.Body.String("properties.roleDefinitionId")) != guidOf(role) {
			return arm.BadRequest("RoleAssignmentUpdateNotPermitted",
				"Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
		}
	}
	def, err := p.Roles().Definition(put.Tx, role)
	if errors.Is(err, store.ErrNotFound) || err == nil && def.Custom && !assignable(def, scope, false) {
		return arm.Errorf(http.StatusNotFound, "RoleDefinitionDoesNotExist",
			"The specified role definition with ID '%s' does not exist.", strings.ReplaceAll(guidOf(role), "-", ""))
	}
	if err != nil {
		return err
	}
	typ, ok, err := p.Directory.Lookup(put.Tx, strings.ToLower(principal))
	if err != nil {
		return err
	}
	if !ok {
		return arm.BadRequest("PrincipalNotFound",
			"Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
			strings.ReplaceAll(principal, "-", ""), p.kernel.Tenant())
	}
	if want := body.String("properties.principalType"); want != "" && !strings.EqualFold(want, typ) {
		// the spelling is Azure's
		return arm.BadRequest("UnmatchedPrincipalType",
			"The PrincipalId '%s' has type '%s' , which is different from specified PrinciaplType '%s'.",
			strings.ReplaceAll(principal, "-", ""), typ, want)
	}
	body.Set("properties.principalType", typ)
	for r, err := range p.kernel.Resources().Find(put.Tx, rbac.AssignmentType, rbac.AssignmentIndex(principal, scope.String())) {
		if err != nil {
			return err
		}
		if guidOf(r.Body.String("properties.roleDefinitionId")) == def.Name && !strings.EqualFold(r.Name(), put.ID.Name()) {
			return arm.Errorf(http.StatusConflict, "RoleAssignmentExists", "The role assignment already exists.")
		}
	}
	return nil
}

func (p *provider) putAssignment(_ context.Context, put *arm.Put) error {
	in := put.Resource.Body.Object("properties")
	scope := put.ID.Parent()
	created, by := arm.Timestamp(put.Now), any(put.Caller.ObjectID)
	if put.Existing != nil {
		created = put.Existing.Body.String("properties.createdOn")
		by = put.Existing.Body.Get("properties.createdBy")
	}
	out := map[string]any{
		"roleDefinitionId": roleID(scope, guidOf(in.String("roleDefinitionId"))),
		"principalId":      in.String("principalId"), "principalType": in.String("principalType"),
		"scope": scope.String(), "condition": nil, "conditionVersion": nil,
		"createdOn": created, "updatedOn": arm.Timestamp(put.Now), "createdBy": by, "updatedBy": put.Caller.ObjectID,
		"delegatedManagedIdentityResourceId": nil, "description": nil,
	}
	if d := in.String("description"); d != "" {
		out["description"] = d
	}
	if c := in.String("condition"); c != "" {
		out["condition"], out["conditionVersion"] = c, abac.Version
	}
	put.Resource.Body = arm.Doc{"properties": out}
	return nil
}

// listAssignments lists what applies at a scope (above and at it) and, unless
// atScope() is asked for, what is assigned below it.
func (p *provider) listAssignments(ctx context.Context, req *arm.Request, scope arm.ID) (*arm.Page, error) {
	t, err := parseTerms(req.Query.Get("$filter"), "atscope()", "principalid", "assignedto()")
	if err != nil {
		return nil, err
	}
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	res := p.kernel.Resources()
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		if _, err := p.scopeExists(ctx, tx, scope); err != nil {
			return err
		}
		var principals []string // empty: everybody's
		switch {
		case t.has("assignedto()"): // also through groups
			var err error
			if principals, err = p.Roles().Principals(tx, t["assignedto()"]); err != nil {
				return err
			}
			slices.Sort(principals) // the order of their entries
		case t.has("principalid"):
			principals = []string{t["principalid"]}
		}
		// entries are those of a scope in the index
		entries := func(scope arm.ID) []string {
			if len(principals) == 0 {
				return []string{scopeIndex(scope.String())}
			}
			var out []string
			for _, id := range principals {
				out = append(out, rbac.AssignmentIndex(id, scope.String()))
			}
			return out
		}
		var last *arm.Resource
		var lastEntry string
		// add appends r unless the page is full; then it leaves the token for r
		add := func(r *arm.Resource, entry string) (bool, error) {
			if len(page.Value) == size {
				page.Next = arm.EncodeToken(res.FindPosition(last, rbac.AssignmentType, lastEntry))
				return false, nil
			}
			doc, err := p.kernel.Render(ctx, tx, r)
			if err != nil {
				return false, err
			}
			page.Value = append(page.Value, doc)
			last, lastEntry = r, entry
			return true, nil
		}
		if after == "" { // what is above comes first, on the first page
			for _, above := range scope.Lineage()[1:] {
				for _, entry := range entries(above) {
					for r, err := range res.Find(tx, rbac.AssignmentType, entry) {
						if err != nil {
							return err
						}
						doc, err := p.kernel.Render(ctx, tx, r)
						if err != nil {
							return err
						}
						page.Value = append(page.Value, doc)
					}
				}
				if above.IsZero() {
					break
				}
			}
			size += len(page.Value)
		}
		// At the scope, then below it: what merely begins with the same letters,
		// as rg-10 does with rg-1, is not read.
		var ranges []string
		for _, entry := range entries(scope) {
			ranges = append(ranges, store.Exact(entry))
			if !t.has("atscope()") {
				ranges = append(ranges, entry+"/")
			}
		}
		for _, prefix := range ranges {
			for r, err := range res.FindPage(tx, rbac.AssignmentType, prefix, after) {
				if err != nil {
					return err
				}
				at, err := arm.ParseID(r.Body.String("properties.scope"))
				if err != nil {
					return err
				}
				entry := scopeIndex(at.String())
				if len(principals) > 0 {
					entry = rbac.AssignmentIndex(r.Body.String("properties.principalId"), at.String())
				}
				if ok, err := add(r, entry); err != nil || !ok {
					return err
				}
			}
		}
		return nil
	})
	return page, err
}
