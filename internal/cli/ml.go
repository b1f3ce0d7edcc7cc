package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
)

const (
	mlAPI       = "2024-04-01"
	typeWS      = "Microsoft.MachineLearningServices/workspaces"
	workspaceEP = "/providers/" + typeWS
)

// mlFlags choose the workspace, as az does.
type mlFlags struct{ group, workspace string }

// mlCommand has the grammar of `az ml`.
func (a *app) mlCommand() *cobra.Command {
	var f mlFlags
	cmd := &cobra.Command{
		Use:   "ml",
		Short: "Work with jobs, computes, assets and workspaces, in the grammar of `az ml`",
	}
	cmd.PersistentFlags().StringVarP(&f.group, "resource-group", "g", "", "resource group (default: that of the only workspace)")
	cmd.PersistentFlags().StringVarP(&f.workspace, "workspace-name", "w", "", "workspace (default: the only one there is)")
	cmd.AddCommand(a.mlJobCommand(&f), a.mlComputeCommand(&f), a.mlWorkspaceCommand(&f), a.mlDatastoreCommand(&f))
	cmd.AddCommand(a.mlAssetCommands(&f)...)
	return cmd
}

// workspaces lists the workspaces that the flags allow.
func (s *session) workspaces(ctx context.Context, f *mlFlags) ([]arm.Doc, error) {
	path := "/subscriptions/" + s.client.Subscription()
	if f.group != "" {
		path += "/resourceGroups/" + url.PathEscape(f.group)
	}
	var out []arm.Doc
	for ws, err := range client.List[arm.Doc](ctx, s.client, path+workspaceEP, mlAPI) {
		if err != nil {
			return nil, err
		}
		if f.workspace == "" || strings.EqualFold(ws.String("name"), f.workspace) {
			out = append(out, ws)
		}
	}
	return out, nil
}

// workspace is the one workspace that the flags mean.
func (s *session) workspace(ctx context.Context, f *mlFlags) (arm.Doc, error) {
	all, err := s.workspaces(ctx, f)
	if err != nil {
		return nil, err
	}
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(all) > 1:
		var names []string
		for _, ws := range all {
			id, err := arm.ParseID(ws.String("id"))
			if err == nil {
				names = append(names, fmt.Sprintf("-g %s -w %s", id.ResourceGroup, id.Name()))
			}
		}
		return nil, usagef("there are %d workspaces; choose one: %s", len(all), strings.Join(names, ", "))
	case f.workspace != "" || f.group != "":
		missing := "there is no workspace"
		if f.workspace != "" {
			missing += fmt.Sprintf(" %q", f.workspace)
		}
		if f.group != "" {
			missing += fmt.Sprintf(" in resource group %q", f.group)
		}
		return nil, hint(errors.New(missing), "See what there is: azimuth ml workspace list")
	}
	return nil, hint(errors.New("there is no workspace"), "Make one: azimuth up DIR")
}

// withWorkspace connects and finds the workspace.
func (a *app) withWorkspace(ctx context.Context, f *mlFlags, do func(*session, arm.Doc) error) error {
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	ws, err := s.workspace(ctx, f)
	if err != nil {
		return err
	}
	return do(s, ws)
}

func (a *app) mlWorkspaceCommand(f *mlFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "workspace", Short: "List and show workspaces"}
	var name string
	show := &cobra.Command{
		Use: "show [-n NAME]", Short: "Show a workspace", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name != "" {
				f.workspace = name
			}
			return a.withWorkspace(cmd.Context(), f, func(_ *session, ws arm.Doc) error {
				return a.print("json", ws, func() *table { return workspaceTable([]arm.Doc{ws}) })
			})
		},
	}
	show.Flags().StringVarP(&name, "name", "n", "", "name of the workspace")
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List workspaces", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			all, err := s.workspaces(cmd.Context(), f)
			if err != nil {
				return err
			}
			if all == nil {
				all = []arm.Doc{}
			}
			return a.print("table", all, func() *table { return workspaceTable(all) })
		},
	}, show)
	return cmd
}

func workspaceTable(all []arm.Doc) *table {
	t := &table{header: []string{"name", "resource group", "location", "state", "friendly name"}}
	for _, ws := range all {
		id, err := arm.ParseID(ws.String("id"))
		if err != nil {
			continue
		}
		t.add(ws.String("name"), id.ResourceGroup, ws.String("location"), ws.String("properties.provisioningState"), ws.String("properties.friendlyName"))
	}
	return t
}
