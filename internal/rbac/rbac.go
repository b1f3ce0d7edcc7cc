// Package rbac decides who may do what: role definitions, role assignments at
// any scope, and the decision over them. Assignments and custom definitions are
// ARM resources of namespace Microsoft.Authorization; built-in definitions come
// from the catalogue.
package rbac

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/glob"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	// AssignmentType and DefinitionType are the ARM types that decisions are
	// made from.
	AssignmentType = "Microsoft.Authorization/roleAssignments"
	DefinitionType = "Microsoft.Authorization/roleDefinitions"

	// Memory is that of both types: what they change is forgotten.
	Memory = "authorization"

	// OwnerRole is the GUID of the built-in role Owner.
	OwnerRole = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
)

// Definition is a role definition, built in or custom.
type Definition struct {
	// Name is the GUID.
	Name             string
	RoleName         string
	Description      string
	Custom           bool
	AssignableScopes []string
	Permissions      []catalog.Permission
}

// Authorizer answers from stored assignments. It is safe for concurrent use.
type Authorizer struct {
	store   store.Store
	res     *arm.Resources
	groups  Groups
	counts  func(assignment *arm.Resource) bool
	builtin map[string]*Definition
	sorted  []*Definition
}

// Groups knows who is in which group. *entra.Directory implements it.
type Groups interface {
	// Groups returns the object IDs of the groups that a principal is in,
	// directly or through others.
	Groups(tx store.Tx, objectID string) ([]string, error)
}

// New returns an Authorizer over the kernel's resources. Without groups, nobody
// is in one.
func New(st store.Store, res *arm.Resources, cat *catalog.Catalog, groups Groups) *Authorizer {
	a := &Authorizer{store: st, res: res, groups: groups, builtin: map[string]*Definition{}}
	for _, r := range cat.Roles() {
		d := &Definition{
			Name: strings.ToLower(r.Name), RoleName: r.RoleName, Description: r.Description,
			AssignableScopes: []string{"/"}, Permissions: r.Permissions,
		}
		a.builtin[d.Name] = d
		a.sorted = append(a.sorted, d)
	}
	return a
}

// BuiltIn is the built-in role definitions, in the catalogue's order.
func (a *Authorizer) BuiltIn() []*Definition { return a.sorted }

// AssignmentIndex is the index entry of an assignment of a principal at a
// scope. The descriptor of AssignmentType uses it.
func AssignmentIndex(principalID, scope string) string {
	return strings.ToLower(principalID) + "|" + arm.Key(scope)
}

// DefinitionIndex is the index entry of a custom definition.
func DefinitionIndex(guid string) string { return "guid|" + strings.ToLower(guid) }

// Definition finds a role definition by its GUID or by an ID that ends in it.
// It returns store.ErrNotFound when there is none.
func (a *Authorizer) Definition(tx store.Tx, id string) (*Definition, error) {
	guid := strings.ToLower(id[strings.LastIndexByte(id, '/')+1:])
	if d := a.builtin[guid]; d != nil {
		return d, nil
	}
	for r, err := range a.res.Find(tx, DefinitionType, DefinitionIndex(guid)) {
		if err != nil {
			return nil, err
		}
		return CustomDefinition(r)
	}
	return nil, store.ErrNotFound
}

// CustomDefinition reads a stored custom role definition.
func CustomDefinition(r *arm.Resource) (*Definition, error) {
	d := &Definition{
		Name: strings.ToLower(r.Name()), Custom: true,
		RoleName: r.Body.String("properties.roleName"), Description: r.Body.String("properties.description"),
	}
	if err := r.Body.Decode("properties.permissions", &d.Permissions); err != nil {
		return nil, fmt.Errorf("role definition %s: %w", r.ID, err)
	}
	if err := r.Body.Decode("properties.assignableScopes", &d.AssignableScopes); err != nil {
		return nil, fmt.Errorf("role definition %s: %w", r.ID, err)
	}
	return d, nil
}

