package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/terraform"
)

func (a *app) downCommand() *cobra.Command {
	var sf stackFlags
	cmd := &cobra.Command{
		Use:   "down [DIR]",
		Short: "Destroy what `azimuth up DIR` made",
		Long: `Destroy what "azimuth up DIR" made, with its jobs and its data. The server goes
on running.`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := sf.check(); err != nil {
				return err
			}
			ctx := cmd.Context()
			st, err := a.openStack(ctx, dirArg(args), sf, serveFlags{})
			if err != nil {
				return err
			}
			defer st.close()
			p := &progress{app: a, style: a.style(a.stderr), quiet: a.output == "json"}
			start := time.Now()
			err = st.runner.Destroy(ctx, terraform.ApplyOptions{Vars: sf.vars, VarFiles: sf.varFiles, Events: p.event})
			if err != nil {
				return a.applyError(ctx, st, p, err)
			}
			if a.output == "json" {
				return a.print("json", map[string]any{"changes": p.changes}, nil)
			}
			what := fmt.Sprintf("%d destroyed", p.changes.Destroy)
			if p.changes.Destroy == 0 {
				what = "nothing to destroy"
			}
			fmt.Fprintf(a.stdout, "%s %s (%s)\n", p.style.green("✓"), what, time.Since(start).Round(10*time.Millisecond))
			return nil
		},
	}
	sf.register(cmd)
	return cmd
}
