// Package storetest is the contract that every store.Store keeps.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Run runs the contract. open returns the store kept at a place that is the
// same for every call within one test, so that reopening finds what was
// written.
func Run(t *testing.T, open func(t *testing.T, place string) store.Store) {
	tests := map[string]func(*testing.T, func() store.Store){
		"what is put is got":                     putGet,
		"an error undoes the whole update":       rollback,
		"a panic undoes the update":              panics,
		"an error of one caller leaves others":   isolation,
		"a view is a snapshot and read-only":     snapshot,
		"scan order, prefix, after, limit":       scan,
		"a scan may write":                       scanWrites,
		"reopening finds what was committed":     reopen,
		"after close every call fails":           closed,
		"concurrent updates all count":           concurrent,
		"a cancelled caller writes nothing":      cancelled,
		"collections keep their indexes in step": collection,
		"what is recalled is what is committed": func(t *testing.T, open func() store.Store) {
			recalled(t, open, store.Recall[string])
		},
		"what is recalled of a key is what is committed": func(t *testing.T, open func() store.Store) {
			recalled(t, open, store.RecallKey[string])
		},
		"a failed update leaves nothing to read": undone,
		"a scan finds what its update put":       scanOwn,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			place := t.TempDir()
			tests[name](t, func() store.Store { return open(t, place) })
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s store.Store, bucket, key string) string {
	t.Helper()
	var out string
	err := s.View(t.Context(), func(tx store.Tx) error {
		b, err := tx.Get(bucket, key)
		out = string(b)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return "<none>"
	}
	must(t, err)
	return out
}

func put(t *testing.T, s store.Store, bucket, key, value string) {
	t.Helper()
	must(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.Put(bucket, key, []byte(value)) }))
}

func putGet(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	put(t, s, "b", "k", "1")
	put(t, s, "b", "k", "2")
	put(t, s, "other", "k", "3")
	must(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.Put("b", "empty", nil) }))
	for key, want := range map[string]string{"k": "2", "none": "<none>", "empty": ""} {
		if got := get(t, s, "b", key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Delete("b", "k"), tx.Delete("b", "never there"))
	}))
	if got := get(t, s, "b", "k"); got != "<none>" {
		t.Errorf("deleted key = %q", got)
	}
	if got := get(t, s, "other", "k"); got != "3" {
		t.Errorf("another bucket's key = %q", got)
	}
}

func rollback(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	put(t, s, "b", "k", "before")
	boom := errors.New("boom")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		must(t, tx.Put("b", "k", []byte("after")))
		must(t, tx.Put("b", "new", []byte("x")))
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("err = %v, want boom", err)
	}
	if got := get(t, s, "b", "k") + get(t, s, "b", "new"); got != "before<none>" {
		t.Errorf("after a failed update: %q", got)
	}
}

func panics(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	err := s.Update(t.Context(), func(tx store.Tx) error {
		must(t, tx.Put("b", "k", []byte("x")))
		panic("boom")
	})
	if err == nil || get(t, s, "b", "k") != "<none>" {
		t.Errorf("err = %v, k = %q", err, get(t, s, "b", "k"))
	}
	put(t, s, "b", "k", "works again")
}

func isolation(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			err := s.Update(context.Background(), func(tx store.Tx) error {
				if err := tx.Put("b", fmt.Sprint(i), []byte("x")); err != nil {
					return err
				}
				if i%2 == 1 {
					return errors.New("odd")
				}
				return nil
			})
			if (err != nil) != (i%2 == 1) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 50 {
		if got, want := get(t, s, "b", fmt.Sprint(i)) == "x", i%2 == 0; got != want {
			t.Errorf("%d there: %v, want %v", i, got, want)
		}
	}
}

func snapshot(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	put(t, s, "b", "k", "old")
	must(t, s.View(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Get("b", "k"); err != nil {
			return err
		}
		put(t, s, "b", "k", "new") // a writer is not blocked by a reader
		b, err := tx.Get("b", "k")
		if string(b) != "old" {
			t.Errorf("a view saw a later write: %q", b)
		}
		if tx.Put("b", "k", nil) == nil || tx.Delete("b", "k") == nil {
			t.Error("a view could write")
		}
		return err
	}))
	if got := get(t, s, "b", "k"); got != "new" {
		t.Errorf("k = %q", got)
	}
}

