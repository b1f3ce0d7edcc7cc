package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/server"
)

func (a *app) resetCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Stop the server and delete everything in the home",
		Long: `Stop the server, end its jobs, and delete everything in the home: resources,
blobs, keys, Terraform state of the stacks applied with "azimuth up". The
programs fetched under tools/ are kept.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.home()
			if err != nil {
				return err
			}
			if _, err := os.Stat(d.Run()); errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintf(a.stdout, "%s is not an azimuth home; nothing to do\n", d)
				return nil
			}
			if !yes {
				fmt.Fprintf(a.stderr, "Delete everything in %s? [y/N] ", d)
				line, _ := bufio.NewReader(a.stdin).ReadString('\n')
				if s := strings.ToLower(strings.TrimSpace(line)); s != "y" && s != "yes" {
					return errors.New("nothing was deleted; answer y, or use --yes")
				}
			}
			if _, err := a.stopServer(d); err != nil {
				return err
			}
			if err := server.KillTasks(cmd.Context(), d); err != nil {
				return err
			}
			if err := wipe(d); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "deleted everything in %s\n", d)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// wipe removes what Azimuth made in its home, and nothing else that may be
// there.
func wipe(d home.Dir) error {
	unlock, err := d.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range server.HomeEntries() {
		if err := os.RemoveAll(d.Path(name)); err != nil {
			return fmt.Errorf("reset: %w", err)
		}
	}
	return nil
}
