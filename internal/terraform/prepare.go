package terraform

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
)

// initNeeds says in words why a stack needs `terraform init`; empty means that
// it needs none, as a stack of azurerm resources served by Azimuth does not.
func initNeeds(c *Config, there present) []string {
	var needs, modules []string
	for _, m := range c.Modules {
		for _, call := range m.Calls {
			what := "module " + call.Source
			if !call.Local() {
				what += " " + call.Version
			}
			modules = append(modules, strings.TrimSpace(what))
		}
	}
	for _, source := range c.Providers() {
		if !there.has(source) {
			needs = append(needs, "provider "+source)
		}
	}
	needs = append(needs, modules...)
	if c.hasBackend() {
		needs = append(needs, "the local backend in place of yours")
	}
	sort.Strings(needs)
	return slices.Compact(needs)
}

// hasBackend reports whether the root module names a backend or a cloud block.
// Those of called modules count for nothing in terraform.
func (c *Config) hasBackend() bool { return len(c.Modules[0].Backends) > 0 }

// initInputs is everything that the result of init depends on, as far as it can
// be told without the network.
func (r *Runner) initInputs(c *Config, there present) (string, error) {
	type call struct{ Module, Name, Source, Version string }
	type requirement struct{ Module, Name, Source, Version string }
	in := struct {
		Tool         Tool
		Served       []string
		Providers    []string
		Requirements []requirement
		Calls        []call
		Backend      bool
		Lock         string
	}{Tool: r.Tool, Providers: c.Providers(), Backend: c.hasBackend()}
	in.Served = there.names()
	sort.Strings(in.Served)
	for _, m := range c.Modules {
		for _, q := range m.Requirements {
			in.Requirements = append(in.Requirements, requirement{m.Address, q.Name, q.Source, q.Version})
		}
		for _, k := range m.Calls {
			in.Calls = append(in.Calls, call{m.Address, k.Name, k.Source, k.Version})
		}
	}
	lock, err := os.ReadFile(filepath.Join(r.Stack.Dir, lockFileName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read lock file: %w", err)
	}
	in.Lock = string(lock)
	text, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("encode inputs of init: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Prepare brings the working copy up to date and runs `terraform init` in it
// where the stack needs one and its inputs have changed since the last. Another
// command that prepares the same stack is waited for. It fails with an
// *InitError when init does.
func (r *Runner) Prepare(ctx context.Context) (err error) {
	lock, err := acquireLock(ctx, r.Clock, filepath.Join(r.Stack.Root, "lock"), r.Stderr, "another azimuth that prepares this stack")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()

	config, err := LoadConfig(r.Stack.Dir, r.Tool.Kind == OpenTofu)
	if err != nil {
		return err
	}
	if err := r.Stack.refresh(config.hasBackend()); err != nil {
		return err
	}
	running, err := parseReattach(r.Reattach)
	if err != nil {
		return err
	}
	env, err := r.environment(false)
	if err != nil {
		return err
	}
	there := present{running: running, overrides: r.devOverrides(env)}
	needs := initNeeds(config, there)
	if len(needs) == 0 || config.Diagnostics.HasErrors() {
		// terraform tells of the errors better, with the lines they are in.
		return nil
	}
	inputs, err := r.initInputs(config, there)
	if err != nil {
		return err
	}
	stamp := filepath.Join(r.Stack.Root, "init.sha256")
	last, err := os.ReadFile(stamp)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read init stamp: %w", err)
	}
	if string(last) == inputs && r.initDone(config, there) {
		return nil
	}
	if err := r.init(ctx, config, needs); err != nil {
		return err
	}
	if _, err := atomicfile.Write(stamp, []byte(inputs), 0o600); err != nil {
		return fmt.Errorf("write init stamp: %w", err)
	}
	return nil
}

// initDone reports whether what init leaves in the data directory is there.
func (r *Runner) initDone(c *Config, there present) bool {
	var files []string
	if c.hasBackend() {
		files = append(files, filepath.Join(r.Stack.DataDir(), "terraform.tfstate"))
	}
	if len(c.Modules[0].Calls) > 0 {
		files = append(files, filepath.Join(r.Stack.DataDir(), "modules", "modules.json"))
	}
	for _, source := range c.Providers() {
		if !there.has(source) {
			files = append(files, filepath.Join(r.Stack.DataDir(), "providers"))
			break
		}
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return false
		}
	}
	return true
}

func (r *Runner) init(ctx context.Context, config *Config, needs []string) (err error) {
	args := []string{"init", "-input=false", "-no-color"}
	if config.hasBackend() {
		// Whatever backend an earlier run of this copy knew is of no interest.
		args = append(args, "-reconfigure")
	}
	p := startProgress(r.Stderr, r.Clock, string(r.Tool.Kind)+" init")
	defer func() { p.stop(err) }()
	var out bytes.Buffer
	_, err = r.run(ctx, invocation{args: args, stdout: &out, stderr: &out, dropInitArgs: config.hasBackend()})
	var exit *ExitError
	if errors.As(err, &exit) {
		return &InitError{Command: exit.Command, Needs: needs, Offline: offline(out.String()), Output: out.String()}
	}
	return err
}

// environment is that of a child: the process's own, without what would take
// terraform out of its working copy, and with what it needs there.
func (r *Runner) environment(dropInitArgs bool) ([]string, error) {
	drop := []string{"TF_DATA_DIR", "TF_REATTACH_PROVIDERS"}
	if dropInitArgs {
		// -backend-config there is meant for the user's own backend.
		drop = append(drop, "TF_CLI_ARGS_init")
	}
	env := append(withoutVariables(os.Environ(), drop), "TF_DATA_DIR="+r.Stack.DataDir(), "PWD="+r.Stack.WorkDir())
	for i, kv := range env {
		// Paths that were meant from where the user stands.
		switch name, value, _ := strings.Cut(kv, "="); name {
		case "TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR", "TF_LOG_PATH":
			if value != "" {
				env[i] = name + "=" + r.absolute(value)
			}
		}
	}
	if _, set := os.LookupEnv("CHECKPOINT_DISABLE"); !set {
		// No question to HashiCorp's server whether there is a newer terraform.
		env = append(env, "CHECKPOINT_DISABLE=1")
	}
	if r.Reattach != "" {
		running, err := parseReattach(r.Reattach)
		if err != nil {
			return nil, err
		}
		text, err := running.environment()
		if err != nil {
			return nil, err
		}
		env = append(env, "TF_REATTACH_PROVIDERS="+text)
	}
	return append(env, r.Env...), nil
}

func withoutVariables(env, drop []string) []string {
	var out []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		keep := true
		for _, d := range drop {
			keep = keep && name != d
		}
		if keep {
			out = append(out, kv)
		}
	}
	return out
}

// command builds the process of an invocation, not yet started.
func (r *Runner) command(in invocation) (*exec.Cmd, error) {
	env, err := r.environment(in.dropInitArgs)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(r.Tool.Path, in.args...)
	cmd.Dir = r.Stack.WorkDir()
	cmd.Env = append(env, in.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in.stdin, in.stdout, in.stderr
	// Something that a local-exec left running may hold the pipes open.
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}
