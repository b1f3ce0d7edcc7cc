package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// Runner runs terraform or tofu commands on a stack. Its exported fields are
// set before the first call and not changed after. One Runner runs one command
// at a time; several, in any processes, may work on one stack: preparing it is
// serialised here, and changing its state by terraform's own lock, which the
// operating system drops when its holder is killed.
type Runner struct {
	Tool  Tool
	Stack *Stack
	Clock clock.Clock
	// Reattach is the value of TF_REATTACH_PROVIDERS that reaches the providers
	// that run already. Empty means that all come from their registries.
	Reattach string
	// Env is added to the environment of the process, KEY=VALUE; later ones win.
	Env []string
	// Cwd is the directory that paths of the user's arguments are relative to;
	// empty means the process's own.
	Cwd string
	// Stdin is for Passthrough only. Where it is a terminal, so must the
	// process's own be.
	Stdin io.Reader
	// Stdout and Stderr get what terraform prints as it prints it. Give an
	// *os.File to let it see a terminal. Stderr also gets progress lines.
	Stdout, Stderr io.Writer
}

// ApplyOptions are the user's arguments of an apply or destroy.
type ApplyOptions struct {
	// Vars are the values of -var, NAME=VALUE. They win over the files.
	Vars []string
	// VarFiles are the values of -var-file; relative to Runner.Cwd.
	VarFiles []string
	// Extra are more arguments for terraform, as the user wrote them.
	Extra []string
	// Events, where set, gets terraform's progress as values, and nothing is
	// printed. It is called from one goroutine.
	Events func(Event)
}

func (o ApplyOptions) args(r *Runner) []string {
	var args []string
	for _, f := range o.VarFiles {
		args = append(args, "-var-file="+r.absolute(f))
	}
	for _, v := range o.Vars {
		args = append(args, "-var="+v)
	}
	return append(args, r.rewritePaths("apply", o.Extra)...)
}

// Apply prepares the stack and applies it without asking. It fails with an
// *ExitError once terraform ran, and with an *InitError where init did not work.
func (r *Runner) Apply(ctx context.Context, o ApplyOptions) error {
	return r.change(ctx, "apply", o)
}

// Destroy prepares the stack and destroys what it made, without asking.
func (r *Runner) Destroy(ctx context.Context, o ApplyOptions) error {
	return r.change(ctx, "destroy", o)
}

// lockTimeout lets a terraform whose azimuth was killed finish and save its state.
const lockTimeout = "-lock-timeout=30s"

func (r *Runner) change(ctx context.Context, verb string, o ApplyOptions) (err error) {
	if err := r.Prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Stack.protectState()) }()
	args := append([]string{verb, "-auto-approve", "-input=false", lockTimeout}, r.colour()...)
	in := invocation{env: []string{"TF_IN_AUTOMATION=1"}, stdout: r.Stdout, stderr: r.Stderr}
	if o.Events != nil {
		args = append(args, "-json")
		events := &eventWriter{f: o.Events}
		in.stdout = events
		defer events.flush()
	}
	in.args = append(args, o.args(r)...)
	_, err = r.run(ctx, in)
	return err
}

// Plan prepares the stack, makes a plan and keeps it at out (absolute), where
// ShowPlan reads it. It reports whether anything would change.
func (r *Runner) Plan(ctx context.Context, out string, o ApplyOptions) (changes bool, err error) {
	if err := r.Prepare(ctx); err != nil {
		return false, err
	}
	args := append([]string{"plan", "-input=false", lockTimeout, "-detailed-exitcode", "-out=" + out}, r.colour()...)
	_, err = r.run(ctx, invocation{
		args:   append(args, o.args(r)...),
		env:    []string{"TF_IN_AUTOMATION=1"},
		stdout: r.Stdout, stderr: r.Stderr,
	})
	var exit *ExitError
	if errors.As(err, &exit) && exit.Code == 2 {
		return true, nil
	}
	return false, err
}

// Output returns the outputs in the state. There are none before the first apply.
func (r *Runner) Output(ctx context.Context) (map[string]*tfjson.StateOutput, error) {
	text, err := r.capture(ctx, "output", "-json")
	if err != nil {
		return nil, err
	}
	var out map[string]*tfjson.StateOutput
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("read outputs: %w", err)
	}
	return out, nil
}

// ShowState returns the state. Its Values are nil where there is nothing.
func (r *Runner) ShowState(ctx context.Context) (*tfjson.State, error) {
	text, err := r.capture(ctx, "show", "-json")
	if err != nil {
		return nil, err
	}
	state := &tfjson.State{}
	if err := json.Unmarshal(text, state); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return state, nil
}

// ShowPlan returns a plan that Plan kept.
func (r *Runner) ShowPlan(ctx context.Context, path string) (*tfjson.Plan, error) {
	text, err := r.capture(ctx, "show", "-json", r.absolute(path))
	if err != nil {
		return nil, err
	}
	plan := &tfjson.Plan{}
	if err := json.Unmarshal(text, plan); err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	return plan, nil
}

// capture runs a command that only reads, and returns what it prints.
func (r *Runner) capture(ctx context.Context, args ...string) ([]byte, error) {
	if err := r.Prepare(ctx); err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	_, err := r.run(ctx, invocation{args: append(args, "-no-color"), stdout: &stdout, stderr: &stderr})
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Output = stderr.String()
	}
	return stdout.Bytes(), err
}

// absolute resolves a path that the user gave.
func (r *Runner) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	cwd := r.Cwd
	if cwd == "" {
		if wd, err := os.Getwd(); err == nil {
			cwd = wd
		}
	}
	return filepath.Join(cwd, path)
}
