package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/rp/managedidentity"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/vault"
)

// The adapters in this file let packages that do not know each other meet at
// the interfaces that each defines for itself.

// Audiences of the tokens that the services take.
const (
	audienceManagement  = "https://management.azure.com"
	audienceManagement2 = "https://management.core.windows.net"
	audienceStorage     = "https://storage.azure.com"
	audienceML          = "https://ml.azure.com"
	audienceVault       = "https://vault.azure.net"
)

// AuthenticateARM implements arm.Authenticator.
func (s *Server) AuthenticateARM(ctx context.Context, r *http.Request) (arm.Caller, error) {
	return s.caller(ctx, r, append(s.ownAudiences(), audienceManagement, audienceManagement2)...)
}

// ownAudiences are the audiences that clients with a metadata_host ask tokens
// for: this server's own address, under the names it has on this machine.
func (s *Server) ownAudiences() []string {
	address := s.listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	out := []string{"https://" + address, "https://localhost:" + port}
	if loopback := "https://127.0.0.1:" + port; loopback != out[0] {
		out = append(out, loopback)
	}
	return out
}

// AuthenticateML implements ml.Authenticator. The Azure ML clients ask for
// tokens of Resource Manager or of Azure ML, depending on their version.
func (s *Server) AuthenticateML(ctx context.Context, r *http.Request) (arm.Caller, error) {
	return s.caller(ctx, r, audienceML, audienceManagement, audienceManagement2)
}

func (s *Server) caller(ctx context.Context, r *http.Request, audiences ...string) (arm.Caller, error) {
	p, err := s.dir.Authenticate(ctx, r, audiences...)
	if auth := (*entra.AuthError)(nil); errors.As(err, &auth) {
		return arm.Caller{}, arm.Errorf(http.StatusUnauthorized, auth.Code, "%s", auth.Message)
	}
	if err != nil {
		return arm.Caller{}, err
	}
	c := arm.Caller{ObjectID: p.ObjectID, AppID: p.AppID, TenantID: p.TenantID, Type: p.Type, Name: p.AppID}
	if p.UPN != "" {
		c.Name = p.UPN
	}
	return c, nil
}

// accounts finds storage accounts among the ARM resources.
type accounts struct{ s *Server }

