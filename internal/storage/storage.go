// Package storage is what the services of a storage account have in common:
// accounts, who may make a request (account keys, shared access signatures and
// bearer tokens), the forms of errors and documents, stored access policies and
// the properties of services.
package storage

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// ErrNoAccount is wrapped by Accounts.Account when no storage account has the
// name.
var ErrNoAccount = errors.New("storage: no such storage account")

// ErrBadToken is wrapped by Access.Authorize when the request's bearer token
// does not authenticate anyone. The error's text is told to the client, so it
// must not contain the token.
var ErrBadToken = errors.New("the bearer token was not accepted")

// Account is a storage account as far as its data planes need to know it.
type Account struct {
	// Name is the global name, which is also the first label of its hosts.
	Name string
	// ID is the ARM resource ID, the root of the account's RBAC scopes.
	ID string
	// UID names this instance of the account: an account that is deleted and
	// created again under the same name has another UID and none of the data.
	UID string
	// Kind is ARM's kind, for example StorageV2.
	Kind string
	// SKU is ARM's sku name, for example Standard_LRS.
	SKU string
	// Keys are the two account keys, decoded.
	Keys [2][]byte
	// AllowSharedKey is properties.allowSharedKeyAccess; false refuses account
	// keys and every SAS that is signed with one.
	AllowSharedKey bool
	// AllowPublicAccess is properties.allowBlobPublicAccess.
	AllowPublicAccess bool
	// HTTPSOnly is properties.supportsHttpsTrafficOnly.
	HTTPSOnly bool
	// HNS is properties.isHnsEnabled.
	HNS bool
	// PublicNetwork tells whether the caller's network may reach the account.
	// When it is false every request is refused.
	PublicNetwork bool
	// CreatedAt is when the account was created.
	CreatedAt time.Time
}

// Accounts looks storage accounts up.
type Accounts interface {
	// Account returns the account with the global name, or an error that wraps
	// ErrNoAccount.
	Account(ctx context.Context, name string) (*Account, error)
}

// Access decides about bearer tokens.
type Access interface {
	// Authorize verifies the bearer token of r for the storage audience and
	// returns the object ID of its principal. A token that is not good is an
	// error that wraps ErrBadToken.
	Authorize(ctx context.Context, r *http.Request) (principalID string, err error)
	// Allowed reports whether the principal may do the action, or the data
	// action when data is true, at the scope, an ARM ID.
	Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error)
}
