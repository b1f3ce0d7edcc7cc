// Package authorization is the resource provider Microsoft.Authorization: role
// definitions, role assignments, what they permit, and management locks. Decisions
// on roles are made by package rbac from what is stored here.
package authorization

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const namespace = "Microsoft.Authorization"

// Directory knows the principals of the tenant.
type Directory interface {
	// Lookup says whether a principal exists and of which type it is: "User",
	// "Group" or "ServicePrincipal".
	Lookup(tx store.Tx, objectID string) (typ string, ok bool, err error)
}

// Roles knows role definitions. *rbac.Authorizer implements it.
type Roles interface {
	// BuiltIn is the built-in role definitions.
	BuiltIn() []*rbac.Definition
	// Definition finds a definition by its GUID or an ID that ends in it; the
	// error is store.ErrNotFound when there is none.
	Definition(tx store.Tx, id string) (*rbac.Definition, error)
	// Principals is a principal and the groups that it is in.
	Principals(tx store.Tx, principalID string) ([]string, error)
}

// Deps is what the provider needs. Roles is a function because decisions are
// made over the kernel's resources, which do not exist before the providers.
type Deps struct {
	Directory Directory
	Roles     func() Roles
}

type provider struct {
	Deps
	kernel *arm.Kernel
}

// Provider returns the descriptors of the namespace.
func Provider(deps Deps) *arm.Provider {
	p := &provider{Deps: deps}
	return &arm.Provider{
		Namespace: namespace,
		Types:     []*arm.ResourceType{p.roleDefinition(), p.roleAssignment(), p.denyAssignment(), p.lock()},
		Actions:   p.listings(),
		Bind:      func(k *arm.Kernel) { p.kernel = k },
		Guard:     p.guardLocked,
	}
}

// roleID is the ID of a role definition as Azure shows it at a scope: below a
// subscription the subscription is part of it, for built-in roles too.
func roleID(scope arm.ID, guid string) string {
	guid = strings.ToLower(guid)
	return arm.ID{Subscription: scope.Subscription}.Child(rbac.DefinitionType, guid).String()
}

func guidOf(id string) string { return strings.ToLower(id[strings.LastIndexByte(id, '/')+1:]) }
