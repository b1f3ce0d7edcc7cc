package entra

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"time"
)

// clientSecret is a secret of an application. The secret itself is not kept.
type clientSecret struct {
	ID         string    `json:"keyId"`
	Hint       string    `json:"hint"` // its first characters
	Salt       []byte    `json:"salt"`
	Hash       []byte    `json:"hash"`
	Iterations int       `json:"iterations"`
	Name       string    `json:"name,omitempty"`
	Start      time.Time `json:"start,omitzero"`
	Expires    time.Time `json:"expires"`
}

const (
	secretLifetime = 2 * 365 * 24 * time.Hour
	// Secrets are random, 256 bits, and never chosen by a person: the stretching
	// is a second line of defence, and may be short. About 3 ms.
	secretIterations = 20_000
	hintLength       = 3
	// Passwords are chosen by people.
	passwordIterations = 600_000
)

// newSecret returns 256 random bits in letters that need no quoting in any shell
// or URL.
func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return "az_" + base64.RawURLEncoding.EncodeToString(b)
}

func hashSecret(secret string, expires time.Time) (clientSecret, error) {
	s := clientSecret{ID: newID(), Hint: secret[:hintLength], Salt: make([]byte, 16), Iterations: secretIterations, Expires: expires}
	rand.Read(s.Salt)
	hash, err := s.stretch(secret)
	if err != nil {
		return clientSecret{}, err
	}
	s.Hash = hash
	return s, nil
}

// hashPassword is hashSecret for what a person chose. It does not expire.
func hashPassword(password string) (clientSecret, error) {
	s := clientSecret{ID: newID(), Salt: make([]byte, 16), Iterations: passwordIterations}
	rand.Read(s.Salt)
	hash, err := s.stretch(password)
	if err != nil {
		return clientSecret{}, err
	}
	s.Hash = hash
	return s, nil
}

func (s *clientSecret) stretch(secret string) ([]byte, error) {
	hash, err := pbkdf2.Key(sha256.New, secret, s.Salt, s.Iterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("hash a secret: %w", err)
	}
	return hash, nil
}

// verdict is what became of a client's secret.
type verdict int

const (
	secretWrong verdict = iota
	secretExpired
	secretRight
)

// checkSecret compares a secret with an application's. A right one is remembered
// in memory, by a keyed hash, so that the next token request is quick. What is
// remembered counts only while the application still has that secret.
func (d *Directory) checkSecret(app *application, secret string) (verdict, error) {
	key := sha256.Sum256(append(append(d.pepper[:], app.AppID...), secret...))
	id, known := d.secrets.get(key)
	now := d.cfg.Clock.Now()
	for i := range app.Secrets {
		s := &app.Secrets[i]
		if known && id != s.ID {
			continue
		}
		if !known {
			hash, err := s.stretch(secret)
			if err != nil {
				return secretWrong, err
			}
			if subtle.ConstantTimeCompare(hash, s.Hash) != 1 {
				continue
			}
			d.secrets.put(key, s.ID)
		}
		if !now.Before(s.Expires) {
			return secretExpired, nil
		}
		return secretRight, nil
	}
	return secretWrong, nil
}
