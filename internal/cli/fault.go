package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/fault"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// faultCommand makes requests fail on demand.
func (a *app) faultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "fault", Short: "Make requests fail or wait, to test what programs do then",
		Long: `Make requests fail, wait, or lose their connection, to test what programs do then.
Faults are kept until they are removed or have happened as often as was asked for.`,
		Example: `  azimuth fault add PUT Microsoft.Storage/storageAccounts --status 429 --count 2
  azimuth fault add GET '*.blob.core.windows.net/models/*' --delay 2s
  azimuth fault add PUT Microsoft.Resources/resourceGroups --lose after --count 1
  azimuth fault add --role-delay 2m
  azimuth fault list
  azimuth fault clear`,
	}
	cmd.AddCommand(a.faultAdd(), a.faultList(), a.faultClear())
	return cmd
}

func faultTable(all []fault.Fault) *table {
	t := &table{header: []string{"id", "requests", "what happens", "left", "hits"}}
	for _, f := range all {
		var what []string
		if f.Delay != "" {
			what = append(what, "wait "+f.Delay)
		}
		if f.Status != 0 {
			what = append(what, strings.TrimSpace(fmt.Sprintf("answer %d %s", f.Status, f.Code)))
		}
		if f.Lost != "" {
			what = append(what, "lose the connection "+f.Lost+" it is carried out")
		}
		if f.RoleDelay != "" {
			what = append(what, "count after "+f.RoleDelay)
		}
		left := "all"
		if f.Left > 0 {
			left = strconv.Itoa(f.Left)
		}
		t.add(f.ID, f.Method+" "+f.Target, strings.Join(what, ", "), left, strconv.Itoa(f.Hits))
	}
	return t
}

func (a *app) faultAdd() *cobra.Command {
	f := fault.Fault{}
	cmd := &cobra.Command{
		Use: "add METHOD TARGET", Short: "Add a fault",
		Long: `Add a fault. METHOD is an HTTP method or '*'. TARGET is a resource type, for
requests to Azure Resource Manager, such as Microsoft.Storage/storageAccounts or (an
action) Microsoft.Storage/storageAccounts/listKeys; or HOST or HOST/PATH, in which *
stands for anything.`,
		Example: `  azimuth fault add '*' '*.vault.azure.net' --status 503 --count 3 --retry-after 1
  azimuth fault add --role-delay 2m   # role assignments take a while to show`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.RoleDelay != "" && len(args) == 0:
				return nil
			case len(args) != 2:
				return usagef("%s takes a method and a target", cmd.CommandPath())
			}
			return nil
		},
		RunE: a.withSession(func(ctx context.Context, s *session, args []string) error {
			f.Method, f.Target = "*", fault.RoleAssignments
			if len(args) == 2 {
				f.Method, f.Target = args[0], args[1]
			}
			var out fault.Fault
			if err := s.admin(ctx, http.MethodPost, "/v1/faults", f, &out); err != nil {
				return fmt.Errorf("add a fault: %w", err)
			}
			return a.print("table", out, func() *table { return faultTable([]fault.Fault{out}) })
		}),
	}
	fs := cmd.Flags()
	fs.IntVar(&f.Status, "status", 0, "answer with this HTTP status, 400 to 599, instead of carrying the request out")
	fs.StringVar(&f.Code, "code", "", "the error's code (default: the usual one of the status)")
	fs.IntVar(&f.RetryAfter, "retry-after", -1, "seconds that the Retry-After header of the answer says (default: no header)")
	fs.IntVar(&f.Left, "count", 0, "how many requests it happens to (default: all)")
	fs.StringVar(&f.Delay, "delay", "", "wait this long first, such as 2s, on the cloud's clock")
	fs.StringVar(&f.Lost, "lose", "", "lose the connection before or after the request is carried out")
	fs.StringVar(&f.RoleDelay, "role-delay", "", "how long new role assignments take to count")
	cmd.RegisterFlagCompletionFunc("lose", cobra.FixedCompletions([]string{fault.LostBefore, fault.LostAfter}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) faultList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the faults that are to happen", Args: noArgs,
		RunE: a.withSession(func(ctx context.Context, s *session, _ []string) error {
			var out server.Faults
			if err := s.admin(ctx, http.MethodGet, "/v1/faults", nil, &out); err != nil {
				return fmt.Errorf("list faults: %w", err)
			}
			return a.print("table", out.Faults, func() *table { return faultTable(out.Faults) })
		}),
	}
}

func (a *app) faultClear() *cobra.Command {
	return &cobra.Command{
		Use: "clear [ID]", Short: "Remove a fault, or all",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes the ID of one fault", cmd.CommandPath())
			}
			return nil
		},
		RunE: a.withSession(func(ctx context.Context, s *session, args []string) error {
			path := "/v1/faults"
			if len(args) == 1 {
				path += "/" + url.PathEscape(args[0])
			}
			if err := s.admin(ctx, http.MethodDelete, path, nil, nil); err != nil {
				return fmt.Errorf("clear faults: %w", err)
			}
			return nil
		}),
	}
}
