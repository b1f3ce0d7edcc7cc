//go:build linux

package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk fills a small disk with blobs: the one that finds no room fails
// cleanly, all before it are whole, and there is room again after a deletion.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("this user cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	e := newEnv(t)
	e.home = filepath.Join(disk, "home")
	s := e.serve()
	c := &crashClient{wire: e.wire()}
	c.flat = accountSAS(t, c.storageAccount(t, "stcrash001", ""))
	ctx := t.Context()
	a, err := c.storage(ctx, http.MethodPut, strings.TrimSuffix(crashFlat, "/"), "restype=container", c.flat, "", nil)
	if err := acked(a, err, 201); err != nil {
		t.Fatal(err)
	}
	body := func(i, size int) string { return strings.Repeat(fmt.Sprintf("%08d", i), size/8) }
	kept := map[string]string{}
	put := func(i, size int) (bool, string) {
		t.Helper()
		name, text := fmt.Sprintf("b%d", i), body(i, size)
		a, err := c.blob(ctx, http.MethodPut, name, "", text, "x-ms-blob-type", "BlockBlob")
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case a.status == 201:
			kept[name] = text
			return true, name
		case a.status != 507 || !strings.Contains(string(a.body), "no space left"):
			t.Fatalf("HTTP %d %s", a.status, a.body)
		}
		return false, name
	}
	n := 0
	for size := 4 << 20; size >= 4<<10; size /= 4 { // ever smaller, until nothing fits
		for ok := true; ok; n++ {
			if n > 100_000 {
				t.Fatal("the disk is never full")
			}
			var name string
			if ok, name = put(n, size); !ok {
				if a, err := c.blob(ctx, http.MethodGet, name, "", ""); err != nil || a.status != 404 {
					t.Errorf("half of %s is there: HTTP %d, %v", name, a.status, err)
				}
			}
		}
	}
	whole := func() {
		t.Helper()
		for name, text := range kept {
			if a, err := c.blob(ctx, http.MethodGet, name, "", ""); err != nil || string(a.body) != text {
				t.Errorf("%s is HTTP %d, %d bytes (%v)", name, a.status, len(a.body), err)
			}
		}
	}
	whole()
	for _, name := range []string{"b0", "b1"} {
		a, err := c.blob(ctx, http.MethodDelete, name, "", "")
		if err := acked(a, err, 202); err != nil {
			// A deletion is a write, too: it takes a little room in the store's log.
			t.Logf("deletion on the full disk: %v", err)
			s.kill()
			if err := os.RemoveAll(filepath.Join(e.home, "run", "server.log")); err != nil {
				t.Fatal(err)
			}
			s = e.serve()
			c.http.CloseIdleConnections()
			a, err := c.blob(ctx, http.MethodDelete, name, "", "")
			if err := acked(a, err, 202); err != nil {
				t.Fatal(err)
			}
		}
		delete(kept, name)
	}
	e.await("there is room again", func() bool { ok, _ := put(n, 1<<20); return ok })
	s.kill()
	c.http.CloseIdleConnections()
	e.serve()
	whole()
	// doctor minds that the disk is nearly full, but not the blobs.
	if r := e.try("doctor"); !strings.Contains(r.stdout, fmt.Sprintf("%d blobs, ", len(kept))) || !strings.Contains(r.stdout, "all whole") {
		t.Errorf("doctor: %s", r)
	}
	t.Logf("%d blobs were kept", len(kept))
}
