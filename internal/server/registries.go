package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/oci"
	"github.com/azimuth-ml/azimuth/internal/rp/containerregistry"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// audienceRegistry is that of tokens for the registry service alone.
const audienceRegistry = "https://containerregistry.azure.net"

// registries finds container registries among the ARM resources.
type registries struct{ s *Server }

// Registry implements oci.Registries.
func (a registries) Registry(ctx context.Context, name string) (*oci.Registry, error) {
	var out *oci.Registry
	err := a.s.store.View(ctx, func(tx store.Tx) error {
		r, err := containerregistry.Registry(tx, a.s.kernel.Resources(), name)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("container registry %s: %w", name, oci.ErrNoRegistry)
		}
		if err != nil {
			return err
		}
		out = &oci.Registry{Name: r.Name(), ID: r.ID, UID: r.UID,
			AnonymousPull:    r.Body.Bool("properties.anonymousPullEnabled", false),
			ManagementTokens: !strings.EqualFold(r.Body.String("properties.policies.azureADAuthenticationAsArmPolicy.status"), "disabled"),
		}
		if user, passwords, ok := containerregistry.Admin(r); ok {
			out.Admin = user
			for _, p := range passwords {
				out.Passwords = append(out.Passwords, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	v, err := a.s.judge(ctx, containerregistry.RegistryType, name, name+oci.Suffix)
	if err == nil && v != nil && !v.Allowed {
		out.Refused, out.Client = true, addressText(v.Client)
	}
	return out, err
}

// registryAccess decides about callers of registries.
type registryAccess struct{ s *Server }

// Principal implements oci.Access.
func (a registryAccess) Principal(ctx context.Context, token string, management bool) (string, error) {
	audiences := []string{audienceRegistry}
	if management {
		audiences = append(append(audiences, audienceManagement, audienceManagement2), a.s.ownAudiences()...)
	}
	p, err := a.s.dir.Authenticate(ctx, &http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}}, audiences...)
	return registryPrincipal(p, err)
}

// Client implements oci.Access.
func (a registryAccess) Client(ctx context.Context, id, secret string) (string, error) {
	return registryPrincipal(a.s.dir.AuthenticateClient(ctx, id, secret))
}

func registryPrincipal(p *entra.Principal, err error) (string, error) {
	if auth := (*entra.AuthError)(nil); errors.As(err, &auth) {
		return "", fmt.Errorf("%w: %w", oci.ErrBadCredential, auth)
	}
	if err != nil {
		return "", err
	}
	return p.ObjectID, nil
}

// Allowed implements oci.Access. Tokens of the registry outlive a principal that is
// deleted; its assignments do too.
func (a registryAccess) Allowed(ctx context.Context, principalID, action, scope string) (ok bool, err error) {
	err = a.s.store.View(ctx, func(tx store.Tx) error {
		_, err := a.s.dir.Lookup(tx, principalID)
		if errors.Is(err, entra.ErrNoPrincipal) {
			return nil
		}
		if err != nil {
			return err
		}
		ok, err = a.s.roles.AllowedInTx(tx, principalID, action, false, scope)
		return err
	})
	return ok, err
}
