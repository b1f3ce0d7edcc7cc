// Package storage is the resource provider Microsoft.Storage: storage accounts,
// their services and blob containers.
package storage

import (
	"context"
	"net/http"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.Storage"

	// AccountType is the type of storage accounts.
	AccountType = namespace + "/storageAccounts"
)

// Container is a blob container as ARM shows it.
type Container struct {
	Name string
	// PublicAccess is "None", "Blob" or "Container".
	PublicAccess string
	Metadata     map[string]string
	// ETag is quoted.
	ETag     string
	Modified time.Time
	// LeaseStatus, LeaseState and LeaseDuration are those of the data plane, in
	// lower case; the last is "" of what is not leased. PutContainer does not look
	// at them.
	LeaseStatus, LeaseState, LeaseDuration string
	// Hierarchical tells, when a container is made, that its account has a
	// hierarchical namespace.
	Hierarchical bool
}

// Containers is the blob data plane, as far as ARM reaches into it. account is
// the UID of the account's resource.
type Containers interface {
	// Container returns a container, or nil when there is none of that name.
	Container(ctx context.Context, tx store.Tx, account, name string) (*Container, error)
	// ListContainers returns up to limit containers behind the name after, in
	// the order of their names.
	ListContainers(ctx context.Context, tx store.Tx, account, after string, limit int) ([]Container, error)
	// PutContainer creates a container or changes its metadata and access.
	PutContainer(ctx context.Context, tx store.Tx, account string, c Container) error
	// DeleteContainer removes a container with its blobs. Removing none is not
	// an error.
	DeleteContainer(ctx context.Context, tx store.Tx, account, name string) error
	// DeleteAccount removes all data of an account.
	DeleteAccount(ctx context.Context, tx store.Tx, account string) error
	// Retention returns what an account keeps, which clients of the data plane
	// change as well, and SetRetention changes it.
	Retention(ctx context.Context, tx store.Tx, account string) (Retention, error)
	SetRetention(ctx context.Context, tx store.Tx, account string, r Retention) error
	// SetLifecycle has rules carried out from now on; nil has none.
	SetLifecycle(ctx context.Context, tx store.Tx, account string, rules []LifecycleRule) error
	// Reclaim tells that a transaction which removed something is durable, so
	// that its space can be freed.
	Reclaim()
}

// Retention is what an account keeps of blobs that are deleted or replaced.
type Retention struct {
	// Days is how long soft delete keeps blobs; 0 is not at all.
	Days int
	// ContainerDays is Days for containers.
	ContainerDays int
	// Versioning keeps every version of a blob.
	Versioning bool
}

// Deps is what the provider needs.
type Deps struct {
	Containers Containers
	// Queues, Tables and Shares are those data planes.
	Queues, Tables, Shares Items
	// KeepShares says for how many days an account keeps deleted shares; 0 is not
	// at all.
	KeepShares func(tx store.Tx, account string, days int) error
	// Revoke makes every user delegation key of an account void.
	Revoke func(ctx context.Context, account string) error
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
		Types: []*arm.ResourceType{
			p.account(), p.container(), p.managementPolicy(),
			p.blobService(),
			p.fileService("fileServices", "File", fileDefaults, map[string]string{
				"properties.cors.corsRules":                            "lets web pages of other origins in",
				"properties.protocolSettings.smb.versions":             "restricts SMB",
				"properties.protocolSettings.smb.multichannel.enabled": "speeds SMB up",
			}),
			p.service("queueServices", "Queue", corsDefaults, map[string]string{"properties.cors.corsRules": "lets web pages of other origins in"}),
			p.service("tableServices", "Table", corsDefaults, map[string]string{"properties.cors.corsRules": "lets web pages of other origins in"}),
			p.queue(), p.table(), p.share(),
		},
		Actions: []arm.Action{{
			Name: "checkNameAvailability", Permission: namespace + "/checknameavailability/read", Handle: p.checkName,
		}, {
			Name: "locations/{}/usages", Method: http.MethodGet, Permission: namespace + "/locations/usages/read", Handle: p.usages,
		}, {
			Name: "skus", Method: http.MethodGet, Permission: namespace + "/skus/read", Handle: p.listSKUs,
		}, {
			// Accounts that are deleted cannot be brought back here.
			Name: "deletedAccounts", Method: http.MethodGet, Permission: namespace + "/deletedAccounts/read",
			Handle: func(_ context.Context, req *arm.Request) (*arm.Response, error) {
				return req.Kernel.PageResponse(req, &arm.Page{}), nil
			},
		}},
		Bind: func(k *arm.Kernel) { p.kernel = k },
	}
}

// NameIndex is the index entry of an account by its global name.
func NameIndex(name string) string { return "name|" + name }

// Account finds an account by its global name, or returns store.ErrNotFound.
func Account(tx store.Tx, res *arm.Resources, name string) (*arm.Resource, error) {
	for r, err := range res.Find(tx, AccountType, NameIndex(name)) {
		return r, err
	}
	return nil, store.ErrNotFound
}

// Keys are the two keys of an account, in base64.
func Keys(account *arm.Resource) [2]string {
	var out [2]string
	for i, name := range keyNames() {
		out[i] = account.Private.String("keys." + name + ".value")
	}
	return out
}
