// Package keyvault is the resource provider Microsoft.KeyVault: vaults and the
// vaults that were deleted but can be recovered. Their contents are in package
// vault.
package keyvault

import (
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.KeyVault"

	// VaultType is the type of vaults.
	VaultType = namespace + "/vaults"
)

// Contents is the vaults' data plane, as far as this provider needs it.
type Contents interface {
	// DeleteVault removes everything in a vault that is gone for good. uid is
	// the UID of the vault's resource.
	DeleteVault(tx store.Tx, uid string) error
}

// Deps is what the provider needs.
type Deps struct {
	Contents Contents
	// Secrets may be nil: then templates write none.
	Secrets Secrets
	// HoldNames keeps the name of a deleted vault from being used again until
	// it is purged or its retention is over, as Azure does. Otherwise a new
	// vault of the name takes the place of the deleted one.
	HoldNames bool
}

type provider struct {
	Deps
	kernel  *arm.Kernel
	deleted store.Collection[deletedVault]
}

// Provider returns the descriptors of the namespace.
func Provider(deps Deps) *arm.Provider {
	p := &provider{Deps: deps, deleted: deletedVaults()}
	const deletedRead = namespace + "/deletedVaults/read"
	types := []*arm.ResourceType{p.vault()}
	if deps.Secrets != nil {
		types = append(types, p.secret())
	}
	return &arm.Provider{
		Namespace: namespace,
		Types:     types,
		Actions: []arm.Action{
			{Name: "checkNameAvailability", Permission: namespace + "/checkNameAvailability/read", Handle: p.checkName},
			{Name: "deletedVaults", Method: http.MethodGet, Permission: deletedRead, Handle: p.listDeleted},
			// There are no managed HSMs, so none was deleted; az keyvault list-deleted asks.
			{Name: "deletedManagedHSMs", Method: http.MethodGet, Permission: namespace + "/deletedManagedHsms/read", Handle: p.listDeletedHSMs},
			{Name: "locations/{}/deletedVaults/{}", Method: http.MethodGet, Permission: namespace + "/locations/deletedVaults/read", Handle: p.getDeleted},
			{Name: "locations/{}/deletedVaults/{}/purge", Permission: namespace + "/locations/deletedVaults/purge/action", Handle: p.purge},
		},
		Bind: func(k *arm.Kernel) { p.kernel = k },
	}
}

// Vault finds a vault by its global name, or returns store.ErrNotFound.
func Vault(tx store.Tx, res *arm.Resources, name string) (*arm.Resource, error) {
	for r, err := range res.Find(tx, VaultType, nameIndex(name)) {
		return r, err
	}
	return nil, store.ErrNotFound
}

func nameIndex(name string) string { return "name|" + name }
