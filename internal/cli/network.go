package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/server"
)

// exitDenied is the exit code of `network explain` for a call that does not get
// through.
const exitDenied = 3

// networkCommand shows what the cloud's networks let through.
func (a *app) networkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "network", Short: "Show what the networks let through, and why",
		Example: `  azimuth network explain cpu-cluster mystorage
  azimuth network explain internet https://myvault.vault.azure.net/secrets/one
  azimuth network explain 198.51.100.7 mystorage.file.core.windows.net
  azimuth network subnets
  azimuth network address 198.51.100.7`,
	}
	cmd.AddCommand(a.networkExplain(), a.networkSubnets(), a.networkAddress())
	return cmd
}

func (a *app) networkExplain() *cobra.Command {
	port := 0
	cmd := &cobra.Command{
		Use: "explain FROM TO", Short: "Say whether a call gets through, which rule decides, and what would change it",
		Long: `Say whether a call gets through, which rule decides, and what would change it.

FROM is a node, a compute or a subnet, by name, by its parent's and its name
(my-vnet/my-subnet) or by ID; an IP address; internet, which is this machine; or
AzureServices, a service that firewalls may trust. TO is a host or URL, or the name or
ID of a storage account (its blobs), vault, registry or workspace.

The exit code is 0 for a call that gets through, and 3 for one that does not.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("%s takes where a call comes from, and what it goes to", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			var out server.NetworkAnswer
			q := server.NetworkQuestion{From: args[0], To: args[1], Port: port}
			if err := s.admin(cmd.Context(), http.MethodPost, "/v1/network/explain", q, &out); err != nil {
				return fmt.Errorf("explain a call: %w", err)
			}
			if err := a.print("table", out, func() *table { return answerTable(&out) }); err != nil {
				return err
			}
			if !out.Allowed {
				return &exitError{code: exitDenied}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "the port to call (default: 443, or the URL's)")
	return cmd
}

func answerTable(v *server.NetworkAnswer) *table {
	t := &table{header: []string{"CALL", v.From + " → " + v.Host + ":" + strconv.Itoa(v.Port)}, exact: true}
	result := "gets through"
	switch {
	case !v.Allowed && v.Refused:
		result = "is refused (" + v.Reason + ")"
	case !v.Allowed:
		result = "does not get there (" + v.Reason + ")"
	}
	t.add("result", result)
	if v.Via != "" {
		t.add("via", v.Via)
	}
	if v.Client != "" {
		t.add("seen as", v.Client)
	}
	for i, s := range v.Steps {
		name := "because"
		if i > 0 {
			name = "and"
		}
		t.add(name, s)
	}
	t.add("rule", v.Rule)
	if v.RuleID != "" {
		t.add("in", v.RuleID)
	}
	if v.Change != "" {
		t.add("to change it", v.Change)
	}
	return t
}

func (a *app) networkSubnets() *cobra.Command {
	return &cobra.Command{
		Use: "subnets", Aliases: []string{"list"}, Short: "List the subnets, and how many of their addresses are given out", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			var out server.Subnets
			if err := s.admin(cmd.Context(), http.MethodGet, "/v1/network/subnets", nil, &out); err != nil {
				return fmt.Errorf("list subnets: %w", err)
			}
			return a.print("table", out.Subnets, func() *table {
				t := &table{header: []string{"network", "subnet", "range", "addresses", "used", "security group", "routes"}}
				for _, n := range out.Subnets {
					t.add(n.Network, n.Name, n.Prefix, strconv.Itoa(n.Addresses), strconv.Itoa(n.Used), n.SecurityGroup, n.RouteTable)
				}
				return t
			})
		},
	}
}

func (a *app) networkAddress() *cobra.Command {
	return &cobra.Command{
		Use: "address [IP]", Short: "Show or set the address by which firewalls know this machine",
		Long: `Show or set the address by which the firewalls of this cloud know this machine, and
all else that uses the cloud without being a node. It is ` + server.DefaultUserAddress + ` until it is set.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one address", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			var out server.NetworkAddress
			if len(args) == 1 {
				err = s.admin(cmd.Context(), http.MethodPut, "/v1/network/address", server.NetworkAddress{Address: strings.TrimSpace(args[0])}, &out)
			} else {
				err = s.admin(cmd.Context(), http.MethodGet, "/v1/network/address", nil, &out)
			}
			if err != nil {
				return fmt.Errorf("address of this machine: %w", err)
			}
			return a.print("table", out, func() *table {
				t := &table{header: []string{"address"}}
				t.add(out.Address)
				return t
			})
		},
	}
}
