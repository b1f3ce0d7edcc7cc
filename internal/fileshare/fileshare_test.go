package fileshare_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/fileshare"
)

func TestShares(t *testing.T) {
	dir := t.TempDir()
	s, err := fileshare.Open(filepath.Join(dir, "files"))
	if err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"uid-1", "uid-2"} {
		share, err := s.Share(account, "code")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(share, "a.ipynb"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range [][2]string{{"", "x"}, {"x", ""}, {"..", "x"}, {"x", "a/b"}, {".removed-x", "a"}, {"x", "..\x00"}} {
		if got, err := s.Share(bad[0], bad[1]); err == nil {
			t.Errorf("Share(%q, %q) = %s", bad[0], bad[1], got)
		}
	}
	no := errors.New("no")
	if err := s.Reclaim(func([]string) (map[string]bool, error) { return nil, no }); !errors.Is(err, no) {
		t.Errorf("Reclaim: %v", err)
	}
	// what an earlier process had begun to remove goes too
	if err := os.MkdirAll(filepath.Join(dir, "files", ".removed-uid-0", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	var asked []string
	if err := s.Reclaim(func(found []string) (map[string]bool, error) {
		asked = found
		return map[string]bool{"uid-2": true}, nil
	}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "files"))
	if err != nil || len(left) != 1 || left[0].Name() != "uid-2" || len(asked) != 2 {
		t.Errorf("left %v (%v), asked for %v", left, err, asked)
	}
	if _, err := os.Stat(filepath.Join(dir, "files", "uid-2", "code", "a.ipynb")); err != nil {
		t.Error(err)
	}
}
