package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// npmDriver is a program in JavaScript, testdata/FOLDER/drive.mjs, with the packages
// that its lock file names.
type npmDriver struct{ node, dir string }

// newNPMDriver installs the packages of a folder of testdata.
func newNPMDriver(t *testing.T, folder string) *npmDriver {
	t.Helper()
	node, npm := need(t, "node"), need(t, "npm")
	dir := copyDir(t, filepath.Join("testdata", folder), nil)
	install := exec.CommandContext(t.Context(), npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--cache", filepath.Join(dir, "cache"))
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return &npmDriver{node, dir}
}

// run runs the program against the cloud of e, to its end.
func (d *npmDriver) run(t *testing.T, e *env, args ...string) {
	t.Helper()
	out := e.run(append([]string{"exec", "--", d.node, filepath.Join(d.dir, "drive.mjs")}, args...)...)
	if !strings.HasSuffix(out, "all done\n") {
		t.Errorf("the driver did not come to its end: %s", out)
	}
}

// TestControlPlaneOfJavaScript keeps groups, networks, accounts, vaults, identities,
// roles and locks with the @azure/arm-* packages, unmodified.
func TestControlPlaneOfJavaScript(t *testing.T) {
	t.Parallel()
	d := newNPMDriver(t, "npm-arm")
	e := newEnv(t)
	e.serve()
	d.run(t, e)
}
