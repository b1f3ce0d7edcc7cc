package network

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// linkTarget is a resource type that private endpoints lead to.
type linkTarget struct {
	typ string
	// required is how the type spells "actions required" in its documents.
	required string
	groups   func(r *arm.Resource) []linkGroup
}

// linkGroup is a part of a target to which an endpoint leads.
type linkGroup struct {
	id      string
	zones   []string
	members []linkMember
}

// linkMember takes one address in the endpoint's subnet.
type linkMember struct {
	name  string
	names []linkName
}

// linkName is a host name that leads to a member, and the record that it has in
// a private zone.
type linkName struct{ fqdn, zone, record string }

// linkTargets are the targets that there are. Groups, members and zones are
// documented in
// https://learn.microsoft.com/azure/private-link/private-endpoint-dns and
// https://learn.microsoft.com/azure/machine-learning/how-to-custom-dns.
func linkTargets() []linkTarget {
	return []linkTarget{
		{typ: "Microsoft.Storage/storageAccounts", required: "actionRequired", groups: storageGroups},
		{typ: "Microsoft.KeyVault/vaults", required: "actionsRequired", groups: func(r *arm.Resource) []linkGroup {
			const zone = "privatelink.vaultcore.azure.net"
			name := strings.ToLower(r.Name())
			return []linkGroup{{id: "vault", zones: []string{zone}, members: []linkMember{
				{name: "default", names: []linkName{{name + ".vault.azure.net", zone, name}}},
			}}}
		}},
		{typ: "Microsoft.ContainerRegistry/registries", required: "actionsRequired", groups: func(r *arm.Resource) []linkGroup {
			const zone = "privatelink.azurecr.io"
			name := strings.ToLower(r.Name())
			region := arm.NormalizeLocation(r.Body.String("location"))
			return []linkGroup{{id: "registry", zones: []string{zone}, members: []linkMember{
				{name: "registry", names: []linkName{{name + ".azurecr.io", zone, name}}},
				{name: "registry_data_" + region, names: []linkName{{name + "." + region + ".data.azurecr.io", zone, name + "." + region + ".data"}}},
			}}}
		}},
		{typ: "Microsoft.MachineLearningServices/workspaces", required: "actionsRequired", groups: workspaceGroups},
	}
}

func findTarget(typ string) (linkTarget, bool) {
	all := linkTargets()
	i := slices.IndexFunc(all, func(t linkTarget) bool { return strings.EqualFold(t.typ, typ) })
	if i < 0 {
		return linkTarget{}, false
	}
	return all[i], true
}

// PrivateName is a host of a resource that private endpoints lead to: the group of the
// endpoint, and the zone and record that its name has in private DNS.
type PrivateName struct{ Host, Group, Zone, Record string }

// PrivateNames are the hosts of a resource that private endpoints lead to; none of
// a resource that they do not lead to.
func PrivateNames(r *arm.Resource) []PrivateName {
	t, ok := findTarget(r.ParsedID().Type())
	if !ok {
		return nil
	}
	var out []PrivateName
	for _, g := range t.groups(r) {
		for _, m := range g.members {
			for _, n := range m.names {
				out = append(out, PrivateName{Host: n.fqdn, Group: g.id, Zone: n.zone, Record: n.record})
			}
		}
	}
	return out
}

func (t linkTarget) connectionType() string { return t.typ + "/privateEndpointConnections" }

// storageGroups are the services that an account has, and their secondaries.
func storageGroups(r *arm.Resource) []linkGroup {
	var out []linkGroup
	add := func(endpoints arm.Doc, suffix string) {
		for _, service := range []string{"blob", "table", "queue", "file", "web", "dfs"} {
			u, err := url.Parse(endpoints.String(service))
			if err != nil || u.Host == "" {
				continue
			}
			domain := service + ".core.windows.net"
			zone := "privatelink." + domain
			out = append(out, linkGroup{id: service + suffix, zones: []string{zone}, members: []linkMember{
				{name: service + suffix, names: []linkName{{u.Host, zone, strings.TrimSuffix(u.Host, "."+domain)}}},
			}})
		}
	}
	add(r.Body.Object("properties.primaryEndpoints"), "")
	add(r.Body.Object("properties.secondaryEndpoints"), "_secondary")
	return out
}

// workspaceGroups is the one group of a workspace, which takes three addresses.
func workspaceGroups(r *arm.Resource) []linkGroup {
	const api, notebooks = "api.azureml.ms", "notebooks.azure.net"
	id := r.Body.String("properties.workspaceId")
	region := arm.NormalizeLocation(r.Body.String("location"))
	in := func(domain, record string) linkName {
		return linkName{record + "." + domain, "privatelink." + domain, record}
	}
	return []linkGroup{{
		id: "amlworkspace", zones: []string{"privatelink." + api, "privatelink." + notebooks},
		members: []linkMember{
			{name: "default", names: []linkName{in(api, id+".workspace."+region), in(api, id+".workspace."+region+".cert")}},
			{name: "notebook", names: []linkName{in(notebooks, "ml-"+strings.ToLower(r.Name())+"-"+region+"-"+id+"."+region)}},
			{name: "inference", names: []linkName{in(api, "*."+id+".inference."+region)}},
		},
	}}
}

