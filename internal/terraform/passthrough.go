package terraform

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/term"
)

// Passthrough runs a terraform command as the user wrote it ("plan", "output",
// "state list", "import ADDR ID", "console", "test", …) with its input and
// output attached, and returns its exit status. The error is nil whenever
// terraform ran. Paths in the arguments are relative to Cwd. Commands that work
// on a stack find it prepared.
func (r *Runner) Passthrough(ctx context.Context, args []string) (status int, err error) {
	verb := subcommand(args)
	if needsStack(verb) {
		if err := r.Prepare(ctx); err != nil {
			return 1, err
		}
	} else if err := r.prepareLinks(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, r.Stack.protectState()) }()
	status, err = r.run(ctx, invocation{
		args:  r.rewritePaths(verb, args),
		stdin: r.Stdin, stdout: r.Stdout, stderr: r.Stderr,
		interactive: isTerminal(r.Stdin),
	})
	var exit *ExitError
	if errors.As(err, &exit) {
		return status, nil
	}
	return status, err
}

// prepareLinks brings the working copy up to date for a command that makes no
// use of what init leaves, or that is init.
func (r *Runner) prepareLinks() error {
	config, err := LoadConfig(r.Stack.Dir, r.Tool.Kind == OpenTofu)
	if err != nil {
		return err
	}
	return r.Stack.refresh(config.hasBackend())
}

// subcommand is the first argument that is not an option.
func subcommand(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

// needsStack tells the commands that read a prepared stack from those that do
// not, which must not wait for an init that they do not need.
func needsStack(verb string) bool {
	switch verb {
	case "", "fmt", "init", "get", "version", "login", "logout", "metadata", "force-unlock":
		return false
	}
	return true
}

// pathOptions are terraform's options whose value is a path.
func pathOption(name string) bool {
	switch name {
	case "var-file", "out", "state", "state-out", "backup", "backup-out", "generate-config-out", "plugin-dir", "junit-xml":
		return true
	}
	return false
}

// rewritePaths makes the paths in arguments absolute, because terraform runs in
// the working copy and not where the user stands.
func (r *Runner) rewritePaths(verb string, args []string) []string {
	out := make([]string, 0, len(args))
	takesPath, seenVerb := false, false
	for _, a := range args {
		name, value, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		isOption := strings.HasPrefix(a, "-")
		switch {
		case takesPath:
			a, takesPath = r.absolute(a), false
		case isOption && pathOption(name) && hasValue && value != "" && value != "-":
			a = "-" + name + "=" + r.absolute(value)
		case isOption && pathOption(name) && !hasValue:
			takesPath = true
		case !isOption && !seenVerb && a == verb:
			seenVerb = true
		case !isOption && (verb == "apply" || verb == "show"):
			// The only positional argument of these is a plan file.
			if path := r.absolute(a); isFile(path) {
				a = path
			}
		}
		out = append(out, a)
	}
	return out
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// colour turns colours off where nobody would see them.
func (r *Runner) colour() []string {
	if os.Getenv("NO_COLOR") == "" && isTerminal(r.Stdout) {
		return nil
	}
	return []string{"-no-color"}
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && f != nil && term.IsTerminal(int(f.Fd()))
}
