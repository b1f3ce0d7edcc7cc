package vault

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// keyInfo is what of a key is no secret. The private key is the version's value,
// in PKCS #8.
type keyInfo struct {
	// Type is RSA, EC or oct; with -HSM in premium vaults, where Azimuth has no HSM
	// and keeps the key as any other.
	Type string
	Ops  []string
	// Public is the public key as a JSON Web Key, without kid and key_ops.
	Public json.RawMessage
}

// keyBundle is a key on the wire, or an entry of a list.
type keyBundle struct {
	KID string         `json:"kid,omitempty"`
	Key map[string]any `json:"key,omitempty"`
	frame
}

func (c *call) listedKey(o *object, v *version, withVersion bool) any {
	return &keyBundle{KID: c.id(o, v, withVersion), frame: c.frame(o, v)}
}

func (c *call) shownKey(o *object, v *version) any {
	b := &keyBundle{frame: c.frame(o, v)}
	if err := json.Unmarshal(v.Key.Public, &b.Key); err != nil { // it was written by newKey
		b.Key = map[string]any{}
	}
	b.Key["kid"], b.Key["kty"], b.Key["key_ops"] = c.id(o, v, true), v.Key.Type, v.Key.Ops
	return b
}

// keyRequest creates or changes a key.
type keyRequest struct {
	Type           string          `json:"kty"`
	Size           int             `json:"key_size"`
	Curve          string          `json:"crv"`
	PublicExponent int             `json:"public_exponent"`
	Ops            []string        `json:"key_ops"`
	ReleasePolicy  json.RawMessage `json:"release_policy"`
	frame
}

// keyOps are the operations of a type of key, in the order in which Azure has
// them.
func keyOps(typ string) []string {
	if typ == "EC" || typ == "EC-HSM" {
		return []string{"sign", "verify"}
	}
	if isOct(typ) {
		return []string{"encrypt", "decrypt", "wrapKey", "unwrapKey"}
	}
	return []string{"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}
}

// curve returns a named curve, or nil for one that is not here: P-256K is in no
// library that Azimuth uses.
func curve(name string) elliptic.Curve {
	switch name {
	case "", "P-256":
		return elliptic.P256()
	case "P-384":
		return elliptic.P384()
	case "P-521":
		return elliptic.P521()
	}
	return nil
}

// checkOps refuses operations that the type of key does not have.
func checkOps(typ string, ops []string) error {
	for _, op := range ops {
		if op != "import" && !slices.Contains(keyOps(typ), op) {
			return badParameter("Property key_ops has an invalid value: a key of type %s does not %s.", typ, op)
		}
	}
	return nil
}

// newKey makes a version of a private key.
func (c *call) newKey(in *keyRequest, private crypto.Signer) (*version, error) {
	public, err := (jose.JSONWebKey{Key: private.Public()}).MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return c.newKeyVersion(in, public, plain)
}

// newKeyVersion makes a version of a key, of which plain is the secret part.
func (c *call) newKeyVersion(in *keyRequest, public json.RawMessage, plain []byte) (*version, error) {
	if len(in.ReleasePolicy) > 0 && string(in.ReleasePolicy) != "null" {
		return nil, failure(http.StatusNotImplemented, "NotImplementedByAzimuth", "Azimuth does not release keys by policy.")
	}
	if in.Ops == nil {
		in.Ops = keyOps(in.Type)
	}
	if err := checkOps(in.Type, in.Ops); err != nil {
		return nil, err
	}
	v := &version{ID: newVersionID(), Created: c.now, Updated: c.now, Key: &keyInfo{Type: in.Type, Ops: in.Ops, Public: public}}
	if err := in.change(v); err != nil {
		return nil, err
	}
	var err error
	if v.Value, err = c.cfg.Sealer.Seal(plain); err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	return v, nil
}

// private opens the private key of a version.
func (c *call) private(v *version) (crypto.Signer, error) {
	plain, err := c.cfg.Sealer.Open(v.Value)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	k, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read key: a %T does not sign", k)
	}
	return signer, nil
}

func (c *call) checkType(typ string) error {
	switch typ {
	case "RSA", "EC", "oct":
		return nil
	case "RSA-HSM", "EC-HSM", "oct-HSM":
		if c.v.Premium {
			return nil
		}
		return badParameter("Keys of type %s need a vault of the premium SKU.", typ)
	}
	return badParameter("Property kty has an invalid value: '%s'.", typ)
}

