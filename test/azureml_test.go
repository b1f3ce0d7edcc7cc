package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// needPython finds a Python that can import all modules, as need finds a program:
// the one on PATH, or Debian's own, whose packages .ci/run installs.
func needPython(t testing.TB, path string, modules ...string) string {
	t.Helper()
	var said []byte
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		cmd := exec.CommandContext(t.Context(), python, "-c", "import "+strings.Join(modules, ", "))
		cmd.Env = append(os.Environ(), "PYTHONPATH="+path)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return python
		}
		said = append(out, err.Error()...)
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no Python has %s, which .ci/run installs: %s", strings.Join(modules, ", "), said)
	}
	t.Skipf("no Python has %s", strings.Join(modules, ", "))
	return ""
}

// TestAzureAIML drives a workspace with azure-ai-ml 1.4, unmodified.
func TestAzureAIML(t *testing.T) {
	dir, err := filepath.Abs("testdata/azureml")
	if err != nil {
		t.Fatal(err)
	}
	python := needPython(t, dir, "azure.ai.ml", "azure.identity")
	t.Parallel()
	e, _ := smallEnv(t)
	out := e.run("exec", "--", "env", "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore",
		python, filepath.Join(dir, "drive.py"), "rg-small", "mlw-small", "cpu-cluster", t.TempDir())
	t.Log(out)
	if !strings.HasSuffix(out, "\nall done\n") {
		t.Error("the driver did not come to its end")
	}
}

// TestAzureSDKForJavaScript drives a workspace with @azure/arm-machinelearning,
// unmodified, signed in by @azure/identity.
func TestAzureSDKForJavaScript(t *testing.T) {
	t.Parallel()
	d := newNPMDriver(t, "npm")
	e, _ := smallEnv(t)
	d.run(t, e, "rg-small", "mlw-small", "cpu-cluster")
}
