package vault

import (
	"fmt"
)

// maxSecret is the most bytes of a secret's value:
// https://learn.microsoft.com/azure/key-vault/secrets/about-secrets
const maxSecret = 25 * 1024

// secretBundle is a secret on the wire: with its value, in a list, or deleted.
type secretBundle struct {
	Value       *string `json:"value,omitempty"`
	ContentType *string `json:"contentType,omitempty"`
	ID          string  `json:"id,omitempty"`
	frame
}

// secret is a version without its value.
func (c *call) secret(o *object, v *version, withVersion bool) *secretBundle {
	b := &secretBundle{ID: c.id(o, v, withVersion), frame: c.frame(o, v)}
	if v.ContentType != "" {
		b.ContentType = &v.ContentType
	}
	return b
}

// secretWithValue is a version with its value.
func (c *call) secretWithValue(o *object, v *version) (*secretBundle, error) {
	plain, err := c.cfg.Sealer.Open(v.Value)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	b, value := c.secret(o, v, true), string(plain)
	b.Value = &value
	return b, nil
}

// change applies what a request says of a version, value apart.
func (b *secretBundle) change(v *version) error {
	if b.ContentType != nil {
		v.ContentType = *b.ContentType
	}
	if len(v.ContentType) > 255 { // documented; the words are not known
		return badParameter("Property contentType has an invalid value: it is longer than 255 characters.")
	}
	return b.frame.change(v)
}

func (c *call) setSecret() (any, error) {
	var in secretBundle
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	if in.Value == nil {
		return nil, badParameter("Property value is missing.")
	}
	if len(*in.Value) > maxSecret {
		return nil, badParameter("Property value has an invalid value: it is longer than %d bytes.", maxSecret)
	}
	v := &version{ID: newVersionID(), Created: c.now, Updated: c.now}
	if err := in.change(v); err != nil {
		return nil, err
	}
	var err error
	if v.Value, err = c.cfg.Sealer.Seal([]byte(*in.Value)); err != nil {
		return nil, fmt.Errorf("set secret: %w", err)
	}
	o, err := c.add(v)
	if err != nil {
		return nil, err
	}
	return c.secretWithValue(o, v)
}

func (c *call) getSecret() (any, error) {
	o, v, err := c.find()
	if err != nil {
		return nil, err
	}
	if v.Disabled {
		return nil, c.disabled("get")
	}
	return c.secretWithValue(o, v)
}

func (c *call) updateSecret() (any, error) {
	var in secretBundle
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	if in.Value != nil {
		return nil, badParameter("The value of a version is not changed; set the secret to make a new version.")
	}
	return c.update(in.change)
}