// generate makes a private key of the requested type.
func generate(in *keyRequest) (crypto.Signer, error) {
	if in.Type == "EC" || in.Type == "EC-HSM" {
		crv := curve(in.Curve)
		if crv == nil {
			if in.Curve == "P-256K" {
				return nil, failure(http.StatusNotImplemented, "NotImplementedByAzimuth", "Azimuth does not implement keys on the curve P-256K.")
			}
			return nil, badParameter("Property crv has an invalid value: '%s'.", in.Curve)
		}
		return ecdsa.GenerateKey(crv, rand.Reader)
	}
	switch in.Size {
	case 0:
		in.Size = 2048
	case 2048, 3072, 4096:
	default:
		return nil, badParameter("Property key_size has an invalid value: it is 2048, 3072 or 4096.")
	}
	if in.PublicExponent != 0 && in.PublicExponent != 65537 {
		return nil, badParameter("Property public_exponent has an invalid value: it is 65537.")
	}
	return rsa.GenerateKey(rand.Reader, in.Size)
}

func (c *call) createKey() (any, error) {
	var in keyRequest
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	if err := c.checkType(in.Type); err != nil {
		return nil, err
	}
	v, err := c.generateKey(&in)
	if err != nil {
		return nil, err
	}
	return c.keep(v)
}

// generateKey makes a version of a new key of any type.
func (c *call) generateKey(in *keyRequest) (*version, error) {
	if isOct(in.Type) {
		key, err := generateOct(in)
		if err != nil {
			return nil, err
		}
		return c.newOct(in, key)
	}
	private, err := generate(in)
	if err != nil {
		return nil, err
	}
	return c.newKey(in, private)
}

// keep stores a new version and answers with it.
func (c *call) keep(v *version) (any, error) {
	o, err := c.add(v)
	if err != nil {
		return nil, err
	}
	return c.shownKey(o, v), nil
}

func (c *call) importKey() (any, error) {
	var in struct {
		Key json.RawMessage `json:"key"`
		keyRequest
	}
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	var head struct {
		Type string   `json:"kty"`
		Ops  []string `json:"key_ops"`
	}
	if err := json.Unmarshal(in.Key, &head); err != nil {
		return nil, badParameter("Property key is not a JSON Web Key.")
	}
	if err := c.checkType(head.Type); err != nil {
		return nil, err
	}
	in.Type, in.Ops = head.Type, head.Ops
	var v *version
	if isOct(head.Type) {
		key, err := parseOct(in.Key)
		if err != nil {
			return nil, err
		}
		v, err = c.newOct(&in.keyRequest, key)
		if err != nil {
			return nil, err
		}
	} else {
		private, err := parsePrivate(in.Key)
		if err != nil {
			return nil, err
		}
		v, err = c.newKey(&in.keyRequest, private)
		if err != nil {
			return nil, err
		}
	}
	return c.keep(v)
}

// parsePrivate reads a private JSON Web Key that a vault takes.
func parsePrivate(text []byte) (crypto.Signer, error) {
	bad := badParameter("Property key is not a private JSON Web Key of RSA with 2048, 3072 or 4096 bits, or of the curve P-256, P-384 or P-521.")
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, bad
	}
	// The library knows neither HSM types nor key_ops.
	switch fields["kty"] {
	case "RSA-HSM":
		fields["kty"] = "RSA"
	case "EC-HSM":
		fields["kty"] = "EC"
	}
	for name := range fields {
		if !slices.Contains([]string{"kty", "n", "e", "d", "p", "q", "dp", "dq", "qi", "crv", "x", "y"}, name) {
			delete(fields, name)
		}
	}
	plain, err := json.Marshal(fields)
	if err != nil {
		return nil, bad
	}
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(plain); err != nil || k.IsPublic() || !k.Valid() {
		return nil, bad
	}
	switch k := k.Key.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); (n == 2048 || n == 3072 || n == 4096) && k.E == 65537 && k.Validate() == nil {
			return k, nil
		}
	case *ecdsa.PrivateKey:
		if _, err := k.ECDH(); err == nil { // the point is on the curve
			return k, nil
		}
	}
	return nil, bad
}

func (c *call) getKey() (any, error) {
	o, v, err := c.find()
	if err != nil {
		return nil, err
	}
	if v.Disabled {
		return nil, c.disabled("get")
	}
	return c.shownKey(o, v), nil
}

func (c *call) updateKey() (any, error) {
	var in keyRequest
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	return c.update(func(v *version) error {
		if in.Ops != nil {
			if err := checkOps(v.Key.Type, in.Ops); err != nil {
				return err
			}
			v.Key.Ops = in.Ops
		}
		return in.change(v)
	})
}
