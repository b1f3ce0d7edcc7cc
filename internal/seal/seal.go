// Package seal encrypts secrets at rest. Values are sealed with data keys, which are
// kept in the store, sealed with the home's key; that one is in the home or with
// whoever runs it. So the home's key can be exchanged, and with it every data key,
// and nothing that was ever sealed with the old ones is of use to who finds them.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// Sealer seals values. It is safe for concurrent use.
type Sealer struct {
	// keys are the home's data keys, of which the primary one seals. Without them
	// the first one seals.
	keys    tink.AEAD
	primary []byte // what everything begins with that the primary key has sealed
	first   cipher.AEAD
}

// The first byte of everything sealed says how it was.
const (
	// byFirst is AES-256-GCM under the home's key itself, with a random nonce: what
	// homes had before they had data keys.
	byFirst = 1
	// byKeys is a Tink ciphertext, which names its key.
	byKeys = 2
)

// New returns a Sealer that has one key of 32 bytes and no others. Homes have
// those of Open.
func New(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("seal key has %d bytes, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	return &Sealer{first: aead}, nil
}

// Seal encrypts and authenticates plain.
func (s *Sealer) Seal(plain []byte) ([]byte, error) {
	if s.keys == nil {
		return s.first.Seal([]byte{byFirst}, nil, plain, []byte{byFirst}), nil
	}
	out, err := s.keys.Encrypt(plain, []byte{byKeys})
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return append([]byte{byKeys}, out...), nil
}

// ErrSealed is returned by Open for what was not sealed with this home's keys.
var ErrSealed = errors.New("seal: not sealed with this home's key, or damaged")

// Open is the inverse of Seal.
func (s *Sealer) Open(sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, ErrSealed
	}
	var plain []byte
	var err error
	switch {
	case sealed[0] == byFirst && s.first != nil:
		plain, err = s.first.Open(nil, nil, sealed[1:], sealed[:1])
	case sealed[0] == byKeys && s.keys != nil:
		plain, err = s.keys.Decrypt(sealed[1:], sealed[:1])
	default:
		return nil, ErrSealed
	}
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
