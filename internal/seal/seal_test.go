package seal_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

type doc struct {
	Name  string
	Value []byte
}

// homes is a directory with a store and a seal key.
type homes struct {
	t     *testing.T
	dir   string
	store *sqlite.Store
}

func newHome(t *testing.T) *homes {
	h := &homes{t: t, dir: t.TempDir()}
	var err error
	if h.store, err = sqlite.Open(t.Context(), filepath.Join(h.dir, "azimuth.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	return h
}

func (h *homes) home(given seal.Key) *seal.Home {
	return &seal.Home{
		Store: h.store, File: h.file(), Given: given, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Places:  []seal.Place{seal.Whole("whole"), seal.In("docs", func(d *doc) []*[]byte { return []*[]byte{&d.Value} })},
		Compact: func(ctx context.Context) error { return sqlite.Compact(ctx, filepath.Join(h.dir, "azimuth.db")) },
	}
}

func (h *homes) file() string { return filepath.Join(h.dir, "seal.key") }

func (h *homes) open(given seal.Key) *seal.Sealer {
	h.t.Helper()
	s, err := h.home(given).Open(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// fill keeps values sealed with s.
func (h *homes) fill(s *seal.Sealer) {
	h.t.Helper()
	if err := h.store.Update(h.t.Context(), func(tx store.Tx) error {
		for i := range 80 {
			sealed, err := s.Seal(fmt.Appendf(nil, "value %d", i))
			if err != nil {
				return err
			}
			b, err := json.Marshal(doc{Name: "n", Value: sealed})
			if err != nil {
				return err
			}
			if err := errors.Join(tx.Put("docs", fmt.Sprintf("%03d", i), b), tx.Put("whole", fmt.Sprintf("%03d", i), sealed), tx.Put("docs", fmt.Sprintf("%03d-empty", i), []byte(`{"Name":"e"}`))); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
}

// whole checks that every value opens with s and is what it was.
func (h *homes) whole(s *seal.Sealer) {
	h.t.Helper()
	r, err := seal.Check(h.t.Context(), h.store, s, h.home(nil).Places)
	if err != nil || r.Values != 160 || len(r.Problems) != 0 {
		h.t.Fatalf("check: %+v, %v", r, err)
	}
	if err := h.store.View(h.t.Context(), func(tx store.Tx) error {
		for e, err := range tx.Scan("whole", store.Range{}) {
			if err != nil {
				return err
			}
			var want int
			fmt.Sscanf(e.Key, "%d", &want)
			if got, err := s.Open(e.Value); err != nil || string(got) != fmt.Sprintf("value %d", want) {
				h.t.Errorf("%s: %q, %v", e.Key, got, err)
			}
		}
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *homes) key() seal.Key {
	h.t.Helper()
	k, err := seal.ReadKey(h.file())
	if err != nil {
		h.t.Fatal(err)
	}
	return k
}

// holds reports whether any file of the home has the bytes.
func (h *homes) holds(b []byte) bool {
	h.t.Helper()
	found := false
	if err := filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || bytes.Contains(content, b)
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	return found
}

func TestSealAndOpen(t *testing.T) {
	h := newHome(t)
	a := h.open(nil)
	if fi, err := os.Stat(h.file()); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", fi, err)
	}
	x, _ := a.Seal([]byte("secret"))
	y, _ := a.Seal([]byte("secret"))
	if bytes.Equal(x, y) || bytes.Contains(x, []byte("secret")) {
		t.Error("sealing is not randomised or not encrypting")
	}
	b := h.open(nil) // the same keys after a restart
	if got, err := b.Open(x); err != nil || string(got) != "secret" {
		t.Errorf("Open = %q, %v", got, err)
	}
	one, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	z, _ := one.Seal([]byte("secret"))
	x[len(x)-1] ^= 1
	other := newHome(t).open(nil)
	for name, f := range map[string]func() error{
		"another home's":      func() error { _, err := other.Open(y); return err },
		"another key's":       func() error { _, err := one.Open(y); return err },
		"another key's, here": func() error { _, err := b.Open(z); return err },
		"damage":              func() error { _, err := b.Open(x); return err },
		"empty":               func() error { _, err := b.Open(nil); return err },
		"nothing but a byte":  func() error { _, err := b.Open([]byte{2}); return err },
	} {
		if err := f(); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := seal.New([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}

// TestHomesFromBeforeDataKeys: their values are sealed anew, and a wrong key does not
// become theirs.
func TestHomesFromBeforeDataKeys(t *testing.T) {
	h := newHome(t)
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	old, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	h.fill(old)
	backup, _ := old.Seal([]byte("backup"))
	if _, err := h.home(nil).Open(t.Context()); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	if _, err := os.Stat(h.file()); err == nil {
		t.Error("a key was made for what is sealed with another")
	}
	if err := os.WriteFile(h.file(), bytes.Repeat([]byte{1}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.home(nil).Open(t.Context()); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("a wrong key: %v", err)
	}
	if err := os.WriteFile(h.file(), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.home(bytes.Repeat([]byte{1}, 32)).Open(t.Context()); !errors.Is(err, seal.ErrOwnKey) {
		t.Errorf("a given key: %v", err)
	}
	s := h.open(nil)
	h.whole(s)
	r, err := seal.Check(t.Context(), h.store, old, h.home(nil).Places)
	if err != nil || len(r.Problems) == 0 {
		t.Errorf("the key itself opens values still: %+v, %v", r, err)
	}
	if got, err := s.Open(backup); err != nil || string(got) != "backup" {
		t.Errorf("what people keep: %v", err)
	}
}

func TestRotate(t *testing.T) {
	h := newHome(t)
	s := h.open(nil)
	h.fill(s)
	first := h.key()
	var oldRing []byte
	if err := h.store.View(t.Context(), func(tx store.Tx) error {
		b, err := tx.Get("seal", "ring")
		var r struct{ Keyset []byte }
		err = errors.Join(err, json.Unmarshal(b, &r))
		oldRing = []byte(base64.StdEncoding.EncodeToString(r.Keyset))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !h.holds(oldRing) {
		t.Fatal("the data keys are nowhere")
	}
	backup, _ := s.Seal([]byte("backup"))
	done, err := h.home(nil).Rotate(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	second := h.key()
	if second.ID() != done.Key || second.Equal(first) {
		t.Error("the home has another key")
	}
	if h.holds(first) || h.holds(oldRing) {
		t.Error("the old key, or what it opens, is in the home still")
	}
	h.whole(h.open(nil))
	if r, err := seal.Check(t.Context(), h.store, s, h.home(nil).Places); err != nil || len(r.Problems) == 0 {
		t.Errorf("the old data keys open values still: %+v, %v", r, err)
	}
	if got, err := h.open(nil).Open(backup); err != nil || string(got) != "backup" {
		t.Errorf("what people keep: %v", err)
	}

	// to a key that is kept elsewhere, and back
	mine, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.home(nil).Rotate(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.file()); err == nil || h.holds(mine) {
		t.Error("a key is in the home")
	}
	var wrong *seal.WrongKeyError
	if _, err := h.home(second).Open(t.Context()); !errors.As(err, &wrong) || wrong.Want != mine.ID() {
		t.Errorf("the old key: %v", err)
	}
	if _, err := h.home(nil).Open(t.Context()); !errors.Is(err, seal.ErrNoKey) || !strings.Contains(err.Error(), mine.ID()) {
		t.Errorf("no key: %v", err)
	}
	h.whole(h.open(mine))
	if _, err := h.home(mine).Rotate(t.Context(), mine); err == nil {
		t.Error("rotated to the same key")
	}
	if _, err := h.home(mine).Rotate(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h.whole(h.open(nil))
}

// TestRotateSurvivesCrashes at each of its writes: the home opens with what is there,
// everything is whole, and the old key is of no use once the new one is in force.
func TestRotateSurvivesCrashes(t *testing.T) {
	for _, external := range []bool{false, true} {
		for at := range 20 {
			h := newHome(t)
			h.fill(h.open(nil))
			first := h.key()
			var to seal.Key
			if external {
				to = bytes.Repeat([]byte{9}, 32)
			}
			crashing := h.home(nil)
			crashing.Store = &failing{Store: h.store, after: at}
			crashing.Compact = nil
			_, err := crashing.Rotate(t.Context(), to)
			done := err == nil
			if !done && !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			opened := 0
			for _, given := range []seal.Key{nil, to} {
				if given == nil && to != nil && given.Equal(to) {
					continue
				}
				opening := h.home(given)
				opening.Compact = nil
				s, err := opening.Open(t.Context())
				if err != nil {
					continue
				}
				opened++
				h.whole(s)
			}
			if opened == 0 {
				t.Errorf("after %d writes (external %t) nothing opens the home", at, external)
			}
			if at > 0 && external && h.holds(first) {
				t.Errorf("after %d writes the old key is in the home", at)
			}
			if done || at == 2 && external { // the rest is as with a key in the home
				break
			}
		}
	}
}

// TestDamage: one value that does not open keeps no home from opening, is told, and is
// the only one that is lost.
func TestDamage(t *testing.T) {
	for _, fromBefore := range []bool{false, true} {
		h := newHome(t)
		var s *seal.Sealer
		if fromBefore {
			key := bytes.Repeat([]byte{3}, 32)
			if err := os.WriteFile(h.file(), key, 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if s, err = seal.New(key); err != nil {
				t.Fatal(err)
			}
		} else {
			s = h.open(nil)
		}
		h.fill(s)
		if err := h.store.Update(t.Context(), func(tx store.Tx) error { return tx.Put("whole", "007", []byte("damaged")) }); err != nil {
			t.Fatal(err)
		}
		r, err := seal.Check(t.Context(), h.store, h.open(nil), h.home(nil).Places)
		if err != nil || r.Bad != 1 || len(r.Problems) != 1 || r.Problems[0] != "whole 007" {
			t.Errorf("from before %t: %+v, %v", fromBefore, r, err)
		}
		if done, err := h.home(nil).Rotate(t.Context(), nil); err != nil || done.Damaged != 1 {
			t.Errorf("rotation: %+v, %v", done, err)
		}
		if r, err = seal.Check(t.Context(), h.store, h.open(nil), h.home(nil).Places); err != nil || r.Bad != 1 {
			t.Errorf("after rotation: %+v, %v", r, err)
		}
	}
}

// TestAdoptIsFinished: the new key is in force, and only its file was not in place.
func TestAdoptIsFinished(t *testing.T) {
	h := newHome(t)
	h.fill(h.open(nil))
	first := h.key()
	if _, err := h.home(nil).Rotate(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(h.file(), h.file()+".new"), os.WriteFile(h.file(), first, 0o600)); err != nil {
		t.Fatal(err)
	}
	h.whole(h.open(nil))
	if h.key().Equal(first) {
		t.Error("the old key is in place")
	}
	// and one that never came to be used is dropped
	if err := os.WriteFile(h.file()+".new", first, 0o600); err != nil {
		t.Fatal(err)
	}
	h.whole(h.open(nil))
	if _, err := os.Stat(h.file() + ".new"); err == nil {
		t.Error("a key that is of no use is left")
	}
}

var errCrash = errors.New("crash")

// failing is a store that takes a number of writes.
type failing struct {
	store.Store
	after int
}

func (f *failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f.after == 0 {
		return errCrash
	}
	f.after--
	return f.Store.Update(ctx, fn)
}

func TestKeys(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb}, 32)
	for _, text := range []string{
		hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw) + "\n", base64.RawURLEncoding.EncodeToString(raw), " " + base64.URLEncoding.EncodeToString(raw),
	} {
		if k, err := seal.ParseKey(text); err != nil || !k.Equal(raw) {
			t.Errorf("%q: %v", text, err)
		}
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := seal.ReadKey(path); err != nil || !k.Equal(raw) {
			t.Errorf("file of %q: %v", text, err)
		}
	}
	for _, text := range []string{"", "x", hex.EncodeToString(raw[:31]), base64.StdEncoding.EncodeToString(append(raw, 1))} {
		if _, err := seal.ParseKey(text); !errors.Is(err, seal.ErrBadKey) {
			t.Errorf("%q: %v", text, err)
		}
	}
	k := seal.Key(raw)
	if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(s, "251") || strings.Contains(s, "fbfb") {
		t.Errorf("a key shows itself: %s", s)
	}
}
