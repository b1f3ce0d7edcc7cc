package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const issuersBucket = "vault.issuers" // <vault uid>/<name> → issuer

// issuer is a certificate authority that certificates may name. Azimuth calls none;
// see begin.
type issuer struct {
	Name     string
	Provider string
	Account  string `json:",omitempty"`
	// Value is the account's password, sealed; it is never shown.
	Value            []byte              `json:",omitempty"`
	Organization     *issuerOrganization `json:",omitempty"`
	Disabled         bool                `json:",omitempty"`
	Created, Updated int64
}

type issuerOrganization struct {
	ID    string        `json:"id,omitempty"`
	Zip   int           `json:"zip,omitempty"`
	Admin []issuerAdmin `json:"admin_details,omitempty"`
}

type issuerAdmin struct {
	First string `json:"first_name,omitempty"`
	Last  string `json:"last_name,omitempty"`
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"`
}

// issuerBundle is an issuer on the wire.
type issuerBundle struct {
	ID           string              `json:"id,omitempty"`
	Provider     string              `json:"provider,omitempty"`
	Credentials  *issuerCredentials  `json:"credentials,omitempty"`
	Organization *issuerOrganization `json:"org_details,omitempty"`
	Attributes   *attributes         `json:"attributes,omitempty"`
}

type issuerCredentials struct {
	Account  *string `json:"account_id,omitempty"`
	Password *string `json:"pwd,omitempty"`
}

func (c *call) issuerKey(name string) string { return c.v.UID + "/" + strings.ToLower(name) }

func (c *call) issuerID(name string) string { return c.url("certificates/issuers/" + name) }

func (c *call) shownIssuer(i *issuer) any {
	enabled := !i.Disabled
	b := &issuerBundle{ID: c.issuerID(i.Name), Provider: i.Provider, Organization: i.Organization,
		Attributes: &attributes{Enabled: &enabled, Created: i.Created, Updated: i.Updated}}
	if i.Account != "" {
		b.Credentials = &issuerCredentials{Account: &i.Account}
	}
	return b
}

// issuer reads an issuer of the vault.
func (c *call) issuer(tx store.Tx, name string) (*issuer, error) {
	i, err := get[issuer](tx, issuersBucket, c.issuerKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, failure(http.StatusNotFound, "CertificateIssuerNotFound", "Issuer not found") // the words are not known
	}
	return i, err
}

// issuerOf is the issuer that a policy names; nil is Self or Unknown.
func (c *call) issuerOf(tx store.Tx, p *certPolicy) (*issuer, error) {
	if p.Issuer.Name == issuerSelf || p.Issuer.Name == issuerUnknown {
		return nil, nil
	}
	i, err := c.issuer(tx, p.Issuer.Name)
	if isAPIError(err) {
		return nil, badParameter("Property issuer.name has an invalid value: there is no issuer '%s' in this vault.", p.Issuer.Name) // the words are not known
	}
	return i, err
}

func (c *call) checkIssuer(tx store.Tx, p *certPolicy) error {
	_, err := c.issuerOf(tx, p)
	return err
}

// change applies what a request says of an issuer.
func (b *issuerBundle) change(c *call, i *issuer) error {
	if b.Provider != "" {
		i.Provider = b.Provider
	}
	if b.Organization != nil {
		i.Organization = b.Organization
	}
	if b.Attributes != nil && b.Attributes.Enabled != nil {
		i.Disabled = !*b.Attributes.Enabled
	}
	if cr := b.Credentials; cr != nil {
		if cr.Account != nil {
			i.Account = *cr.Account
		}
		if cr.Password != nil {
			var err error
			if i.Value, err = c.cfg.Sealer.Seal([]byte(*cr.Password)); err != nil {
				return fmt.Errorf("seal issuer: %w", err)
			}
		}
	}
	i.Updated = c.now.Unix()
	return nil
}

func (c *call) setIssuer() (any, error) {
	var in issuerBundle
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	// The words of these are not known. Test is what the SDKs' own tests name.
	switch strings.ToLower(in.Provider) {
	case "":
		return nil, badParameter("Property provider is missing.")
	case "digicert", "globalsign", "onecertv2-publicca", "onecertv2-privateca", "ssladminv2", "test":
	default:
		return nil, badParameter("Property provider has an invalid value: '%s'.", in.Provider)
	}
	if strings.EqualFold(c.issuerName, issuerSelf) || strings.EqualFold(c.issuerName, issuerUnknown) {
		return nil, badParameter("The issuer name '%s' is reserved.", c.issuerName)
	}
	i := &issuer{Name: c.issuerName, Created: c.now.Unix()}
	if err := in.change(c, i); err != nil {
		return nil, err
	}
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		if old, err := c.issuer(tx, c.issuerName); err == nil {
			i.Name, i.Created = old.Name, old.Created
		} else if !isAPIError(err) {
			return err
		}
		return put(tx, issuersBucket, c.issuerKey(i.Name), i)
	}); err != nil {
		return nil, err
	}
	return c.shownIssuer(i), nil
}

func (c *call) updateIssuer() (any, error) {
	var in issuerBundle
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	return c.changeIssuer(func(tx store.Tx, i *issuer) error {
		if err := in.change(c, i); err != nil {
			return err
		}
		return put(tx, issuersBucket, c.issuerKey(i.Name), i)
	})
}

func (c *call) deleteIssuer() (any, error) {
	return c.changeIssuer(func(tx store.Tx, i *issuer) error { return tx.Delete(issuersBucket, c.issuerKey(i.Name)) })
}

func (c *call) changeIssuer(change func(store.Tx, *issuer) error) (any, error) {
	var i *issuer
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		if i, err = c.issuer(tx, c.issuerName); err != nil {
			return err
		}
		return change(tx, i)
	}); err != nil {
		return nil, err
	}
	return c.shownIssuer(i), nil
}

func (c *call) getIssuer() (any, error) {
	var i *issuer
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		i, err = c.issuer(tx, c.issuerName)
		return err
	}); err != nil {
		return nil, err
	}
	return c.shownIssuer(i), nil
}

func (c *call) listIssuers() (any, error) {
	return c.page(issuersBucket, c.v.UID+"/", func(_ store.Tx, _ string, value []byte) (any, error) {
		var i issuer
		if err := json.Unmarshal(value, &i); err != nil {
			return nil, err
		}
		return &issuerBundle{ID: c.issuerID(i.Name), Provider: i.Provider}, nil
	})
}
