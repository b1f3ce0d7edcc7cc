package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// OwnerName is the display name of the service principal that owns a home.
const OwnerName = "azimuth-owner"

// Credentials are those of a service principal.
type Credentials struct {
	TenantID     string `json:"tenantId"`
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
	ObjectID     string `json:"objectId"`
}

// LoadCredentials reads the file that Bootstrap keeps. The error wraps
// fs.ErrNotExist before the first Bootstrap.
func LoadCredentials(path string) (Credentials, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("load credentials: %w", err)
	}
	var c Credentials
	if err := json.Unmarshal(data, &c); err != nil {
		return Credentials{}, fmt.Errorf("load credentials: %s: %w", path, err)
	}
	if c.ClientID == "" || c.ClientSecret == "" || c.ObjectID == "" || c.TenantID == "" {
		return Credentials{}, fmt.Errorf("load credentials: %s is not complete", path)
	}
	return c, nil
}

// Bootstrap makes sure that the owner's service principal is there and that the
// owner file has credentials that work, and returns them. It may be called at
// every start, and goes on where a crash stopped it: the file is written before
// the store, and the store is brought in line with the file.
func (d *Directory) Bootstrap(ctx context.Context) (Credentials, error) {
	creds, err := d.bootstrap(ctx)
	if err != nil {
		return Credentials{}, fmt.Errorf("entra: set up the owner: %w", err)
	}
	return creds, nil
}

func (d *Directory) bootstrap(ctx context.Context) (Credentials, error) {
	if d.cfg.OwnerFile == "" {
		return Credentials{}, errors.New("no file to keep the credentials in")
	}
	creds, err := LoadCredentials(d.cfg.OwnerFile)
	if errors.Is(err, fs.ErrNotExist) {
		creds, err = d.newOwner(ctx)
	}
	if err != nil {
		return Credentials{}, err
	}
	if creds.TenantID != d.cfg.TenantID {
		return Credentials{}, fmt.Errorf("%s is for tenant %s, and this is tenant %s", d.cfg.OwnerFile, creds.TenantID, d.cfg.TenantID)
	}
	if err := d.rebuild(ctx); err != nil {
		return Credentials{}, err
	}
	ready := false
	err = d.cfg.Store.View(ctx, func(tx store.Tx) error {
		ready, err = d.ownerReady(tx, creds)
		return err
	})
	if err != nil || ready {
		return creds, err
	}
	hashed, err := hashSecret(creds.ClientSecret, d.cfg.Clock.Now().Add(ownerSecretLifetime))
	if err != nil {
		return Credentials{}, err
	}
	return creds, d.cfg.Store.Update(ctx, func(tx store.Tx) error { return d.putOwner(tx, creds, hashed) })
}

// ownerGraphRoles let the owner of a home keep its directory.
func ownerGraphRoles() []string {
	return []string{GraphReadDirectory, GraphWriteApplications, GraphWriteGroups, GraphWriteUsers}
}

// The owner's secret outlives every clock that a user may advance.
const ownerSecretLifetime = 100 * secretLifetime

// newOwner writes the owner file. If the store has an owner already, as when the
// file was lost, the new secret is for that one.
func (d *Directory) newOwner(ctx context.Context) (Credentials, error) {
	creds := Credentials{TenantID: d.cfg.TenantID, ClientID: newID(), ObjectID: newID(), ClientSecret: newSecret()}
	err := d.cfg.Store.View(ctx, func(tx store.Tx) error {
		id, err := tx.Get(settings, ownerKey)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		p, err := d.principal(tx, string(id))
		if errors.Is(err, ErrNoPrincipal) {
			return nil
		}
		if err != nil {
			return err
		}
		creds.ClientID, creds.ObjectID = p.AppID, p.ObjectID
		return nil
	})
	if err != nil {
		return Credentials{}, err
	}
	data, err := json.MarshalIndent(creds, "", "  ")
	if err != nil {
		return Credentials{}, err
	}
	err = atomicfile.Create(d.cfg.OwnerFile, append(data, '\n'), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return LoadCredentials(d.cfg.OwnerFile) // another process was first
	}
	return creds, err
}

// Where the store says who the owner is.
const (
	settings = "entra/setting"
	ownerKey = "owner"
	// layoutKey says which indexes the directory was written with.
	layoutKey = "layout"
	layout    = "3"
)

// rebuild writes a directory of an earlier layout anew, so that all of it is in
// the indexes that came later.
func (d *Directory) rebuild(ctx context.Context) error {
	return d.cfg.Store.Update(ctx, func(tx store.Tx) error {
		have, err := tx.Get(settings, layoutKey)
		if err != nil && !errors.Is(err, store.ErrNotFound) || string(have) == layout {
			return err
		}
		if err := errors.Join(rewrite(tx, &d.tables.principals), rewrite(tx, &d.tables.applications)); err != nil {
			return err
		}
		return tx.Put(settings, layoutKey, []byte(layout))
	})
}

func rewrite[T any](tx store.Tx, c *store.Collection[T]) error {
	var all []*T
	for v, err := range c.All(tx, store.Range{}) {
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	for _, v := range all {
		if err := errors.Join(c.Delete(tx, c.Key(v)), c.Put(tx, v)); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) ownerReady(tx store.Tx, creds Credentials) (bool, error) {
	id, err := tx.Get(settings, ownerKey)
	if errors.Is(err, store.ErrNotFound) || err == nil && string(id) != creds.ObjectID {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	owner, err := d.principal(tx, creds.ObjectID)
	if err != nil {
		if errors.Is(err, ErrNoPrincipal) {
			err = nil
		}
		return false, err
	}
	if !slices.Equal(owner.GraphRoles, ownerGraphRoles()) {
		return false, nil
	}
	app, err := d.tables.applications.Get(tx, creds.ClientID)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	v, err := d.checkSecret(app, creds.ClientSecret)
	return v == secretRight, err
}

func (d *Directory) putOwner(tx store.Tx, creds Credentials, secret clientSecret) error {
	now := d.cfg.Clock.Now()
	app, err := d.tables.applications.Get(tx, creds.ClientID)
	if errors.Is(err, store.ErrNotFound) {
		app, err = &application{AppID: creds.ClientID, ObjectID: newID(), DisplayName: OwnerName, Created: now}, nil
	}
	if err != nil {
		return err
	}
	app.Secrets = []clientSecret{secret} // what is not in the file is of no use
	sp, err := d.principal(tx, creds.ObjectID)
	if errors.Is(err, ErrNoPrincipal) {
		sp, err = &principal{ObjectID: creds.ObjectID, Type: TypeServicePrincipal, Kind: kindApplication, DisplayName: OwnerName, Created: now}, nil
	}
	if err != nil {
		return err
	}
	sp.AppID = creds.ClientID
	sp.GraphRoles = ownerGraphRoles()
	return errors.Join(
		d.tables.applications.Put(tx, app),
		d.tables.principals.Put(tx, sp),
		tx.Put(settings, ownerKey, []byte(creds.ObjectID)),
	)
}
