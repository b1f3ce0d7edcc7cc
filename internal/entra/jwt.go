package entra

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// claims is the payload of a token. Version 1 and version 2 tokens name the
// client differently.
type claims struct {
	Audience  string `json:"aud"`
	Issuer    string `json:"iss"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`

	AppID      string `json:"appid,omitempty"`    // version 1
	AppIDAuth  string `json:"appidacr,omitempty"` // version 1: how the client proved itself
	Azp        string `json:"azp,omitempty"`      // version 2
	AzpAuth    string `json:"azpacr,omitempty"`   // version 2
	IDP        string `json:"idp,omitempty"`
	IDType     string `json:"idtyp,omitempty"`
	Name       string `json:"name,omitempty"`
	ObjectID   string `json:"oid"`
	Scopes     string `json:"scp,omitempty"`
	Subject    string `json:"sub"`
	TenantID   string `json:"tid"`
	UniqueName string `json:"unique_name,omitempty"`
	UPN        string `json:"upn,omitempty"`
	TokenID    string `json:"uti"`
	Version    string `json:"ver"`
	ResourceID string `json:"xms_mirid,omitempty"` // managed identities

	keyID string // of the key that signed; not in the payload
}

type jwtHeader struct {
	Type       string `json:"typ"`
	Algorithm  string `json:"alg"`
	Thumbprint string `json:"x5t,omitempty"`
	KeyID      string `json:"kid"`
}

const (
	algorithm    = "RS256"
	maxTokenSize = 16 << 10
)

var (
	errMalformed = errors.New("the token is not a JSON web token of this tenant")
	errSignature = errors.New("the token's signature is not valid")
)

// sign makes a token of c.
func (k *keyring) sign(c *claims) (string, error) {
	key := k.signer()
	header, err := json.Marshal(jwtHeader{Type: "JWT", Algorithm: algorithm, Thumbprint: key.id, KeyID: key.id})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString(header) + "." + enc.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed + "." + enc.EncodeToString(signature), nil
}

// parse returns the payload of a token whose signature is right. It says nothing
// about time, issuer and audience. Errors wrap errMalformed or errSignature.
func (k *keyring) parse(token string) (*claims, error) {
	if len(token) > maxTokenSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", errMalformed, maxTokenSize)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: %d parts, want 3", errMalformed, len(parts))
	}
	var header jwtHeader
	if err := decodePart(parts[0], &header); err != nil {
		return nil, err
	}
	// The algorithm is ours to choose: a token that names another, "none" above
	// all, is not one of ours.
	if header.Algorithm != algorithm {
		return nil, fmt.Errorf("%w: algorithm %q", errMalformed, header.Algorithm)
	}
	key := k.find(header.KeyID)
	if key == nil {
		return nil, fmt.Errorf("%w: signed with an unknown key", errSignature)
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	sum := sha256.Sum256([]byte(token[:len(parts[0])+1+len(parts[1])]))
	if err := rsa.VerifyPKCS1v15(&key.private.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return nil, fmt.Errorf("%w: %w", errSignature, err)
	}
	c := &claims{keyID: key.id}
	if err := decodePart(parts[1], c); err != nil {
		return nil, err
	}
	return c, nil
}

func decodePart(part string, into any) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}
