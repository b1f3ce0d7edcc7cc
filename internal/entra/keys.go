package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
)

const (
	keyBits     = 2048
	keyPattern  = "entra-signing-*.key"
	keyName     = "entra-signing-%04d.key"
	keysAtOnce  = 3 // the one that signs, and those whose tokens are still about
	firstKey    = 1
	maxKeyFiles = 9999
)

type signingKey struct {
	id      string
	number  int
	private *rsa.PrivateKey
}

// keyring is the signing keys, by age. The newest signs; all verify.
type keyring struct {
	mu   sync.RWMutex
	dir  string
	keys []*signingKey
}

func (k *keyring) load(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dir = dir
	if err := k.read(); err != nil {
		return err
	}
	if len(k.keys) > 0 {
		return nil
	}
	if err := k.create(firstKey); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return k.read() // ours, or that of another process that was first
}

// read loads the key files. k.mu is held.
func (k *keyring) read() error {
	paths, err := filepath.Glob(filepath.Join(k.dir, keyPattern)) // in the order of their numbers
	if err != nil {
		return err
	}
	k.keys = nil
	for _, path := range paths {
		key := &signingKey{}
		if _, err := fmt.Sscanf(filepath.Base(path), keyName, &key.number); err != nil {
			return fmt.Errorf("%s: not the name of a key file", path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return fmt.Errorf("%s: no PEM block", path)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		private, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return fmt.Errorf("%s holds a %T, want an RSA key", path, parsed)
		}
		if private.N.BitLen() < keyBits {
			return fmt.Errorf("%s holds a key of %d bits, want %d", path, private.N.BitLen(), keyBits)
		}
		key.private = private
		sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&private.PublicKey))
		key.id = base64.RawURLEncoding.EncodeToString(sum[:20])
		k.keys = append(k.keys, key)
	}
	return nil
}

func (k *keyring) create(number int) error {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return atomicfile.Create(filepath.Join(k.dir, fmt.Sprintf(keyName, number)), data, 0o600)
}

// RotateSigningKey makes a new key sign from now on. Tokens of the two keys
// before it stay good; those of older ones do not.
func (d *Directory) RotateSigningKey() error {
	k := &d.keys
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.keys[len(k.keys)-1].number + 1
	if next > maxKeyFiles {
		return errors.New("entra: the signing key was rotated too often")
	}
	if err := k.create(next); err != nil {
		return fmt.Errorf("entra: rotate the signing key: %w", err)
	}
	if err := k.read(); err != nil {
		return fmt.Errorf("entra: rotate the signing key: %w", err)
	}
	for len(k.keys) > keysAtOnce {
		if err := os.Remove(filepath.Join(k.dir, fmt.Sprintf(keyName, k.keys[0].number))); err != nil {
			return fmt.Errorf("entra: remove an old signing key: %w", err)
		}
		k.keys = k.keys[1:]
	}
	return nil
}

// signer returns the key that signs.
func (k *keyring) signer() *signingKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[len(k.keys)-1]
}

// find returns the key with an ID, or nil.
func (k *keyring) find(id string) *signingKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, key := range k.keys {
		if key.id == id {
			return key
		}
	}
	return nil
}

// jwk is a public key as RFC 7517 writes it.
type jwk struct {
	Type     string `json:"kty"`
	Use      string `json:"use"`
	ID       string `json:"kid"`
	Modulus  string `json:"n"`
	Exponent string `json:"e"`
	Issuer   string `json:"issuer,omitempty"`
}

func (k *keyring) public(issuer string) []jwk {
	k.mu.RLock()
	defer k.mu.RUnlock()
	out := make([]jwk, 0, len(k.keys))
	for _, key := range k.keys {
		out = append(out, jwk{
			Type:     "RSA",
			Use:      "sig",
			ID:       key.id,
			Modulus:  base64.RawURLEncoding.EncodeToString(key.private.N.Bytes()),
			Exponent: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.private.E)).Bytes()),
			Issuer:   issuer,
		})
	}
	return out
}
