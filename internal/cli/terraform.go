package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) terraformCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "terraform [--dir DIR] [--provider builtin|registry] COMMAND [ARGS…]",
		DisableFlagsInUseLine: true,
		Short:                 "Run terraform (plan, output, state, import, console, test …) with everything attached",
		Long: `Run a terraform command on the stack in DIR (default: this directory) with the
state that "azimuth up" keeps, the built-in provider, and this cloud's
credentials. Terraform's own exit code is kept.`,
		Example:            "  azimuth terraform --dir examples/workspace plan\n  azimuth terraform state list",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, sf := ".", stackFlags{provider: "builtin"}
			for len(args) > 0 && strings.HasPrefix(args[0], "-") {
				name, value, ok := strings.Cut(args[0], "=")
				name = "--" + strings.TrimLeft(name, "-")
				if name == "--help" || name == "--h" {
					return cmd.Help()
				}
				if !ok {
					if len(args) < 2 {
						return usagef("%s needs a value", name)
					}
					value, args = args[1], args[1:]
				}
				args = args[1:]
				switch name {
				case "--dir", "--chdir":
					dir = value
				case "--provider":
					sf.provider = value
				case "--home":
					a.homeFlag = value
				default:
					return usagef("unknown flag %s before the terraform command", name)
				}
			}
			if err := sf.check(); err != nil {
				return err
			}
			if len(args) == 0 {
				return usagef("say which terraform command to run, such as plan")
			}
			st, err := a.openStack(cmd.Context(), dir, sf, serveFlags{})
			if err != nil {
				return err
			}
			defer st.close()
			status, err := st.runner.Passthrough(cmd.Context(), args)
			if err != nil {
				return err
			}
			if status != 0 {
				return &exitError{code: status}
			}
			return nil
		},
	}
}
