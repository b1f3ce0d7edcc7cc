package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// KeySize is how many bytes a key has.
const KeySize = 32

// Key is the key of a home. It shows itself to no log.
type Key []byte

// NewKey makes a key.
func NewKey() (Key, error) {
	k := make(Key, KeySize)
	if _, err := rand.Read(k); err != nil {
		return nil, fmt.Errorf("make seal key: %w", err)
	}
	return k, nil
}

// ErrBadKey is wrapped by ParseKey and ReadKey for what is no key.
var ErrBadKey = errors.New("a seal key is 32 bytes: as they are, or in base64 or hexadecimal digits")

// ParseKey reads a key from text: 32 bytes in base64 of either alphabet, or in
// hexadecimal digits.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	if b, err := hex.DecodeString(text); err == nil && len(b) == KeySize {
		return b, nil
	}
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	if b, err := base64.RawStdEncoding.DecodeString(plain); err == nil && len(b) == KeySize {
		return b, nil
	}
	return nil, ErrBadKey
}

// ReadKey reads a key from a file that holds 32 bytes, or text that ParseKey takes.
func ReadKey(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read seal key: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, fmt.Errorf("read seal key: %w", err)
	}
	if len(b) == KeySize {
		return b, nil
	}
	k, err := ParseKey(string(b))
	if err != nil {
		return nil, fmt.Errorf("read seal key %s: %w", path, err)
	}
	return k, nil
}

// ID tells keys apart and says nothing of them: 16 hexadecimal digits.
func (k Key) ID() string {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte("azimuth seal key"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// Equal compares keys.
func (k Key) Equal(other Key) bool { return bytes.Equal(k, other) }

// String implements fmt.Stringer, without the key.
func (k Key) String() string { return "seal key " + k.ID() }

// GoString implements fmt.GoStringer, without the key.
func (k Key) GoString() string { return k.String() }

// LogValue implements slog.LogValuer, without the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