func scan(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		for i := range 1000 {
			if err := tx.Put("b", fmt.Sprintf("n/%04d", i), nil); err != nil {
				return err
			}
		}
		for _, k := range []string{"A", "a", "n", "n0", "Ω", "n/\xff\xfe"} {
			if err := tx.Put("b", k, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	collect := func(r store.Range) (keys []string) {
		must(t, s.View(t.Context(), func(tx store.Tx) error {
			for e, err := range tx.Scan("b", r) {
				if err != nil {
					return err
				}
				keys = append(keys, e.Key)
			}
			return nil
		}))
		return keys
	}
	all := collect(store.Range{})
	if len(all) != 1006 || !slices.IsSorted(all) {
		t.Errorf("all: %d keys, sorted %v", len(all), slices.IsSorted(all))
	}
	back := collect(store.Range{Reverse: true})
	slices.Reverse(back)
	if !slices.Equal(all, back) {
		t.Error("reverse is not the reverse")
	}
	cases := []struct {
		r    store.Range
		want string
	}{
		{store.Range{Prefix: "n/", Limit: 2}, "n/0000 n/0001"},
		{store.Range{Prefix: "n/", After: "n/0997"}, "n/0998 n/0999 n/\xff\xfe"},
		{store.Range{Prefix: "n/", After: "n/0002", Reverse: true}, "n/0001 n/0000"},
		{store.Range{Prefix: "n/", Reverse: true, Limit: 1}, "n/\xff\xfe"},
		{store.Range{Prefix: "n/\xff"}, "n/\xff\xfe"},
		{store.Range{Prefix: "zz"}, ""},
		{store.Range{Prefix: "n/0", After: "m", Limit: 1}, "n/0000"},
	}
	for _, c := range cases {
		if got := strings.Join(collect(c.r), " "); got != c.want {
			t.Errorf("%+v = %q, want %q", c.r, got, c.want)
		}
	}
	if got := len(collect(store.Range{Prefix: "n/", Limit: 700})); got != 700 {
		t.Errorf("limit 700 gave %d", got)
	}
}

func scanWrites(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		for i := range 600 {
			if err := tx.Put("b", fmt.Sprintf("%03d", i), nil); err != nil {
				return err
			}
		}
		for e, err := range tx.Scan("b", store.Range{}) {
			if err != nil {
				return err
			}
			if err := tx.Delete("b", e.Key); err != nil {
				return err
			}
		}
		for e := range tx.Scan("b", store.Range{}) {
			t.Errorf("%q is left", e.Key)
		}
		return nil
	}))
}

func reopen(t *testing.T, open func() store.Store) {
	s := open()
	put(t, s, "b", "k", "v")
	must(t, s.Close())
	s = open()
	defer s.Close()
	if got := get(t, s, "b", "k"); got != "v" {
		t.Errorf("k = %q", got)
	}
}

func closed(t *testing.T, open func() store.Store) {
	s := open()
	must(t, s.Close())
	nop := func(store.Tx) error { return nil }
	if err := s.Update(t.Context(), nop); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Update: %v", err)
	}
	if err := s.View(t.Context(), nop); !errors.Is(err, store.ErrClosed) {
		t.Errorf("View: %v", err)
	}
}

func concurrent(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	put(t, s, "b", "n", "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				err := s.Update(context.Background(), func(tx store.Tx) error {
					b, err := tx.Get("b", "n")
					if err != nil {
						return err
					}
					return tx.Put("b", "n", append(b, 'x'))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(get(t, s, "b", "n")); got != 200 {
		t.Errorf("n = %d, want 200", got)
	}
}

func cancelled(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Update(ctx, func(tx store.Tx) error { return tx.Put("b", "k", nil) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if got := get(t, s, "b", "k"); got != "<none>" {
		t.Errorf("k = %q", got)
	}
}

type doc struct {
	ID   string
	Tags []string
}

func collection(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	c := store.Collection[doc]{
		Name: "doc",
		Key:  func(d *doc) string { return d.ID },
		Indexes: map[string]func(*doc) []string{
			"tag": func(d *doc) []string { return d.Tags },
		},
	}
	by := func(tag string) string {
		var ids []string
		must(t, s.View(t.Context(), func(tx store.Tx) error {
			for d, err := range c.By(tx, "tag", store.Range{Prefix: store.Exact(tag)}) {
				if err != nil {
					return err
				}
				ids = append(ids, d.ID)
			}
			return nil
		}))
		return strings.Join(ids, " ")
	}
	save := func(d doc) {
		t.Helper()
		must(t, s.Update(t.Context(), func(tx store.Tx) error { return c.Put(tx, &d) }))
	}
	save(doc{"2", []string{"red", "big"}})
	save(doc{"1", []string{"red"}})
	save(doc{"3", []string{"redder"}})
	if got := by("red"); got != "1 2" {
		t.Errorf("red: %q", got)
	}
	save(doc{"2", []string{"blue", "big"}})
	if got := by("red") + "," + by("blue") + "," + by("big"); got != "1,2,2" {
		t.Errorf("after a change: %q", got)
	}
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(c.Delete(tx, "2"), c.Delete(tx, "none"))
	}))
	if got := by("blue") + by("big"); got != "" {
		t.Errorf("after delete: %q", got)
	}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return c.Put(tx, &doc{}) }); err == nil {
		t.Error("an empty key was accepted")
	}
}

