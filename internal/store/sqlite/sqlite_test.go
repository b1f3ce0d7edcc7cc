package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
	"github.com/azimuth-ml/azimuth/internal/store/storetest"
)

func open(t testing.TB, place string) store.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), filepath.Join(place, "azimuth ?#%.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, place string) store.Store { return open(t, place) })
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 999"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := sqlite.Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "newer azimuth") {
		t.Errorf("err = %v", err)
	}
}

func TestAFullDiskFailsCleanly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(key string, size int) error {
		return s.Update(t.Context(), func(tx store.Tx) error { return tx.Put("b", key, make([]byte, size)) })
	}
	if err := put("small", 10); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.LimitPages(s, 64); err != nil {
		t.Fatal(err)
	}
	if err := put("big", 1<<20); !errors.Is(err, store.ErrFull) {
		t.Errorf("err = %v, want ErrFull", err)
	}
	err = s.View(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Get("b", "big"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("half a write is visible: %v", err)
		}
		_, err := tx.Get("b", "small")
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := put("small", 11); err != nil {
		t.Errorf("after a full disk: %v", err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b, b.TempDir())
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					err := s.Update(context.Background(), func(tx store.Tx) error {
						return tx.Put("b", fmt.Sprint(i%1000), []byte("value"))
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkGet shows that a read costs the same however much is stored.
func BenchmarkGet(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			s := open(b, b.TempDir())
			err := s.Update(b.Context(), func(tx store.Tx) error {
				for i := range n {
					if err := tx.Put("b", fmt.Sprint(i), []byte("value")); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				err := s.View(context.Background(), func(tx store.Tx) error {
					_, err := tx.Get("b", fmt.Sprint(i%n))
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestLongValues puts, replaces and deletes values that have a table of their own,
// also in a database of before there was one.
func TestLongValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("long ", 1000)
	for _, q := range []string{
		"CREATE TABLE entry (bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID, STRICT",
		"INSERT INTO entry VALUES ('b', 'old', CAST('" + long + "' AS BLOB))",
		"PRAGMA user_version = 1",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		t.Helper()
		if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Put("b", key, []byte(value)) }); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want map[string]string) {
		t.Helper()
		if err := s.View(t.Context(), func(tx store.Tx) error {
			n := 0
			for e, err := range tx.Scan("b", store.Range{}) {
				if err != nil {
					return err
				}
				n++
				if v, err := tx.Get("b", e.Key); err != nil || string(v) != want[e.Key] || string(e.Value) != want[e.Key] {
					t.Errorf("%s is %d bytes (%v)", e.Key, len(v), err)
				}
			}
			if n != len(want) {
				t.Errorf("%d rows, want %d", n, len(want))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	check(map[string]string{"old": long})
	put("new", long)
	put("short", "x")
	put("longer", "x")
	put("longer", long+long)
	put("shorter", long)
	put("shorter", "y")
	put("old", long+"!")
	check(map[string]string{"old": long + "!", "new": long, "short": "x", "longer": long + long, "shorter": "y"})
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Delete("b", "new"), tx.Delete("b", "old"), tx.Delete("b", "none"))
	}); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"short": "x", "longer": long + long, "shorter": "y"})
	s.Close()
	if db, err = sql.Open("sqlite", path); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("SELECT count(*) FROM large").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d long values are kept, want 1 (%v)", n, err)
	}
}
