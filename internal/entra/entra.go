// Package entra is Azimuth's identity provider: the directory of one tenant, the
// tokens it issues and verifies, and the endpoints at which Azure's clients get
// them (login.microsoftonline.com, the managed identity endpoints of a node, and
// the little of Microsoft Graph that they need beside).
package entra

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Defaults of a home. They are fixed, so that files which name them work in
// every home.
const (
	DefaultTenantID       = "00000000-0000-0000-0000-0000000000aa"
	DefaultSubscriptionID = "00000000-0000-0000-0000-000000000001"
	// DefaultDomain is the tenant's domain: it may stand for the tenant's ID in
	// a URL, and is what user names end with.
	DefaultDomain = "azimuth.onmicrosoft.com"
)

const (
	loginHost = "login.microsoftonline.com"
	stsHost   = "sts.windows.net"
)

// Config says what a Directory stands on.
type Config struct {
	Store store.Store
	Clock clock.Clock
	// KeyDir holds the token signing keys, as files of mode 0600. They are kept
	// there and not in the store, so that a copy of the database cannot be used
	// to forge tokens; to encrypt them in the store would need a key in a file
	// all the same.
	KeyDir string
	// OwnerFile is where Bootstrap keeps the owner's credentials, mode 0600.
	OwnerFile string
	// TenantID is DefaultTenantID if empty.
	TenantID string
	// Domain is DefaultDomain if empty.
	Domain string
	// ManagementURIs are names of Azure Resource Manager beside Azure's own, for
	// which tokens may be asked, without a final slash: a client that was given
	// the address of this server asks for tokens for that address.
	ManagementURIs []string
	// NodeGrant returns the identity grant of the compute node that a request to
	// the instance metadata endpoint came from. Nil means that no caller is a
	// node.
	NodeGrant func(context.Context) (secret string, ok bool)
	// Wall is the time of day, by which tokens of other issuers are good; time.Now
	// if nil.
	Wall func() time.Time
	// HTTP reaches other issuers; a client of its own if nil.
	HTTP *http.Client
	// Logger is told of what an operator should see. Nil discards.
	Logger *slog.Logger
}

// Directory is one tenant. It is safe for concurrent use.
type Directory struct {
	cfg    Config
	log    *slog.Logger
	tables tables

	resources []resource
	keys      keyring
	verified  recent[[32]byte, *claims] // tokens whose signature is known to be right
	secrets   recent[[32]byte, string]  // client secrets known to be right, to their ID
	pepper    [32]byte                  // keeps the keys of secrets from being secrets themselves
	issuers   issuers
}

// Open returns the directory kept in cfg.Store, making a signing key if there is
// none.
func Open(cfg Config) (*Directory, error) {
	if cfg.Store == nil || cfg.Clock == nil || cfg.KeyDir == "" {
		return nil, errors.New("entra: store, clock and key directory are needed")
	}
	if cfg.TenantID == "" {
		cfg.TenantID = DefaultTenantID
	}
	if cfg.Domain == "" {
		cfg.Domain = DefaultDomain
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: fetchTimeout}
	}
	d := &Directory{cfg: cfg, log: cfg.Logger, tables: newTables(), issuers: issuers{client: cfg.HTTP}}
	rand.Read(d.pepper[:])
	var err error
	if d.resources, err = builtinResources(); err != nil {
		return nil, fmt.Errorf("entra: %w", err)
	}
	d.resources = append(d.resources, resource{Name: "Azure Resource Manager", URIs: cfg.ManagementURIs})
	if err := d.keys.load(cfg.KeyDir); err != nil {
		return nil, fmt.Errorf("entra: load the signing keys: %w", err)
	}
	return d, nil
}

// TenantID is the directory's tenant.
func (d *Directory) TenantID() string { return d.cfg.TenantID }

// Authority is the URL at which clients of the tenant sign in, without a final
// slash, as Azure's services name it in challenges.
func (d *Directory) Authority() string { return "https://" + loginHost + "/" + d.cfg.TenantID }

// isTenant reports whether a URL's tenant segment means this tenant. "common"
// and "organizations" are the caller's home tenant, and there is but one.
func (d *Directory) isTenant(name string) bool {
	switch strings.ToLower(name) {
	case d.cfg.TenantID, d.cfg.Domain, "common", "organizations":
		return true
	}
	return false
}

// newID returns a random UUID, version 4.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// recent remembers the last so many entries, cheaply: when the newer half is
// full, the older half is forgotten. The zero value is ready.
type recent[K comparable, V any] struct {
	mu         sync.Mutex
	newer, old map[K]V
}

const recentLimit = 4096 // entries per half

func (c *recent[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.newer[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	if ok {
		c.add(k, v)
	}
	return v, ok
}

func (c *recent[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(k, v)
}

func (c *recent[K, V]) add(k K, v V) {
	if c.newer == nil || len(c.newer) >= recentLimit {
		c.newer, c.old = map[K]V{}, c.newer
	}
	c.newer[k] = v
}
