package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/seal"
)

func TestSealAndOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	a, err := seal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", fi, err)
	}
	x, _ := a.Seal([]byte("secret"))
	y, _ := a.Seal([]byte("secret"))
	if bytes.Equal(x, y) || bytes.Contains(x, []byte("secret")) {
		t.Error("sealing is not randomised or not encrypting")
	}
	b, err := seal.Open(path) // the same key after a restart
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Open(x); err != nil || string(got) != "secret" {
		t.Errorf("Open = %q, %v", got, err)
	}
	other, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	x[len(x)-1] ^= 1
	for name, f := range map[string]func() error{
		"another key": func() error { _, err := other.Open(y); return err },
		"damage":      func() error { _, err := b.Open(x); return err },
		"empty":       func() error { _, err := b.Open(nil); return err },
	} {
		if err := f(); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := seal.New([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}