// Allowed reports whether the principal holds the action, a data action when
// data is set, at scope. What conditions of assignments can ask about the request
// is in ctx, by abac.With. It implements arm.Authorizer.
func (a *Authorizer) Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error) {
	allowed := false
	err := a.store.View(ctx, func(tx store.Tx) (err error) {
		allowed, err = a.allowed(tx, principalID, asked{action: action, data: data, facts: abac.From(ctx)}, scope)
		return err
	})
	return allowed, err
}

// AllowedInTx is Allowed inside the caller's transaction, of a request that has no
// attributes. The cost depends on the depth of the scope and the assignments of
// this principal and its groups on that line, not on how many assignments there
// are.
func (a *Authorizer) AllowedInTx(tx store.Tx, principalID, action string, data bool, scope string) (bool, error) {
	return a.allowed(tx, principalID, asked{action: action, data: data}, scope)
}

// AllowedWith is AllowedInTx of a request of which conditions can ask facts. It
// implements arm.Authorizer.
func (a *Authorizer) AllowedWith(tx store.Tx, principalID, action, scope string, facts *abac.Facts) (bool, error) {
	return a.allowed(tx, principalID, asked{action: action, facts: facts}, scope)
}

// MightInTx is AllowedInTx with what conditions ask taken for true. It implements
// arm.Authorizer.
func (a *Authorizer) MightInTx(tx store.Tx, principalID, action, scope string) (bool, error) {
	return a.allowed(tx, principalID, asked{action: action, anyFacts: true}, scope)
}

// asked is what is to be done.
type asked struct {
	action string
	data   bool
	facts  *abac.Facts
	// anyFacts takes every condition for met.
	anyFacts bool
}

func (a *Authorizer) allowed(tx store.Tx, principalID string, what asked, scope string) (bool, error) {
	if principalID == "" || what.action == "" {
		return false, nil
	}
	id, err := arm.ParseID(scope)
	if err != nil {
		return false, fmt.Errorf("rbac: scope: %w", err)
	}
	lineage := id.Lineage()
	allowed, err := a.assigned(tx, principalID, what, lineage)
	if err != nil || allowed {
		return allowed, err
	}
	groups, err := a.groupsOf(tx, principalID)
	if err != nil {
		return false, err
	}
	for _, g := range groups {
		if allowed, err := a.assigned(tx, g, what, lineage); err != nil || allowed {
			return allowed, err
		}
	}
	return false, nil
}

// AssignedInTx reports whether the principal, or a group that it is in, is assigned
// anything at scope, above it or in it. It implements arm.Authorizer.
func (a *Authorizer) AssignedInTx(tx store.Tx, principalID string, scope arm.ID) (bool, error) {
	principals, err := a.Principals(tx, principalID)
	if err != nil {
		return false, err
	}
	lineage := scope.Lineage()
	for _, p := range principals {
		for _, at := range lineage {
			for r, err := range a.res.Find(tx, AssignmentType, AssignmentIndex(p, at.Key())) {
				if err != nil || a.counts == nil || a.counts(r) {
					return err == nil, err
				}
			}
		}
		for r, err := range a.res.FindFrom(tx, AssignmentType, AssignmentIndex(p, scope.Key())+"/", false) {
			if err != nil || a.counts == nil || a.counts(r) {
				return err == nil, err
			}
		}
	}
	return false, nil
}

// OnlyIf has assignments count only when f says so: not yet, while they are young.
// It must be called before the Authorizer is used.
func (a *Authorizer) OnlyIf(f func(assignment *arm.Resource) bool) { a.counts = f }

func (a *Authorizer) groupsOf(tx store.Tx, principalID string) ([]string, error) {
	if a.groups == nil {
		return nil, nil
	}
	groups, err := a.groups.Groups(tx, strings.ToLower(principalID))
	if err != nil {
		return nil, fmt.Errorf("rbac: %w", err)
	}
	return groups, nil
}

// Principals returns a principal and the groups that it is in: all whose
// assignments are its own.
func (a *Authorizer) Principals(tx store.Tx, principalID string) ([]string, error) {
	groups, err := a.groupsOf(tx, principalID)
	return append([]string{principalID}, groups...), err
}

