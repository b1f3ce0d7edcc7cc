package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestReserve(t *testing.T) {
	dir := t.TempDir()
	free := uint64(1 << 30)
	r := reserve{filepath.Join(dir, "reserve"), func(string) (uint64, error) { return free, nil }}
	size := func() int64 {
		info, err := os.Stat(r.path)
		if errors.Is(err, fs.ErrNotExist) {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for _, step := range []struct {
		free uint64
		want int64
	}{
		{reserveFrom - 1, 0}, // not on a disk that is nearly full
		{reserveFrom, reserveSize},
		{reserveFrom, reserveSize},
		{reserveSize, reserveSize}, // there is room enough
		{reserveSize - 1, 0},
		{reserveSize, 0},
		{reserveFrom, reserveSize},
		{0, 0},
	} {
		free = step.free
		if err := errors.Join(r.yield(dir), r.hold(dir)); err != nil {
			t.Fatal(err)
		}
		if got := size(); got != step.want {
			t.Errorf("with %d bytes free the reserve has %d, want %d", step.free, got, step.want)
		}
	}
	// One that was cut short, by a crash, is made anew.
	if err := os.WriteFile(r.path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	free = reserveFrom
	if err := r.hold(dir); err != nil || size() != reserveSize {
		t.Errorf("%d bytes, %v", size(), err)
	}
}
