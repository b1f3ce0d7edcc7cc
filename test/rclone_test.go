package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestRclone mirrors a tree of files to a container and back, with rclone's own
// idea of whether both are the same. AZIMUTH_RCLONE_FILES sets how many there are.
func TestRclone(t *testing.T) {
	need(t, "rclone")
	need(t, "az")
	t.Parallel()
	e, _ := smallEnv(t)
	var keys []struct{ Value string }
	e.az(&keys, "storage", "account", "keys", "list", "-n", "stsmall001")
	config := filepath.Join(t.TempDir(), "rclone.conf")
	if err := os.WriteFile(config, []byte("[az]\ntype = azureblob\naccount = stsmall001\nkey = "+keys[0].Value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rclone := func(args ...string) string {
		t.Helper()
		return e.run(append([]string{"exec", "--", "rclone", "--config", config, "--transfers", "16", "--checkers", "16"}, args...)...)
	}
	files := map[string]string{"empty": "", "big": strings.Repeat("0123456789abcdef", 1<<16), "a b/ü+%20.txt": "odd name"}
	n := 150
	if v := os.Getenv("AZIMUTH_RCLONE_FILES"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 150 {
			t.Fatalf("AZIMUTH_RCLONE_FILES=%q is no number of files of at least 150", v)
		}
	}
	for i := range n {
		files[fmt.Sprintf("d%02d/e%d/f%d.txt", i%20, i%3, i)] = strings.Repeat("x", i)
	}
	tree := write(t, files)
	rclone("sync", tree, "az:data/tree")
	rclone("check", "--download", tree, "az:data/tree")
	for name, text := range map[string]string{"empty": "not any more", "d01/e1/f1.txt": "changed", "d00/new": "new"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(tree, "d19")); err != nil {
		t.Fatal(err)
	}
	rclone("sync", tree, "az:data/tree")
	rclone("check", tree, "az:data/tree")
	back := t.TempDir()
	rclone("sync", "az:data/tree", back)
	rclone("check", "--download", tree, back)
	rclone("purge", "az:data/tree")
	if got := rclone("lsf", "-R", "az:data"); got != "" {
		t.Errorf("left: %s", got)
	}
}
