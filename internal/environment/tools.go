package environment

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tool is a package manager of this machine.
type tool struct {
	name string // as users know it
	path string
	// python says which interpreter the environment is based on, where that is
	// one of the machine's: its path and version.
	python string
	base   string // its path
	notes  []string
}

// conda says whether the tool reads conda files itself.
func (t tool) conda() bool { return t.name == "micromamba" || t.name == "mamba" || t.name == "conda" }

func (t tool) needsPython() bool { return !t.conda() }

// variable names an active environment.
func (t tool) variable() string {
	if t.conda() {
		return "CONDA_PREFIX"
	}
	return "VIRTUAL_ENV"
}

// choose finds the tool to use: one that reads conda files before one that does not.
func (p *Preparer) choose(ctx context.Context, f *condaFile) (tool, error) {
	for _, name := range []string{"micromamba", "mamba", "conda"} {
		if path := p.look(name); path != "" {
			return tool{name: name, path: path}, nil
		}
	}
	t := tool{name: "venv and pip"}
	if path := p.look("uv"); path != "" {
		t = tool{name: "uv", path: path}
	}
	want := f.python()
	parts := strings.SplitN(want, ".", 3)
	names := []string{"python3", "python"}
	if len(parts) > 1 {
		names = append([]string{"python" + parts[0] + "." + parts[1]}, names...)
	}
	for _, name := range names {
		path := p.look(name)
		if path == "" {
			continue
		}
		version, err := p.version(ctx, path)
		if err != nil {
			continue // a stub that only says how to install Python, for instance
		}
		t.base, t.python = path, path+" "+version
		if want != "" && version != want && !strings.HasPrefix(version, want+".") {
			t.notes = append(t.notes, fmt.Sprintf("The conda file asks for Python %s. This machine has none, and no conda to fetch it with: Python %s stands in for it.", want, version))
		}
		return t, nil
	}
	return tool{}, ErrNoTool
}

// version runs an interpreter to learn its version, and that it can make
// environments.
func (p *Preparer) version(ctx context.Context, python string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-c", "import sys, venv, ensurepip; print('%d.%d.%d' % sys.version_info[:3])")
	cmd.Env = p.o.Env
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// look finds a program in the PATH of the package managers' environment, or
// returns "".
func (p *Preparer) look(name string) string {
	for _, kv := range p.o.Env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			file := filepath.Join(dir, name)
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return file
			}
		}
	}
	return ""
}

// steps are the commands that make an environment. Their files are put in work.
func (t tool) steps(f *condaFile, text, prefix, work string, out io.Writer) ([][]string, error) {
	if t.conda() {
		file := filepath.Join(work, "environment.yml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		if t.name == "micromamba" {
			return [][]string{{t.path, "create", "--yes", "--prefix", prefix, "--file", file}}, nil
		}
		return [][]string{{t.path, "env", "create", "--quiet", "--prefix", prefix, "--file", file}}, nil
	}
	lines, notes := f.requirements()
	for _, note := range notes {
		fmt.Fprintln(out, note)
	}
	file := filepath.Join(work, "requirements.txt")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	python := filepath.Join(prefix, "bin", "python")
	steps := [][]string{{t.base, "-m", "venv", prefix}}
	install := []string{python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--requirement", file}
	if t.path != "" {
		steps = [][]string{{t.path, "venv", "--python", t.base, prefix}}
		install = []string{t.path, "pip", "install", "--python", python, "--requirement", file}
	}
	if len(lines) > 0 {
		steps = append(steps, install)
	}
	return steps, nil
}
