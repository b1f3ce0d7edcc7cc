package keyvault

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const secretType = VaultType + "/secrets"

// Secret is a secret as Resource Manager sees it, which never sees its value.
type Secret struct {
	Name, Version string
	// Value makes a new version when it is written; it is not read.
	Value       *string
	ContentType string
	Disabled    bool
	// NotBefore and Expires are Unix seconds, or nil.
	NotBefore, Expires *int64
	Created, Updated   time.Time
	Tags               map[string]string
}

// Secrets is the data plane of vaults, as far as their secrets can be written in
// templates. vault is the vault's resource.
type Secrets interface {
	// Secret returns the current version, or nil.
	Secret(tx store.Tx, vault *arm.Resource, name string) (*Secret, error)
	// PutSecret makes a version, or changes the current one when there is no value.
	// What it refuses is an *arm.Error.
	PutSecret(tx store.Tx, vault *arm.Resource, s Secret) error
	// Secrets lists current versions in the order of their names.
	Secrets(tx store.Tx, vault *arm.Resource, after string, limit int) ([]Secret, error)
}

// secret is secrets in templates: written and listed, not read and not deleted, as
// in Azure (https://learn.microsoft.com/azure/templates/microsoft.keyvault/vaults/secrets).
func (p *provider) secret() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                secretType,
		Virtual:             true,
		NoProvisioningState: true,
		Methods:             []string{http.MethodGet, http.MethodPut, http.MethodPatch},
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[a-zA-Z0-9-]{1,127}$`),
			Text:    "A secret's name has 1 to 127 letters, digits and hyphens.",
		},
		Put:     p.putSecret,
		Default: p.loadSecret,
		List:    p.listSecrets,
	}
}

func (p *provider) putSecret(_ context.Context, put *arm.Put) error {
	s := Secret{Name: put.ID.Name(), Tags: map[string]string{}}
	body := put.Resource.Body
	var in struct {
		Value       *string `json:"value"`
		ContentType string  `json:"contentType"`
		Attributes  struct {
			Enabled   *bool  `json:"enabled"`
			NotBefore *int64 `json:"nbf"`
			Expires   *int64 `json:"exp"`
		} `json:"attributes"`
	}
	if err := body.Decode("properties", &in); err != nil {
		return err
	}
	if err := body.Decode("tags", &s.Tags); err != nil {
		return err
	}
	s.Value, s.ContentType, s.NotBefore, s.Expires = in.Value, in.ContentType, in.Attributes.NotBefore, in.Attributes.Expires
	s.Disabled = in.Attributes.Enabled != nil && !*in.Attributes.Enabled
	if put.Existing == nil && s.Value == nil {
		return badRequest("The secret '%s' has no value.", s.Name)
	}
	if err := p.Secrets.PutSecret(put.Tx, put.Parent, s); err != nil {
		return err
	}
	now, err := p.Secrets.Secret(put.Tx, put.Parent, s.Name)
	if err != nil {
		return err
	}
	if now == nil {
		return errors.New("the secret was written, but is not there")
	}
	put.Resource.Body = secretResource(put.Parent, now).Body
	return nil
}

func secretResource(vault *arm.Resource, s *Secret) *arm.Resource {
	attributes := map[string]any{"enabled": !s.Disabled, "created": s.Created.Unix(), "updated": s.Updated.Unix()}
	if s.NotBefore != nil {
		attributes["nbf"] = *s.NotBefore
	}
	if s.Expires != nil {
		attributes["exp"] = *s.Expires
	}
	uri := "https://" + strings.ToLower(vault.Name()) + ".vault.azure.net/secrets/" + s.Name
	props := map[string]any{"attributes": attributes, "secretUri": uri, "secretUriWithVersion": uri + "/" + s.Version}
	if s.ContentType != "" {
		props["contentType"] = s.ContentType
	}
	body := arm.Doc{"location": vault.Body["location"], "properties": props}
	if len(s.Tags) > 0 {
		tags := map[string]any{}
		for k, v := range s.Tags {
			tags[k] = v
		}
		body["tags"] = tags
	}
	return &arm.Resource{ID: vault.ID + "/secrets/" + s.Name, Body: body, Private: arm.Doc{}, Created: s.Created, Modified: s.Updated}
}

func (p *provider) loadSecret(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
	vault, err := p.kernel.Load(ctx, tx, id.Parent())
	if err != nil {
		return nil, err
	}
	s, err := p.Secrets.Secret(tx, vault, id.Name())
	if err != nil || s == nil {
		return nil, err
	}
	return secretResource(vault, s), nil
}

func (p *provider) listSecrets(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		vault, err := p.kernel.Load(ctx, tx, parent)
		if err != nil {
			return err
		}
		list, err := p.Secrets.Secrets(tx, vault, after, size+1)
		if err != nil {
			return err
		}
		if len(list) > size {
			list = list[:size]
			page.Next = arm.EncodeToken(list[size-1].Name)
		}
		for _, s := range list {
			doc, err := p.kernel.Render(ctx, tx, secretResource(vault, &s))
			if err != nil {
				return err
			}
			page.Value = append(page.Value, doc)
		}
		return nil
	})
	return page, err
}
