package vault

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// form is how a kind of object looks on the wire.
type form struct {
	// shown is the answer about one version, without what is secret.
	shown func(c *call, o *object, v *version) any
	// listed is an entry of a list, with the version in its ID or without.
	listed func(c *call, o *object, v *version, withVersion bool) any
}

func forms() map[kind]form {
	return map[kind]form{
		secrets: {
			shown:  func(c *call, o *object, v *version) any { return c.secret(o, v, true) },
			listed: func(c *call, o *object, v *version, withVersion bool) any { return c.secret(o, v, withVersion) },
		},
		keys:         {shown: (*call).shownKey, listed: (*call).listedKey},
		certificates: {shown: (*call).shownCertificate, listed: (*call).listedCertificate},
	}
}

// frame is what objects of all kinds have on the wire.
type frame struct {
	Attributes *attributes       `json:"attributes,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Managed    bool              `json:"managed,omitempty"`
	RecoveryID string            `json:"recoveryId,omitempty"`
	Deleted    int64             `json:"deletedDate,omitempty"`
	Purge      int64             `json:"scheduledPurgeDate,omitempty"`
}

func (c *call) frame(o *object, v *version) frame {
	enabled := !v.Disabled
	f := frame{
		Tags: v.Tags, Managed: v.Managed,
		Attributes: &attributes{
			Enabled: &enabled, NotBefore: v.NotBefore, Expires: v.Expires, Created: v.Created.Unix(), Updated: v.Updated.Unix(),
			RecoveryLevel: c.v.recoveryLevel(), RecoverableDays: c.v.RetentionDays,
		},
	}
	if d := o.Deleted; d != nil {
		f.RecoveryID = c.url("deleted" + string(c.slot.kind) + "/" + o.Name)
		f.Deleted, f.Purge = d.At.Unix(), d.Purge.Unix()
	}
	return f
}

// id is the address of an object, or of one of its versions.
func (c *call) id(o *object, v *version, withVersion bool) string {
	id := c.url(string(c.slot.kind) + "/" + o.Name)
	if withVersion {
		id += "/" + v.ID
	}
	return id
}

// change applies what a request says of a version. What it does not say stays.
func (f *frame) change(v *version) error {
	if f.Tags != nil {
		v.Tags = f.Tags
	}
	if a := f.Attributes; a != nil {
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
	case len(v.Tags) > 15:
		return badParameter("Property tags has an invalid value: there are more than 15.")
	case v.NotBefore != nil && v.Expires != nil && *v.Expires < *v.NotBefore:
		return badParameter("Property exp has an invalid value: it is before nbf.")
	}
	for name, value := range v.Tags {
		if len(name) > 256 || len(value) > 256 {
			return badParameter("Property tags has an invalid value: a name or value is longer than 256 characters.")
		}
	}
	return nil
}

func badParameter(format string, args ...any) *apiError {
	return failure(http.StatusBadRequest, "BadParameter", fmt.Sprintf(format, args...))
}

// disabled is Azure's refusal of what a disabled version does not do.
func (c *call) disabled(what string) *apiError {
	e := failure(http.StatusForbidden, "Forbidden", fmt.Sprintf("Operation %s is not allowed on a disabled %s.", what, c.slot.kind.singular()))
	e.Inner = c.slot.kind.title() + "Disabled"
	return e
}

// add makes a version and answers with the object it belongs to.
func (c *call) add(v *version) (o *object, err error) {
	err = c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		o, err = c.slot.add(tx, c.now, v)
		return err
	})
	return o, err
}

// find reads the version that the request is about.
func (c *call) find() (o *object, v *version, err error) {
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		o, v, err = c.slot.at(tx, c.version)
		return err
	})
	return o, v, err
}

// update changes the version that the request is about.
func (c *call) update(change func(*version) error) (any, error) {
	return c.answer(func(tx store.Tx, now time.Time) (*object, *version, error) {
		o, v, err := c.slot.at(tx, c.version)
		if err != nil {
			return nil, nil, err
		}
		if v.Managed {
			return nil, nil, c.slot.managed()
		}
		if err := change(v); err != nil {
			return nil, nil, err
		}
		v.Updated = now
		return o, v, put(tx, versionsBucket, c.slot.versionKey(v.ID), v)
	})
}

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

func (c *call) deleteObject() (any, error) {
	return c.answer(c.slot.delete)
}

func (c *call) recoverObject() (any, error) {
	return c.answer(c.slot.recover)
}

func (c *call) getDeleted() (any, error) {
	var o *object
	var v *version
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		if o, err = c.slot.deleted(tx, c.now); err != nil {
			return err
		}
		if o == nil {
			return c.slot.deletedNotFound()
		}
		v, err = get[version](tx, versionsBucket, c.slot.versionKey(o.Current))
		return err
	}); err != nil {
		return nil, err
	}
	return c.form().shown(c, o, v), nil
}

func (c *call) purge() (any, error) {
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
		if o.Managed {
			return c.slot.managed()
		}
		return c.slot.forget(tx)
	})
}

func (c *call) form() form { return c.forms[c.slot.kind] }

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
	return c.form().shown(c, o, v), nil
}
