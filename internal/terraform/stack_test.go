package terraform

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newStack opens a stack on files below a fresh project directory.
func newStack(t *testing.T, dir string, files map[string]string) *Stack {
	t.Helper()
	project := filepath.Join(t.TempDir(), "project")
	writeFiles(t, project, files)
	s, err := OpenStack(filepath.Join(t.TempDir(), "home"), filepath.Join(project, dir))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestRefresh(t *testing.T) {
	s := newStack(t, "env/dev", map[string]string{
		"env/dev/main.tf":                  "",
		"env/dev/terraform.tfvars":         "",
		"env/dev/x.auto.tfvars":            "",
		"env/dev/scripts/run.sh":           "",
		"env/dev/terraform.tfstate":        "theirs",
		"env/dev/terraform.tfstate.backup": "theirs",
		"env/dev/old.tfstate":              "theirs",
		"env/dev/.terraform/x":             "",
		"env/dev/.terraform.lock.hcl":      "locked",
		"env/dev/crash.log":                "",
		"env/dev/crash.20.log":             "",
		"env/dev/terraform.tfstate.d/p/x":  "",
		"modules/x/main.tf":                "module",
	})
	if err := s.refresh(false); err != nil {
		t.Fatal(err)
	}
	want := []string{".terraform.lock.hcl", "main.tf", "scripts", "terraform.tfstate", "terraform.tfstate.backup", "terraform.tfvars", "x.auto.tfvars"}
	if got := names(t, s.WorkDir()); !slices.Equal(got, want) {
		t.Errorf("working copy holds %q, want %q", got, want)
	}
	for _, name := range []string{"terraform.tfstate", "terraform.tfstate.backup", ".terraform.lock.hcl"} {
		info, err := os.Lstat(filepath.Join(s.WorkDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		if !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
	}
	if text, err := os.ReadFile(filepath.Join(s.WorkDir(), "..", "..", "modules", "x", "main.tf")); err != nil || string(text) != "module" {
		t.Errorf("../../modules/x/main.tf: %q, %v", text, err)
	}
	if info, err := os.Stat(s.Root); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the stack's folder: %v, %v", info.Mode(), err)
	}

	// The copy follows the original; terraform's own files in it stay.
	writeFiles(t, s.Dir, map[string]string{"new.tf": ""})
	writeFiles(t, s.WorkDir(), map[string]string{"terraform.tfstate": "ours", "made-by-terraform.json": "ours"})
	if err := os.Remove(filepath.Join(s.Dir, "x.auto.tfvars")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir, "..", "..", "modules", "x", "main.tf")); err != nil {
		t.Fatal(err)
	}
	if err := s.refresh(true); err != nil {
		t.Fatal(err)
	}
	want = []string{".terraform.lock.hcl", "made-by-terraform.json", "main.tf", "new.tf", "scripts", "terraform.tfstate", "terraform.tfstate.backup", "terraform.tfvars", overrideName}
	if got := names(t, s.WorkDir()); !slices.Equal(got, want) {
		t.Errorf("working copy holds %q, want %q", got, want)
	}
	if text, _ := os.ReadFile(s.StatePath()); string(text) != "ours" {
		t.Errorf("state was replaced by %q", text)
	}
	if text, _ := os.ReadFile(filepath.Join(s.Dir, "terraform.tfstate")); string(text) != "theirs" {
		t.Errorf("the user's state became %q", text)
	}
}

func TestLockFileIsCopiedWhenItChanges(t *testing.T) {
	s := newStack(t, "", map[string]string{lockFileName: "one"})
	mine, theirs := filepath.Join(s.WorkDir(), lockFileName), filepath.Join(s.Dir, lockFileName)
	step := func(what, want string) {
		t.Helper()
		if err := s.refresh(false); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(mine)
		if err != nil {
			got = []byte("none")
		}
		if string(got) != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	step("first", "one")
	writeFiles(t, s.WorkDir(), map[string]string{lockFileName: "one, and what init added"})
	step("changed by init", "one, and what init added")
	writeFiles(t, s.Dir, map[string]string{lockFileName: "two"})
	step("changed by the user", "two")
	if err := os.Remove(theirs); err != nil {
		t.Fatal(err)
	}
	step("removed by the user", "none")
}

func TestOpenStack(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	parent := t.TempDir()
	a, b := filepath.Join(parent, "a b"), filepath.Join(parent, "c", "a b")
	for _, dir := range []string{a, b} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(a, filepath.Join(parent, "link")); err != nil {
		t.Fatal(err)
	}
	open := func(dir string) *Stack {
		t.Helper()
		s, err := OpenStack(home, dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if open(a).Root != open(filepath.Join(parent, "link")).Root || open(a).Root != open(a+"/../a b/.").Root {
		t.Error("one directory has two stacks")
	}
	if open(a).Root == open(b).Root {
		t.Error("two directories share a stack")
	}
	if !strings.HasPrefix(filepath.Base(open(a).Root), "a-b-") {
		t.Errorf("folder %s does not tell which stack it is", open(a).Root)
	}
	for _, bad := range []string{filepath.Join(parent, "none"), filepath.Join(parent, "file")} {
		writeFiles(t, parent, map[string]string{"file": ""})
		if _, err := OpenStack(home, bad); err == nil {
			t.Errorf("opened %s", bad)
		}
	}
	if _, err := os.Stat(home); err == nil {
		t.Error("opening a stack wrote to the home")
	}
}

// A home inside the stack, or above it, must not be linked into its own copy.
func TestHomeInsideTheStack(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"main.tf": "", "home/x": ""})
	s, err := OpenStack(filepath.Join(dir, "home"), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.refresh(false); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s.WorkDir()); slices.Contains(got, "home") {
		t.Errorf("working copy holds %q", got)
	}
}
