package vault

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/big"
	"net/http"
	"slices"
	"strings"
)

// usage is something that is done with a key.
type usage struct {
	// op is what key_ops must have, name what errors call it.
	op, name string
	// late usages are allowed of keys that are expired or not yet valid:
	// https://learn.microsoft.com/azure/key-vault/keys/about-keys-details#date-time-controlled-operations
	late bool
	do   func(private crypto.Signer, in *useRequest) (any, error)
}

type useRequest struct {
	Algorithm string   `json:"alg"`
	Value     keyBytes `json:"value"`
	Digest    keyBytes `json:"digest"`
	// The rest is of symmetric keys.
	IV  keyBytes `json:"iv"`
	AAD keyBytes `json:"aad"`
	Tag keyBytes `json:"tag"`
}

// keyBytes are bytes in base64url.
type keyBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b keyBytes) MarshalText() ([]byte, error) { return []byte(base64url.EncodeToString(b)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *keyBytes) UnmarshalText(text []byte) (err error) {
	*b, err = base64url.DecodeString(strings.TrimRight(string(text), "="))
	return err
}

// The usages that there are.
func encrypt() usage   { return usage{"encrypt", "encrypt", false, seal} }
func decrypt() usage   { return usage{"decrypt", "decrypt", true, unseal} }
func wrapKey() usage   { return usage{"wrapKey", "wrapKey", false, seal} }
func unwrapKey() usage { return usage{"unwrapKey", "unwrapKey", true, unseal} }
func sign() usage      { return usage{"sign", "sign", false, signDigest} }
func verify() usage    { return usage{"verify", "verify", true, verifyDigest} }

// use does something with the key that the request is about.
func (c *call) use(u usage) (any, error) {
	var in useRequest
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	o, v, err := c.find()
	if err != nil {
		return nil, err
	}
	if err := c.mayUse(u, v); err != nil {
		return nil, err
	}
	if isOct(v.Key.Type) {
		out, err := c.useOct(u, v, &in)
		if err != nil {
			return nil, err
		}
		out.KID = c.id(o, v, true)
		return out, nil
	}
	private, err := c.private(v)
	if err != nil {
		return nil, err
	}
	result, err := u.do(private, &in)
	if err != nil {
		return nil, err
	}
	if ok, isBool := result.(bool); isBool {
		return map[string]any{"value": ok}, nil
	}
	return map[string]any{"kid": c.id(o, v, true), "value": result}, nil
}

func (c *call) mayUse(u usage, v *version) error {
	forbidden := func(inner, format string, args ...any) error {
		e := failure(http.StatusForbidden, "Forbidden", fmt.Sprintf(format, args...))
		e.Inner = inner
		return e
	}
	now := c.now.Unix()
	// Of these, Azure's words for a disabled key are known.
	switch {
	case v.Disabled:
		return c.disabled(u.name)
	case !slices.Contains(v.Key.Ops, u.op):
		return forbidden("KeyOperationForbidden", "Operation %s is not permitted on this key.", u.name)
	case u.late:
		return nil
	case v.NotBefore != nil && now < *v.NotBefore:
		return forbidden("KeyNotYetValid", "Operation %s is not allowed on a key that is not yet valid.", u.name)
	case v.Expires != nil && now >= *v.Expires:
		return forbidden("KeyExpired", "Operation %s is not allowed on an expired key.", u.name)
	}
	return nil
}

func badAlgorithm(in *useRequest) error {
	return badParameter("Property alg has an invalid value for this key: '%s'.", in.Algorithm)
}

// rsaPadding is the hash of an OAEP algorithm; PKCS #1 v1.5 has none.
func rsaPadding(algorithm string) (h hash.Hash, ok bool) {
	switch algorithm {
	case "RSA1_5":
		return nil, true
	case "RSA-OAEP":
		return sha1.New(), true
	case "RSA-OAEP-256":
		return sha256.New(), true
	}
	return nil, false
}

func seal(private crypto.Signer, in *useRequest) (any, error) {
	k, isRSA := private.(*rsa.PrivateKey)
	h, ok := rsaPadding(in.Algorithm)
	if !isRSA || !ok {
		return nil, badAlgorithm(in)
	}
	var out []byte
	var err error
	if h == nil {
		//lint:ignore SA1019 Azure has it, and what was encrypted with it has to be read
		out, err = rsa.EncryptPKCS1v15(rand.Reader, &k.PublicKey, in.Value)
	} else {
		out, err = rsa.EncryptOAEP(h, rand.Reader, &k.PublicKey, in.Value, nil)
	}
	if err != nil {
		return nil, badParameter("Property value has an invalid value: %v.", err)
	}
	return keyBytes(out), nil
}

func unseal(private crypto.Signer, in *useRequest) (any, error) {
	k, isRSA := private.(*rsa.PrivateKey)
	h, ok := rsaPadding(in.Algorithm)
	if !isRSA || !ok {
		return nil, badAlgorithm(in)
	}
	var out []byte
	var err error
	if h == nil {
		//lint:ignore SA1019 Azure has it
		out, err = rsa.DecryptPKCS1v15(nil, k, in.Value)
	} else {
		out, err = rsa.DecryptOAEP(h, nil, k, in.Value, nil)
	}
	if err != nil {
		return nil, badParameter("Property value has an invalid value: it was not encrypted for this key.")
	}
	return keyBytes(out), nil
}

// signing is what an algorithm for signatures stands for.
type signing struct {
	hash crypto.Hash
	// pss and curve tell RSASSA-PSS, RSASSA-PKCS1-v1_5 and ECDSA apart.
	pss   bool
	curve string
}

func signingOf(in *useRequest, private crypto.Signer, digest []byte) (signing, error) {
	s, ok := map[string]signing{
		"RS256": {hash: crypto.SHA256}, "RS384": {hash: crypto.SHA384}, "RS512": {hash: crypto.SHA512},
		"PS256": {hash: crypto.SHA256, pss: true}, "PS384": {hash: crypto.SHA384, pss: true}, "PS512": {hash: crypto.SHA512, pss: true},
		"ES256": {hash: crypto.SHA256, curve: "P-256"}, "ES384": {hash: crypto.SHA384, curve: "P-384"}, "ES512": {hash: crypto.SHA512, curve: "P-521"},
	}[in.Algorithm]
	fits := false
	switch k := private.(type) {
	case *rsa.PrivateKey:
		fits = s.curve == ""
	case *ecdsa.PrivateKey:
		fits = s.curve == k.Curve.Params().Name
	}
	if !ok || !fits {
		return s, badAlgorithm(in)
	}
	if len(digest) != s.hash.Size() {
		return s, badParameter("Invalid length of the digest: %d bytes; %s takes %d.", len(digest), in.Algorithm, s.hash.Size())
	}
	return s, nil
}

func (s signing) options() crypto.SignerOpts {
	if s.pss {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	return s.hash
}

func signDigest(private crypto.Signer, in *useRequest) (any, error) {
	s, err := signingOf(in, private, in.Value)
	if err != nil {
		return nil, err
	}
	if k, ok := private.(*ecdsa.PrivateKey); ok {
		// JSON Web Signatures put the two numbers one behind the other.
		r, t, err := ecdsa.Sign(rand.Reader, k, in.Value)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		t.FillBytes(out[size:])
		return keyBytes(out), nil
	}
	out, err := private.Sign(rand.Reader, in.Value, s.options())
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return keyBytes(out), nil
}

func verifyDigest(private crypto.Signer, in *useRequest) (any, error) {
	s, err := signingOf(in, private, in.Digest)
	if err != nil {
		return nil, err
	}
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		if len(in.Value) != 2*size {
			return false, nil
		}
		r, t := new(big.Int).SetBytes(in.Value[:size]), new(big.Int).SetBytes(in.Value[size:])
		return ecdsa.Verify(&k.PublicKey, in.Digest, r, t), nil
	case *rsa.PrivateKey:
		if s.pss {
			return rsa.VerifyPSS(&k.PublicKey, s.hash, in.Digest, in.Value, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil, nil
		}
		return rsa.VerifyPKCS1v15(&k.PublicKey, s.hash, in.Digest, in.Value) == nil, nil
	}
	return nil, badAlgorithm(in)
}
