package seal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	ringBucket = "seal"
	ringKey    = "ring"
)

// ring is a home's data keys as the store keeps them, sealed with the home's key.
type ring struct {
	// Keyset is a Tink keyset. Keys that seal no more stay in it: backups of secrets
	// that people keep are sealed with them.
	Keyset []byte `json:"keyset"`
	// First is the key of a home from before it had data keys; empty in others.
	First []byte `json:"first,omitempty"`
	// Key is the ID of the home's key, Previous that of the one before.
	Key      string `json:"key"`
	Previous string `json:"previous,omitempty"`
	// Stale says that values may be sealed with other keys than the primary one.
	Stale   bool      `json:"stale,omitempty"`
	Rotated time.Time `json:"rotated"`
}

// opened is a ring that the home's key has opened.
type opened struct {
	ring
	handle *keyset.Handle
	first  Key
}

// purpose ties what the home's key seals to its place.
func purpose(what string) []byte { return []byte("azimuth seal " + what) }

// seal writes the ring as the key opens it.
func (o *opened) seal(key Key, now time.Time) error {
	kek, err := subtle.NewAESGCM(key)
	if err != nil {
		return fmt.Errorf("seal data keys: %w", err)
	}
	var b bytes.Buffer
	if err := o.handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), kek, purpose("keyset")); err != nil {
		return fmt.Errorf("seal data keys: %w", err)
	}
	o.Keyset, o.First = b.Bytes(), nil
	if o.first != nil {
		if o.First, err = kek.Encrypt(o.first, purpose("first")); err != nil {
			return fmt.Errorf("seal data keys: %w", err)
		}
	}
	if o.Key != "" && o.Key != key.ID() {
		o.Previous = o.Key
	}
	o.Key, o.Rotated = key.ID(), now
	return nil
}

// open opens the ring with the home's key, or returns a WrongKeyError.
func (r *ring) open(key Key) (*opened, error) {
	kek, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("open data keys: %w", err)
	}
	wrong := &WrongKeyError{Given: key.ID(), Want: r.Key}
	if wrong.Given != wrong.Want {
		return nil, wrong
	}
	o := &opened{ring: *r}
	if o.handle, err = keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(r.Keyset)), kek, purpose("keyset")); err != nil {
		return nil, wrong
	}
	if len(r.First) > 0 {
		if o.first, err = kek.Decrypt(r.First, purpose("first")); err != nil {
			return nil, wrong
		}
	}
	return o, nil
}

// addKey makes a data key that seals from now on.
func (o *opened) addKey() error {
	m := keyset.NewManager()
	if o.handle != nil {
		m = keyset.NewManagerFromHandle(o.handle)
	}
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err == nil {
		o.handle, err = m.Handle()
	}
	if err != nil {
		return fmt.Errorf("make data key: %w", err)
	}
	return nil
}

// sealer returns the Sealer of the ring's keys.
func (o *opened) sealer() (*Sealer, error) {
	s := &Sealer{}
	if o.first != nil {
		first, err := New(o.first)
		if err != nil {
			return nil, err
		}
		s.first = first.first
	}
	var err error
	if s.keys, err = aead.New(o.handle); err != nil {
		return nil, fmt.Errorf("use data keys: %w", err)
	}
	const tinkPrefix = 1 // of ciphertexts that name their key
	s.primary = binary.BigEndian.AppendUint32([]byte{byKeys, tinkPrefix}, o.handle.KeysetInfo().GetPrimaryKeyId())
	return s, nil
}

// fresh reports whether the primary key has sealed a value.
func (s *Sealer) fresh(sealed []byte) bool { return bytes.HasPrefix(sealed, s.primary) }

// readRing returns the store's ring, or nil.
func readRing(tx store.Tx) (*ring, error) {
	b, err := tx.Get(ringBucket, ringKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read data keys: %w", err)
	}
	r := new(ring)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read data keys: %w", err)
	}
	return r, nil
}

func putRing(tx store.Tx, r *ring) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep data keys: %w", err)
	}
	if err := tx.Put(ringBucket, ringKey, b); err != nil {
		return fmt.Errorf("keep data keys: %w", err)
	}
	return nil
}
