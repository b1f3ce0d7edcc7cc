package vault

import (
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const policiesBucket = "vault.certpolicies" // key of the certificate → certPolicy

// certInfo is what a version of a certificate has. Its key and its secret are
// versions of the same ID of a key and a secret of the same name.
type certInfo struct {
	// DER is the certificate; it is empty while the first version is pending.
	DER []byte `json:",omitempty"`
	// PreserveOrder keeps the chain in the order in which it came.
	PreserveOrder *bool `json:",omitempty"`
}

func (i *certInfo) pending() bool { return len(i.DER) == 0 }

// certBundle is a certificate on the wire, or an entry of a list.
type certBundle struct {
	ID            string      `json:"id"`
	KID           string      `json:"kid,omitempty"`
	SID           string      `json:"sid,omitempty"`
	X5T           string      `json:"x5t,omitempty"`
	CER           []byte      `json:"cer,omitempty"`
	Policy        *certPolicy `json:"policy,omitempty"`
	Pending       *pendingRef `json:"pending,omitempty"`
	PreserveOrder *bool       `json:"preserveCertOrder,omitempty"`
	frame
}

type pendingRef struct {
	ID string `json:"id"`
}

func thumbprint(der []byte) string {
	if len(der) == 0 {
		return ""
	}
	sum := sha1.Sum(der)
	return base64url.EncodeToString(sum[:])
}

// listedCertificate has no recovery level, as Azure's has none. What is pending is
// listed only when it is asked for.
func (c *call) listedCertificate(o *object, v *version, withVersion bool) any {
	if v.Cert.pending() && (withVersion || c.r.URL.Query().Get("includePending") != "true") {
		return nil
	}
	b := &certBundle{ID: c.id(o, v, withVersion), X5T: thumbprint(v.Cert.DER), frame: c.frame(o, v)}
	if o.Deleted == nil {
		b.Attributes.RecoveryLevel, b.Attributes.RecoverableDays = "", 0
	}
	return b
}

// shownCertificate leaves out the policy, which bundle adds.
func (c *call) shownCertificate(o *object, v *version) any {
	return c.certBundle(o, v)
}

func (c *call) certBundle(o *object, v *version) *certBundle {
	at := o.Name + "/" + v.ID
	return &certBundle{
		ID: c.id(o, v, true), KID: c.url("keys/" + at), SID: c.url("secrets/" + at), X5T: thumbprint(v.Cert.DER), CER: v.Cert.DER,
		PreserveOrder: v.Cert.PreserveOrder, frame: c.frame(o, v),
	}
}

// bundle is a version with its policy and the operation that is pending.
func (c *call) bundle(tx store.Tx, o *object, v *version) (*certBundle, error) {
	b := c.certBundle(o, v)
	p, err := get[certPolicy](tx, policiesBucket, c.slot.key())
	if err != nil {
		return nil, fmt.Errorf("read certificate policy: %w", err)
	}
	b.Policy = c.shownCertPolicy(o, p)
	if _, err := tx.Get(certOpsBucket, c.slot.key()); err == nil {
		b.Pending = &pendingRef{c.url("certificates/" + o.Name + "/pending")}
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return b, nil
}

// answerBundle runs a change and answers with the whole certificate.
func (c *call) answerBundle(change func(store.Tx, time.Time) (*object, *version, error)) (b any, err error) {
	err = c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		o, v, err := change(tx, c.now)
		if err != nil {
			return err
		}
		b, err = c.bundle(tx, o, v)
		return err
	})
	return b, err
}

func (c *call) getCertificate() (b any, err error) {
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		o, v, err := c.slot.at(tx, c.version)
		if err != nil {
			return err
		}
		b, err = c.bundle(tx, o, v)
		return err
	})
	return b, err
}

func (c *call) getDeletedCertificate() (b any, err error) {
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
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
		b, err = c.bundle(tx, o, v)
		return err
	})
	return b, err
}

func (c *call) deleteCertificate() (any, error)  { return c.answerBundle(c.slot.delete) }
func (c *call) recoverCertificate() (any, error) { return c.answerBundle(c.slot.recover) }

