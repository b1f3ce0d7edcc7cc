package oci

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// How long tokens live: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
const (
	refreshLife = 3 * time.Hour
	accessLife  = 75 * time.Minute

	maxToken = 48 << 10
)

// Kinds of tokens.
const (
	kindRefresh = "refresh_token"
	kindAccess  = "access_token"
)

// scope is what a token lets do: some actions on one thing.
type scope struct {
	Type, Name string
	Actions    []string
}

// claims is the payload of both kinds of tokens.
type claims struct {
	ID        string `json:"jti"`
	Subject   string `json:"sub"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`
	Issued    int64  `json:"iat"`
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	Version   string `json:"version"`
	// Registry is the UID of the registry that the token is for.
	Registry string `json:"rid"`
	// Admin is the mark of the password that was shown, for the admin user.
	Admin string  `json:"adm,omitempty"`
	Kind  string  `json:"grant_type"`
	Acts  []scope `json:"access,omitempty"`
}

const issuer = "Azure Container Registry"

// tokens issues and verifies tokens, with a key that only this home has.
type tokens struct {
	key   []byte
	clock clock.Clock
}

// SealedPlaces is where this package keeps sealed values.
func SealedPlaces() []seal.Place { return []seal.Place{seal.Whole(bucketKey)} }

// newTokens reads the key from the store, sealed, or makes one.
func newTokens(tx store.Tx, sealer Sealer, c clock.Clock) (*tokens, error) {
	const name = "token"
	sealed, err := tx.Get(bucketKey, name)
	if err == nil {
		key, err := sealer.Open(sealed)
		if err != nil {
			return nil, fmt.Errorf("open the key of registry tokens: %w", err)
		}
		return &tokens{key, c}, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the key of registry tokens: %w", err)
	}
	key := make([]byte, 32)
	rand.Read(key)
	if sealed, err = sealer.Seal(key); err != nil {
		return nil, fmt.Errorf("seal the key of registry tokens: %w", err)
	}
	if err := tx.Put(bucketKey, name, sealed); err != nil {
		return nil, fmt.Errorf("store the key of registry tokens: %w", err)
	}
	return &tokens{key, c}, nil
}

// issue makes a token of a kind that speaks for id.
func (t *tokens) issue(reg *Registry, id identity, kind string, acts []scope) (string, error) {
	now, life := t.clock.Now(), accessLife
	if kind == kindRefresh {
		life = refreshLife
	}
	payload, err := json.Marshal(claims{
		ID: uuid.NewString(), Subject: id.ObjectID, Admin: id.Password, Issuer: issuer, Audience: reg.host(), Version: "1.0",
		Registry: reg.UID, Kind: kind, Acts: acts,
		// dated back as Azure's are, for clients whose clock is behind
		NotBefore: now.Add(-15 * time.Minute).Unix(), Issued: now.Unix(), Expires: now.Add(life).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("encode registry token: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: t.key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("sign registry token: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign registry token: %w", err)
	}
	return signed.CompactSerialize()
}

// tokenError says why a token is not good.
type tokenError struct{}

func (tokenError) Error() string { return "the token is not one of this registry, or has expired" }

// verify returns whom a token of a kind speaks for, and what it lets do.
func (t *tokens) verify(reg *Registry, token, kind string) (identity, []scope, error) {
	if len(token) > maxToken {
		return identity{}, nil, tokenError{}
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return identity{}, nil, tokenError{}
	}
	payload, err := signed.Verify(t.key)
	if err != nil {
		return identity{}, nil, tokenError{}
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return identity{}, nil, tokenError{}
	}
	now := t.clock.Now().Unix()
	if c.Issuer != issuer || c.Kind != kind || c.Audience != reg.host() || c.Registry != reg.UID || now >= c.Expires || now < c.NotBefore {
		return identity{}, nil, tokenError{}
	}
	return identity{ObjectID: c.Subject, Password: c.Admin}, c.Acts, nil
}

// mark tells passwords apart without telling them.
func (t *tokens) mark(reg *Registry, password string) string {
	sum := sha256.Sum256([]byte(key(string(t.key), reg.UID, password)))
	return hex.EncodeToString(sum[:16])
}
