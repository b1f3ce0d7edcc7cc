//go:build unix

package environment

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestCondaFile(t *testing.T) {
	f, err := parseConda("name: x\nchannels: [conda-forge]\ndependencies:\n  - python=3.10.4\n  - pip\n  - NumPy=1.21\n  - scipy 1.7\n" +
		"  - conda-forge::pytorch>=2\n  - six==1.16.0\n  - lib=1.2=py_0\n  - plain\n  - pip:\n    - mlflow==2.0\n    - --index-url https://example.invalid\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.python(); got != "3.10.4" {
		t.Errorf("python = %q", got)
	}
	lines, notes := f.requirements()
	want := []string{"numpy==1.21.*", "scipy==1.7.*", "torch>=2", "six==1.16.0", "lib==1.2.*", "plain", "mlflow==2.0", "--index-url https://example.invalid"}
	if !slices.Equal(lines, want) || len(notes) != 6 {
		t.Errorf("requirements = %q, %q", lines, notes)
	}
	for _, bad := range []string{"dependencies: 7", "dependencies: [[a]]", "dependencies: [{conda: [a]}]", "dependencies: ['']", "dependencies: [\"a\\nb\"]", "\t", "dependencies: [{pip: 7}]"} {
		if _, err := parseConda(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzCondaFile(f *testing.F) {
	f.Add("dependencies: [python=3.8, 'numpy>=1', {pip: [a]}]")
	f.Add("channels: [x]\ndependencies:\n- a::b=1=2\n- =")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConda(text)
		if err != nil {
			return
		}
		c.python()
		if lines, _ := c.requirements(); len(lines) > len(c.packages)+len(c.pip) {
			t.Errorf("%d lines", len(lines))
		}
	})
}

// wheel makes a package that pip can install without a network.
func wheel(t *testing.T) (dir string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range [][2]string{
		{"tiny_wheel.py", "answer = 42\n"},
		{"tiny_wheel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n"},
		{"tiny_wheel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"tiny_wheel-1.0.dist-info/RECORD", "tiny_wheel.py,,\ntiny_wheel-1.0.dist-info/METADATA,,\ntiny_wheel-1.0.dist-info/WHEEL,,\ntiny_wheel-1.0.dist-info/RECORD,,\n"},
	} {
		w, err := z.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tiny_wheel-1.0-py3-none-any.whl"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// venvOnly is a preparer that finds nothing but this machine's python3.
func venvOnly(t *testing.T, dir string) *Preparer {
	t.Helper()
	python, err := exec.Command("python3", "-c", "import sys, venv, ensurepip; print(sys.executable)").Output()
	if err != nil {
		t.Skipf("no python3 that can make environments: %v", err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte("#!/bin/sh\nexec "+strings.TrimSpace(string(python))+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return New(Options{Dir: dir, Clock: clock.NewManual(epoch), Env: []string{"PATH=" + bin, "HOME=" + t.TempDir()}})
}

// TestVenv has three jobs want one environment at once: it is made once, from a
// local wheel, and all of them get it.
func TestVenv(t *testing.T) {
	dir := t.TempDir()
	p := venvOnly(t, dir)
	text := "name: one\ndependencies:\n- python=3\n- pip\n- pip:\n  - --no-index\n  - --find-links " + wheel(t) + "\n  - tiny-wheel==1.0\n"
	logs := make([]bytes.Buffer, 3)
	envs := make([]*Environment, 3)
	var wg sync.WaitGroup
	for i := range logs {
		wg.Go(func() {
			var err error
			if envs[i], err = p.Prepare(t.Context(), text, &logs[i]); err != nil {
				t.Errorf("prepare: %v\n%s", err, &logs[i])
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	made := 0
	for i := range logs {
		if envs[i].Bin != envs[0].Bin {
			t.Errorf("bin = %q and %q", envs[i].Bin, envs[0].Bin)
		}
		if !strings.Contains(logs[i].String(), "Successfully installed tiny-wheel-1.0") {
			t.Errorf("log %d:\n%s", i, &logs[i])
		}
		if !strings.Contains(logs[i].String(), "This is what was said then") {
			made++
		}
	}
	if made != 1 {
		t.Errorf("it was prepared %d times", made)
	}
	out, err := exec.Command(filepath.Join(envs[0].Bin, "python"), "-c", "import tiny_wheel, sys; print(tiny_wheel.answer, sys.prefix)").CombinedOutput()
	if want := "42 " + filepath.Dir(envs[0].Bin) + "\n"; err != nil || string(out) != want {
		t.Errorf("python says %q, %v", out, err)
	}
	if want := "VIRTUAL_ENV=" + filepath.Dir(envs[0].Bin); !slices.Equal(envs[0].Vars, []string{want}) {
		t.Errorf("vars = %q", envs[0].Vars)
	}
	// The name does not matter.
	again, err := p.Prepare(t.Context(), strings.Replace(text, "name: one", "name: two", 1), &bytes.Buffer{})
	if err != nil || again.Bin != envs[0].Bin {
		t.Errorf("another name: %+v, %v", again, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestPackageThatCannotBeHad checks that what pip says reaches the job's owner,
// and that nothing half made is kept. A stand-in says what pip does.
func TestPackageThatCannotBeHad(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	script(t, bin, "python3", `case "$1 $2" in
"-c "*) echo 3.9.1;;
"-m venv") mkdir -p "$3/bin"; ln -s "$0" "$3/bin/python";;
"-m pip") echo "Looking in indexes"; echo "ERROR: No matching distribution found for nothing==1.*" >&2; exit 1;;
esac
`)
	p := New(Options{Dir: dir, Clock: clock.NewManual(epoch), Env: []string{"PATH=" + bin + ":" + binWithout(t)}})
	var log bytes.Buffer
	_, err := p.Prepare(t.Context(), "dependencies:\n- python=2.6\n- nothing=1\n", &log)
	const want = "the environment could not be prepared with venv and pip (exit status 1): ERROR: No matching distribution found for nothing==1.*"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error = %v", err)
	}
	for _, want := range []string{"asks for Python 2.6", "conda's nothing=1 is taken from pip as nothing==1.*", "+ ", "Looking in indexes"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &log)
		}
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// script puts a program in a directory.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
}

// TestToolsAndTheirArguments checks with stand-ins which program is chosen and
// how it is called.
func TestToolsAndTheirArguments(t *testing.T) {
	for _, tt := range []struct{ tools, want string }{
		{"micromamba conda uv", "micromamba create --yes --prefix PREFIX --file "},
		{"mamba conda", "mamba env create --quiet --prefix PREFIX --file "},
		{"conda python3 uv", "conda env create --quiet --prefix PREFIX --file "},
		{"uv python3", "uv venv --python "},
		{"uv python3", "uv pip install --python PREFIX/bin/python --requirement "},
		{"python3", "python3 -m venv PREFIX"},
	} {
		bin, dir := t.TempDir(), t.TempDir()
		for _, name := range strings.Fields(tt.tools) {
			text := "echo \"called: " + name + " $*\"; "
			if name == "python3" {
				text = "[ \"$1\" = -c ] && { echo 3.9.1; exit; }; " + text
			}
			// what makes the prefix makes a python in it that can be asked for pip
			text += "for a; do case $a in " + dir + "/*) case $a in *python|*.work/*) ;; *) mkdir -p $a/bin; ln -sf /bin/true $a/bin/python;; esac;; esac; done\n"
			script(t, bin, name, text)
		}
		p := New(Options{Dir: dir, Clock: clock.NewManual(epoch), Env: []string{"PATH=" + bin + ":" + binWithout(t)}})
		var log bytes.Buffer
		e, err := p.Prepare(t.Context(), "dependencies: [six]", &log)
		if err != nil {
			t.Errorf("%s: %v\n%s", tt.tools, err, &log)
			continue
		}
		if want := "called: " + strings.ReplaceAll(tt.want, "PREFIX", filepath.Dir(e.Bin)); !strings.Contains(log.String(), want) {
			t.Errorf("%s: want %q in\n%s", tt.tools, want, &log)
		}
	}
}

// binWithout is a directory with the few programs that stand-ins need.
func binWithout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"mkdir", "ln", "sleep", "touch"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestNoTool(t *testing.T) {
	p := New(Options{Dir: t.TempDir(), Clock: clock.NewManual(epoch), Env: []string{"PATH=" + binWithout(t)}})
	if _, err := p.Prepare(t.Context(), "dependencies: [six]", &bytes.Buffer{}); !errors.Is(err, ErrNoTool) {
		t.Errorf("error = %v", err)
	}
}

// TestCancel ends a preparation: what it started ends, others can go on.
func TestCancel(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	started := filepath.Join(dir, "started")
	script(t, bin, "conda", "mkdir -p "+dir+"/half; sleep 600 & touch "+started+"; wait\n")
	p := New(Options{Dir: filepath.Join(dir, "envs"), Clock: clock.NewManual(epoch), Env: []string{"PATH=" + bin + ":" + binWithout(t)}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 { // the second waits for the first
		wg.Go(func() {
			if _, err := p.Prepare(ctx, "dependencies: [six]", &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v", err)
			}
		})
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, err := os.Stat(started); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Error("it does not start")
			break
		}
	}
	cancel()
	wg.Wait()
	script(t, bin, "conda", "exit 3\n")
	_, err := p.Prepare(t.Context(), "dependencies: [six]", &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("afterwards: %v", err)
	}
}
