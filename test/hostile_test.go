package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHostileOutputs checks that links in a job's outputs are not followed, and
// that blobs whose names point elsewhere are not downloaded there.
func TestHostileOutputs(t *testing.T) {
	e, _ := smallEnv(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.MkdirAll(secret, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secret, "key.txt"), []byte("do not show"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.run("ml", "job", "create", "--stream", "-f", jobFile(t, "mkdir -p outputs && cd outputs && echo fine > 'we ird#?%41.txt'\n"+
		"ln -s "+secret+"/key.txt key.txt && ln -s "+secret+" folder && mkfifo pipe", "name: hostile\n", nil))
	w := e.wire()
	const outputs = "/azureml/ExperimentRun/dcid.hostile/outputs/"
	for _, name := range []string{"key.txt", "folder%2Fkey.txt", "folder", "pipe"} {
		if text, err := w.getBlob(t.Context(), outputs+name); err == nil {
			t.Errorf("%s was uploaded: %q", name, text)
		}
	}
	// what others may have put beside the job's own
	for _, name := range []string{"..%2F..%2F..%2F..%2Fescaped.txt", "linked%2Fescaped.txt", "we%20ird%23%3F%2541.txt%2Fbelow"} {
		if err := w.putBlob(t.Context(), outputs+name, "escaped"); err != nil {
			t.Fatal(err)
		}
	}
	to := t.TempDir()
	outside := filepath.Join(to, "outside")
	for _, dir := range []string{outside, filepath.Join(to, "dl", "artifacts", "outputs")} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(to, "dl", "artifacts", "outputs", "linked")); err != nil {
		t.Fatal(err)
	}
	r := e.try("ml", "job", "download", "-n", "hostile", "-p", filepath.Join(to, "dl"))
	if r.code != 1 || strings.Count(r.stderr, "skipped") != 3 || !strings.Contains(r.stderr, "points out of the directory") {
		t.Errorf("download: %s", r)
	}
	if b, err := os.ReadFile(filepath.Join(to, "dl", "artifacts", "outputs", "we ird#?%41.txt")); err != nil || string(b) != "fine\n" {
		t.Errorf("the job's own file: %v %q", err, b)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("outside the directory: %v %v", err, entries)
	}
}

// TestUnknownCommands checks that what is no command of a group is refused.
func TestUnknownCommands(t *testing.T) {
	e := newEnv(t)
	e.fails(2, `unknown command "frobnicate" for "azimuth ml"`, "ml", "frobnicate")
	e.fails(2, "Did you mean list", "ml", "job", "lst")
	e.fails(2, `unknown command "set" for "azimuth clock"`, "clock", "set", "5m")
	e.fails(1, "want HOST:PORT", "serve", "--listen", "4443")
	for _, args := range [][]string{{"ml"}, {"ml", "job", "--help"}, {"completion", "bash"}} {
		e.run(args...)
	}
}
