package cli

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
)

func (a *app) mlComputeCommand(f *mlFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "compute", Short: "Work with compute clusters and instances"}
	var typ string
	list := &cobra.Command{
		Use: "list", Short: "List computes", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				all := []arm.Doc{}
				for c, err := range client.List[arm.Doc](cmd.Context(), s.client, ws.String("id")+"/computes", mlAPI) {
					if err != nil {
						return err
					}
					if typ == "" || typ == c.String("properties.computeType") {
						all = append(all, c)
					}
				}
				return a.print("table", all, func() *table { return computeTable(all) })
			})
		},
	}
	list.Flags().StringVar(&typ, "type", "", "only this type: AmlCompute or ComputeInstance")
	var name string
	show := &cobra.Command{
		Use: "show -n NAME", Short: "Show a compute", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				var c arm.Doc
				if err := s.client.Do(cmd.Context(), http.MethodGet, computePath(ws, name), mlAPI, nil, &c); err != nil {
					return err
				}
				return a.print("json", c, func() *table { return computeTable([]arm.Doc{c}) })
			})
		},
	}
	nodes := &cobra.Command{
		Use: "list-nodes -n NAME", Short: "List the nodes of a cluster", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				var answer struct{ Nodes []arm.Doc }
				if err := s.client.Do(cmd.Context(), http.MethodPost, computePath(ws, name)+"/listNodes", mlAPI, nil, &answer); err != nil {
					return err
				}
				if answer.Nodes == nil {
					answer.Nodes = []arm.Doc{}
				}
				return a.print("table", answer.Nodes, func() *table {
					t := &table{header: []string{"node", "state", "private ip", "port", "job"}}
					for _, n := range answer.Nodes {
						t.add(n.String("nodeId"), n.String("nodeState"), n.String("privateIpAddress"), fmt.Sprint(n.Int("port", 0)), n.String("runId"))
					}
					return t
				})
			})
		},
	}
	for _, c := range []*cobra.Command{show, nodes} {
		c.Flags().StringVarP(&name, "name", "n", "", "name of the compute")
		c.MarkFlagRequired("name")
	}
	cmd.AddCommand(list, show, nodes)
	cmd.AddCommand(a.computeChanges(f)...)
	cmd.AddCommand(a.computeActions(f)...)
	return cmd
}

func computePath(ws arm.Doc, name string) string {
	return ws.String("id") + "/computes/" + url.PathEscape(name)
}

func computeTable(all []arm.Doc) *table {
	t := &table{header: []string{"name", "type", "size", "state", "nodes", "idle", "running", "min", "max"}}
	for _, c := range all {
		const p = "properties.properties."
		size := c.String(p + "vmSize")
		if c.String("properties.computeType") != "AmlCompute" {
			t.add(c.String("name"), c.String("properties.computeType"), size, c.String(p+"state"), "", "", "", "", "")
			continue
		}
		num := func(path string) string { return fmt.Sprint(c.Int(p+path, 0)) }
		t.add(c.String("name"), c.String("properties.computeType"), size, c.String(p+"allocationState"), num("currentNodeCount"),
			num("nodeStateCounts.idleNodeCount"), num("nodeStateCounts.runningNodeCount"), num("scaleSettings.minNodeCount"), num("scaleSettings.maxNodeCount"))
	}
	return t
}