// Account implements blob.Accounts.
func (a accounts) Account(ctx context.Context, name string) (*blob.Account, error) {
	var out *blob.Account
	err := a.s.store.View(ctx, func(tx store.Tx) (err error) {
		out, err = arm.Recall(tx, a.s.kernel.Resources(), "storage account "+name, func() (*blob.Account, error) {
			r, err := storage.Account(tx, a.s.kernel.Resources(), name)
			if errors.Is(err, store.ErrNotFound) {
				return nil, fmt.Errorf("storage account %s: %w", name, blob.ErrNoAccount)
			}
			if err != nil {
				return nil, err
			}
			return blobAccount(r)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	v, err := a.s.judge(ctx, storage.AccountType, name, name+".blob.core.windows.net")
	if err == nil && v != nil && !v.Allowed {
		refused := *out // it is shared
		refused.PublicNetwork, out = false, &refused
	}
	return out, err
}

func blobAccount(r *arm.Resource) (*blob.Account, error) {
	b := r.Body
	out := &blob.Account{
		Name: r.Name(), ID: r.ID, UID: r.UID, Kind: b.String("kind"), SKU: b.String("sku.name"), CreatedAt: r.Created,
		AllowSharedKey:    b.Bool("properties.allowSharedKeyAccess", true),
		AllowPublicAccess: b.Bool("properties.allowBlobPublicAccess", false),
		HTTPSOnly:         b.Bool("properties.supportsHttpsTrafficOnly", true),
		HNS:               b.Bool("properties.isHnsEnabled", false),
		PublicNetwork:     true,
	}
	for i, value := range storage.Keys(r) {
		key, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return nil, fmt.Errorf("key of storage account %s: %w", r.ID, err)
		}
		out.Keys[i] = key
	}
	return out, nil
}

// blobAccess decides about bearer tokens of the storage services.
type blobAccess struct{ s *Server }

// Authorize implements blob.Access.
func (a blobAccess) Authorize(ctx context.Context, r *http.Request) (string, error) {
	account, _, _ := strings.Cut(r.Host, ".")
	rest := strings.TrimPrefix(r.Host, account)
	p, err := a.s.dir.Authenticate(ctx, r, audienceStorage, "https://"+account+rest)
	if auth := (*entra.AuthError)(nil); errors.As(err, &auth) {
		return "", fmt.Errorf("%w: %w", blob.ErrBadToken, auth)
	}
	if err != nil {
		return "", err
	}
	return p.ObjectID, nil
}

// UserPrincipalName tells the blob service the name of an object ID, "" for one
// that has none.
func (a blobAccess) UserPrincipalName(ctx context.Context, objectID string) (upn string, err error) {
	err = a.s.store.View(ctx, func(tx store.Tx) error {
		p, err := a.s.dir.Lookup(tx, objectID)
		if errors.Is(err, entra.ErrNoPrincipal) {
			return nil
		}
		if err != nil {
			return err
		}
		upn = p.UPN
		return nil
	})
	return upn, err
}

// Groups tells the blob service whom the ACL entries of groups are about.
func (a blobAccess) Groups(ctx context.Context, principalID string) ([]string, error) {
	return a.s.groups(ctx, principalID)
}

// Allowed implements blob.Access.
func (a blobAccess) Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error) {
	return a.s.roles.Allowed(withPlace(ctx), principalID, action, data, scope)
}

// lateRoles is the authorizer, which is made with the kernel, for services that
// are made before it.
type lateRoles struct{ s *Server }

// Allowed implements ml.Authorizer.
func (l lateRoles) Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error) {
	return l.s.roles.Allowed(ctx, principalID, action, data, scope)
}

// identities makes managed identities for the kernel.
type identities struct{ dir *entra.Directory }

// CreateIdentity implements arm.Identities.
func (i identities) CreateIdentity(tx store.Tx, resourceID, name string) (arm.Identity, error) {
	id, err := i.dir.CreateManagedIdentity(tx, resourceID, name)
	return arm.Identity{PrincipalID: id.PrincipalID, ClientID: id.ClientID, TenantID: id.TenantID}, err
}

// DeleteIdentity implements arm.Identities.
func (i identities) DeleteIdentity(tx store.Tx, resourceID string) error {
	return i.dir.DeleteManagedIdentity(tx, resourceID)
}

// PutFederated implements managedidentity.Directory.
func (i identities) PutFederated(tx store.Tx, f managedidentity.Federated) error {
	err := i.dir.PutFederatedCredential(tx, entra.FederatedCredential{
		AppID: f.ClientID, Name: f.Name, Issuer: f.Issuer, Subject: f.Subject, Audiences: f.Audiences,
	})
	if errors.Is(err, entra.ErrFederated) {
		return arm.BadRequest("BadRequest", "%s", err)
	}
	return err
}

// DeleteFederated implements managedidentity.Directory.
func (i identities) DeleteFederated(tx store.Tx, clientID, name string) error {
	return i.dir.DeleteFederatedCredential(tx, clientID, name)
}

// principals tells role assignments who there is.
type principals struct{ dir *entra.Directory }

// Lookup implements authorization.Directory.
func (p principals) Lookup(tx store.Tx, objectID string) (string, bool, error) {
	found, err := p.dir.Lookup(tx, objectID)
	if errors.Is(err, entra.ErrNoPrincipal) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return found.Type, true, nil
}

// jobIdentities lets jobs get tokens of their cluster's identity.
type jobIdentities struct{ s *Server }

// Grant implements ml.Identities.
func (j jobIdentities) Grant(tx store.Tx, grantID, principalID string) ([]string, error) {
	p, err := j.s.dir.Lookup(tx, principalID)
	if err != nil {
		return nil, err
	}
	secret, err := j.s.dir.GrantIdentity(tx, grantID, principalID)
	if err != nil {
		return nil, err
	}
	endpoint := "http://" + j.s.listener.Addr().String() + entra.MSIPath
	return []string{
		"MSI_ENDPOINT=" + endpoint, "MSI_SECRET=" + secret,
		"IDENTITY_ENDPOINT=" + endpoint, "IDENTITY_HEADER=" + secret,
		"DEFAULT_IDENTITY_CLIENT_ID=" + p.AppID,
	}, nil
}

// SignIn implements ml.Identities.
func (j jobIdentities) SignIn(ctx context.Context, tenant, clientID, secret string) (string, error) {
	if tenant != "" && !strings.EqualFold(tenant, j.s.dir.TenantID()) {
		return "", arm.BadRequest("AADSTS90002", "Tenant '%s' not found. The tenant of this cloud is %s.", tenant, j.s.dir.TenantID())
	}
	p, err := j.s.dir.AuthenticateClient(ctx, clientID, secret)
	if auth := (*entra.AuthError)(nil); errors.As(err, &auth) {
		return "", arm.Errorf(http.StatusUnauthorized, auth.Code, "%s", auth.Message)
	}
	if err != nil {
		return "", err
	}
	return p.ObjectID, nil
}

// Revoke implements ml.Identities.
func (j jobIdentities) Revoke(tx store.Tx, grantID string) error {
	return j.s.dir.RevokeIdentity(tx, grantID)
}

// containers lets ARM and the blob data plane see the same containers.
type containers struct{ s *Server }

// Container implements storage.Containers.
func (c containers) Container(_ context.Context, tx store.Tx, account, name string) (*storage.Container, error) {
	info, err := c.s.blobs.ContainerIn(tx, account, name)
	if blob.HasCode(err, "ContainerNotFound") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := armContainer(info)
	return &out, nil
}

func armContainer(i blob.ContainerInfo) storage.Container {
	access := map[string]string{"": "None", "blob": "Blob", "container": "Container"}[i.PublicAccess]
	return storage.Container{Name: i.Name, PublicAccess: access, Metadata: i.Metadata, ETag: i.ETag, Modified: i.Modified,
		LeaseStatus: i.LeaseStatus, LeaseState: i.LeaseState, LeaseDuration: i.LeaseDuration}
}

// ListContainers implements storage.Containers.
func (c containers) ListContainers(_ context.Context, tx store.Tx, account, after string, limit int) ([]storage.Container, error) {
	infos, err := c.s.blobs.ContainersIn(tx, account, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]storage.Container, len(infos))
	for i, info := range infos {
		out[i] = armContainer(info)
	}
	return out, nil
}

