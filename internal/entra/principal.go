package entra

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Types of principal, as role assignments name them.
const (
	TypeUser             = "User"
	TypeGroup            = "Group"
	TypeServicePrincipal = "ServicePrincipal"
)

// ErrNoPrincipal is wrapped when no principal has the ID that was asked for.
var ErrNoPrincipal = errors.New("entra: no such principal")

// Principal is who a token speaks for. Managed identities are service
// principals.
type Principal struct {
	ObjectID    string
	AppID       string // client ID; empty for users and groups
	TenantID    string
	Type        string
	DisplayName string
	UPN         string // users only
}

// ManagedIdentity is the identity of an Azure resource, in the words that ARM
// uses for it.
type ManagedIdentity struct {
	PrincipalID string // object ID
	ClientID    string
	TenantID    string
}

// Kinds of service principal, as Microsoft Graph names them.
const (
	kindApplication     = "Application"
	kindManagedIdentity = "ManagedIdentity"
)

// GraphReadDirectory is the Microsoft Graph application role that lets a service
// principal read the directory.
const GraphReadDirectory = "Directory.Read.All"

// principal is how a principal is stored.
type principal struct {
	ObjectID    string    `json:"id"`
	Type        string    `json:"type"`
	Kind        string    `json:"kind,omitempty"` // service principals
	AppID       string    `json:"appId,omitempty"`
	DisplayName string    `json:"displayName,omitempty"`
	UPN         string    `json:"upn,omitempty"`
	ResourceID  string    `json:"resourceId,omitempty"` // managed identities, as the resource was created
	GraphRoles  []string  `json:"graphRoles,omitempty"`
	Created     time.Time `json:"created"`
	// Disabled principals get no tokens.
	Disabled     bool          `json:"disabled,omitempty"`
	MailNickname string        `json:"mailNickname,omitempty"` // users and groups
	Description  string        `json:"description,omitempty"`
	Password     *clientSecret `json:"password,omitempty"` // users
}

// application is an app registration: what has secrets.
type application struct {
	AppID       string         `json:"appId"`
	ObjectID    string         `json:"id"`
	DisplayName string         `json:"displayName"`
	Secrets     []clientSecret `json:"secrets,omitempty"`
	// TokenVersion is 2 for an application that asks for version 2 tokens when
	// it is the audience.
	TokenVersion   int       `json:"tokenVersion,omitempty"`
	IdentifierURIs []string  `json:"identifierUris,omitempty"`
	Created        time.Time `json:"created"`
}

// Names of the indexes.
const (
	byAppID     = "appid"
	byResource  = "resource"
	byUPN       = "upn"
	bySecret    = "secret"
	byPrincipal = "principal"
	byExpiry    = "expiry"
	byName      = "name" // principals: type and display name
	byObjectID  = "id"
	byMember    = "member"
	byGroup     = "group"
)

type tables struct {
	principals   store.Collection[principal]
	applications store.Collection[application]
	grants       store.Collection[grant]
	refresh      store.Collection[refreshToken]
	members      store.Collection[membership]
	federated    store.Collection[FederatedCredential]
}

func newTables() tables {
	optional := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{strings.ToLower(s)}
	}
	return tables{
		principals: store.Collection[principal]{
			Name: "entra/principal",
			Key:  func(p *principal) string { return p.ObjectID },
			Indexes: map[string]func(*principal) []string{
				byAppID:    func(p *principal) []string { return optional(p.AppID) },
				byResource: func(p *principal) []string { return optional(p.ResourceID) },
				byUPN:      func(p *principal) []string { return optional(p.UPN) },
				byName:     func(p *principal) []string { return []string{nameEntry(p.Type, p.DisplayName)} },
			},
		},
		applications: store.Collection[application]{
			Name: "entra/application",
			Key:  func(a *application) string { return a.AppID },
			Indexes: map[string]func(*application) []string{
				byAppID:    func(a *application) []string { return []string{a.AppID} },
				byObjectID: func(a *application) []string { return []string{a.ObjectID} },
				byName:     func(a *application) []string { return []string{nameEntry("", a.DisplayName)} },
			},
		},
		grants: store.Collection[grant]{
			Name: "entra/grant",
			Key:  func(g *grant) string { return g.ID },
			Indexes: map[string]func(*grant) []string{
				bySecret:    func(g *grant) []string { return []string{g.SecretHash} },
				byPrincipal: func(g *grant) []string { return []string{g.PrincipalID} },
			},
		},
		refresh: store.Collection[refreshToken]{
			Name: "entra/refresh",
			Key:  func(r *refreshToken) string { return r.Hash },
			Indexes: map[string]func(*refreshToken) []string{
				byPrincipal: func(r *refreshToken) []string { return []string{r.PrincipalID} },
				byExpiry:    func(r *refreshToken) []string { return []string{r.Expires.UTC().Format(sortableTime)} },
			},
		},
		federated: store.Collection[FederatedCredential]{
			Name: "entra/federated",
			Key:  func(f *FederatedCredential) string { return f.AppID + "|" + strings.ToLower(f.Name) },
		},
		members: store.Collection[membership]{
			Name: "entra/member",
			Key:  func(m *membership) string { return m.Group + "|" + m.Member },
			Indexes: map[string]func(*membership) []string{
				byMember: func(m *membership) []string { return []string{m.Member} },
				byGroup:  func(m *membership) []string { return []string{m.Group} },
			},
		},
	}
}

