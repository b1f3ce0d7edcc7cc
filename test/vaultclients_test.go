package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAzureSDKForJavaScriptDrivesVaults: secrets, keys and certificates with the
// @azure/keyvault packages, unmodified, signed in by @azure/identity.
func TestAzureSDKForJavaScriptDrivesVaults(t *testing.T) {
	node, npm := need(t, "node"), need(t, "npm")
	t.Parallel()
	dir := copyDir(t, "testdata/npm-vault", nil)
	install := exec.CommandContext(t.Context(), npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--cache", filepath.Join(dir, "cache"))
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	e, _, _ := vaultEnv(t, "kv-javascript")
	out := e.run("exec", "--", node, filepath.Join(dir, "drive.mjs"), "https://kv-javascript.vault.azure.net")
	t.Log(out)
	if !strings.HasSuffix(out, "\nall done\n") {
		t.Error("the driver did not come to its end")
	}
}
