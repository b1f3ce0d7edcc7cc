package ml

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// RunTokens makes the tokens of jobs: JSON web tokens that speak for one job
// alone, signed with a key that only this home has.
type RunTokens struct {
	key   []byte
	clock clock.Clock
}

const (
	bucketKey  = "ml.key"
	runIssuer  = "azimuth/jobs"
	runSubject = "job"
)

// SealedPlaces is where this package keeps sealed values.
func SealedPlaces() []seal.Place { return []seal.Place{seal.Whole(bucketKey)} }

// NewRunTokens reads the signing key from the store, sealed, or makes one. It
// must be called in an Update.
func NewRunTokens(tx store.Tx, sealer arm.Sealer, c clock.Clock) (*RunTokens, error) {
	sealed, err := tx.Get(bucketKey, runSubject)
	if err == nil {
		key, err := sealer.Open(sealed)
		if err != nil {
			return nil, fmt.Errorf("open the key of job tokens: %w", err)
		}
		return &RunTokens{key, c}, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the key of job tokens: %w", err)
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make the key of job tokens: %w", err)
	}
	if sealed, err = sealer.Seal(key); err != nil {
		return nil, fmt.Errorf("seal the key of job tokens: %w", err)
	}
	if err := tx.Put(bucketKey, runSubject, sealed); err != nil {
		return nil, fmt.Errorf("store the key of job tokens: %w", err)
	}
	return &RunTokens{key, c}, nil
}

type runClaims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Issued  int64  `json:"iat"`
	Expiry  int64  `json:"exp"`
}

// Issue implements Tokens.
func (t *RunTokens) Issue(jobID string, expiry time.Time) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: t.key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("sign job token: %w", err)
	}
	payload, err := json.Marshal(runClaims{runIssuer, jobID, t.clock.Now().Unix(), expiry.Unix()})
	if err != nil {
		return "", fmt.Errorf("encode job token: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign job token: %w", err)
	}
	return signed.CompactSerialize()
}

// Verify implements Tokens.
func (t *RunTokens) Verify(token string) (jobID string, ok bool, err error) {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return "", false, nil // of another algorithm, or no token at all
	}
	payload, err := signed.Verify(t.key)
	if err != nil {
		return "", true, errors.New("the signature of the token is wrong")
	}
	var c runClaims
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer != runIssuer {
		return "", true, errors.New("the token is malformed")
	}
	if !t.clock.Now().Before(time.Unix(c.Expiry, 0)) {
		return "", true, errors.New("the token has expired")
	}
	return c.Subject, true, nil
}
