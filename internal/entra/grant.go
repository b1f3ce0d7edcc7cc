package entra

import (
	"errors"
	"fmt"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// grant lets whoever holds its secret get tokens for one managed identity: a
// compute node for as long as it runs a job, say.
type grant struct {
	ID          string `json:"id"`
	PrincipalID string `json:"principalId"`
	SecretHash  string `json:"secretHash"`
}

// GrantIdentity returns a secret with which tokens for the principal objectID
// can be had from the managed identity endpoint, until RevokeIdentity. It is
// kept as a hash and survives a restart. Granting the same grantID again
// replaces the secret. The error wraps ErrNoPrincipal if there is no such
// principal.
func (d *Directory) GrantIdentity(tx store.Tx, grantID, objectID string) (secret string, err error) {
	if grantID == "" {
		return "", errors.New("entra: a grant needs an ID")
	}
	p, err := d.principal(tx, objectID)
	if err != nil {
		return "", fmt.Errorf("grant an identity to %s: %w", grantID, err)
	}
	secret = opaque("azm_")
	if err := d.tables.grants.Put(tx, &grant{ID: grantID, PrincipalID: p.ObjectID, SecretHash: hashOpaque(secret)}); err != nil {
		return "", fmt.Errorf("grant an identity to %s: %w", grantID, err)
	}
	return secret, nil
}

// RevokeIdentity ends a grant. Ending what is not there is not an error. Tokens
// that were had with it stay good until they expire, as in Azure.
func (d *Directory) RevokeIdentity(tx store.Tx, grantID string) error {
	if err := d.tables.grants.Delete(tx, grantID); err != nil {
		return fmt.Errorf("revoke the identity of %s: %w", grantID, err)
	}
	return nil
}

// grantee returns the principal of a grant's secret, or ErrNoPrincipal.
func (d *Directory) grantee(tx store.Tx, secret string) (*principal, error) {
	g, err := first(&d.tables.grants, tx, bySecret, hashOpaque(secret))
	if err != nil {
		return nil, noPrincipal(err, "of the given secret")
	}
	return d.principal(tx, g.PrincipalID)
}