// nameEntry sorts objects of a type by their names.
func nameEntry(typ, name string) string { return typ + "|" + strings.ToLower(name) }

// sortableTime sorts as text in the order of time.
const sortableTime = "2006-01-02T15:04:05.000Z"

func (d *Directory) public(p *principal) *Principal {
	return &Principal{
		ObjectID:    p.ObjectID,
		AppID:       p.AppID,
		TenantID:    d.cfg.TenantID,
		Type:        p.Type,
		DisplayName: p.DisplayName,
		UPN:         p.UPN,
	}
}

// first returns the only value of a lookup by index, or store.ErrNotFound.
func first[T any](c *store.Collection[T], tx store.Tx, index, entry string) (*T, error) {
	for v, err := range c.By(tx, index, store.Range{Prefix: store.Exact(strings.ToLower(entry)), Limit: 1}) {
		return v, err
	}
	return nil, store.ErrNotFound
}

func (d *Directory) principal(tx store.Tx, objectID string) (*principal, error) {
	p, err := d.tables.principals.Get(tx, strings.ToLower(objectID))
	return p, noPrincipal(err, objectID)
}

func noPrincipal(err error, id string) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %s", ErrNoPrincipal, id)
	}
	return err
}

// Lookup returns the principal with an object ID, or an error that wraps
// ErrNoPrincipal.
func (d *Directory) Lookup(tx store.Tx, objectID string) (*Principal, error) {
	p, err := d.principal(tx, objectID)
	if err != nil {
		return nil, err
	}
	return d.public(p), nil
}

// LookupApp returns the service principal with a client ID, or an error that
// wraps ErrNoPrincipal.
func (d *Directory) LookupApp(tx store.Tx, appID string) (*Principal, error) {
	p, err := first(&d.tables.principals, tx, byAppID, appID)
	if err != nil {
		return nil, noPrincipal(err, appID)
	}
	return d.public(p), nil
}

// CreateUser adds a user. The name before the @ is the user's own; the domain is
// the tenant's unless upn has one. A user of that name that is already there is
// returned as it is.
func (d *Directory) CreateUser(tx store.Tx, upn, displayName string) (*Principal, error) {
	if upn == "" {
		return nil, errors.New("entra: a user needs a name")
	}
	if !strings.Contains(upn, "@") {
		upn += "@" + d.cfg.Domain
	}
	p, err := first(&d.tables.principals, tx, byUPN, upn)
	if errors.Is(err, store.ErrNotFound) {
		nickname, _, _ := strings.Cut(upn, "@")
		p = &principal{ObjectID: newID(), Type: TypeUser, DisplayName: displayName, UPN: upn, MailNickname: nickname, Created: d.cfg.Clock.Now()}
		err = d.tables.principals.Put(tx, p)
	}
	if err != nil {
		return nil, fmt.Errorf("create user %s: %w", upn, err)
	}
	return d.public(p), nil
}

// Application says what CreateApplication makes.
type Application struct {
	DisplayName string
	// GraphRoles are the roles it has on Microsoft Graph, such as
	// GraphReadDirectory.
	GraphRoles []string
	// TokenVersion, 1 or 2, is that of the tokens it takes when it is their
	// audience. Zero means 1.
	TokenVersion int
}

// CreateApplication adds an application, its service principal and a first
// secret, which cannot be read again.
func (d *Directory) CreateApplication(tx store.Tx, a Application) (p *Principal, secret string, err error) {
	now := d.cfg.Clock.Now()
	secret = newSecret()
	hashed, err := hashSecret(secret, now.Add(secretLifetime))
	if err != nil {
		return nil, "", err
	}
	app := &application{
		AppID:        newID(),
		ObjectID:     newID(),
		DisplayName:  a.DisplayName,
		Secrets:      []clientSecret{hashed},
		TokenVersion: a.TokenVersion,
		Created:      now,
	}
	sp := &principal{
		ObjectID:    newID(),
		Type:        TypeServicePrincipal,
		Kind:        kindApplication,
		AppID:       app.AppID,
		DisplayName: a.DisplayName,
		GraphRoles:  a.GraphRoles,
		Created:     now,
	}
	if err := errors.Join(d.tables.applications.Put(tx, app), d.tables.principals.Put(tx, sp)); err != nil {
		return nil, "", fmt.Errorf("create application %s: %w", a.DisplayName, err)
	}
	return d.public(sp), secret, nil
}

