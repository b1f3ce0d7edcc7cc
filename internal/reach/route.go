package reach

import (
	"iter"
	"net/netip"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

const (
	typePeering = "Microsoft.Network/virtualNetworks/virtualNetworkPeerings"
	typeRoute   = "Microsoft.Network/routeTables/routes"
)

// peering is the peering from one network to another, or nil.
func (d *decision) peering(from arm.ID, to string) (*arm.Resource, error) {
	for p, err := range d.w.Children(from, typePeering) {
		if err != nil {
			return nil, err
		}
		if arm.Key(p.Body.String("properties.remoteVirtualNetwork.id")) == arm.Key(to) {
			return p, nil
		}
	}
	return nil, nil
}

// peered reports whether traffic flows from one network to another that it is
// peered with. forwarded traffic comes from a third network.
func (d *decision) peered(from, to string, forwarded bool) (bool, error) {
	a, err := arm.ParseID(from)
	if err != nil {
		return false, nil
	}
	b, err := arm.ParseID(to)
	if err != nil {
		return false, nil
	}
	there, err := d.peering(a, to)
	if err != nil || there == nil || !there.Body.Bool("properties.allowVirtualNetworkAccess", true) {
		return false, err
	}
	back, err := d.peering(b, from)
	if err != nil || back == nil || !back.Body.Bool("properties.allowVirtualNetworkAccess", true) {
		return false, err
	}
	return !forwarded || back.Body.Bool("properties.allowForwardedTraffic", false), nil
}

// neighbours yields the source's network and those that it is peered with.
func (d *decision) neighbours() iter.Seq2[*arm.Resource, error] {
	return func(yield func(*arm.Resource, error) bool) {
		if !yield(d.network, nil) {
			return
		}
		for p, err := range d.w.Children(d.network.ParsedID(), typePeering) {
			if err != nil {
				yield(nil, err)
				return
			}
			to := p.Body.String("properties.remoteVirtualNetwork.id")
			ok, err := d.peered(d.network.ID, to, false)
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok {
				continue
			}
			n, err := d.get(to)
			if n == nil && err == nil {
				continue
			}
			if !yield(n, err) || err != nil {
				return
			}
		}
	}
}

// reachable reports whether packets from the source's subnet get to an endpoint's
// network, and ends the decision when they do not. The route to an endpoint is one
// of its own, of 32 bits: another is taken only when it is as narrow, or when the
// endpoint's subnet has route tables count.
func (d *decision) reachable(e *endpoint) (bool, error) {
	address := e.addresses[0]
	best, err := d.bestRoute(address)
	if err != nil {
		return false, err
	}
	near := arm.Key(e.network) == arm.Key(d.network.ID)
	if !near {
		if near, err = d.peered(d.network.ID, e.network, false); err != nil {
			return false, err
		}
	}
	if best != nil && (!near || best.prefix.Bits() == 32 || policies(e.subnet, "RouteTableEnabled")) {
		switch best.hop {
		case "none":
			return false, d.deny(Unrouted, best.r.ID, "Remove the route, or narrow it.",
				"The route %s of the subnet %s drops what goes to %s.", best.r.Name(), d.subnet.Name(), best.prefix)
		case "virtualappliance":
			if ok, err := d.overAppliance(best, e); err != nil || ok {
				return ok, err
			}
		}
	}
	if near {
		if arm.Key(e.network) != arm.Key(d.network.ID) {
			d.step("The virtual networks %s and %s are peered.", d.network.Name(), last(e.network))
		}
		return true, nil
	}
	return false, d.deny(Unrouted, d.network.ID, "Peer the two virtual networks, in both directions, or make a private endpoint in "+d.network.Name()+".",
		"The private endpoint %s stands in the virtual network %s, which %s is not peered with.", last(e.id), last(e.network), d.network.Name())
}

// overAppliance reports whether an appliance that a route leads to gets to the
// endpoint's network. What the appliance itself lets through is not known here: it
// is taken to let through all.
func (d *decision) overAppliance(r *route, e *endpoint) (bool, error) {
	for n, err := range d.neighbours() {
		if err != nil {
			return false, err
		}
		for _, p := range spaces(n) {
			if !p.Contains(r.next) {
				continue
			}
			ok := arm.Key(n.ID) == arm.Key(e.network)
			if !ok {
				if ok, err = d.peered(n.ID, e.network, arm.Key(n.ID) != arm.Key(d.network.ID)); err != nil {
					return false, err
				}
			}
			if ok {
				d.step("The route %s leads through the appliance %s in %s.", r.r.Name(), r.next, n.Name())
			}
			return ok, nil
		}
	}
	return false, nil
}

// route is a route of the source's subnet.
type route struct {
	r      *arm.Resource
	prefix netip.Prefix
	hop    string // in lower case
	next   netip.Addr
}

func (d *decision) routes() iter.Seq2[*arm.Resource, error] {
	return func(yield func(*arm.Resource, error) bool) {
		table, err := arm.ParseID(d.subnet.Body.String("properties.routeTable.id"))
		if err != nil {
			return // there is none
		}
		for r, err := range d.w.Children(table, typeRoute) {
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func readRoute(r *arm.Resource) *route {
	out := &route{r: r, hop: strings.ToLower(r.Body.String("properties.nextHopType"))}
	out.prefix, _ = netip.ParsePrefix(r.Body.String("properties.addressPrefix"))
	out.next, _ = netip.ParseAddr(r.Body.String("properties.nextHopIpAddress"))
	return out
}

// bestRoute is the narrowest route to an address, or nil.
func (d *decision) bestRoute(to netip.Addr) (*route, error) {
	var best *route
	for r, err := range d.routes() {
		if err != nil {
			return nil, err
		}
		if one := readRoute(r); one.prefix.IsValid() && one.prefix.Contains(to) && (best == nil || one.prefix.Bits() > best.prefix.Bits()) {
			best = one
		}
	}
	return best, nil
}

// routed reports whether a route leads from the subnet to the target's public
// addresses, and ends the decision when none does. A route for a service tag is
// narrower than one for all of the internet, and a service endpoint narrower than
// that.
func (d *decision) routed() (bool, error) {
	if d.endpoint {
		return true, nil
	}
	var best *route
	narrow := false
	for r, err := range d.routes() {
		if err != nil {
			return false, err
		}
		prefix := r.Body.String("properties.addressPrefix")
		if !d.dst.match(prefix) {
			continue
		}
		if tag := prefix != "0.0.0.0/0"; best == nil || tag && !narrow {
			best, narrow = readRoute(r), tag
		}
	}
	if best == nil {
		return true, nil
	}
	switch best.hop {
	case "none":
		return false, d.deny(Unrouted, best.r.ID, "Remove the route, or give the subnet a service endpoint or the target a private endpoint.",
			"The route %s of the subnet %s drops what goes to %s.", best.r.Name(), d.subnet.Name(), best.r.Body.String("properties.addressPrefix"))
	case "virtualappliance", "virtualnetworkgateway":
		d.appliance = true
		d.step("The route %s leads through %s.", best.r.Name(), strings.TrimSpace(best.r.Body.String("properties.nextHopType")+" "+best.r.Body.String("properties.nextHopIpAddress")))
	}
	return true, nil
}

// policies reports whether a subnet has a kind of rule count for its private
// endpoints: "NetworkSecurityGroupEnabled" or "RouteTableEnabled".
func policies(subnet *arm.Resource, which string) bool {
	v := subnet.Body.String("properties.privateEndpointNetworkPolicies")
	return strings.EqualFold(v, "Enabled") || strings.EqualFold(v, which)
}

// serviceEndpoint reports whether the source's subnet has a service endpoint that
// leads to the target. That of storage leads to the network's region and its pair,
// unless it is the global one.
func (d *decision) serviceEndpoint() bool {
	if d.dst.service == "" || d.dst.resource == nil {
		return false
	}
	here, there := arm.NormalizeLocation(d.network.Body.String("location")), arm.NormalizeLocation(d.dst.resource.Body.String("location"))
	for _, v := range d.subnet.Body.List("properties.serviceEndpoints") {
		m, _ := v.(map[string]any)
		name := arm.Doc(m).String("service")
		switch {
		case strings.EqualFold(name, d.dst.service+".Global"):
			return true
		case !strings.EqualFold(name, d.dst.service):
		case d.dst.typ != typeAccount || here == there || paired(here, there):
			return true
		default:
			d.step("The service endpoint %s of the subnet leads to accounts in %s and its pair alone, not in %s.", name, here, there)
		}
	}
	return false
}

// paired reports whether Azure pairs two regions:
// https://learn.microsoft.com/azure/reliability/cross-region-replication-azure
func paired(a, b string) bool {
	for _, p := range [][2]string{
		{"eastus", "westus"}, {"eastus2", "centralus"}, {"northcentralus", "southcentralus"}, {"westus2", "westcentralus"},
		{"northeurope", "westeurope"}, {"uksouth", "ukwest"}, {"francecentral", "francesouth"}, {"germanywestcentral", "germanynorth"},
		{"norwayeast", "norwaywest"}, {"swedencentral", "swedensouth"}, {"switzerlandnorth", "switzerlandwest"},
		{"australiaeast", "australiasoutheast"}, {"australiacentral", "australiacentral2"}, {"canadacentral", "canadaeast"},
		{"centralindia", "southindia"}, {"eastasia", "southeastasia"}, {"japaneast", "japanwest"}, {"koreacentral", "koreasouth"},
		{"southafricanorth", "southafricawest"}, {"uaenorth", "uaecentral"}, {"jioindiawest", "jioindiacentral"},
	} {
		if p == [2]string{a, b} || p == [2]string{b, a} {
			return true
		}
	}
	return false
}
