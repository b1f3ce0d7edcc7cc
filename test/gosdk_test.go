package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGoSDKs drives the control plane with Azure's SDK for Go and with the packages
// of hashicorp/go-azure-sdk that azurerm calls, unmodified and signed in as their
// users do: create, get, update, list, delete and the pollers of networks, storage,
// vaults, registries, logs, identities, roles, locks, groups and workspaces. (For
// armmachinelearning there is TestAzureSDKForGo.)
//
// They are a module of their own, testdata/gosdk, so that nothing else is compiled
// with them; armnetwork alone has 200,000 lines.
func TestGoSDKs(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "gosdk.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-gcflags=github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/...=-N -l", "-o", program, ".")
	build.Dir = "testdata/gosdk"
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	e := newEnv(t)
	e.serve()
	if r := e.try("exec", "--", program, "-test.timeout=5m"); r.code != 0 {
		t.Errorf("%s%s", tail(r.stdout, 60), tail(r.stderr, 20))
	}
}
