// Package managedidentity is the resource provider Microsoft.ManagedIdentity:
// user-assigned identities and their federated credentials.
package managedidentity

import (
	"context"
	"regexp"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.ManagedIdentity"

	// IdentityType is the type of user-assigned identities.
	IdentityType = namespace + "/userAssignedIdentities"
)

// Directory makes and removes the principals of identities, and what they can be
// signed in with.
type Directory interface {
	arm.Identities
	// PutFederated creates or replaces a credential; its error is an *arm.Error
	// if the credential cannot be as it is.
	PutFederated(tx store.Tx, f Federated) error
	// DeleteFederated removes one. Removing none is not an error.
	DeleteFederated(tx store.Tx, clientID, name string) error
}

// Provider returns the descriptors of the namespace.
func Provider(dir Directory) *arm.Provider {
	s := &system{dir: dir}
	return &arm.Provider{Namespace: namespace, Bind: func(k *arm.Kernel) { s.kernel = k }, Types: []*arm.ResourceType{federated(dir), s.identity(), {
		Type:                IdentityType,
		Tracked:             true,
		NoProvisioningState: true,
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$`),
			Text:    "An identity has 3 to 128 letters, digits, - and _, and begins with a letter or digit.",
		},
		Put: func(_ context.Context, p *arm.Put) error {
			if p.Existing != nil {
				p.Force("properties") // it stays who it is
				return nil
			}
			id, err := dir.CreateIdentity(p.Tx, p.Resource.ID, p.ID.Name())
			if err != nil {
				return err
			}
			p.Resource.Body["properties"] = map[string]any{
				"principalId": id.PrincipalID, "clientId": id.ClientID, "tenantId": id.TenantID,
			}
			return nil
		},
		Delete: func(_ context.Context, d *arm.Delete) error { return dir.DeleteIdentity(d.Tx, d.Resource.ID) },
	}}}
}
