package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// SecretInfo is a secret without its value, for who writes secrets in templates and
// reads none.
type SecretInfo struct {
	Name, Version, ContentType string
	Disabled                   bool
	// NotBefore and Expires are Unix seconds, or nil.
	NotBefore, Expires *int64
	Created, Updated   time.Time
	Tags               map[string]string
}

func secretInfo(o *object, v *version) SecretInfo {
	return SecretInfo{o.Name, v.ID, v.ContentType, v.Disabled, v.NotBefore, v.Expires, v.Created, v.Updated, v.Tags}
}

// Refusal is an error that the service answers requests with.
func Refusal(err error) (status int, code, message string, ok bool) {
	e := (*apiError)(nil)
	if !errors.As(err, &e) {
		return 0, "", "", false
	}
	return e.Status, e.Code, e.Message, true
}

// SecretIn returns the current version of a secret; false says that there is none.
func (s *Service) SecretIn(tx store.Tx, v *Vault, name string) (SecretInfo, bool, error) {
	o, current, err := (slot{v: v, kind: secrets, name: name}).at(tx, "")
	if isAPIError(err) {
		return SecretInfo{}, false, nil
	}
	if err != nil {
		return SecretInfo{}, false, err
	}
	return secretInfo(o, current), true, nil
}

// PutSecretIn makes a version of a secret with the value, or changes the current one
// when value is nil. Refusal tells what it refuses.
func (s *Service) PutSecretIn(tx store.Tx, v *Vault, in SecretInfo, value *string) error {
	if !s.names.MatchString(in.Name) {
		return badParameter("The secret name is invalid: it has 1 to 127 letters, digits and hyphens.")
	}
	at, now := slot{v: v, kind: secrets, name: in.Name, op: "set"}, s.cfg.Clock.Now()
	ver := &version{ID: newVersionID(), Created: now}
	if value == nil {
		o, current, err := at.at(tx, "")
		if err != nil {
			return err
		}
		if o.Managed {
			return at.managed()
		}
		ver = current
	}
	enabled := !in.Disabled
	bundle := secretBundle{ContentType: &in.ContentType, frame: frame{Tags: in.Tags, Attributes: &attributes{Enabled: &enabled, NotBefore: in.NotBefore, Expires: in.Expires}}}
	if err := bundle.change(ver); err != nil {
		return err
	}
	ver.Updated = now
	if value == nil {
		return put(tx, versionsBucket, at.versionKey(ver.ID), ver)
	}
	if len(*value) > maxSecret {
		return badParameter("Property value has an invalid value: it is longer than %d bytes.", maxSecret)
	}
	var err error
	if ver.Value, err = s.cfg.Sealer.Seal([]byte(*value)); err != nil {
		return fmt.Errorf("set secret: %w", err)
	}
	_, err = at.add(tx, now, ver)
	return err
}

// SecretsIn lists the secrets of a vault in the order of their names, those behind
// after.
func (s *Service) SecretsIn(tx store.Tx, v *Vault, after string, limit int) ([]SecretInfo, error) {
	var out []SecretInfo
	prefix := v.UID + "/" + string(secrets) + "/"
	r := store.Range{Prefix: prefix, Limit: limit}
	if after != "" {
		r.After = prefix + strings.ToLower(after)
	}
	for e, err := range tx.Scan(objectsBucket, r) {
		if err != nil {
			return nil, err
		}
		var o object
		if err := json.Unmarshal(e.Value, &o); err != nil {
			return nil, err
		}
		current, err := get[version](tx, versionsBucket, e.Key+"/"+o.Current)
		if err != nil {
			return nil, fmt.Errorf("list secrets: %w", err)
		}
		out = append(out, secretInfo(&o, current))
	}
	return out, nil
}
