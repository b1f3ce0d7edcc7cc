package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTerraformBackend keeps a state in a blob. While one apply holds its lock, a
// second one is refused.
func TestTerraformBackend(t *testing.T) {
	needTerraform(t)
	t.Parallel()
	program := "terraform"
	if _, err := exec.LookPath(program); err != nil {
		program = "tofu"
	}
	e, _ := smallEnv(t)
	signs := t.TempDir()
	begun, end := filepath.Join(signs, "begun"), filepath.Join(signs, "end")
	dir := write(t, map[string]string{"main.tf": `
terraform {
  backend "azurerm" {
    resource_group_name  = "rg-small"
    storage_account_name = "stsmall001"
    container_name       = "data"
    key                  = "state/one.tfstate"
  }
}
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "touch '` + begun + `'; while [ ! -e '` + end + `' ]; do sleep 0.1; done"
  }
}
`})
	e.run("exec", "--", program, "-chdir="+dir, "init", "-input=false")
	apply := []string{"exec", "--", program, "-chdir=" + dir, "apply", "-auto-approve", "-input=false"}
	first := make(chan result)
	go func() { first <- e.try(apply...) }()
	e.await("the first apply runs", func() bool {
		_, err := os.Stat(begun)
		return err == nil
	})
	if r := e.try(apply...); r.code == 0 || !strings.Contains(r.stderr, "state blob is already locked") {
		t.Errorf("the second apply: %s", r)
	}
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-first; r.code != 0 {
		t.Fatalf("the first apply: %s", r)
	}
	if r := e.try("exec", "--", program, "-chdir="+dir, "plan", "-detailed-exitcode", "-input=false"); r.code != 0 {
		t.Errorf("plan: %s", r)
	}
}
