package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func (a *app) execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "exec -- COMMAND [ARGS…]",
		DisableFlagsInUseLine: true,
		Short:                 "Run any Azure client against this cloud",
		Long: `Run a command, and all it starts, against this cloud. Its exit code is kept.
With --from it runs as on a machine in one of the cloud's subnets, as a jump host or an
agent in a private network would.`,
		Example: "  azimuth exec -- az group list\n  azimuth exec -- terraform plan\n  azimuth exec --from my-vnet/my-subnet -- az storage blob list …",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("say which command to run: azimuth exec -- COMMAND")
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			e, err := a.clientEnv(cmd.Context(), s)
			if err != nil {
				return err
			}
			return a.run(args, e.Apply(os.Environ()))
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// run runs a command in an environment and gives its exit code back.
func (a *app) run(args, env []string) error {
	c := exec.CommandContext(context.Background(), args[0], args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = a.stdin, a.stdout, a.stderr
	c.Env = env
	// an interrupt reaches the command by itself; it says when to end
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := c.Start(); err != nil {
		code := 126
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			code = 127
		}
		return &exitError{code: code, err: fmt.Errorf("run %s: %w", args[0], err)}
	}
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM {
				c.Process.Signal(s)
			}
		}
	}()
	err := c.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code := exit.ExitCode()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
		return &exitError{code: code}
	}
	return err
}
