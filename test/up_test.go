package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpAndDown applies a whole environment with the built-in provider, again,
// and destroys it.
func TestUpAndDown(t *testing.T) {
	needTerraform(t)
	e := newEnv(t)
	dir := copyDir(t, "testdata/stack", map[string]string{
		// the user's own backend and lock file must not matter, nor change
		"backend.tf":          "terraform {\n  backend \"azurerm\" {\n    key = \"prod.tfstate\"\n  }\n}\n",
		".terraform.lock.hcl": "# mine\n",
	})
	before := listing(t, dir)

	out := e.run("up", dir)
	for _, want := range []string{
		"17 added, 0 changed, 0 destroyed", "workspace_id", "Cannot use storage with HNS enabled.",
		"hns-default-storage", "retired-vm-size", "classic-application-insights", "compute-identity",
		"low-priority-retirement", "instance-never-stops", "registry-private-endpoint",
		filepath.Join(dir, "main.tf") + ":", "Fix:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("up does not say %q:\n%s", want, out)
		}
	}
	if out := e.run("up", dir); !strings.Contains(out, "no changes") {
		t.Errorf("second up:\n%s", out)
	}
	if r := e.try("terraform", "--dir", dir, "plan", "-detailed-exitcode"); r.code != 0 {
		t.Errorf("plan: %s", r)
	}
	if out := e.run("terraform", "--dir", dir, "state", "list"); strings.Count(out, "\n") < 17 {
		t.Errorf("state list:\n%s", out)
	}
	if out := e.run("down", dir); !strings.Contains(out, "17 destroyed") {
		t.Errorf("down:\n%s", out)
	}
	var st struct{ Status struct{ Resources int } }
	e.json(&st, "status")
	if st.Status.Resources != 0 {
		t.Errorf("%d resources are left", st.Status.Resources)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the user's directory changed:\n%s\nwas:\n%s", after, before)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(e.Name() + "\n" + string(text))
	}
	return b.String()
}

// TestStrictRefusesWhatAzureRefuses checks that --strict fails where Azure does
// and keeps what was made before.
func TestStrictRefusesWhatAzureRefuses(t *testing.T) {
	needTerraform(t)
	e := newEnv(t)
	dir := copyDir(t, "testdata/stack", nil)
	e.fails(1, "Cannot use storage with HNS enabled.", "up", dir, "--strict")
	if out := e.run("terraform", "--dir", dir, "state", "list"); !strings.Contains(out, "azurerm_storage_account.it") || strings.Contains(out, "compute_cluster") {
		t.Errorf("state after the refusal:\n%s", out)
	}
	main, err := os.ReadFile(filepath.Join(dir, "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	mended := strings.Replace(string(main), "is_hns_enabled           = true", "is_hns_enabled           = false", 1)
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(mended), 0o666); err != nil {
		t.Fatal(err)
	}
	e.fails(1, "Standard_NC6s_v3 was retired", "up", dir)
	mended = strings.ReplaceAll(mended, "Standard_NC6s_v3", "Standard_NC4as_T4_v3")
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(mended), 0o666); err != nil {
		t.Fatal(err)
	}
	e.run("up", dir)
	e.run("down", dir)
}
