package cli

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// Computes' types, as az takes them in any case.
const (
	typeCluster  = "AmlCompute"
	typeInstance = "ComputeInstance"
)

// computeFlags are those of `az ml compute create` and `update`.
type computeFlags struct {
	name, typ, size, tier, location, description string
	min, max, idleSeconds, idleMinutes           int
	identityType                                 string
	identities                                   []string
	subnet, userID, tenantID                     string
	publicIP                                     bool
	tags                                         map[string]string
}

// computeChanges are the commands that make, change and delete computes.
func (a *app) computeChanges(f *mlFlags) []*cobra.Command {
	return []*cobra.Command{a.computeCreate(f), a.computeUpdate(f), a.computeDelete(f)}
}

func (a *app) computeCreate(f *mlFlags) *cobra.Command {
	var o computeFlags
	cmd := &cobra.Command{
		Use: "create -n NAME --type AmlCompute|ComputeInstance", Short: "Create a cluster or an instance", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			changed := cmd.Flags().Changed
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				body, err := o.create(ws, changed)
				if err != nil {
					return err
				}
				path := computePath(ws, o.name)
				if err := s.client.Do(cmd.Context(), http.MethodPut, path, mlAPI, body, nil); err != nil {
					return err
				}
				var c arm.Doc // as it is by now: an instance has come up
				if err := s.client.Do(cmd.Context(), http.MethodGet, path, mlAPI, nil, &c); err != nil {
					return err
				}
				return a.print("json", c, func() *table { return computeTable([]arm.Doc{c}) })
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&o.name, "name", "n", "", "name of the compute")
	fl.StringVarP(&o.typ, "type", "t", "", "AmlCompute or ComputeInstance")
	fl.StringVar(&o.size, "size", "Standard_DS3_v2", "VM size")
	fl.StringVar(&o.tier, "tier", "dedicated", "dedicated or low_priority (clusters)")
	fl.StringVarP(&o.location, "location", "l", "", "region (default: the workspace's)")
	fl.StringVar(&o.description, "description", "", "description")
	o.scaleFlags(cmd)
	fl.StringVar(&o.identityType, "identity-type", "", "SystemAssigned or UserAssigned")
	fl.StringSliceVarP(&o.identities, "user-assigned-identities", "i", nil, "IDs of user-assigned identities")
	fl.StringVar(&o.subnet, "subnet", "", "ID of the subnet to stand in")
	fl.BoolVar(&o.publicIP, "enable-node-public-ip", true, "nodes have public addresses")
	fl.StringVar(&o.userID, "user-object-id", "", "the person whom the instance is for (default: you)")
	fl.StringVar(&o.tenantID, "user-tenant-id", "", "the tenant of --user-object-id")
	cmd.MarkFlagRequired("name")
	cmd.MarkFlagRequired("type")
	cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{typeCluster, typeInstance}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// scaleFlags are those that can be changed later. The defaults are those of az.
func (o *computeFlags) scaleFlags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.IntVar(&o.min, "min-instances", 0, "nodes that are always kept (clusters)")
	fl.IntVar(&o.max, "max-instances", 1, "most nodes (clusters)")
	fl.IntVar(&o.idleSeconds, "idle-time-before-scale-down", 120, "seconds that a node without work stays (clusters)")
	fl.IntVar(&o.idleMinutes, "idle-time-before-shutdown-minutes", 0, "minutes without activity until an instance stops, 0 for never (instances)")
	fl.StringToStringVar(&o.tags, "tags", nil, "tags, as name=value")
}

func (o *computeFlags) create(ws arm.Doc, changed func(string) bool) (arm.Doc, error) {
	inner := arm.Doc{"vmSize": o.size, "enableNodePublicIp": o.publicIP}
	if o.subnet != "" {
		inner.Set("subnet.id", o.subnet)
	}
	misplaced := func(kind string, names ...string) error {
		for _, name := range names {
			if changed(name) {
				return usagef("--%s is not for a compute of type %s", name, kind)
			}
		}
		return nil
	}
	kind := ""
	switch {
	case strings.EqualFold(o.typ, typeCluster):
		kind = typeCluster
		if err := misplaced(kind, "idle-time-before-shutdown-minutes", "user-object-id", "user-tenant-id"); err != nil {
			return nil, err
		}
		switch strings.ToLower(o.tier) {
		case "dedicated":
			inner.Set("vmPriority", "Dedicated")
		case "low_priority", "lowpriority":
			inner.Set("vmPriority", "LowPriority")
		default:
			return nil, usagef("--tier is dedicated or low_priority, not %q", o.tier)
		}
		inner.Set("scaleSettings", map[string]any{
			"minNodeCount": o.min, "maxNodeCount": o.max, "nodeIdleTimeBeforeScaleDown": fmt.Sprintf("PT%dS", o.idleSeconds),
		})
	case strings.EqualFold(o.typ, typeInstance):
		kind = typeInstance
		if err := misplaced(kind, "tier", "min-instances", "max-instances", "idle-time-before-scale-down"); err != nil {
			return nil, err
		}
		if o.idleMinutes > 0 {
			inner.Set("idleTimeBeforeShutdown", fmt.Sprintf("PT%dM", o.idleMinutes))
		}
		if (o.userID == "") != (o.tenantID == "") {
			return nil, usagef("--user-object-id and --user-tenant-id go together")
		}
		if o.userID != "" {
			inner.Set("computeInstanceAuthorizationType", "personal")
			inner.Set("personalComputeInstanceSettings.assignedUser", map[string]any{"objectId": o.userID, "tenantId": o.tenantID})
		}
	default:
		return nil, usagef("--type is %s or %s, not %q", typeCluster, typeInstance, o.typ)
	}
	location := o.location
	if location == "" {
		location = ws.String("location")
	}
	body := arm.Doc{"location": location, "properties": map[string]any{"computeType": kind, "properties": map[string]any(inner)}}
	if o.description != "" {
		body.Set("properties.description", o.description)
	}
	if len(o.tags) > 0 {
		body["tags"] = o.tags
	}
	return body, o.identity(body)
}

