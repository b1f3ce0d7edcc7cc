// Package cli is the azimuth command line: one file per command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// Exit codes. A script can tell a wrong call from a failed one.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// app is what every command shares.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	homeFlag       string
	asFile         string
	from           string // --from
	output         string
}

// exitError carries an exit code that is not exitFailure. Its text may be
// empty: then everything was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError is a wrong call: exit code 2 and a pointer to the help.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// hint adds what to do next to an error.
func hint(err error, format string, args ...any) error {
	return fmt.Errorf("%w\n  %s", err, fmt.Sprintf(format, args...))
}

// Main runs the command line and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "supervise" {
		// one starts beside each task: nothing else is set up for it
		return server.Supervise(context.Background(), args[1:], stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(spell(root, args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var exit *exitError
	var usage *usageError
	switch {
	case errors.As(err, &exit):
		if exit.err != nil {
			a.printError(exit.err)
		}
		return exit.code
	case errors.As(err, &usage), isCobraUsage(err):
		a.printError(err)
		fmt.Fprintf(stderr, "  See %s --help\n", cmd.CommandPath())
		return exitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		a.printError(errors.New("interrupted"))
		return 130
	}
	a.printError(err)
	return exitFailure
}

// isCobraUsage recognises cobra's own complaints, which have no type.
func isCobraUsage(err error) bool {
	s := err.Error()
	for _, p := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires at least", "required flag", "invalid argument", "flag needs an argument"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func (a *app) printError(err error) {
	fmt.Fprintf(a.stderr, "%s %s\n", a.style(a.stderr).red("error:"), err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "azimuth",
		Short: "An Azure Machine Learning environment on your own machines",
		Long: `Azimuth runs the Azure Machine Learning environment that your Terraform
describes on your own machines: workspace, storage, registry, identities,
networks and compute clusters on which jobs really run. The same files then go
to Azure.

Start with:  azimuth up examples/workspace`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			more := cmd.Annotations[outputAnnotated]
			switch a.output {
			case "", "table", "json", more:
				return nil
			}
			if more != "" {
				return usagef("--output is table, json or %s, not %q", more, a.output)
			}
			return usagef("--output is table or json, not %q", a.output)
		},
	}
	root.PersistentFlags().StringVar(&a.homeFlag, "home", "", "directory of all state (default $AZIMUTH_HOME, else ~/.azimuth)")
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "", "output format: table or json")
	root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.MarkPersistentFlagDirname("home")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(
		a.identityCommand(), a.faultCommand(), a.networkCommand(),
		a.serveCommand(), a.upCommand(), a.downCommand(), a.terraformCommand(),
		a.envCommand(), a.execCommand(), a.statusCommand(), a.stopCommand(), a.resetCommand(),
		a.doctorCommand(), a.sealCommand(), a.versionCommand(), a.clockCommand(), a.computeCommand(), a.quotaCommand(), a.topCommand(), a.logsCommand(), a.mlCommand(),
	)
	for _, cmd := range root.Commands() {
		onlyCommands(cmd)
		switch cmd.Name() {
		case "up", "down", "terraform", "env", "exec":
			cmd.Flags().StringVar(&a.asFile, "as", "", "act as the service principal whose credentials `FILE` has (azimuth identity create sp)")
			cmd.MarkFlagFilename("as")
			cmd.Flags().StringVar(&a.from, "from", "", placeFlag)
		case "ml":
			cmd.PersistentFlags().StringVar(&a.from, "from", "", placeFlag)
		}
	}
	return root
}

// placeFlag is what --from does.
const placeFlag = "call as `PLACE`, a subnet, compute or node by name or ID (default: this machine, on the internet)"

// onlyCommands has commands that only hold others refuse what is none of them:
// cobra by itself prints their help and succeeds.
func onlyCommands(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		onlyCommands(c)
	}
	if cmd.Runnable() || !cmd.HasSubCommands() {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = hint(err, "Did you mean %s?", strings.Join(near, " or "))
		}
		return &usageError{err}
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.DisableFlagsInUseLine = true
}

func (a *app) home() (home.Dir, error) { return home.Find(a.homeFlag) }

// noArgs is cobra.NoArgs with a message that names what is too much.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}
