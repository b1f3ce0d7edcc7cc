package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Home is where a home's keys are and what they seal.
type Home struct {
	Store store.Store
	// File is where the home's key is unless it is given.
	File string
	// Given is the home's key when who runs it keeps it; nil otherwise. It is not
	// written anywhere.
	Given Key
	// Places are all sealed values.
	Places []Place
	// Compact makes the store forget what was overwritten in it; may be nil.
	Compact func(context.Context) error
	// Now is the machine's time.
	Now func() time.Time
	Log *slog.Logger
}

// The ways in which a home's key can be not the right one. Nothing was changed.
var (
	// ErrNoKey is wrapped when there are sealed values and no key.
	ErrNoKey = errors.New("the key that seals this home's secrets is missing")
	// ErrOwnKey is wrapped when a key is given and the home has one of its own.
	ErrOwnKey = errors.New("this home has a seal key of its own")
)

// WrongKeyError is returned when a key is not the home's. Both are IDs.
type WrongKeyError struct{ Given, Want string }

// Error implements error.
func (e *WrongKeyError) Error() string {
	return fmt.Sprintf("the seal key %s is not this home's, which is %s", e.Given, e.Want)
}

// pending is where a new key waits until the data keys are sealed with it.
func (h *Home) pending() string { return h.File + ".new" }

// Open returns the home's Sealer. It makes keys for a home that has sealed nothing,
// gives data keys to one that had none, and finishes what a crash has interrupted.
func (h *Home) Open(ctx context.Context) (*Sealer, error) {
	o, err := h.open(ctx)
	if err != nil {
		return nil, err
	}
	s, err := o.sealer()
	if err != nil {
		return nil, err
	}
	damaged, err := h.finish(ctx, o, s)
	if damaged > 0 {
		h.Log.Warn("there are sealed values that do not open; azimuth doctor names them", "records", damaged)
	}
	if err != nil {
		// What opens goes on opening: the old data keys are there.
		h.Log.Warn("not everything could be sealed with the new keys; the next start tries again", "error", err)
	}
	return s, nil
}

func (h *Home) open(ctx context.Context) (*opened, error) {
	var r *ring
	if err := h.Store.View(ctx, func(tx store.Tx) (err error) {
		r, err = readRing(tx)
		return err
	}); err != nil {
		return nil, err
	}
	if r == nil {
		return h.begin(ctx)
	}
	if h.Given != nil {
		o, err := r.open(h.Given)
		if err != nil {
			return nil, err
		}
		return o, h.removePrevious(r)
	}
	key, err := readKeyFile(h.File)
	if err != nil {
		return nil, err
	}
	if key != nil {
		o, wrong := r.open(key)
		if wrong == nil {
			// a new key that never came to be used
			return o, remove(h.pending())
		}
		err = wrong
	}
	next, readErr := readKeyFile(h.pending())
	if readErr != nil {
		return nil, readErr
	}
	if next == nil {
		if key == nil {
			err = fmt.Errorf("%w: it is not in %s (its ID is %s)", ErrNoKey, h.File, r.Key)
		}
		return nil, err
	}
	o, nextErr := r.open(next)
	if nextErr != nil {
		return nil, errors.Join(err, nextErr)
	}
	return o, h.adopt(next)
}

// adopt puts the new key in the old one's place.
func (h *Home) adopt(key Key) error {
	if _, err := atomicfile.Write(h.File, key, 0o600); err != nil {
		return fmt.Errorf("adopt the new seal key: %w", err)
	}
	return remove(h.pending())
}

// removePrevious removes the key that a given one has replaced.
func (h *Home) removePrevious(r *ring) error {
	for _, path := range []string{h.File, h.pending()} {
		key, err := readKeyFile(path)
		if err != nil || key == nil || key.ID() != r.Previous {
			continue // not ours to remove
		}
		if err := remove(path); err != nil {
			return err
		}
	}
	return nil
}

