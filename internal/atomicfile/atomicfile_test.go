package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	steps := []struct {
		data    string
		perm    fs.FileMode
		changed bool
	}{
		{"one", 0o600, true},
		{"one", 0o600, false},
		{"two", 0o600, true},
		{"two", 0o644, true},
		{"", 0o644, true},
	}
	for _, s := range steps {
		changed, err := atomicfile.Write(path, []byte(s.data), s.perm)
		if err != nil || changed != s.changed {
			t.Errorf("Write(%q, %o) = %v, %v; want %v", s.data, s.perm, changed, err, s.changed)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != s.data {
			t.Errorf("content %q, %v; want %q", got, err, s.data)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != s.perm {
			t.Errorf("mode %v, %v; want %o", info.Mode(), err, s.perm)
		}
	}
	onlyFile(t, path)
}

func TestCreateIsWonByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			err := atomicfile.Create(path, []byte("x"), 0o600)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d callers created the file", won.Load())
	}
	onlyFile(t, path)
}

func TestNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "f")
	if _, err := atomicfile.Write(path, nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Write: %v", err)
	}
	if err := atomicfile.Create(path, nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create: %v", err)
	}
}

func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}