func recalled(t *testing.T, open func() store.Store, how func(tx store.Tx, bucket, key string, load func() (string, error)) (string, error)) {
	s := open()
	defer s.Close()
	recall := func(tx store.Tx, key string) (string, error) {
		return how(tx, "b", key, func() (string, error) {
			v, err := tx.Get("b", key)
			if errors.Is(err, store.ErrNotFound) {
				return "<none>", nil
			}
			return string(v), err
		})
	}
	read := func() (v string) {
		must(t, s.View(t.Context(), func(tx store.Tx) (err error) { v, err = recall(tx, "k"); return err }))
		return v
	}
	if v := read(); v != "<none>" {
		t.Errorf("%q before anything", v)
	}
	failed := errors.New("no")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		must(t, tx.Put("b", "k", []byte("1")))
		if v, err := recall(tx, "k"); err != nil || v != "1" {
			t.Errorf("an update finds %q of its own (%v)", v, err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		if v, err := recall(tx, "k"); err != nil || v != "<none>" {
			t.Errorf("after a failed update %q (%v)", v, err)
		}
		return nil
	}))
	// Whoever has written finds what was written, or what came after it.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				var mine int
				if err := s.Update(t.Context(), func(tx store.Tx) error {
					v, err := recall(tx, "n")
					if err != nil {
						return err
					}
					mine = len(v) + 1
					if v == "<none>" {
						mine = 1
					}
					return tx.Put("b", "n", []byte(strings.Repeat("x", mine)))
				}); err != nil {
					t.Error(err)
					return
				}
				if err := s.View(t.Context(), func(tx store.Tx) error {
					if v, err := recall(tx, "n"); err != nil || len(v) < mine {
						t.Errorf("wrote %d and found %d (%v)", mine, len(v), err)
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if v := get(t, s, "b", "n"); len(v) != 400 {
		t.Errorf("n = %d, want 400", len(v))
	}
}

func scanOwn(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	put(t, s, "b", "old", "1")
	put(t, s, "b", "gone", "1")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		must(t, tx.Put("b", "new", []byte("2")))
		must(t, tx.Delete("b", "gone"))
		if _, err := tx.Get("b", "gone"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a deleted key: %v", err)
		}
		var keys []string
		for e, err := range tx.Scan("b", store.Range{}) {
			must(t, err)
			keys = append(keys, e.Key)
		}
		if got := strings.Join(keys, " "); got != "new old" {
			t.Errorf("a scan finds %q", got)
		}
		must(t, tx.Put("b", "late", []byte("3")))
		return tx.Delete("b", "new")
	})
	must(t, err)
	for key, want := range map[string]string{"old": "1", "new": "<none>", "late": "3", "gone": "<none>"} {
		if got := get(t, s, "b", key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

// undone reads in a later update what earlier ones changed and took back, with a
// scan between or without.
func undone(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	put(t, s, "b", "k", "1")
	put(t, s, "b", "kept", "1")
	for _, scan := range []bool{false, true} {
		failed := errors.New("no")
		err := s.Update(t.Context(), func(tx store.Tx) error {
			must(t, tx.Put("b", "k", []byte("2")))
			must(t, tx.Put("b", "new", []byte("2")))
			must(t, tx.Delete("b", "kept"))
			if scan {
				for _, err := range tx.Scan("b", store.Range{}) {
					must(t, err)
				}
			}
			must(t, tx.Put("b", "k", []byte("3")))
			return failed
		})
		if !errors.Is(err, failed) {
			t.Fatal(err)
		}
		must(t, s.Update(t.Context(), func(tx store.Tx) error {
			for key, want := range map[string]string{"k": "1", "kept": "1", "new": ""} {
				v, err := tx.Get("b", key)
				if want == "" && errors.Is(err, store.ErrNotFound) {
					continue
				}
				if err != nil || string(v) != want {
					t.Errorf("scanned %t: %s = %q, %v; want %q", scan, key, v, err, want)
				}
				if len(v) > 0 {
					v[0] = 'x' // the caller's to change
				}
			}
			return nil
		}))
	}
}
