package cli

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// computeQuota limits the cores that clusters may have, as every subscription does.
func (a *app) computeQuota(f *mlFlags) *cobra.Command {
	var location string
	cmd := &cobra.Command{
		Use: "quota", Short: "List, set and lift quotas of vCPUs",
		Long: `List, set and lift quotas of vCPUs. A quota is of a family of VM sizes, such as
standardDSv3Family, or of all dedicated (TotalDedicatedCores) or low-priority nodes
(TotalLowPriorityCores) of a region. Jobs wait for nodes beyond it, and what could
never be within it is refused in Azure's words. Without a quota there is no limit.`,
		Example: `  azimuth compute quota set standardDSv3Family 24
  azimuth compute quota list
  azimuth compute quota remove standardDSv3Family`,
	}
	cmd.PersistentFlags().StringVarP(&location, "location", "l", "", "region (default: that of the only workspace)")
	show := func(out server.Quotas) error {
		return a.print("table", out, func() *table {
			t := &table{header: []string{"quota", "vCPUs"}}
			for _, name := range slices.Sorted(maps.Keys(out.Cores)) {
				t.add(name, strconv.Itoa(out.Cores[name]))
			}
			return t
		})
	}
	in := func(ctx context.Context, do func(s *session, location string) error) error {
		if location != "" {
			s, err := a.connect(ctx)
			if err != nil {
				return err
			}
			defer s.close()
			return do(s, location)
		}
		return a.withWorkspace(ctx, f, func(s *session, ws arm.Doc) error { return do(s, ws.String("location")) })
	}
	set := func(ctx context.Context, name string, cores int) error {
		return in(ctx, func(s *session, location string) error {
			var out server.Quotas
			if err := s.admin(ctx, http.MethodPut, "/v1/compute/quotas", server.Quota{Location: location, Name: name, Cores: cores}, &out); err != nil {
				return fmt.Errorf("quota: %w", err)
			}
			return show(out)
		})
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List the quotas that are set", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return in(cmd.Context(), func(s *session, location string) error {
				var out server.Quotas
				if err := s.admin(cmd.Context(), http.MethodGet, "/v1/compute/quotas?location="+url.QueryEscape(location), nil, &out); err != nil {
					return fmt.Errorf("quota: %w", err)
				}
				return show(out)
			})
		}},
		&cobra.Command{Use: "set NAME VCPUS", Short: "Limit a family or a total to so many vCPUs",
			Args: func(cmd *cobra.Command, args []string) error {
				if len(args) != 2 {
					return usagef("%s takes the name of a quota and a number of vCPUs", cmd.CommandPath())
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				cores, err := strconv.Atoi(args[1])
				if err != nil || cores < 0 {
					return usagef("%q is no number of vCPUs", args[1])
				}
				return set(cmd.Context(), args[0], cores)
			}},
		&cobra.Command{Use: "remove NAME", Short: "Lift a quota", Args: oneArg("the name of a quota"), RunE: func(cmd *cobra.Command, args []string) error {
			return set(cmd.Context(), args[0], -1)
		}},
	)
	return cmd
}
