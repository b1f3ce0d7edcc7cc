// Package test drives the azimuth binary and real, unmodified clients against a
// real server, as a user would.
package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the azimuth that all tests run, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "azimuth-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "azimuth")
		out, err := exec.Command("go", "build", "-o", binary, "github.com/azimuth-ml/azimuth/cmd/azimuth").CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "build azimuth: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// need finds a client, and fails the test in CI when it is missing. Elsewhere
// the test is skipped.
func need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: .ci/run installs it", program)
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// needTerraform is need for terraform or tofu.
func needTerraform(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err == nil {
		return
	}
	need(t, "tofu")
}

// env is one home and its server.
type env struct {
	t    testing.TB
	home string
	addr string
}

// newEnv makes a home with an address of its own. Its server and jobs end with
// the test.
func newEnv(t testing.TB) *env {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	e := &env{t: t, home: filepath.Join(t.TempDir(), "home"), addr: addr}
	t.Cleanup(func() {
		if t.Failed() {
			if b, err := os.ReadFile(filepath.Join(e.home, "run", "server.log")); err == nil {
				t.Logf("server log:\n%s", tail(string(b), 60))
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary, "reset", "--yes")
		cmd.Env = e.environ()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("reset: %v\n%s", err, out)
		}
	})
	return e
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// environ is the environment of a user who has set nothing but the home.
func (e *env) environ() []string {
	out := []string{"AZIMUTH_HOME=" + e.home, "AZIMUTH_LISTEN=" + e.addr, "NO_COLOR=1"}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "TF_CLI_CONFIG_FILE" && os.Getenv("AZIMUTH_TEST_PROVIDER") != "":
			out = append(out, kv)
		case strings.HasPrefix(name, "AZIMUTH_"), strings.HasPrefix(name, "ARM_"), strings.HasPrefix(name, "AZURE_"), strings.HasPrefix(name, "TF_"):
		case strings.HasSuffix(strings.ToUpper(name), "_PROXY"), name == "SSL_CERT_FILE", name == "REQUESTS_CA_BUNDLE":
		default:
			out = append(out, kv)
		}
	}
	return out
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("exit %d after %s\nstdout:\n%s\nstderr:\n%s", r.code, r.took.Round(time.Millisecond), r.stdout, r.stderr)
}

const commandLimit = 10 * time.Minute

// try runs azimuth and returns what it did.
func (e *env) try(args ...string) result {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = e.environ()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case err == nil:
	case asExit(err, &exit):
		r.code = exit.ExitCode()
	default:
		e.t.Fatalf("azimuth %s: %v", strings.Join(args, " "), err)
	}
	return r
}

func asExit(err error, out **exec.ExitError) bool {
	x, ok := err.(*exec.ExitError)
	*out = x
	return ok
}

// run is try for a command that must succeed. It returns the standard output.
func (e *env) run(args ...string) string {
	e.t.Helper()
	r := e.try(args...)
	if r.code != 0 {
		e.t.Fatalf("azimuth %s: %s", strings.Join(args, " "), r)
	}
	return r.stdout
}

// fails is try for a command that must fail with code and say text on stderr.
func (e *env) fails(code int, text string, args ...string) {
	e.t.Helper()
	r := e.try(args...)
	if r.code != code || !strings.Contains(r.stderr, text) {
		e.t.Errorf("azimuth %s: want exit %d and %q, got %s", strings.Join(args, " "), code, text, r)
	}
}

// json runs a command with --output json and decodes what it prints.
func (e *env) json(out any, args ...string) {
	e.t.Helper()
	text := e.run(append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(text), out); err != nil {
		e.t.Fatalf("azimuth %s: %v in %s", strings.Join(args, " "), err, text)
	}
}

// server is the running server's process.
func (e *env) server() int {
	e.t.Helper()
	var st struct {
		Server struct{ PID int }
	}
	e.json(&st, "status")
	return st.Server.PID
}

// kill ends the server as a crash would.
func (e *env) kill() {
	e.t.Helper()
	if err := syscall.Kill(e.server(), syscall.SIGKILL); err != nil {
		e.t.Fatal(err)
	}
}

// write puts a file under a new directory and returns the directory.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// copyDir copies the files of a directory of this repository.
func copyDir(t testing.TB, from string, more map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for name, text := range more {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
