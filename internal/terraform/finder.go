package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// PathVariable is the environment variable that names the program to use.
const PathVariable = "AZIMUTH_TERRAFORM"

// OpenTofuVersion is the release that is fetched where there is neither
// terraform nor tofu.
const OpenTofuVersion = "1.12.6"

// Kind tells the two programs apart.
type Kind string

// The two kinds.
const (
	Terraform Kind = "terraform"
	OpenTofu  Kind = "tofu"
)

// Tool is a terraform or tofu program.
type Tool struct {
	// Path is the program's file, absolute.
	Path string
	Kind Kind
	// Version is like "1.11.4".
	Version string
}

// Finder finds terraform or tofu, and gets OpenTofu where there is neither.
type Finder struct {
	// Home is $AZIMUTH_HOME; what is fetched is kept under its tools directory.
	Home string
	// Progress gets lines about steps that take over a second; nil for none.
	Progress io.Writer
	// Clock paces the progress lines and the wait for another process.
	Clock clock.Clock

	// Replaced in tests; nil means the operating system's and the real sources.
	getenv   func(string) string
	lookPath func(string) (string, error)
	download func(ctx context.Context, version string) ([]byte, error)
	build    func(ctx context.Context, dir, out string, p *progress) error
}

// Find returns, in this order: the program that AZIMUTH_TERRAFORM names,
// terraform on PATH, tofu on PATH, the OpenTofu fetched earlier, or OpenTofu
// fetched now. It fails with a *NotFoundError where nothing can be had. Another
// process that is fetching already is waited for.
func (f *Finder) Find(ctx context.Context) (Tool, error) {
	getenv, lookPath := f.getenv, f.lookPath
	if getenv == nil {
		getenv = os.Getenv
	}
	if lookPath == nil {
		lookPath = exec.LookPath
	}
	if path := getenv(PathVariable); path != "" {
		found, err := lookPath(path)
		if err != nil {
			return Tool{}, fmt.Errorf("%s=%s: %w", PathVariable, path, err)
		}
		return probe(ctx, found)
	}
	for _, name := range []string{"terraform", "tofu"} {
		path, err := lookPath(name)
		if err == nil {
			return probe(ctx, path)
		}
		if !errors.Is(err, exec.ErrNotFound) {
			return Tool{}, fmt.Errorf("look for %s: %w", name, err)
		}
	}
	path := f.installedPath()
	if _, err := os.Stat(path); err != nil {
		if err := f.install(ctx, path); err != nil {
			return Tool{}, err
		}
	}
	return probe(ctx, path)
}

func (f *Finder) toolsDir() string { return filepath.Join(f.Home, "tools") }

func (f *Finder) installedPath() string {
	name := "tofu"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(f.toolsDir(), "opentofu-"+OpenTofuVersion+"-"+runtime.GOOS+"-"+runtime.GOARCH, name)
}

// versionLine is the first line of `terraform version` and `tofu version`.
var versionLine = regexp.MustCompile(`(?m)^(Terraform|OpenTofu) v(\S+)`)

// probe asks a program what it is.
func probe(ctx context.Context, path string) (Tool, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Tool{}, fmt.Errorf("locate %s: %w", path, err)
	}
	cmd := exec.CommandContext(ctx, abs, "version")
	// Without this the program asks HashiCorp's server for its newest version.
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_CLI_ARGS=", "TF_CLI_ARGS_version=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Tool{}, fmt.Errorf("run %s version: %w: %s", abs, err, strings.TrimSpace(string(out)))
	}
	found := versionLine.FindSubmatch(out)
	if found == nil {
		return Tool{}, fmt.Errorf("%s is neither terraform nor tofu: `version` printed %.200q", abs, out)
	}
	t := Tool{Path: abs, Kind: Terraform, Version: string(found[2])}
	if string(found[1]) == "OpenTofu" {
		t.Kind = OpenTofu
	}
	return t, nil
}
