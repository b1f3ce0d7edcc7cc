package cli

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/jobspec"
)

func (a *app) mlDatastoreCommand(f *mlFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "datastore", Short: "Create, list, show and delete datastores"}
	cmd.AddCommand(a.datastoreCreate(f), a.datastoreList(f), a.datastoreShow(f), a.datastoreDelete(f))
	return cmd
}

func datastorePath(ws arm.Doc, name string) string {
	return ws.String("id") + "/datastores/" + url.PathEscape(name)
}

func datastoreTable(all []arm.Doc) *table {
	t := &table{header: []string{"name", "type", "account", "container", "credentials", "default"}}
	for _, d := range all {
		p := d.Object("properties")
		container := p.String("containerName") + p.String("filesystem") + p.String("fileShareName") // it has one of them
		t.add(d.String("name"), p.String("datastoreType"), p.String("accountName"), container, p.String("credentials.credentialsType"), yes(p.Bool("isDefault", false)))
	}
	return t
}

func (a *app) datastoreCreate(f *mlFlags) *cobra.Command {
	var file, name string
	var set []string
	cmd := &cobra.Command{
		Use: "create -f FILE", Short: "Create or replace the datastore that a YAML file describes", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name != "" {
				set = append([]string{"name=" + name}, set...)
			}
			asset, err := a.assetSource(jobspec.DatastoreAsset, file, set)
			if err != nil {
				return err
			}
			return a.createAsset(cmd.Context(), f, asset, datastoreTable)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the datastore's YAML file")
	cmd.MarkFlagRequired("file")
	cmd.MarkFlagFilename("file", "yml", "yaml")
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the datastore (default: the file's)")
	cmd.Flags().StringArrayVar(&set, "set", nil, "override a key of the file, KEY.PATH=VALUE (repeatable)")
	return cmd
}

func (a *app) datastoreList(f *mlFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List datastores", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				all, err := collect(cmd.Context(), s, ws.String("id")+"/datastores", 0)
				if err != nil {
					return err
				}
				return a.print("table", all, func() *table { return datastoreTable(all) })
			})
		},
	}
}

// datastoreName adds -n.
func (a *app) datastoreName(f *mlFlags, cmd *cobra.Command, name *string) *cobra.Command {
	cmd.Flags().StringVarP(name, "name", "n", "", "name of the datastore")
	cmd.MarkFlagRequired("name")
	cmd.RegisterFlagCompletionFunc("name", a.completeNames(f, "datastores"))
	return cmd
}

func (a *app) datastoreShow(f *mlFlags) *cobra.Command {
	var name string
	return a.datastoreName(f, &cobra.Command{
		Use: "show -n NAME", Short: "Show a datastore, without its secrets", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				var d arm.Doc
				if err := s.client.Do(cmd.Context(), http.MethodGet, datastorePath(ws, name), mlAPI, nil, &d); err != nil {
					return err
				}
				return a.print("json", d, func() *table { return datastoreTable([]arm.Doc{d}) })
			})
		},
	}, &name)
}

func (a *app) datastoreDelete(f *mlFlags) *cobra.Command {
	var name string
	return a.datastoreName(f, &cobra.Command{
		Use: "delete -n NAME", Short: "Delete a datastore; the data stays", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				return s.client.Do(cmd.Context(), http.MethodDelete, datastorePath(ws, name), mlAPI, nil, nil)
			})
		},
	}, &name)
}
