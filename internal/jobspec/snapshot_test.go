package jobspec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func listed(t *testing.T, root string) []string {
	t.Helper()
	files, err := Snapshot(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		".gitignore": "*.py\n", "b.py": "bb", "A/c.txt": "", "a.txt": "1", "out/x": "", "out/keep/y": "", "deep/out/z": "",
	})
	if got, want := listed(t, dir), []string{".gitignore", "a.txt", "A/c.txt", "deep/out/z", "out/keep/y", "out/x"}; !slices.Equal(got, want) {
		t.Errorf(".gitignore: %v, want %v", got, want)
	}
	// .amlignore replaces .gitignore.
	write(t, dir, map[string]string{".amlignore": "/out/*\n!/out/keep/\n.*ignore\r\n"})
	if got, want := listed(t, dir), []string{"a.txt", "A/c.txt", "b.py", "deep/out/z", "out/keep/y"}; !slices.Equal(got, want) {
		t.Errorf(".amlignore: %v, want %v", got, want)
	}
	if got, want := listed(t, filepath.Join(dir, "b.py")), []string{"b.py"}; !slices.Equal(got, want) {
		t.Errorf("a file: %v, want %v", got, want)
	}
	write(t, dir, map[string]string{".amlignore": "*\n"})
	if _, err := Snapshot(t.Context(), dir); !errors.Is(err, ErrEmptySnapshot) {
		t.Errorf("nothing left: %v", err)
	}
	if _, err := Snapshot(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Snapshot(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSnapshotLinks(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	write(t, dir, map[string]string{"a.txt": "1"})
	write(t, other, map[string]string{"shared/s.txt": "22", "one.txt": "3"})
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skip("no links here:", err)
		}
	}
	link(filepath.Join(other, "shared"), "lib")
	link(filepath.Join(other, "one.txt"), "one")
	if got, want := listed(t, dir), []string{"a.txt", "lib/s.txt", "one"}; !slices.Equal(got, want) {
		t.Errorf("links: %v, want %v", got, want)
	}
	link(".", "self")
	if _, err := Snapshot(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "self is a link to a directory above it") {
		t.Errorf("a link upwards: %v", err)
	}
	write(t, dir, map[string]string{".amlignore": "self/\n"})
	if got, want := listed(t, dir), []string{".amlignore", "a.txt", "lib/s.txt", "one"}; !slices.Equal(got, want) {
		t.Errorf("an ignored link: %v, want %v", got, want)
	}
	link("nowhere", "broken")
	if _, err := Snapshot(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "broken is a link to nothing") {
		t.Errorf("a broken link: %v", err)
	}
}

func TestSnapshotRefusesSockets(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // a short path: socket names are limited
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Skip("no unix sockets here:", err)
	}
	defer l.Close()
	if _, err := Snapshot(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "sock is neither a file nor a directory") {
		t.Errorf("error %v", err)
	}
}

func TestHash(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"b.txt": "world", "A/x.txt": "hello"})
	files, err := Snapshot(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Hash(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	// Written out by hand from the rule in Hash's comment.
	sum := sha256.Sum256([]byte("2#A/x.txt#5#b.txt#5helloworld"))
	if want := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
	write(t, dir, map[string]string{"b.txt": "world!"})
	if _, err := Hash(t.Context(), files); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("a file that grew: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "b.txt")); err != nil {
		t.Fatal(err)
	}
	if _, err := Hash(t.Context(), files); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that went away: %v", err)
	}
}

func ignoreCases() []struct {
	rules, path string
	want        bool
} {
	return []struct {
		rules, path string
		want        bool
	}{
		{"*.pyc", "a/b.pyc", true},
		{"*.pyc", "a/b.py", false},
		{"/top", "top", true},
		{"/top", "a/top", false},
		{"a/b", "a/b", true},
		{"a/b", "x/a/b", false},
		{"dir/", "dir/f", true},
		{"dir/", "x/dir/f", true},
		{"dir/", "dir", false},
		{"**/x", "a/b/x", true},
		{"**/x", "x", true},
		{"a/**/x", "a/x", true},
		{"a/**/x", "a/b/c/x", true},
		{"a/**", "a/b", true},
		{"a/**", "b/a", false},
		{"foo*bar", "foo/bar", false},
		{"fo?", "foo", true},
		{"[a-c].txt", "b.txt", true},
		{"[!a-c].txt", "b.txt", false},
		{"[!a-c].txt", "d.txt", true},
		{"[]x].txt", "].txt", true},
		{"# comment", "# comment", false},
		{`\#x`, "#x", true},
		{`\!x`, "!x", true},
		{"trail  ", "trail", true},
		{`sp\ `, "sp ", true},
		{"*\n!keep", "keep", false},
		{"!keep\n*", "keep", true},
		{"d\n!d/keep", "d/keep", true},
		{"d/*\n!d/keep", "d/keep", false},
		{"a.b", "aXb", false},
		{"", "x", false},
		{"/", "x", false},
	}
}

// ignoredFile asks as the walker does: about every directory on the way first.
func ignoredFile(rules ignoreRules, path string) bool {
	for i, c := range path {
		if c == '/' && rules.ignored(path[:i], true) {
			return true
		}
	}
	return rules.ignored(path, false)
}

func TestIgnore(t *testing.T) {
	for _, c := range ignoreCases() {
		if got := ignoredFile(parseIgnore([]byte(c.rules)), c.path); got != c.want {
			t.Errorf("%q ignores %q: %v, want %v", c.rules, c.path, got, c.want)
		}
	}
}

// TestIgnoreAsGit asks git the same questions.
func TestIgnoreAsGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	dir := filepath.Join(t.TempDir(), "r")
	if out, err := exec.CommandContext(t.Context(), git, "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	for _, c := range ignoreCases() {
		write(t, dir, map[string]string{".gitignore": c.rules + "\n"})
		cmd := exec.CommandContext(t.Context(), git, "check-ignore", "-q", "--no-index", "--", c.path)
		cmd.Dir = dir
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
			t.Fatalf("git check-ignore: %v", err)
		}
		if got := err == nil; got != c.want {
			t.Errorf("git: %q ignores %q: %v, want %v", c.rules, c.path, got, c.want)
		}
	}
}

// FuzzIgnore looks for patterns that panic or do not compile.
func FuzzIgnore(f *testing.F) {
	for _, c := range ignoreCases() {
		f.Add(c.rules, c.path)
	}
	f.Add("[z-a]", "b")
	f.Add("\\", "\\")
	f.Fuzz(func(t *testing.T, rules, path string) {
		ignoredFile(parseIgnore([]byte(rules)), path)
	})
}