// updateCertificate changes a version, and its key and secret with it.
func (c *call) updateCertificate() (any, error) {
	var in struct {
		Policy *certPolicy `json:"policy"`
		frame
	}
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	in.dates()
	return c.answerBundle(func(tx store.Tx, now time.Time) (*object, *version, error) {
		o, v, err := c.slot.at(tx, c.version)
		if err != nil {
			return nil, nil, err
		}
		if in.Policy != nil {
			if _, err := c.putPolicy(tx, in.Policy); err != nil {
				return nil, nil, err
			}
		}
		if err := in.change(v); err != nil {
			return nil, nil, err
		}
		v.Updated = now
		for _, s := range c.slot.companions() {
			part, err := get[version](tx, versionsBucket, s.versionKey(v.ID))
			if errors.Is(err, store.ErrNotFound) {
				continue // it is pending
			}
			if err != nil {
				return nil, nil, err
			}
			part.Disabled, part.Updated = v.Disabled, now
			if err := put(tx, versionsBucket, s.versionKey(v.ID), part); err != nil {
				return nil, nil, err
			}
		}
		return o, v, put(tx, versionsBucket, c.slot.versionKey(v.ID), v)
	})
}

// dates drops what is not the caller's to say: a certificate is valid when it is.
func (f *frame) dates() {
	if f.Attributes != nil {
		f.Attributes.NotBefore, f.Attributes.Expires = nil, nil
	}
}

func (c *call) shownCertPolicy(o *object, p *certPolicy) *certPolicy {
	p.ID = c.url("certificates/" + o.Name + "/policy")
	return p
}

func (c *call) getCertPolicy() (any, error) {
	var o *object
	var p *certPolicy
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		if o, err = c.slot.live(tx); err != nil {
			return err
		}
		p, err = get[certPolicy](tx, policiesBucket, c.slot.key())
		return err
	}); err != nil {
		return nil, err
	}
	return c.shownCertPolicy(o, p), nil
}

func (c *call) updateCertPolicy() (any, error) {
	var in certPolicy
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	var o *object
	var p *certPolicy
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		if o, err = c.slot.live(tx); err != nil {
			return err
		}
		p, err = c.putPolicy(tx, &in)
		return err
	}); err != nil {
		return nil, err
	}
	return c.shownCertPolicy(o, p), nil
}

// putPolicy changes the policy of a certificate that is there.
func (c *call) putPolicy(tx store.Tx, in *certPolicy) (*certPolicy, error) {
	old, err := get[certPolicy](tx, policiesBucket, c.slot.key())
	if err != nil {
		return nil, fmt.Errorf("read certificate policy: %w", err)
	}
	p := old.merge(in)
	p.complete()
	if err := p.check(c); err != nil {
		return nil, err
	}
	if err := c.checkIssuer(tx, p); err != nil {
		return nil, err
	}
	p.stamp(c.now)
	return p, put(tx, policiesBucket, c.slot.key(), p)
}

