package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// quota is a limit of vCPUs as it is printed.
type quota struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	// Used is what counts against it, Limit nil where there is none.
	Used  int  `json:"used"`
	Limit *int `json:"limit"`
	// Workspace is the ID of the one that it is of; of all when "".
	Workspace string `json:"workspace,omitempty"`
}

// quotaCommand limits the cores that computes may have, as every subscription does.
func (a *app) quotaCommand() *cobra.Command {
	var f mlFlags
	var region string
	var all bool
	cmd := &cobra.Command{
		Use: "quota", Short: "List, set and lift quotas of vCPUs",
		Long: `List, set and lift quotas of vCPUs. A quota is of a family of VM sizes, such as
standardDSv3Family, or of all dedicated (TotalDedicatedCores) or low-priority nodes
(TotalLowPriorityCores) of a region; with --workspace-name it is the part of a family's
that one workspace may use. Jobs wait for nodes beyond it, and what could never be
within it is refused in Azure's words. Without a quota there is no limit.`,
		Example: `  azimuth quota set standardDSv3Family 24 --region westeurope
  azimuth quota list --all -o json
  azimuth quota remove standardDSv3Family`,
	}
	fs := cmd.PersistentFlags()
	fs.StringVarP(&f.group, "resource-group", "g", "", "resource group of the workspace")
	fs.StringVarP(&f.workspace, "workspace-name", "w", "", "set what this workspace may use, of a family")
	fs.StringVarP(&region, "region", "l", "", "region (default: that of the only workspace)")
	cmd.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "location" { // as az has it
			name = "region"
		}
		return pflag.NormalizedName(name)
	})
	where := func(ctx context.Context, s *session) (string, error) {
		if region != "" && f.workspace == "" {
			return arm.NormalizeLocation(region), nil
		}
		ws, err := s.workspace(ctx, &f)
		return ws.String("location"), err
	}
	set := func(ctx context.Context, s *session, name string, cores int) error {
		at, err := where(ctx, s)
		if err != nil {
			return err
		}
		if f.workspace != "" {
			err = s.setWorkspaceQuota(ctx, &f, name, cores)
		} else {
			err = s.admin(ctx, http.MethodPut, "/v1/compute/quotas", server.Quota{Location: at, Name: name, Cores: cores}, nil)
		}
		if err != nil {
			return fmt.Errorf("set the quota %s: %w", name, err)
		}
		return a.listQuotas(ctx, s, at, false)
	}
	list := &cobra.Command{Use: "list", Short: "List the quotas that are set, with what counts against them", Args: noArgs,
		RunE: a.withSession(func(ctx context.Context, s *session, _ []string) error {
			at, err := where(ctx, s)
			if err != nil {
				return err
			}
			return a.listQuotas(ctx, s, at, all)
		})}
	list.Flags().BoolVar(&all, "all", false, "also those without a limit")
	cmd.AddCommand(list,
		&cobra.Command{Use: "set NAME VCPUS", Short: "Limit a family or a total to so many vCPUs",
			Args: func(cmd *cobra.Command, args []string) error {
				if len(args) != 2 {
					return usagef("%s takes the name of a quota and a number of vCPUs", cmd.CommandPath())
				}
				if n, err := strconv.Atoi(args[1]); err != nil || n < 0 {
					return usagef("%q is no number of vCPUs", args[1])
				}
				return nil
			},
			RunE: a.withSession(func(ctx context.Context, s *session, args []string) error {
				cores, err := strconv.Atoi(args[1])
				if err != nil {
					return err
				}
				return set(ctx, s, args[0], cores)
			})},
		&cobra.Command{Use: "remove NAME", Short: "Lift a quota", Args: oneArg("the name of a quota"),
			RunE: a.withSession(func(ctx context.Context, s *session, args []string) error { return set(ctx, s, args[0], -1) })},
	)
	return cmd
}

// quotas are those of a region: of families and totals, then of workspaces.
func (s *session) quotas(ctx context.Context, region string) ([]quota, error) {
	base := "/subscriptions/" + s.client.Subscription() + "/providers/Microsoft.MachineLearningServices/locations/" + url.PathEscape(region)
	all := []quota{}
	limit := func(doc arm.Doc) *int {
		if n := doc.Int("limit", -1); n >= 0 {
			return &n
		}
		return nil
	}
	for doc, err := range client.List[arm.Doc](ctx, s.client, base+"/usages", mlAPI) {
		if err != nil {
			return nil, err
		}
		all = append(all, quota{Name: doc.String("name.value"), Region: region, Used: doc.Int("currentValue", 0), Limit: limit(doc)})
	}
	for doc, err := range client.List[arm.Doc](ctx, s.client, base+"/quotas", mlAPI) {
		if err != nil {
			return nil, err
		}
		ws, name, ok := strings.Cut(doc.String("id"), "/quotas/")
		if id, err := arm.ParseID(ws); ok && err == nil && len(id.Providers) > 0 {
			all = append(all, quota{Name: name, Region: region, Limit: limit(doc), Workspace: ws})
		}
	}
	return all, nil
}

func (a *app) listQuotas(ctx context.Context, s *session, region string, all bool) error {
	found, err := s.quotas(ctx, region)
	if err != nil {
		return fmt.Errorf("list quotas: %w", err)
	}
	show := []quota{}
	for _, q := range found {
		if all || q.Limit != nil {
			show = append(show, q)
		}
	}
	return a.print("table", show, func() *table {
		t := &table{header: []string{"quota", "region", "used", "limit", "workspace"}}
		for _, q := range show {
			limit, used := "none", strconv.Itoa(q.Used)
			if q.Limit != nil {
				limit = strconv.Itoa(*q.Limit)
			}
			ws := q.Workspace[strings.LastIndexByte(q.Workspace, '/')+1:]
			if ws != "" {
				used = "" // Azure tells it of regions alone
			}
			t.add(q.Name, q.Region, used, limit, ws)
		}
		return t
	})
}

// setWorkspaceQuota sets what a workspace may use, as Azure's updateQuotas does.
func (s *session) setWorkspaceQuota(ctx context.Context, f *mlFlags, name string, cores int) error {
	ws, err := s.workspace(ctx, f)
	if err != nil {
		return err
	}
	region := ws.String("location")
	var out struct{ Value []struct{ Status string } }
	err = s.client.Do(ctx, http.MethodPost, "/subscriptions/"+s.client.Subscription()+"/providers/Microsoft.MachineLearningServices/locations/"+
		url.PathEscape(region)+"/updateQuotas", mlAPI, map[string]any{"location": region, "value": []any{map[string]any{
		"id": ws.String("id") + "/quotas/" + name, "type": typeWS + "/quotas", "limit": cores, "unit": "Count",
	}}}, &out)
	if err != nil {
		return err
	}
	if len(out.Value) != 1 || out.Value[0].Status != "Success" {
		status := "no answer"
		if len(out.Value) == 1 {
			status = out.Value[0].Status
		}
		return errors.New(status)
	}
	return nil
}