// PutContainer implements storage.Containers.
func (c containers) PutContainer(_ context.Context, tx store.Tx, account string, in storage.Container) error {
	access := strings.ToLower(in.PublicAccess)
	if access == "none" {
		access = ""
	}
	return c.s.blobs.PutContainerIn(tx, account, blob.ContainerInfo{Name: in.Name, PublicAccess: access, Metadata: in.Metadata,
		Hierarchical: in.Hierarchical})
}

// DeleteContainer implements storage.Containers.
func (c containers) DeleteContainer(_ context.Context, tx store.Tx, account, name string) error {
	return c.s.blobs.DeleteContainerIn(tx, account, name)
}

// DeleteAccount implements storage.Containers.
func (c containers) DeleteAccount(_ context.Context, tx store.Tx, account string) error {
	return c.s.blobs.DeleteAccountIn(tx, account)
}

// Retention implements storage.Containers.
func (c containers) Retention(_ context.Context, tx store.Tx, account string) (storage.Retention, error) {
	p, err := c.s.blobs.RetentionIn(tx, account)
	return storage.Retention(p), err
}

// SetRetention implements storage.Containers.
func (c containers) SetRetention(_ context.Context, tx store.Tx, account string, r storage.Retention) error {
	return c.s.blobs.SetRetentionIn(tx, account, blob.RetentionPolicy(r))
}

// SetLifecycle implements storage.Containers.
func (c containers) SetLifecycle(_ context.Context, tx store.Tx, account string, rules []storage.LifecycleRule) error {
	p := &blob.LifecyclePolicy{}
	actions := func(a storage.LifecycleActions) blob.LifecycleActions {
		return blob.LifecycleActions{Delete: (*blob.LifecycleAge)(a.Delete), Cold: (*blob.LifecycleAge)(a.TierToCold), Cool: (*blob.LifecycleAge)(a.TierToCool)}
	}
	for _, r := range rules {
		rule := blob.LifecycleRule{Prefixes: r.Prefixes, Tags: r.Tags, Base: actions(r.Base), Snapshot: actions(r.Snapshot), Version: actions(r.Version)}
		for _, t := range r.BlobTypes {
			rule.Types = append(rule.Types, map[string]blob.Type{"blockBlob": blob.BlockBlob, "appendBlob": blob.AppendBlob}[t])
		}
		p.Rules = append(p.Rules, rule)
	}
	return c.s.blobs.SetLifecycleIn(tx, account, p)
}

// Reclaim implements storage.Containers.
func (c containers) Reclaim() { c.s.blobs.Reclaim() }

func lower(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(s)
	}
	return out
}

// vaultAccess decides about callers of vaults.
type vaultAccess struct{ s *Server }

// Authorize implements vault.Access.
func (a vaultAccess) Authorize(ctx context.Context, r *http.Request) (vault.Principal, error) {
	p, err := a.s.dir.Authenticate(ctx, r, audienceVault)
	if auth := (*entra.AuthError)(nil); errors.As(err, &auth) {
		return vault.Principal{}, fmt.Errorf("%w: %s", vault.ErrBadToken, auth.Message)
	}
	if err != nil {
		return vault.Principal{}, err
	}
	groups, err := a.s.groups(ctx, p.ObjectID)
	return vault.Principal{ObjectID: p.ObjectID, AppID: p.AppID, TenantID: p.TenantID, Groups: groups}, err
}

// groups is the groups that a principal is in.
func (s *Server) groups(ctx context.Context, objectID string) (ids []string, err error) {
	err = s.store.View(ctx, func(tx store.Tx) error {
		ids, err = s.dir.Groups(tx, objectID)
		return err
	})
	return ids, err
}

// Allowed implements vault.Access.
func (a vaultAccess) Allowed(ctx context.Context, principalID, action, scope string) (bool, error) {
	return a.s.roles.Allowed(ctx, principalID, action, true, scope)
}
