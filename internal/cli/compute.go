package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// computeCommand has what happens to clusters in Azure without anyone's asking.
func (a *app) computeCommand() *cobra.Command {
	var f mlFlags
	cmd := &cobra.Command{
		Use:   "compute",
		Short: "Preempt nodes and declare shortages, as in Azure",
		Long: `Preempt nodes of low-priority clusters and declare shortages of VM sizes, to see how jobs bear what happens in Azure without anyone's asking. What is set here is
kept by the server and is no part of the cluster's Terraform.`,
	}
	cmd.PersistentFlags().StringVarP(&f.group, "resource-group", "g", "", "resource group (default: that of the only workspace)")
	cmd.PersistentFlags().StringVarP(&f.workspace, "workspace-name", "w", "", "workspace (default: the only one there is)")
	cmd.AddCommand(a.computePreempt(&f), a.computePreemption(&f), a.computeShortage())
	return cmd
}

// oneArg is cobra.ExactArgs(1) with a message that says what is wanted.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s takes %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

func (a *app) computePreempt(f *mlFlags) *cobra.Command {
	nodes := 1
	cmd := &cobra.Command{
		Use: "preempt CLUSTER", Short: "Take nodes of a low-priority cluster away now", Args: oneArg("the name of a cluster"),
		Long: `Take nodes of a low-priority cluster away now, those that run jobs first. Their
processes get SIGTERM, and SIGKILL when the notice is over; then the jobs are queued
again with what they wrote to outputs/.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				var out server.Preempted
				in := server.Preempt{Cluster: computePath(ws, args[0]), Nodes: nodes}
				if err := s.admin(cmd.Context(), http.MethodPost, "/v1/compute/preempt", in, &out); err != nil {
					return fmt.Errorf("preempt %s: %w", args[0], err)
				}
				return a.print("table", out, func() *table {
					t := &table{header: []string{"preempted node"}}
					for _, n := range out.Nodes {
						t.add(n)
					}
					return t
				})
			})
		},
	}
	cmd.Flags().IntVar(&nodes, "nodes", 1, "how many")
	return cmd
}

func (a *app) computePreemption(f *mlFlags) *cobra.Command {
	var chance, onPreempt string
	var every, notice time.Duration
	var nodes int
	var off bool
	cmd := &cobra.Command{
		Use: "preemption CLUSTER", Short: "Show or set when nodes of a low-priority cluster are preempted", Args: oneArg("the name of a cluster"),
		Example: `  azimuth compute preemption low-pri-cluster
  azimuth compute preemption low-pri-cluster --chance 20%/10m
  azimuth compute preemption low-pri-cluster --every 1h --nodes 2 --on-preempt fail
  azimuth compute preemption low-pri-cluster --off`,
		RunE: func(cmd *cobra.Command, args []string) error {
			changed := cmd.Flags().Changed
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				ctx, id := cmd.Context(), computePath(ws, args[0])
				var p server.Preemption
				if err := s.admin(ctx, http.MethodGet, "/v1/compute/preemption?cluster="+url.QueryEscape(id), nil, &p); err != nil {
					return fmt.Errorf("preemption of %s: %w", args[0], err)
				}
				set := false
				if off {
					p, set = server.Preemption{}, true
				}
				for name, apply := range map[string]func() error{
					"chance": func() (err error) { p.Chance, p.Per, err = parseChance(chance); return err },
					"every": func() error {
						p.Every, p.Nodes = every.String(), max(p.Nodes, 1)
						if every == 0 {
							p.Every, p.Nodes = "", 0
						}
						return nil
					},
					"notice": func() error { p.Notice = notice.String(); return nil },
					"on-preempt": func() error {
						if onPreempt != "requeue" && onPreempt != "fail" {
							return usagef("--on-preempt is requeue or fail, not %q", onPreempt)
						}
						p.Fail = onPreempt == "fail"
						return nil
					},
				} {
					if changed(name) {
						set = true
						if err := apply(); err != nil {
							return err
						}
					}
				}
				if changed("nodes") {
					set, p.Nodes = true, nodes
				}
				if set {
					p.Cluster = id
					if err := s.admin(ctx, http.MethodPut, "/v1/compute/preemption", p, &p); err != nil {
						return fmt.Errorf("preemption of %s: %w", args[0], err)
					}
				}
				return a.print("table", p, func() *table { return preemptionTable(args[0], p) })
			})
		},
	}
	cmd.Flags().StringVar(&chance, "chance", "", "chance of a node to be preempted, such as 20%/10m; 0 for none")
	cmd.Flags().DurationVar(&every, "every", 0, "preempt nodes at this interval; 0 for never")
	cmd.Flags().IntVar(&nodes, "nodes", 1, "how many nodes at each interval")
	cmd.Flags().DurationVar(&notice, "notice", 0, "time between SIGTERM and SIGKILL, by the machine's clock (default 30s)")
	cmd.Flags().StringVar(&onPreempt, "on-preempt", "requeue", "what becomes of the jobs: requeue or fail")
	cmd.Flags().BoolVar(&off, "off", false, "preempt no nodes")
	return cmd
}

// parseChance reads a chance per time, such as 20%/10m.
func parseChance(s string) (chance float64, per string, err error) {
	if s == "0" || s == "0%" {
		return 0, "", nil
	}
	percent, per, ok := strings.Cut(s, "%/")
	n, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
	if _, derr := time.ParseDuration(per); !ok || err != nil || derr != nil || n <= 0 || n >= 100 {
		return 0, "", usagef("--chance is a percentage between 0 and 100 and the time that it is about, such as 20%%/10m, not %q", s)
	}
	return n / 100, per, nil
}

func preemptionTable(name string, p server.Preemption) *table {
	t := &table{header: []string{"cluster", "chance", "schedule", "notice", "jobs"}}
	chance, schedule, jobs := "", "", "queued again"
	if p.Chance > 0 {
		chance = fmt.Sprintf("%g%% in %s", p.Chance*100, p.Per)
	}
	if p.Every != "" {
		schedule = fmt.Sprintf("%s every %s", plural(p.Nodes, "node", "nodes"), p.Every)
	}
	if p.Fail {
		jobs = "fail"
	}
	t.add(name, chance, schedule, p.Notice, jobs)
	return t
}

func (a *app) computeShortage() *cobra.Command {
	cmd := &cobra.Command{Use: "shortage", Short: "Declare that there is no capacity for a VM size, and lift that again"}
	run := func(method string) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			path := "/v1/compute/shortages"
			if len(args) > 0 {
				path += "/" + url.PathEscape(args[0])
			}
			var out server.Shortages
			if err := s.admin(cmd.Context(), method, path, nil, &out); err != nil {
				return fmt.Errorf("shortage: %w", err)
			}
			return a.print("table", out, func() *table {
				t := &table{header: []string{"size without capacity"}}
				for _, size := range out.Sizes {
					t.add(size)
				}
				return t
			})
		}
	}
	cmd.AddCommand(
		&cobra.Command{Use: "add SIZE", Short: "No node of this size can be started from now on", Args: oneArg("a VM size"), RunE: run(http.MethodPut)},
		&cobra.Command{Use: "remove SIZE", Short: "There is capacity for this size again", Args: oneArg("a VM size"), RunE: run(http.MethodDelete)},
		&cobra.Command{Use: "list", Short: "List the sizes without capacity", Args: noArgs, RunE: run(http.MethodGet)},
	)
	return cmd
}
