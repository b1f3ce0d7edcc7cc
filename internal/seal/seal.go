// Package seal encrypts secrets at rest under the home's key.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
)

// Sealer seals with AES-256-GCM under one key and a random nonce for each call.
// It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

const (
	keySize = 32
	// version is the first byte of everything sealed, so that the scheme can
	// change without guessing.
	version = 1
)

// Open reads the key file at path, or makes one with mode 0600 when there is
// none.
func Open(path string) (*Sealer, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keySize)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("make seal key: %w", err)
		}
		if _, err := atomicfile.Write(path, key, 0o600); err != nil {
			return nil, fmt.Errorf("make seal key: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("read seal key: %w", err)
	}
	return New(key)
}

// New returns a Sealer with the given key of 32 bytes.
func New(key []byte) (*Sealer, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("seal key has %d bytes, want %d", len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	return &Sealer{aead}, nil
}

// Seal encrypts and authenticates plain.
func (s *Sealer) Seal(plain []byte) ([]byte, error) {
	return s.aead.Seal([]byte{version}, nil, plain, []byte{version}), nil
}

// ErrSealed is returned by Open for what was not sealed with this key.
var ErrSealed = errors.New("seal: not sealed with this home's key, or damaged")

// Open is the inverse of Seal.
func (s *Sealer) Open(sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != version {
		return nil, ErrSealed
	}
	plain, err := s.aead.Open(nil, nil, sealed[1:], sealed[:1])
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
