package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

const typeOutboundRule = typeWorkspace + "/outboundRules"

// Modes of a workspace's managed network.
const (
	modeDisabled = "disabled"
	modeApproved = "allowonlyapprovedoutbound"
)

// isolated reports whether a workspace has a managed network, in which its computes
// stand.
func isolated(workspace *arm.Resource) bool {
	mode := strings.ToLower(workspace.Body.String("properties.managedNetwork.isolationMode"))
	return mode != "" && mode != modeDisabled
}

// outboundRule is a rule of a managed network.
type outboundRule struct {
	id, name, kind string
	body           arm.Doc // its properties
}

// outboundRules are the rules of a managed network: those that people gave it, and
// those that Azure makes for what every workspace needs.
func (d *decision) outboundRules(ws *arm.Resource) ([]outboundRule, error) {
	var out []outboundRule
	for r, err := range d.w.Children(ws.ParsedID(), typeOutboundRule) {
		if err != nil {
			return nil, err
		}
		body := r.Body.Object("properties")
		if status := body.String("status"); !strings.EqualFold(status, "Active") {
			d.step("The outbound rule %s is %s.", r.Name(), status)
			continue
		}
		out = append(out, outboundRule{r.ID, r.Name(), strings.ToLower(body.String("type")), body})
	}
	return out, nil
}

// managedBy is the workspace that has the managed network of a workspace: itself, or
// the hub of a project; nil when there is none.
func (d *decision) managedBy(id string) (*arm.Resource, error) {
	ws, err := d.get(id)
	if err != nil || ws == nil || !strings.EqualFold(ws.Body.String("kind"), "Project") {
		return ws, err
	}
	return d.get(ws.Body.String("properties.hubResourceId"))
}

// fromManaged decides about a node in the managed network of a workspace.
func (d *decision) fromManaged() error {
	ws, err := d.managedBy(d.src.Workspace)
	if err != nil {
		return err
	}
	d.src.Azure = true
	if ws == nil || !isolated(ws) {
		return d.public()
	}
	rules, err := d.outboundRules(ws)
	if err != nil {
		return err
	}
	if d.overManagedEndpoint(ws, rules) {
		return nil
	}
	if mode := ws.Body.String("properties.managedNetwork.isolationMode"); !strings.EqualFold(mode, modeApproved) {
		d.pass(ws.ID, "The managed network of %s lets everything out (%s).", ws.Name(), mode)
		return d.public()
	}
	for _, r := range rules {
		if d.approves(r) {
			d.pass(r.id, "The outbound rule %s (%s) of %s lets it out.", r.name, r.body.String("type"), ws.Name())
			return d.public()
		}
	}
	change := fmt.Sprintf("Add an outbound rule to %s: of type FQDN for %s", ws.Name(), d.dst.host)
	if len(d.dst.tags) > 1 {
		change += ", or of type ServiceTag for " + d.dst.tag()
	}
	if len(d.dst.names) > 0 {
		change += ", or of type PrivateEndpoint"
	}
	return d.deny(NotApproved, ws.ID, change+".",
		"The managed network of %s allows approved outbound calls only, and no outbound rule names %s.", ws.Name(), d.dst.host)
}

// approves reports whether a rule of type FQDN or ServiceTag names the target.
func (d *decision) approves(r outboundRule) bool {
	switch r.kind {
	case "fqdn":
		// one name, or several with commas between them
		for name := range strings.SplitSeq(strings.ToLower(r.body.String("destination")), ",") {
			name = strings.TrimSpace(name)
			if rest, ok := strings.CutPrefix(name, "*."); ok && strings.HasSuffix(d.dst.host, "."+rest) {
				return true
			}
			if name == d.dst.host && (d.dst.port == 443 || d.dst.port == 80) {
				return true
			}
		}
		return false
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

// overManagedEndpoint ends the decision when a rule's private endpoint leads to the
// target.
func (d *decision) overManagedEndpoint(ws *arm.Resource, rules []outboundRule) bool {
	if d.dst.resource == nil {
		return false
	}
	for _, r := range rules {
		if r.kind != "privateendpoint" || arm.Key(r.body.String("destination.serviceResourceId")) != arm.Key(d.dst.resource.ID) {
			continue
		}
		for _, n := range d.dst.names {
			if strings.EqualFold(n.Group, r.body.String("destination.subresourceTarget")) {
				d.v.Via = r.id
				_ = d.allow(r.id, "Remove the rule.", "The outbound rule %s of %s has a private endpoint to %s (%s).", r.name, ws.Name(), d.dst.resource.Name(), n.Group)
				return true
			}
		}
	}
	return false
}
