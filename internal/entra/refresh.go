package entra

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// refreshToken is a refresh token as it is stored: not the token, but its hash.
type refreshToken struct {
	Hash        string    `json:"hash"`
	PrincipalID string    `json:"principalId"`
	ClientID    string    `json:"clientId"`
	Issued      time.Time `json:"issued"`
	Expires     time.Time `json:"expires"`
}

const (
	refreshLifetime = 90 * 24 * time.Hour
	purgeAtOnce     = 16
)

// ErrRefresh is wrapped when a refresh token is not, or no longer, good.
var ErrRefresh = errors.New("entra: refresh token not valid")

type refreshError struct {
	issued  time.Time
	expired bool
}

func (e *refreshError) Error() string { return ErrRefresh.Error() }
func (e *refreshError) Unwrap() error { return ErrRefresh }

// hashOpaque names a random token in the store.
func hashOpaque(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// opaque returns 256 random bits, with a prefix that tells people what they see.
func opaque(prefix string) string {
	b := make([]byte, 32)
	rand.Read(b)
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// IssueRefreshToken returns a new refresh token with which the client clientID
// can get access tokens for a principal. It is good for 90 days.
func (d *Directory) IssueRefreshToken(ctx context.Context, objectID, clientID string) (string, error) {
	token := opaque("azr_")
	err := d.cfg.Store.Update(ctx, func(tx store.Tx) error {
		p, err := d.principal(tx, objectID)
		if err != nil {
			return err
		}
		now := d.cfg.Clock.Now()
		if err := d.purgeRefresh(tx, now); err != nil {
			return err
		}
		return d.tables.refresh.Put(tx, &refreshToken{
			Hash:        hashOpaque(token),
			PrincipalID: p.ObjectID,
			ClientID:    clientID,
			Issued:      now,
			Expires:     now.Add(refreshLifetime),
		})
	})
	if err != nil {
		return "", fmt.Errorf("issue a refresh token: %w", err)
	}
	return token, nil
}

// purgeRefresh removes a few of the expired tokens: more than are added.
func (d *Directory) purgeRefresh(tx store.Tx, now time.Time) error {
	var gone []string
	for r, err := range d.tables.refresh.By(tx, byExpiry, store.Range{Limit: purgeAtOnce}) {
		if err != nil {
			return err
		}
		if now.Before(r.Expires) {
			break
		}
		gone = append(gone, r.Hash)
	}
	for _, hash := range gone {
		if err := d.tables.refresh.Delete(tx, hash); err != nil {
			return err
		}
	}
	return nil
}

// redeem returns the principal of a refresh token. As in Entra, using one does
// not end it.
func (d *Directory) redeem(tx store.Tx, token, clientID string) (*principal, error) {
	r, err := d.tables.refresh.Get(tx, hashOpaque(token))
	if errors.Is(err, store.ErrNotFound) || err == nil && r.ClientID != clientID {
		return nil, &refreshError{}
	}
	if err != nil {
		return nil, err
	}
	if !d.cfg.Clock.Now().Before(r.Expires) {
		return nil, &refreshError{issued: r.Issued, expired: true}
	}
	return d.principal(tx, r.PrincipalID)
}