// begin makes the data keys of a home that has none.
func (h *Home) begin(ctx context.Context) (*opened, error) {
	own, err := readKeyFile(h.File)
	if err != nil {
		return nil, err
	}
	sealed, err := anySealed(ctx, h.Store, h.Places)
	if err != nil {
		return nil, err
	}
	o := &opened{}
	key := h.Given
	switch {
	case h.Given != nil && own != nil:
		return nil, ErrOwnKey
	case sealed && own == nil:
		return nil, fmt.Errorf("%w: it is not in %s", ErrNoKey, h.File)
	case sealed:
		first, err := New(own)
		if err != nil {
			return nil, err
		}
		// Before anything is written: a wrong key must not become the home's.
		found, err := Check(ctx, h.Store, first, h.Places)
		if err != nil {
			return nil, err
		}
		if found.Bad > 0 && found.Bad == found.Records {
			return nil, fmt.Errorf("%w: the key in %s opens none of %d sealed values, such as %s", ErrSealed, h.File, found.Values, found.Problems[0])
		}
		key, o.first, o.Stale = own, own, true
	case key == nil && own != nil:
		key = own
	case key == nil:
		if key, err = NewKey(); err != nil {
			return nil, err
		}
		if _, err := atomicfile.Write(h.File, key, 0o600); err != nil {
			return nil, fmt.Errorf("make seal key: %w", err)
		}
	}
	if err := o.addKey(); err != nil {
		return nil, err
	}
	if err := o.seal(key, h.Now()); err != nil {
		return nil, err
	}
	return o, h.Store.Update(ctx, func(tx store.Tx) error { return putRing(tx, &o.ring) })
}

// finish seals anew what is sealed with old keys, and tells how many records do not
// open.
func (h *Home) finish(ctx context.Context, o *opened, s *Sealer) (damaged int, err error) {
	if !o.Stale {
		return 0, nil
	}
	if damaged, err = reseal(ctx, h.Store, s, h.Places); err != nil {
		return damaged, err
	}
	if h.Compact != nil {
		if err := h.Compact(ctx); err != nil {
			return damaged, err
		}
	}
	o.Stale = false
	return damaged, h.Store.Update(ctx, func(tx store.Tx) error { return putRing(tx, &o.ring) })
}

// Rotate gives the home another key, and every value another data key. With nil it
// makes the key and keeps it in the home's file; any other key is for the caller to
// keep, and none is in the home then. Nothing else may use the home meanwhile. A
// crash leaves the old key or the new one in force; if it is the new one, the next
// Open finishes.
func (h *Home) Rotate(ctx context.Context, to Key) (Rotation, error) {
	key, damaged, err := h.rotate(ctx, to)
	if err != nil {
		return Rotation{}, err
	}
	return Rotation{Key: key.ID(), Damaged: damaged}, nil
}

// Rotation is what Rotate did.
type Rotation struct {
	// Key is the ID of the key that is in force.
	Key string
	// Damaged is how many records have sealed values that no key opens; they stay.
	Damaged int
}

func (h *Home) rotate(ctx context.Context, to Key) (Key, int, error) {
	o, err := h.open(ctx)
	if err != nil {
		return nil, 0, err
	}
	s, err := o.sealer()
	if err != nil {
		return nil, 0, err
	}
	if _, err := h.finish(ctx, o, s); err != nil {
		return nil, 0, err
	}
	key := to
	if to == nil {
		if key, err = NewKey(); err != nil {
			return nil, 0, err
		}
		if _, err := atomicfile.Write(h.pending(), key, 0o600); err != nil {
			return nil, 0, fmt.Errorf("make seal key: %w", err)
		}
	}
	if key.ID() == o.Key {
		return nil, 0, errors.New("the new seal key is the one that this home has")
	}
	if err := o.addKey(); err != nil {
		return nil, 0, err
	}
	o.Stale = true
	if err := o.seal(key, h.Now()); err != nil {
		return nil, 0, err
	}
	if err := h.Store.Update(ctx, func(tx store.Tx) error { return putRing(tx, &o.ring) }); err != nil {
		return nil, 0, err
	}
	if to == nil {
		err = h.adopt(key)
	} else {
		err = h.removePrevious(&o.ring)
	}
	if err != nil {
		return nil, 0, err
	}
	if s, err = o.sealer(); err != nil {
		return nil, 0, err
	}
	damaged, err := h.finish(ctx, o, s)
	return key, damaged, err
}

// readKeyFile returns nil when there is no file.
func readKeyFile(path string) (Key, error) {
	key, err := ReadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return key, err
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old seal key: %w", err)
	}
	return nil
}
