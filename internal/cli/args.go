package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// spell rewrites a command line from the ways in which users of terraform and az
// write flags to the one that pflag reads:
//
//	-var a=1, -var-file=f        → --var a=1, --var-file=f
//	--set a=1 b=2, --tags x y    → --set a=1 --set b=2, --tags x --tags y
//
// With one dash are written the flags that the command has and whose name is
// longer than a letter. Several values are taken by the list flags of az's
// commands, which have no arguments beside flags.
func spell(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil || cmd.DisableFlagParsing {
		return args
	}
	lists := strings.HasPrefix(cmd.CommandPath(), root.Name()+" ml ")
	out := make([]string, 0, len(args))
	list, valued := "", false // the list flag that values belong to, and whether it has one
	for i, arg := range args {
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			if list != "" && valued {
				out = append(out, list)
			}
			valued = true
			out = append(out, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := cmd.Flag(name)
		if len(name) == 1 {
			flag = cmd.Flags().ShorthandLookup(name)
		} else if flag != nil && !strings.HasPrefix(arg, "--") {
			arg = "-" + arg
		}
		list, valued = "", hasValue
		if lists && flag != nil && isList(flag) {
			list = "--" + flag.Name
		}
		out = append(out, arg)
	}
	return out
}

func isList(f *pflag.Flag) bool {
	switch f.Value.Type() {
	case "stringArray", "stringSlice", "stringToString":
		return true
	}
	return false
}
