package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
)

const typeOutboundRule = typeWorkspace + "/outboundRules"

// Modes of a workspace's managed network.
const (
	modeDisabled = "disabled"
	modeApproved = "allowonlyapprovedoutbound"
)

// Isolated reports whether a workspace has a managed network, in which its computes
// stand that are in no subnet.
func Isolated(workspace *arm.Resource) bool {
	mode := strings.ToLower(workspace.Body.String("properties.managedNetwork.isolationMode"))
	return mode != "" && mode != modeDisabled
}

// outboundRule is a rule of a managed network.
type outboundRule struct {
	id, name, kind string
	body           arm.Doc // its properties
}

// outboundRules are the rules that people gave a managed network, wherever they were
// written: as resources of their own or in the workspace's document.
func (d *decision) outboundRules(ws *arm.Resource) ([]outboundRule, error) {
	var out []outboundRule
	seen := map[string]bool{}
	add := func(id, name string, body arm.Doc) {
		if seen[strings.ToLower(name)] || body == nil {
			return
		}
		seen[strings.ToLower(name)] = true
		if status := body.String("status"); strings.EqualFold(status, "Inactive") || strings.EqualFold(status, "Deleting") || strings.EqualFold(status, "Failed") {
			d.step("The outbound rule %s is %s.", name, status)
			return
		}
		out = append(out, outboundRule{id, name, strings.ToLower(body.String("type")), body})
	}
	for r, err := range d.w.Children(ws.ParsedID(), typeOutboundRule) {
		if err != nil {
			return nil, err
		}
		add(r.ID, r.Name(), r.Body.Object("properties"))
	}
	inline := ws.Body.Object("properties.managedNetwork.outboundRules")
	for name := range inline {
		m, _ := inline[name].(map[string]any)
		add(ws.ID+"/outboundRules/"+name, name, m)
	}
	slices.SortFunc(out, func(a, b outboundRule) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// requiredTags are the service tags that every managed network lets out, as Azure's
// documentation of the required rules lists them:
// https://learn.microsoft.com/azure/machine-learning/how-to-managed-network#list-of-required-rules
func requiredTags() []string {
	return []string{"azureactivedirectory", "azuremachinelearning", "batchnodemanagement", "azureresourcemanager", "azurefrontdoor.firstparty", "microsoftcontainerregistry", "azuremonitor"}
}

// fromManaged decides about a node in the managed network of a workspace.
func (d *decision) fromManaged() error {
	ws, err := d.get(d.src.Workspace)
	if err != nil {
		return err
	}
	if ws == nil || !Isolated(ws) {
		d.src.Azure = true
		return d.public()
	}
	mode := ws.Body.String("properties.managedNetwork.isolationMode")
	approvedOnly := strings.EqualFold(mode, modeApproved)
	rules, err := d.outboundRules(ws)
	if err != nil {
		return err
	}
	if ok, err := d.overManagedEndpoint(ws, rules, approvedOnly); err != nil || ok {
		return err
	}
	if !approvedOnly {
		d.step("The managed network of %s lets everything out (%s).", ws.Name(), mode)
		d.src.Azure = true
		return d.public()
	}
	for _, tag := range requiredTags() {
		if slices.Contains(d.dst.tags, tag) {
			d.step("The service tag %s is among those that every managed network lets out.", properTag(tag))
			d.src.Azure = true
			return d.public()
		}
	}
	for _, r := range rules {
		if d.approves(r) {
			d.step("The outbound rule %s (%s) of %s lets it out.", r.name, r.body.String("type"), ws.Name())
			d.src.Azure = true
			return d.public()
		}
	}
	return d.deny(NotApproved, ws.ID,
		fmt.Sprintf("Add an outbound rule to %s: of type FQDN for %s, of type ServiceTag for %s, or of type PrivateEndpoint.", ws.Name(), d.dst.host, d.dst.tag()),
		"The managed network of %s allows approved outbound calls only, and no outbound rule names %s.", ws.Name(), d.dst.host)
}

// approves reports whether a rule of type FQDN or ServiceTag names the target.
func (d *decision) approves(r outboundRule) bool {
	switch r.kind {
	case "fqdn":
		name := strings.ToLower(r.body.String("destination"))
		if rest, ok := strings.CutPrefix(name, "*."); ok {
			return strings.HasSuffix(d.dst.host, "."+rest)
		}
		return name == d.dst.host && (d.dst.port == 443 || d.dst.port == 80)
	case "servicetag":
		to := r.body.Object("destination")
		protocol, ports := to.String("protocol"), to.String("portRanges")
		if protocol != "" && protocol != "*" && !strings.EqualFold(protocol, "TCP") {
			return false
		}
		if !d.dst.match(to.String("serviceTag")) {
			return false
		}
		return ports == "" || slices.ContainsFunc(strings.Split(ports, ","), func(s string) bool {
			return inRange(strings.TrimSpace(s), d.dst.port, d.dst.port)
		})
	}
	return false
}

// overManagedEndpoint ends the decision when a private endpoint of the managed
// network leads to the target: one that a rule asks for, or one of those that
// Azure makes to what belongs to the workspace, which it makes to all of it when
// only approved calls go out, and else to what has no public door.
func (d *decision) overManagedEndpoint(ws *arm.Resource, rules []outboundRule, always bool) (bool, error) {
	if d.dst.resource == nil || len(d.dst.names) == 0 && d.dst.typ != typeWorkspace {
		return false, nil
	}
	id := d.dst.resource.ID
	for _, r := range rules {
		if r.kind != "privateendpoint" || arm.Key(r.body.String("destination.serviceResourceId")) != arm.Key(id) {
			continue
		}
		for _, n := range d.dst.names {
			if strings.EqualFold(n.Group, r.body.String("destination.subresourceTarget")) {
				d.v.Via = r.id
				return true, d.allow(r.id, "Remove the rule.", "The outbound rule %s of %s has a private endpoint to %s (%s).", r.name, ws.Name(), d.dst.resource.Name(), n.Group)
			}
		}
	}
	own := arm.Key(id) == arm.Key(ws.ID)
	for _, property := range []string{"storageAccount", "keyVault", "containerRegistry"} {
		own = own || arm.Key(ws.Body.String("properties."+property)) == arm.Key(id)
	}
	if own && d.dst.typ == typeAccount {
		// the endpoints are of the groups blob and file alone
		own = slices.ContainsFunc(d.dst.names, func(n network.PrivateName) bool {
			return strings.EqualFold(n.Group, "blob") || strings.EqualFold(n.Group, "file")
		})
	}
	if !own || !always && firewallOf(d.dst).open {
		return false, nil
	}
	d.v.Via = ws.ID
	return true, d.allow(ws.ID, "", "The managed network of %s has a private endpoint to %s, which Azure makes to what belongs to the workspace.", ws.Name(), d.dst.resource.Name())
}
