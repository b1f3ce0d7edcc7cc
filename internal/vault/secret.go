package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// maxSecret is the most bytes of a secret's value:
// https://learn.microsoft.com/azure/key-vault/secrets/about-secrets
const maxSecret = 25 * 1024

// attributes are those of the REST API. What is written may leave fields out.
type attributes struct {
	Enabled   *bool  `json:"enabled,omitempty"`
	NotBefore *int64 `json:"nbf,omitempty"`
	Expires   *int64 `json:"exp,omitempty"`
	// The rest is only ever read.
	Created         int64  `json:"created,omitempty"`
	Updated         int64  `json:"updated,omitempty"`
	RecoveryLevel   string `json:"recoveryLevel,omitempty"`
	RecoverableDays int    `json:"recoverableDays,omitempty"`
}

// secretBundle is a secret on the wire: with its value, in a list, or deleted.
type secretBundle struct {
	Value       *string           `json:"value,omitempty"`
	ContentType *string           `json:"contentType,omitempty"`
	ID          string            `json:"id,omitempty"`
	Attributes  *attributes       `json:"attributes,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	RecoveryID  string            `json:"recoveryId,omitempty"`
	Deleted     int64             `json:"deletedDate,omitempty"`
	Purge       int64             `json:"scheduledPurgeDate,omitempty"`
}

// recoveryLevel is what can be undone of a deletion in the vault:
// https://learn.microsoft.com/rest/api/keyvault/secrets/set-secret (DeletionRecoveryLevel).
func (v *Vault) recoveryLevel() string {
	level := "Recoverable"
	if v.RetentionDays < maxRetentionDays {
		level = "CustomizedRecoverable"
	}
	if !v.PurgeProtection {
		level += "+Purgeable"
	}
	return level
}

const maxRetentionDays = 90

func (c *call) url(path string) string {
	return "https://" + strings.ToLower(c.v.Name) + suffix + "/" + path
}

// bundle is a version as lists show it: without a value, and with the version in
// its ID or without.
func (c *call) bundle(o *object, v *version, withVersion bool) *secretBundle {
	enabled := !v.Disabled
	b := &secretBundle{
		ID: c.url("secrets/" + o.Name), Tags: v.Tags,
		Attributes: &attributes{
			Enabled: &enabled, NotBefore: v.NotBefore, Expires: v.Expires, Created: v.Created.Unix(), Updated: v.Updated.Unix(),
			RecoveryLevel: c.v.recoveryLevel(), RecoverableDays: c.v.RetentionDays,
		},
	}
	if v.ContentType != "" {
		b.ContentType = &v.ContentType
	}
	if withVersion {
		b.ID += "/" + v.ID
	}
	if d := o.Deleted; d != nil {
		b.RecoveryID = c.url("deletedsecrets/" + o.Name)
		b.Deleted, b.Purge = d.At.Unix(), d.Purge.Unix()
	}
	return b
}

// full is a version with its value.
func (c *call) full(o *object, v *version) (*secretBundle, error) {
	plain, err := c.cfg.Sealer.Open(v.Value)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	b, value := c.bundle(o, v, true), string(plain)
	b.Value = &value
	return b, nil
}

// change applies what a request says of a version, value apart.
func (in *secretBundle) change(v *version) error {
	if in.ContentType != nil {
		v.ContentType = *in.ContentType
	}
	if in.Tags != nil {
		v.Tags = in.Tags
	}
	if a := in.Attributes; a != nil {
		if a.Enabled != nil {
			v.Disabled = !*a.Enabled
		}
		if a.NotBefore != nil {
			v.NotBefore = a.NotBefore
		}
		if a.Expires != nil {
			v.Expires = a.Expires
		}
	}
	// The limits are documented, the words not known.
	switch {
	case len(v.ContentType) > 255:
		return failure(http.StatusBadRequest, "BadParameter", "Property contentType has an invalid value: it is longer than 255 characters.")
	case len(v.Tags) > 15:
		return failure(http.StatusBadRequest, "BadParameter", "Property tags has an invalid value: there are more than 15.")
	case v.NotBefore != nil && v.Expires != nil && *v.Expires < *v.NotBefore:
		return failure(http.StatusBadRequest, "BadParameter", "Property exp has an invalid value: it is before nbf.")
	}
	for name, value := range v.Tags {
		if len(name) > 256 || len(value) > 256 {
			return failure(http.StatusBadRequest, "BadParameter", "Property tags has an invalid value: a name or value is longer than 256 characters.")
		}
	}
	return nil
}

func (c *call) setSecret() (any, error) {
	var in secretBundle
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	if in.Value == nil {
		return nil, failure(http.StatusBadRequest, "BadParameter", "Property value is missing.")
	}
	if len(*in.Value) > maxSecret {
		return nil, failure(http.StatusBadRequest, "BadParameter", fmt.Sprintf("Property value has an invalid value: it is longer than %d bytes.", maxSecret))
	}
	v := &version{ID: newVersionID(), Created: c.now, Updated: c.now}
	if err := in.change(v); err != nil {
		return nil, err
	}
	var err error
	if v.Value, err = c.cfg.Sealer.Seal([]byte(*in.Value)); err != nil {
		return nil, fmt.Errorf("set secret: %w", err)
	}
	var o *object
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		o, err = c.slot.add(tx, c.now, v)
		return err
	}); err != nil {
		return nil, err
	}
	return c.full(o, v)
}

func (c *call) getSecret() (any, error) {
	var o *object
	var v *version
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		o, v, err = c.slot.at(tx, c.version)
		return err
	}); err != nil {
		return nil, err
	}
	if v.Disabled {
		e := failure(http.StatusForbidden, "Forbidden", "Operation get is not allowed on a disabled secret.")
		e.Inner = "SecretDisabled"
		return nil, e
	}
	return c.full(o, v)
}

func (c *call) updateSecret() (any, error) {
	var in secretBundle
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	if in.Value != nil {
		return nil, failure(http.StatusBadRequest, "BadParameter", "The value of a version is not changed; set the secret to make a new version.")
	}
	var o *object
	var v *version
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		if o, v, err = c.slot.at(tx, c.version); err != nil {
			return err
		}
		if err := in.change(v); err != nil {
			return err
		}
		v.Updated = c.now
		return put(tx, versionsBucket, c.slot.versionKey(v.ID), v)
	}); err != nil {
		return nil, err
	}
	return c.bundle(o, v, true), nil
}

func (c *call) deleteSecret() (any, error) {
	return c.answer(c.slot.delete)
}

func (c *call) recoverSecret() (any, error) {
	return c.answer(c.slot.recover)
}

func (c *call) getDeletedSecret() (any, error) {
	var b *secretBundle
	return b, c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		o, err := c.slot.deleted(tx, c.now)
		if err != nil {
			return err
		}
		if o == nil {
			return c.slot.deletedNotFound()
		}
		v, err := get[version](tx, versionsBucket, c.slot.versionKey(o.Current))
		if err != nil {
			return err
		}
		b = c.bundle(o, v, true)
		return nil
	})
}

func (c *call) purgeSecret() (any, error) {
	if c.v.PurgeProtection {
		return nil, failure(http.StatusForbidden, "Forbidden", fmt.Sprintf(
			"Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically purge it after the retention period has passed.\r\nVault: %s;location=%s",
			c.v.Name, c.v.Location))
	}
	return nil, c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		o, err := c.slot.deleted(tx, c.now)
		if err != nil {
			return err
		}
		if o == nil {
			return c.slot.deletedNotFound()
		}
		return c.slot.forget(tx)
	})
}

// backupDocument is what a backup holds, sealed: it can be restored to this
// home's vaults only, as Azure's only in the same subscription.
type backupDocument struct {
	Kind     kind
	Name     string
	Versions []*version // the current one last
}

type backupBundle struct {
	Value []byte `json:"value"`
}

// MarshalJSON writes the value in the form that Key Vault writes bytes in.
func (b backupBundle) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"value": base64url.EncodeToString(b.Value)})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (b *backupBundle) UnmarshalJSON(text []byte) (err error) {
	var in struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	b.Value, err = base64url.DecodeString(strings.TrimRight(in.Value, "="))
	return err
}

func (c *call) backupSecret() (any, error) {
	doc := backupDocument{Kind: c.slot.kind}
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		o, current, err := c.slot.at(tx, "")
		if err != nil {
			return err
		}
		doc.Name = o.Name
		for e, err := range tx.Scan(versionsBucket, store.Range{Prefix: c.slot.key() + "/"}) {
			if err != nil {
				return err
			}
			v := new(version)
			if err := json.Unmarshal(e.Value, v); err != nil {
				return err
			}
			if v.ID != current.ID {
				doc.Versions = append(doc.Versions, v)
			}
		}
		doc.Versions = append(doc.Versions, current)
		return nil
	}); err != nil {
		return nil, err
	}
	plain, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	sealed, err := c.cfg.Sealer.Seal(plain)
	if err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	return backupBundle{sealed}, nil
}

func (c *call) restoreSecret() (any, error) {
	// Azure's words are not known
	bad := failure(http.StatusBadRequest, "BadParameter", "Backup blob contains invalid or corrupt data, or is not from this place.")
	var in backupBundle
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	plain, err := c.cfg.Sealer.Open(in.Value)
	if err != nil {
		return nil, bad
	}
	var doc backupDocument
	if err := json.Unmarshal(plain, &doc); err != nil || doc.Kind != c.slot.kind || len(doc.Versions) == 0 {
		return nil, bad
	}
	c.slot.name = doc.Name
	return c.answer(func(tx store.Tx, _ time.Time) (o *object, last *version, err error) {
		if _, err := c.slot.live(tx); err == nil {
			return nil, nil, failure(http.StatusConflict, "Conflict", fmt.Sprintf(
				"%s %s already exists.", c.slot.kind.title(), doc.Name)) // Azure's words are not known
		} else if e := (*apiError)(nil); !errors.As(err, &e) {
			return nil, nil, err
		}
		for _, v := range doc.Versions {
			if o, err = c.slot.add(tx, c.now, v); err != nil {
				return nil, nil, err
			}
			last = v
		}
		return o, last, nil
	})
}

// answer runs a change in a transaction and answers with the version it is about.
func (c *call) answer(change func(store.Tx, time.Time) (*object, *version, error)) (any, error) {
	var o *object
	var v *version
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		o, v, err = change(tx, c.now)
		return err
	}); err != nil {
		return nil, err
	}
	return c.bundle(o, v, true), nil
}