// importCertificate keeps a certificate that was made elsewhere, with its key.
func (c *call) importCertificate() (any, error) {
	var in struct {
		Value         string      `json:"value"`
		Password      string      `json:"pwd"`
		Policy        *certPolicy `json:"policy"`
		PreserveOrder *bool       `json:"preserveCertOrder"`
		frame
	}
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	if in.Value == "" {
		return nil, badParameter("Property value is missing.")
	}
	in.dates()
	contentType := ""
	if in.Policy != nil && in.Policy.Secret != nil {
		contentType = in.Policy.Secret.ContentType
	}
	got, contentType, err := parseImport(in.Value, in.Password, contentType)
	if err != nil {
		return nil, err
	}
	p := in.Policy
	if p == nil {
		p = &certPolicy{}
	}
	p.Secret, p.X509 = &secretProps{contentType}, describe(got.leaf)
	key, err := keyOf(got.private)
	if err != nil {
		return nil, err
	}
	if p.Key != nil {
		key.Exportable, key.Reuse = p.Key.Exportable, p.Key.Reuse
	}
	p.Key = key
	p.complete()
	if err := p.checkActions(); err != nil {
		return nil, err
	}
	p.stamp(c.now)
	id := newVersionID()
	parts, err := c.certVersions(id, p, got.private, got, in.PreserveOrder, &in.frame)
	if err != nil {
		return nil, err
	}
	return c.answerBundle(func(tx store.Tx, _ time.Time) (*object, *version, error) {
		if err := c.notPending(tx); err != nil {
			return nil, nil, err
		}
		if err := c.checkIssuer(tx, p); err != nil {
			return nil, nil, err
		}
		if err := tx.Delete(certOpsBucket, c.slot.key()); err != nil {
			return nil, nil, err
		}
		if err := c.addCertificate(tx, parts); err != nil {
			return nil, nil, err
		}
		if err := put(tx, policiesBucket, c.slot.key(), p); err != nil {
			return nil, nil, err
		}
		return c.slot.at(tx, id)
	})
}

// keyOf describes a key that was made elsewhere.
func keyOf(private crypto.Signer) (*keyProps, error) {
	text, err := (jose.JSONWebKey{Key: private.Public()}).MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	k := &keyProps{}
	if err := json.Unmarshal(text, &struct {
		Type  *string `json:"kty"`
		Curve *string `json:"crv"`
	}{&k.Type, &k.Curve}); err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	if r, ok := private.Public().(interface{ Size() int }); ok {
		k.Size = r.Size() * 8
	}
	return k, nil
}

// certParts are the versions that one certificate is kept as.
type certParts struct{ certificate, key, secret *version }

// certVersions makes a certificate's version and those of its key and secret.
func (c *call) certVersions(id string, p *certPolicy, private crypto.Signer, got *imported, preserve *bool, f *frame) (*certParts, error) {
	from, to := got.leaf.NotBefore.Unix(), got.leaf.NotAfter.Unix()
	base := version{ID: id, Created: c.now, Updated: c.now, NotBefore: &from, Expires: &to, Managed: true}
	certificate, secret := base, base
	certificate.Managed = false
	if err := f.change(&certificate); err != nil {
		return nil, err
	}
	certificate.Cert = &certInfo{DER: got.leaf.Raw, PreserveOrder: preserve}
	secret.Disabled, secret.ContentType = certificate.Disabled, p.Secret.ContentType
	value, err := secretValue(p.Secret.ContentType, private, *p.Key.Exportable, got.ordered(preserve != nil && *preserve), got.leaf)
	if err != nil {
		return nil, err
	}
	if secret.Value, err = c.cfg.Sealer.Seal([]byte(value)); err != nil {
		return nil, fmt.Errorf("seal certificate: %w", err)
	}
	key, err := c.newKey(&keyRequest{Type: p.Key.Type, Ops: certKeyOps(p.Key.Type, p.X509.Usage)}, private)
	if err != nil {
		return nil, err
	}
	sealed, info := key.Value, key.Key
	*key = base
	key.Value, key.Key, key.Disabled = sealed, info, certificate.Disabled
	return &certParts{&certificate, key, &secret}, nil
}

// addCertificate keeps a new version of a certificate, its key and its secret.
func (c *call) addCertificate(tx store.Tx, parts *certParts) error {
	if _, err := c.slot.add(tx, c.now, parts.certificate); err != nil {
		return err
	}
	of := map[kind]*version{keys: parts.key, secrets: parts.secret}
	for _, s := range c.slot.companions() {
		if _, err := s.add(tx, c.now, of[s.kind]); err != nil {
			return err
		}
	}
	return nil
}

// parseLeaf wraps a certificate that the vault made or that was merged.
func parseChain(ders [][]byte, private crypto.Signer) (*imported, error) {
	var chain []*x509.Certificate
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, badParameter("Property x5c has an invalid value: it is not an X.509 certificate.")
		}
		chain = append(chain, cert)
	}
	return pair(private, chain)
}
