package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/home"
)

func (a *app) stopCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the server; jobs that run go on",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.home()
			if err != nil {
				return err
			}
			stopped, err := a.stopServer(d)
			if err != nil {
				return err
			}
			if !stopped {
				fmt.Fprintf(a.stdout, "no server runs for %s\n", d)
				return nil
			}
			fmt.Fprintf(a.stdout, "stopped the server for %s\n", d)
			return nil
		},
	}
}

// stopServer ends the home's server and waits until it has let go of the home.
func (a *app) stopServer(d home.Dir) (bool, error) {
	s, err := d.ReadServer()
	if errors.Is(err, home.ErrNoServer) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p, err := os.FindProcess(s.PID)
	if err != nil {
		return false, fmt.Errorf("stop server: %w", err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, fmt.Errorf("stop server (process %d): %w", s.PID, err)
	}
	return true, d.Released()
}