// grant is an assignment with the role that it gives.
type grant struct {
	assignment *arm.Resource
	role       *Definition
	condition  *abac.Condition // nil is none
}

// manyGrants is how many assignments of a principal are kept in memory together.
const manyGrants = 256

// assigned decides from the assignments of one principal on a line of scopes.
func (a *Authorizer) assigned(tx store.Tx, principalID string, what asked, lineage []arm.ID) (bool, error) {
	byScope, err := a.recallGrants(tx, principalID)
	if err != nil {
		return false, err
	}
	for i := len(lineage) - 1; i >= 0; i-- { // broad assignments are the common ones
		grants := byScope[arm.Key(lineage[i].Key())] // the tenant's is ""
		if byScope == nil {
			if grants, err = a.grantsAt(tx, principalID, lineage[i].Key()); err != nil {
				return false, err
			}
		}
		for _, g := range grants {
			if a.counts != nil && !a.counts(g.assignment) {
				continue
			}
			if !g.role.Grants(what.action, what.data) {
				continue
			}
			if ok, err := g.meets(tx, what); err != nil || ok {
				return ok, err
			}
		}
	}
	return false, nil
}

// recallGrants is all that a principal was assigned, by scope, or nil when that
// is too much to keep.
func (a *Authorizer) recallGrants(tx store.Tx, principalID string) (map[string][]grant, error) {
	principalID = strings.ToLower(principalID)
	return arm.RecallOf(tx, Memory, principalID, func() (map[string][]grant, error) {
		byScope, n := map[string][]grant{}, 0
		for r, err := range a.res.FindFrom(tx, AssignmentType, principalID+"|", false) {
			if err != nil {
				return nil, fmt.Errorf("rbac: %w", err)
			}
			if n++; n > manyGrants {
				return nil, nil
			}
			scope := arm.Key(r.Body.String("properties.scope"))
			if byScope[scope], err = a.grant(tx, byScope[scope], r); err != nil {
				return nil, err
			}
		}
		return byScope, nil
	})
}

// grantsAt is what a principal was assigned at one scope.
func (a *Authorizer) grantsAt(tx store.Tx, principalID, scope string) (out []grant, err error) {
	for r, err := range a.res.Find(tx, AssignmentType, AssignmentIndex(principalID, scope)) {
		if err != nil {
			return nil, fmt.Errorf("rbac: %w", err)
		}
		if out, err = a.grant(tx, out, r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// grant appends what an assignment gives to grants: nothing once its custom role
// was removed.
func (a *Authorizer) grant(tx store.Tx, grants []grant, r *arm.Resource) ([]grant, error) {
	d, err := a.Definition(tx, r.Body.String("properties.roleDefinitionId"))
	if errors.Is(err, store.ErrNotFound) {
		return grants, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rbac: %w", err)
	}
	g := grant{assignment: r, role: d}
	if text := r.Body.String("properties.condition"); text != "" {
		if g.condition, err = abac.Parse(text); err != nil {
			return nil, fmt.Errorf("rbac: condition of %s: %w", r.ID, err)
		}
	}
	return append(grants, g), nil
}

// meets reports whether a request meets the condition of a grant, if it has one.
func (g grant) meets(tx store.Tx, what asked) (bool, error) {
	if g.condition == nil || what.anyFacts {
		return true, nil
	}
	return g.condition.Holds(tx, what.action, what.facts)
}

// Grants reports whether the role holds an action, or a data action when data
// is set: some permission block lists it and does not except it.
func (d *Definition) Grants(action string, data bool) bool {
	for _, p := range d.Permissions {
		yes, no := p.Actions, p.NotActions
		if data {
			yes, no = p.DataActions, p.NotDataActions
		}
		if matchAny(yes, action) && !matchAny(no, action) {
			return true
		}
	}
	return false
}

func matchAny(patterns []string, action string) bool {
	for _, p := range patterns {
		if Match(p, action) {
			return true
		}
	}
	return false
}

// Match reports whether an action matches a pattern in which "*" stands for any
// run of characters, slashes included. Case does not matter.
func Match(pattern, action string) bool {
	return glob.Match(strings.ToLower(pattern), strings.ToLower(action))
}