// DeletePrincipal removes a principal, its application, and all it could get
// tokens with. Its tokens stop working when tx commits. Removing what is not
// there is not an error.
func (d *Directory) DeletePrincipal(tx store.Tx, objectID string) error {
	p, err := d.principal(tx, objectID)
	if errors.Is(err, ErrNoPrincipal) {
		return nil
	}
	if err == nil {
		err = d.remove(tx, p)
	}
	if err != nil {
		return fmt.Errorf("delete principal %s: %w", objectID, err)
	}
	return nil
}

// remove removes a principal and the application that it is of.
func (d *Directory) remove(tx store.Tx, p *principal) error {
	if p.Kind == kindApplication {
		if err := d.removeApplication(tx, p.AppID); err != nil {
			return err
		}
	}
	return d.removePrincipal(tx, p)
}

func (d *Directory) removeApplication(tx store.Tx, appID string) error {
	if err := d.removeFederated(tx, appID); err != nil {
		return err
	}
	return d.tables.applications.Delete(tx, appID)
}

func (d *Directory) removeFederated(tx store.Tx, appID string) error {
	all, err := d.FederatedCredentials(tx, appID)
	if err != nil {
		return err
	}
	for _, f := range all {
		if err := d.DeleteFederatedCredential(tx, appID, f.Name); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) removePrincipal(tx store.Tx, p *principal) error {
	for g, err := range d.tables.grants.By(tx, byPrincipal, store.Range{Prefix: store.Exact(p.ObjectID)}) {
		if err != nil {
			return err
		}
		if err := d.tables.grants.Delete(tx, g.ID); err != nil {
			return err
		}
	}
	for r, err := range d.tables.refresh.By(tx, byPrincipal, store.Range{Prefix: store.Exact(p.ObjectID)}) {
		if err != nil {
			return err
		}
		if err := d.tables.refresh.Delete(tx, r.Hash); err != nil {
			return err
		}
	}
	if err := d.leaveAll(tx, p.ObjectID); err != nil {
		return err
	}
	if p.Kind == kindManagedIdentity {
		if err := d.removeFederated(tx, p.AppID); err != nil {
			return err
		}
	}
	return d.tables.principals.Delete(tx, p.ObjectID)
}

// CreateManagedIdentity returns the identity of the resource with an ARM ID, in
// any case, making it if there is none.
func (d *Directory) CreateManagedIdentity(tx store.Tx, resourceID, displayName string) (ManagedIdentity, error) {
	if resourceID == "" {
		return ManagedIdentity{}, errors.New("entra: a managed identity needs a resource")
	}
	p, err := first(&d.tables.principals, tx, byResource, resourceID)
	if errors.Is(err, store.ErrNotFound) {
		p = &principal{
			ObjectID:    newID(),
			Type:        TypeServicePrincipal,
			Kind:        kindManagedIdentity,
			AppID:       newID(),
			DisplayName: displayName,
			ResourceID:  resourceID,
			Created:     d.cfg.Clock.Now(),
		}
		err = d.tables.principals.Put(tx, p)
	}
	if err != nil {
		return ManagedIdentity{}, fmt.Errorf("create the managed identity of %s: %w", resourceID, err)
	}
	return ManagedIdentity{PrincipalID: p.ObjectID, ClientID: p.AppID, TenantID: d.cfg.TenantID}, nil
}

// DeleteManagedIdentity removes a resource's identity and its grants. Removing
// what is not there is not an error.
func (d *Directory) DeleteManagedIdentity(tx store.Tx, resourceID string) error {
	p, err := first(&d.tables.principals, tx, byResource, resourceID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = d.remove(tx, p)
	}
	if err != nil {
		return fmt.Errorf("delete the managed identity of %s: %w", resourceID, err)
	}
	return nil
}

// view reads one principal outside of a transaction.
func (d *Directory) view(ctx context.Context, objectID string) (p *principal, err error) {
	err = d.cfg.Store.View(ctx, func(tx store.Tx) error {
		p, err = store.Recall(tx, d.tables.principals.Name, strings.ToLower(objectID), func() (*principal, error) {
			return d.principal(tx, objectID)
		})
		return err
	})
	return p, err
}