// PrivateLinks is what the targets of private endpoints have of them:
// connections, and the list of what can be connected to. The targets themselves
// belong to their own providers. Changed, which may be nil, is told of each
// connection that was approved, rejected or removed, in the transaction that does it.
func PrivateLinks(changed func(tx store.Tx, connection *arm.Resource) error) []*arm.Provider {
	if changed == nil {
		changed = func(store.Tx, *arm.Resource) error { return nil }
	}
	var out []*arm.Provider
	for _, t := range linkTargets() {
		p := &provider{}
		ns, _, _ := strings.Cut(t.typ, "/")
		out = append(out, &arm.Provider{
			Namespace: ns,
			Types:     []*arm.ResourceType{p.connectionType(t, changed), p.linkResourceType(t)},
			Bind:      func(k *arm.Kernel) { p.kernel = k },
		})
	}
	return out
}

// linkResourceType lists the groups of a target.
func (p *provider) linkResourceType(t linkTarget) *arm.ResourceType {
	typ := t.typ + "/privateLinkResources"
	docs := func(ctx context.Context, tx store.Tx, target arm.ID) ([]arm.Doc, error) {
		r, err := p.kernel.Load(ctx, tx, target)
		if err != nil {
			return nil, err
		}
		var out []arm.Doc
		for _, g := range t.groups(r) {
			members, zones := []any{}, []any{}
			for _, m := range g.members {
				members = append(members, m.name)
			}
			for _, z := range g.zones {
				zones = append(zones, z)
			}
			out = append(out, arm.Doc{
				"id": r.ID + "/privateLinkResources/" + g.id, "name": g.id, "type": typ,
				"properties": map[string]any{"groupId": g.id, "requiredMembers": members, "requiredZoneNames": zones},
			})
		}
		return out, nil
	}
	return &arm.ResourceType{
		Type: typ, Virtual: true, NoProvisioningState: true, Methods: []string{http.MethodGet},
		Default: func(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			all, err := docs(ctx, tx, id.Parent())
			for _, d := range all {
				if strings.EqualFold(d.String("name"), id.Name()) {
					return &arm.Resource{ID: d.String("id"), Body: arm.Doc{"properties": d.Get("properties")}}, err
				}
			}
			return nil, err
		},
		List: func(ctx context.Context, _ *arm.Request, target arm.ID) (*arm.Page, error) {
			page := &arm.Page{}
			err := p.kernel.Store().View(ctx, func(tx store.Tx) (err error) {
				page.Value, err = docs(ctx, tx, target)
				return err
			})
			return page, err
		},
	}
}

// connectionType is the connections of a target, by which its owners approve and
// reject endpoints.
func (p *provider) connectionType(t linkTarget, changed func(store.Tx, *arm.Resource) error) *arm.ResourceType {
	const state = "properties.privateLinkServiceConnectionState"
	return &arm.ResourceType{
		Type:      t.connectionType(),
		PutStatus: [2]int{http.StatusOK, http.StatusOK},
		Methods:   []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Validate: func(_ context.Context, put *arm.Put) error {
			if put.Existing == nil {
				return arm.NotFound(put.ID) // an endpoint makes it
			}
			return oneOf(put.Resource.Body, state+".status", "Pending", "Approved", "Rejected", "Disconnected")
		},
		Put: func(ctx context.Context, put *arm.Put) error {
			body := put.Resource.Body
			status, description := body.String(state+".status"), body.String(state+".description")
			was := put.Existing.Body.String(state + ".status")
			if was != status && (was == "Disconnected" || status == "Pending" || status == "Disconnected") {
				// Azure's words are not known
				return arm.BadRequest("InvalidPrivateEndpointConnectionState", "The private endpoint connection '%s' cannot go from %s to %s.", put.ID.Name(), was, status)
			}
			put.Resource.Body = put.Existing.Body.Clone()
			put.Resource.Body.Set(state, map[string]any{"status": status, "description": description, t.required: "None"})
			if err := p.kernel.Resources().Put(put.Tx, put.Resource); err != nil {
				return err
			}
			if err := changed(put.Tx, put.Resource); err != nil {
				return err
			}
			return p.syncEndpoint(ctx, put.Tx, put.Resource.Body.String("properties.privateEndpoint.id"))
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			d.Resource.Body.Set(state+".status", "Disconnected")
			return changed(d.Tx, d.Resource)
		},
	}
}
