package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// backupDocument is what a backup holds, sealed: it can be restored to this
// home's vaults only, as Azure's only in the same subscription.
type backupDocument struct {
	Kind     kind
	Name     string
	Versions []*version // the current one last
	// The rest is of certificates: the policy, and the versions of key and secret.
	Policy        *certPolicy `json:",omitempty"`
	Keys, Secrets []*version  `json:",omitempty"`
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

// versions reads all versions of an object, the current one last.
func (s slot) versions(tx store.Tx) (out []*version, err error) {
	_, current, err := s.at(tx, "")
	if err != nil {
		return nil, err
	}
	for e, err := range tx.Scan(versionsBucket, store.Range{Prefix: s.key() + "/"}) {
		if err != nil {
			return nil, err
		}
		v := new(version)
		if err := json.Unmarshal(e.Value, v); err != nil {
			return nil, err
		}
		if v.ID != current.ID {
			out = append(out, v)
		}
	}
	return append(out, current), nil
}

func (c *call) backup() (any, error) {
	doc := backupDocument{Kind: c.slot.kind}
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		o, err := c.slot.live(tx)
		if err != nil {
			return err
		}
		if o.Managed {
			return c.slot.managed()
		}
		doc.Name = o.Name
		if doc.Versions, err = c.slot.versions(tx); err != nil || c.slot.kind != certificates {
			return err
		}
		if doc.Versions[len(doc.Versions)-1].Cert.pending() {
			return badParameter("The certificate is pending and can not be backed up.") // Azure's words are not known
		}
		if doc.Policy, err = get[certPolicy](tx, policiesBucket, c.slot.key()); err != nil {
			return fmt.Errorf("read certificate policy: %w", err)
		}
		parts := c.slot.companions()
		if doc.Keys, err = parts[0].versions(tx); err != nil {
			return err
		}
		doc.Secrets, err = parts[1].versions(tx)
		return err
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

// check finds what no backup of this service has.
func (d *backupDocument) check() error {
	errDocument := errors.New("vault: not a backup")
	if !slices.Contains([]kind{secrets, keys, certificates}, d.Kind) || !objectName().MatchString(d.Name) || len(d.Versions) == 0 {
		return errDocument
	}
	if (d.Kind == certificates) != (d.Policy != nil && len(d.Keys) > 0 && len(d.Secrets) > 0) {
		return errDocument
	}
	for k, list := range map[kind][]*version{d.Kind: d.Versions, keys: d.Keys, secrets: d.Secrets} {
		if k == d.Kind {
			list = d.Versions
		}
		for _, v := range list {
			if v == nil || v.ID == "" || (k == certificates) != (v.Cert != nil) || (k == keys) != (v.Key != nil) {
				return errDocument
			}
		}
	}
	return nil
}

// readBackup opens a backup of the kind.
func (c *call) readBackup(sealed []byte) (*backupDocument, error) {
	// Azure's words are not known
	bad := badParameter("Backup blob contains invalid or corrupt data, or is not from this place.")
	plain, err := c.cfg.Sealer.Open(sealed)
	if err != nil {
		return nil, bad
	}
	var doc backupDocument
	if err := json.Unmarshal(plain, &doc); err != nil || doc.Kind != c.slot.kind || doc.check() != nil {
		return nil, bad
	}
	// What was sealed with a key that the home has given up since is sealed anew.
	for _, list := range [][]*version{doc.Versions, doc.Keys, doc.Secrets} {
		for _, v := range list {
			if len(v.Value) == 0 {
				continue
			}
			if plain, err = c.cfg.Sealer.Open(v.Value); err != nil {
				return nil, bad
			}
			if v.Value, err = c.cfg.Sealer.Seal(plain); err != nil {
				return nil, fmt.Errorf("restore: %w", err)
			}
		}
	}
	return &doc, nil
}

func (c *call) restore() (any, error) {
	var in backupBundle
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	doc, err := c.readBackup(in.Value)
	if err != nil {
		return nil, err
	}
	c.slot.name = doc.Name
	change := func(tx store.Tx, _ time.Time) (o *object, last *version, err error) {
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
		of := map[kind][]*version{keys: doc.Keys, secrets: doc.Secrets}
		for _, s := range c.slot.companions() {
			for _, v := range of[s.kind] {
				if _, err := s.add(tx, c.now, v); err != nil {
					return nil, nil, err
				}
			}
		}
		if doc.Policy != nil {
			err = put(tx, policiesBucket, c.slot.key(), doc.Policy)
		}
		return o, last, err
	}
	if c.slot.kind == certificates {
		return c.answerBundle(change)
	}
	return c.answer(change)
}
