package ml

import (
	"os"
	"path/filepath"
	"testing"
)

// TestNotesStayWithTheJob has a job put links in the place of its log: what is noted
// there goes nowhere else.
func TestNotesStayWithTheJob(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "theirs")
	if err := os.WriteFile(outside, []byte("theirs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	log := task{Root: root, Log: filepath.Join(root, "logs", "std_log.txt")}
	if err := appendLine(log, "no log yet"); err == nil {
		t.Error("a log was made")
	}
	if err := os.Mkdir(filepath.Join(root, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log.Log, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := appendLine(log, "two"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(log.Log); err != nil || string(b) != "one\ntwo\n" {
		t.Errorf("%q, %v", b, err)
	}
	for _, link := range []string{log.Log, filepath.Dir(log.Log)} {
		if err := os.RemoveAll(link); err != nil {
			t.Fatal(err)
		}
		to := outside
		if link != log.Log {
			to = filepath.Dir(outside)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		if err := appendLine(log, "three"); err == nil {
			t.Errorf("a link at %s was followed", link)
		}
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "theirs\n" {
		t.Errorf("%q, %v", b, err)
	}
}
