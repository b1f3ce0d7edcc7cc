package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/clientenv"
)

func (a *app) envCommand() *cobra.Command {
	var shell string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the environment in which any Azure client uses this cloud",
		Long: `Print the environment in which any Azure client uses this cloud: proxy, CA
bundle, credentials for terraform and the Azure SDKs, and a configuration
directory in which az is signed in.`,
		Example: "  eval \"$(azimuth env)\"\n  azimuth env --shell fish | source",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			if a.output == "json" {
				shell = "json"
			}
			if !slices.Contains(clientenv.Shells(), shell) {
				return usagef("--shell is one of %s, not %q", strings.Join(clientenv.Shells(), ", "), shell)
			}
			e, err := a.clientEnv(cmd.Context(), s)
			if err != nil {
				return err
			}
			return e.Render(a.stdout, shell)
		},
	}
	cmd.Flags().StringVar(&shell, "shell", "sh", "sh, fish, powershell, dotenv or json")
	cmd.RegisterFlagCompletionFunc("shell", cobra.FixedCompletions(clientenv.Shells(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
