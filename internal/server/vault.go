package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/reach"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/vault"
)

// vaults finds vaults among the ARM resources.
type vaults struct{ s *Server }

// Vault implements vault.Vaults.
func (v vaults) Vault(ctx context.Context, name string) (*vault.Vault, error) {
	var out *vault.Vault
	err := v.s.store.View(ctx, func(tx store.Tx) error {
		r, err := keyvault.Vault(tx, v.s.kernel.Resources(), name)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("vault %s: %w", name, vault.ErrNoVault)
		}
		if err != nil {
			return err
		}
		out, err = vaultOf(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	verdict, err := v.s.judge(ctx, keyvault.VaultType, name, name+".vault.azure.net")
	if err != nil || verdict == nil || verdict.Allowed {
		return out, err
	}
	if out.Door, out.Client = vault.DoorFirewall, addressText(verdict.Client); verdict.Reason == reach.PublicDisabled {
		out.Door = vault.DoorClosed
	}
	return out, nil
}

// vaultOf is a vault's resource as its data plane sees it.
func vaultOf(r *arm.Resource) (*vault.Vault, error) {
	out := &vault.Vault{Name: r.Name(), ID: r.ID, UID: r.UID, Location: r.Body.String("location"),
		RBAC:          r.Body.Bool("properties.enableRbacAuthorization", false),
		RetentionDays: r.Body.Int("properties.softDeleteRetentionInDays", 0), PurgeProtection: r.Body.Bool("properties.enablePurgeProtection", false),
		Premium: strings.EqualFold(r.Body.String("properties.sku.name"), "premium"),
	}
	var policies []struct {
		ObjectID    string `json:"objectId"`
		Permissions struct {
			Secrets      []string `json:"secrets"`
			Keys         []string `json:"keys"`
			Certificates []string `json:"certificates"`
		} `json:"permissions"`
	}
	if err := r.Body.Decode("properties.accessPolicies", &policies); err != nil {
		return nil, err
	}
	for _, p := range policies {
		out.Policies = append(out.Policies, vault.Policy{
			ObjectID: p.ObjectID, Secrets: lower(p.Permissions.Secrets), Keys: lower(p.Permissions.Keys),
			Certificates: lower(p.Permissions.Certificates),
		})
	}
	return out, nil
}

// purgeOver removes deleted workspaces, deleted vaults, and what was deleted in vaults,
// whose retention is over.
func (s *Server) purgeOver(ctx context.Context) error {
	if err := machinelearning.PurgeOver(ctx, s.kernel, s.jobs, s.clock.Now()); err != nil {
		return err
	}
	if err := keyvault.PurgeOver(ctx, s.store, s.vaults, s.clock.Now()); err != nil {
		return err
	}
	return s.vaults.PurgeOver(ctx)
}

// vaultSecrets lets templates write secrets.
type vaultSecrets struct{ s *Server }

// Secret implements keyvault.Secrets.
func (v vaultSecrets) Secret(tx store.Tx, r *arm.Resource, name string) (*keyvault.Secret, error) {
	at, err := vaultOf(r)
	if err != nil {
		return nil, err
	}
	info, ok, err := v.s.vaults.SecretIn(tx, at, name)
	if err != nil || !ok {
		return nil, err
	}
	out := armSecret(info)
	return &out, nil
}

func armSecret(i vault.SecretInfo) keyvault.Secret {
	return keyvault.Secret{Name: i.Name, Version: i.Version, ContentType: i.ContentType, Disabled: i.Disabled,
		NotBefore: i.NotBefore, Expires: i.Expires, Created: i.Created, Updated: i.Updated, Tags: i.Tags}
}

// PutSecret implements keyvault.Secrets.
func (v vaultSecrets) PutSecret(tx store.Tx, r *arm.Resource, s keyvault.Secret) error {
	at, err := vaultOf(r)
	if err != nil {
		return err
	}
	err = v.s.vaults.PutSecretIn(tx, at, vault.SecretInfo{
		Name: s.Name, ContentType: s.ContentType, Disabled: s.Disabled, NotBefore: s.NotBefore, Expires: s.Expires, Tags: s.Tags,
	}, s.Value)
	if status, code, message, ok := vault.Refusal(err); ok {
		return arm.Errorf(status, code, "%s", message)
	}
	return err
}

// Secrets implements keyvault.Secrets.
func (v vaultSecrets) Secrets(tx store.Tx, r *arm.Resource, after string, limit int) ([]keyvault.Secret, error) {
	at, err := vaultOf(r)
	if err != nil {
		return nil, err
	}
	infos, err := v.s.vaults.SecretsIn(tx, at, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]keyvault.Secret, len(infos))
	for i, info := range infos {
		out[i] = armSecret(info)
	}
	return out, nil
}
