package entra

import (
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
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
	// PreferredName is the user's name in ID tokens.
	PreferredName string `json:"preferred_username,omitempty"`
	Version       string `json:"ver"`
	ResourceID    string `json:"xms_mirid,omitempty"` // managed identities

	keyID string // of the key that signed; not in the payload
}

const (
	algorithm    = jose.RS256
	maxTokenSize = 16 << 10
)

var (
	errMalformed = errors.New("the token is not a JSON web token of this tenant")
	errSignature = errors.New("the token's signature is not valid")
)

// sign makes a token of c.
func (k *keyring) sign(c *claims) (string, error) {
	key := k.signer()
	opts := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", key.id).WithHeader("x5t", key.id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key.private}, opts)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed.CompactSerialize()
}

// parse returns the payload of a token whose signature is right. It says nothing
// about time, issuer and audience. Errors wrap errMalformed or errSignature.
func (k *keyring) parse(token string) (*claims, error) {
	if len(token) > maxTokenSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", errMalformed, maxTokenSize)
	}
	// The algorithm is ours to choose: a token that names another, "none" above
	// all, is not one of ours.
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	key := k.find(signed.Signatures[0].Header.KeyID)
	if key == nil {
		return nil, fmt.Errorf("%w: signed with an unknown key", errSignature)
	}
	payload, err := signed.Verify(&key.private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSignature, err)
	}
	c := &claims{keyID: key.id}
	if err := json.Unmarshal(payload, c); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return c, nil
}
