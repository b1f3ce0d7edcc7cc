package keyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// deletedVault is a vault that can be recovered until Purge.
type deletedVault struct {
	Vault          arm.Resource `json:"vault"`
	Location       string       `json:"location"`
	Deleted, Purge time.Time
}

func (d *deletedVault) key() string { return strings.ToLower(d.Vault.Name()) }

const deletedBucket = "keyvault.deleted"

// SealedPlaces is where this package keeps sealed values.
func SealedPlaces() []seal.Place {
	return []seal.Place{seal.In(deletedBucket, func(d *deletedVault) []*[]byte { return []*[]byte{&d.Vault.Sealed} })}
}

func deletedVaults() store.Collection[deletedVault] {
	return store.Collection[deletedVault]{
		Name: deletedBucket,
		Key:  (*deletedVault).key,
		Indexes: map[string]func(*deletedVault) []string{
			"purge": func(d *deletedVault) []string { return []string{arm.Timestamp(d.Purge)} },
		},
	}
}

// deletedNamed is the deleted vault of a name, or nil when there is none or its
// retention is over.
func (p *provider) deletedNamed(tx store.Tx, name string, now time.Time) (*deletedVault, error) {
	d, err := p.deleted.Get(tx, strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) || err == nil && !d.Purge.After(now) {
		return nil, nil
	}
	return d, err
}

// forget removes a deleted vault and its contents for good.
func (p *provider) forget(tx store.Tx, d *deletedVault) error {
	if err := p.Contents.DeleteVault(tx, d.Vault.UID); err != nil {
		return err
	}
	return p.deleted.Delete(tx, d.key())
}

// PurgeOver forgets the vaults whose retention is over at a time, with all that is in
// them. Deletions of vaults do as well, a few at a time.
func PurgeOver(ctx context.Context, st store.Store, contents Contents, now time.Time) error {
	p := &provider{Deps: Deps{Contents: contents}, deleted: deletedVaults()}
	for more := true; more; {
		if err := st.Update(ctx, func(tx store.Tx) (err error) {
			more, err = p.expire(tx, now)
			return err
		}); err != nil {
			return fmt.Errorf("purge vaults that are over: %w", err)
		}
	}
	return nil
}

// expire forgets the vaults whose retention is over, a few at a time: every
// deletion of a vault brings it on. It tells whether there may be more.
func (p *provider) expire(tx store.Tx, now time.Time) (more bool, err error) {
	const few = 16
	var over []*deletedVault
	for d, err := range p.deleted.By(tx, "purge", store.Range{Limit: few}) {
		if err != nil {
			return false, err
		}
		if d.Purge.After(now) {
			break
		}
		over = append(over, d)
	}
	for _, d := range over {
		if err := p.forget(tx, d); err != nil {
			return false, err
		}
	}
	return len(over) == few, nil
}

func (p *provider) document(d *deletedVault) arm.Doc {
	props := map[string]any{
		"vaultId": d.Vault.ID, "location": d.Location,
		"deletionDate": d.Deleted.UTC().Format(time.RFC3339), "scheduledPurgeDate": d.Purge.UTC().Format(time.RFC3339),
	}
	if tags := d.Vault.Body["tags"]; tags != nil {
		props["tags"] = tags
	}
	if d.protected() {
		props["purgeProtectionEnabled"] = true
	}
	name := d.Vault.Name()
	return arm.Doc{
		"id":   "/subscriptions/" + p.kernel.Subscription() + "/providers/" + namespace + "/locations/" + arm.NormalizeLocation(d.Location) + "/deletedVaults/" + name,
		"name": name, "type": namespace + "/deletedVaults", "properties": props,
	}
}

func (d *deletedVault) protected() bool {
	return d.Vault.Body.Bool("properties.enablePurgeProtection", false)
}

// asked is the deleted vault that a request's path names.
func (p *provider) asked(tx store.Tx, req *arm.Request) (*deletedVault, error) {
	location, name := req.Args[0], req.Args[1]
	d, err := p.deletedNamed(tx, name, req.Now)
	if err != nil {
		return nil, err
	}
	if d == nil || arm.NormalizeLocation(d.Location) != arm.NormalizeLocation(location) {
		return nil, arm.Errorf(http.StatusNotFound, "DeletedVaultNotFound", "The specified deleted vault '%s' does not exist.", name)
	}
	return d, nil
}

func (p *provider) getDeleted(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var doc arm.Doc
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		d, err := p.asked(tx, req)
		if err == nil {
			doc = p.document(d)
		}
		return err
	})
	return arm.OK(doc), err
}

func (p *provider) listDeletedHSMs(context.Context, *arm.Request) (*arm.Response, error) {
	return arm.OK(map[string]any{"value": []any{}}), nil
}

func (p *provider) listDeleted(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		last := ""
		for d, err := range p.deleted.All(tx, store.Range{After: after}) {
			if err != nil {
				return err
			}
			if !d.Purge.After(req.Now) {
				continue
			}
			if len(page.Value) == size {
				page.Next = arm.EncodeToken(last)
				break
			}
			page.Value = append(page.Value, p.document(d))
			last = d.key()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return req.Kernel.PageResponse(req, page), nil
}

func (p *provider) purge(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var resp *arm.Response
	err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
		d, err := p.asked(tx, req)
		if err != nil {
			return err
		}
		if d.protected() {
			return arm.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "Operation 'DeletedVaultPurge' is not allowed.")
		}
		if err := p.forget(tx, d); err != nil {
			return err
		}
		resp, err = req.Kernel.Accepted(tx, req)
		return err
	})
	return resp, err
}