func (o *computeFlags) identity(body arm.Doc) error {
	kind := o.identityType
	if kind == "" && len(o.identities) > 0 {
		kind = "UserAssigned"
	}
	switch normal := strings.ToLower(strings.ReplaceAll(kind, "_", "")); normal {
	case "":
		return nil
	case "systemassigned":
		body["identity"] = map[string]any{"type": "SystemAssigned"}
	case "userassigned":
		all := map[string]any{}
		for _, id := range o.identities {
			all[id] = map[string]any{}
		}
		body["identity"] = map[string]any{"type": "UserAssigned", "userAssignedIdentities": all}
	default:
		return usagef("--identity-type is SystemAssigned or UserAssigned, not %q", kind)
	}
	return nil
}

func (a *app) computeUpdate(f *mlFlags) *cobra.Command {
	var o computeFlags
	cmd := &cobra.Command{
		Use: "update -n NAME", Short: "Change the scale settings of a cluster, or when an idle instance stops", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, changed := cmd.Context(), cmd.Flags().Changed
			return a.withWorkspace(ctx, f, func(s *session, ws arm.Doc) error {
				path := computePath(ws, o.name)
				var c arm.Doc
				if err := s.client.Do(ctx, http.MethodGet, path, mlAPI, nil, &c); err != nil {
					return err
				}
				patch, scale := arm.Doc{}, map[string]any{}
				for name, v := range map[string]any{"min-instances": o.min, "max-instances": o.max, "idle-time-before-scale-down": fmt.Sprintf("PT%dS", o.idleSeconds)} {
					if changed(name) {
						scale[map[string]string{"min-instances": "minNodeCount", "max-instances": "maxNodeCount", "idle-time-before-scale-down": "nodeIdleTimeBeforeScaleDown"}[name]] = v
					}
				}
				idle := changed("idle-time-before-shutdown-minutes")
				if kind := c.String("properties.computeType"); (kind == typeCluster && idle) || (kind != typeCluster && len(scale) > 0) {
					return usagef("compute %s is of type %s, which has no such setting", o.name, kind)
				}
				if len(scale) > 0 {
					patch.Set("properties.properties.scaleSettings", scale)
				}
				if changed("tags") {
					patch["tags"] = o.tags
				}
				if len(patch) == 0 && !idle {
					return usagef("there is nothing to change: see %s --help", cmd.CommandPath())
				}
				if idle {
					setting := arm.Doc{"idleTimeBeforeShutdown": nil}
					if o.idleMinutes > 0 {
						setting["idleTimeBeforeShutdown"] = fmt.Sprintf("PT%dM", o.idleMinutes)
					}
					if err := s.client.Do(ctx, http.MethodPost, path+"/updateIdleShutdownSetting", mlAPI, setting, nil); err != nil {
						return err
					}
				}
				if len(patch) > 0 {
					if err := s.client.Do(ctx, http.MethodPatch, path, mlAPI, patch, nil); err != nil {
						return err
					}
				}
				if err := s.client.Do(ctx, http.MethodGet, path, mlAPI, nil, &c); err != nil {
					return err
				}
				return a.print("json", c, func() *table { return computeTable([]arm.Doc{c}) })
			})
		},
	}
	cmd.Flags().StringVarP(&o.name, "name", "n", "", "name of the compute")
	o.scaleFlags(cmd)
	cmd.MarkFlagRequired("name")
	return cmd
}

func (a *app) computeDelete(f *mlFlags) *cobra.Command {
	var name string
	var yes bool
	cmd := &cobra.Command{
		Use: "delete -n NAME", Short: "Delete a compute and what runs on it", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				path := computePath(ws, name)
				// an unknown name is a mistake here, whatever DELETE says of it
				if err := s.client.Do(cmd.Context(), http.MethodGet, path, mlAPI, nil, nil); err != nil {
					return err
				}
				if !yes {
					fmt.Fprintf(a.stderr, "Delete compute %s and end what runs on it? [y/N] ", name)
					line, _ := bufio.NewReader(a.stdin).ReadString('\n')
					if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
						return errors.New("nothing was deleted; answer y, or use --yes")
					}
				}
				if err := s.client.Do(cmd.Context(), http.MethodDelete, path+"?underlyingResourceAction=Delete", mlAPI, nil, nil); err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "deleted compute %s\n", name)
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the compute")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.MarkFlagRequired("name")
	return cmd
}
