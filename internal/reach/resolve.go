package reach

import (
	"net/netip"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
)

// answer is what the name resolves to: the address of a private endpoint, or, when
// that is not valid, the target's public ones.
type answer struct {
	address    netip.Addr
	unresolved bool // and the decision has ended
}

// endpoint is a private endpoint that leads to the target.
type endpoint struct {
	id        string
	addresses []netip.Addr
	subnet    *arm.Resource
	network   string // ARM ID
}

// approved are the private endpoints with an approved connection to the target.
func (d *decision) approved() ([]endpoint, error) {
	if d.dst.resource == nil || len(d.dst.names) == 0 {
		return nil, nil
	}
	var ids []string
	for c, err := range d.w.Children(d.dst.resource.ParsedID(), d.dst.typ+"/privateEndpointConnections") {
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(c.Body.String("properties.privateLinkServiceConnectionState.status"), "Approved") {
			continue
		}
		for _, v := range c.Body.List("properties.groupIds") {
			group, _ := v.(string)
			for _, n := range d.dst.names {
				if strings.EqualFold(n.Group, group) {
					ids = append(ids, c.Body.String("properties.privateEndpoint.id"))
				}
			}
		}
	}
	var out []endpoint
	for _, id := range ids {
		e, err := d.describe(id)
		if err != nil {
			return nil, err
		}
		if e != nil {
			out = append(out, *e)
		}
	}
	return out, nil
}

// describe reads an endpoint; nil when part of it is gone.
func (d *decision) describe(id string) (*endpoint, error) {
	r, err := d.get(id)
	if err != nil || r == nil {
		return nil, err
	}
	e := &endpoint{id: r.ID}
	for _, v := range r.Body.List("properties.networkInterfaces") {
		m, _ := v.(map[string]any)
		nic, err := d.get(arm.Doc(m).String("id"))
		if err != nil {
			return nil, err
		}
		if nic == nil {
			continue
		}
		for _, v := range nic.Body.List("properties.ipConfigurations") {
			m, _ := v.(map[string]any)
			if a, err := netip.ParseAddr(arm.Doc(m).String("properties.privateIPAddress")); err == nil {
				e.addresses = append(e.addresses, a)
			}
		}
	}
	if e.subnet, err = d.get(r.Body.String("properties.subnet.id")); err != nil || e.subnet == nil {
		return nil, err
	}
	e.network = e.subnet.ParsedID().Parent().String()
	return e, nil
}

// endpointAt is the approved endpoint of the target that has an address, or nil.
func (d *decision) endpointAt(address netip.Addr) (*endpoint, error) {
	all, err := d.approved()
	for i := range all {
		for _, a := range all[i].addresses {
			if a == address {
				return &all[i], nil
			}
		}
	}
	return nil, err
}

// resolve asks for the target's name as the source's network does. A name that has
// a private endpoint leads, in public DNS too, over its name in the private zone:
// a network that is linked to a zone of that name asks there and nowhere else.
func (d *decision) resolve() (answer, error) {
	all, err := d.approved()
	if err != nil || len(all) == 0 {
		if len(d.dst.names) > 0 && err == nil {
			d.step("No private endpoint of %s has an approved connection: its name resolves to its public address.", d.dst.host)
		}
		return answer{}, err
	}
	asks, err := d.resolver()
	if err != nil {
		return answer{}, err
	}
	name := d.dst.names[0]
	link, err := d.linked(asks, name.Zone)
	if err != nil {
		return answer{}, err
	}
	if link == nil {
		d.hint = "Link the private DNS zone " + name.Zone + " to the virtual network " + last(asks) + "."
		d.step("The virtual network %s is linked to no private DNS zone %s: the name resolves to its public address.", last(asks), name.Zone)
		return answer{}, nil
	}
	zone := link.ParsedID().Parent()
	record, err := d.get(zone.Child("A", name.Record).String())
	if err != nil {
		return answer{}, err
	}
	if record != nil {
		for _, v := range record.Body.List("properties.aRecords") {
			m, _ := v.(map[string]any)
			if a, err := netip.ParseAddr(arm.Doc(m).String("ipv4Address")); err == nil {
				d.step("The private DNS zone %s, linked to %s, has the record %s: %s.", name.Zone, last(asks), name.Record, a)
				return answer{address: a}, nil
			}
		}
	}
	if strings.EqualFold(link.Body.String("properties.resolutionPolicy"), "NxDomainRedirect") {
		d.step("The private DNS zone %s has no record %s, and its link falls back to the internet.", name.Zone, name.Record)
		return answer{}, nil
	}
	return answer{unresolved: true}, d.deny(Unresolved, zone.String(),
		"Give the private endpoint a DNS zone group with this zone, which makes the record "+name.Record+".",
		"The name %s does not resolve: the private DNS zone %s, linked to the virtual network %s, has no record '%s'.", d.dst.host, name.Zone, last(asks), name.Record)
}

// resolver is the ARM ID of the network in which the source's names are resolved:
// its own, or the one in which its custom DNS server stands, which is taken for one
// that asks Azure. Of servers elsewhere nothing is known.
func (d *decision) resolver() (string, error) {
	for _, v := range d.network.Body.List("properties.dhcpOptions.dnsServers") {
		s, _ := v.(string)
		server, err := netip.ParseAddr(s)
		if err != nil {
			continue
		}
		for n, err := range d.neighbours() {
			if err != nil {
				return "", err
			}
			for _, p := range spaces(n) {
				if p.Contains(server) {
					d.step("The virtual network %s asks the DNS server %s in %s.", d.network.Name(), server, n.Name())
					return n.ID, nil
				}
			}
		}
	}
	return d.network.ID, nil
}

// linked is the link of a network to a zone of a name, or nil.
func (d *decision) linked(networkID, zone string) (*arm.Resource, error) {
	for l, err := range d.w.ZoneLinks(networkID) {
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(l.ParsedID().Parent().Name(), zone) {
			return l, nil
		}
	}
	return nil, nil
}

// spaces are the address ranges of a network.
func spaces(n *arm.Resource) []netip.Prefix {
	var out []netip.Prefix
	for _, v := range n.Body.List("properties.addressSpace.addressPrefixes") {
		s, _ := v.(string)
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// subnetPrefix is the first range of a subnet.
func subnetPrefix(r *arm.Resource) netip.Prefix {
	for _, p := range network.Prefixes(r) {
		return p
	}
	return netip.Prefix{}
}
