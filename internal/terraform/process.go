package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// invocation is one run of the program.
type invocation struct {
	args           []string
	env            []string
	stdin          io.Reader
	stdout, stderr io.Writer
	// interactive is true when the user's terminal is attached: the terminal
	// then sends its interrupts to terraform itself.
	interactive bool
	// dropInitArgs leaves out the user's extra arguments of init.
	dropInitArgs bool
}

// run starts the program and waits for it. The first interrupt, or the end of
// ctx, asks terraform to stop, which it does once what it is doing is in its
// state; the second interrupt kills it. It fails with an *ExitError when the
// program reports failure, and then returns its status too.
func (r *Runner) run(ctx context.Context, in invocation) (int, error) {
	if err := ctx.Err(); err != nil {
		return 1, err
	}
	name := string(r.Tool.Kind) + " " + strings.Join(in.args[:min(1, len(in.args))], "")
	cmd, err := r.command(in)
	if err != nil {
		return 1, err
	}
	if !in.interactive {
		// A group of its own, so that an interrupt from the terminal reaches it
		// through here, once.
		setProcessGroup(cmd)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start %s: %w", r.Tool.Path, err)
	}
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	return exitStatus(name, supervise(ctx, r.Stderr, cmd, in.interactive, signals, waited))
}

// supervise passes interrupts on until the program has ended.
func supervise(ctx context.Context, w io.Writer, cmd *exec.Cmd, interactive bool, signals <-chan os.Signal, waited <-chan error) error {
	asked, received := false, 0
	cancelled := ctx.Done()
	for {
		select {
		case err := <-waited:
			return err
		case <-cancelled:
			cancelled = nil
			if !asked {
				asked = true
				interrupt(cmd)
			}
		case s := <-signals:
			received++
			if interactive && s == os.Interrupt {
				asked = true // the terminal has sent it the same
				continue
			}
			if received > 1 && !interactive {
				if w != nil {
					fmt.Fprintln(w, "azimuth: second interrupt, killing it")
				}
				kill(cmd)
				continue
			}
			if !asked {
				asked = true
				interrupt(cmd)
			}
		}
	}
}

// exitStatus turns the result of a finished program into its status and error.
func exitStatus(name string, err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return 0, nil
	case errors.As(err, &exit):
		return exit.ExitCode(), &ExitError{Command: name, Code: exit.ExitCode()}
	default:
		return 1, fmt.Errorf("wait for %s: %w", name, err)
	}
}
