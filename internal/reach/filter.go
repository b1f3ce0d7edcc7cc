package reach

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
)

const typeSecurityRule = "Microsoft.Network/networkSecurityGroups/securityRules"

type direction string

const (
	outbound direction = "Outbound"
	inbound  direction = "Inbound"
)

// at matches rules against an address in the source's networks.
func (d *decision) at(address netip.Addr) func(prefix string) bool {
	return func(prefix string) bool {
		switch {
		case prefix == "*":
			return true
		case strings.EqualFold(prefix, "VirtualNetwork"):
			return true // its own or a peered one: what else is reachable is no neighbour
		}
		if p, err := netip.ParsePrefix(prefix); err == nil {
			return p.Contains(address)
		}
		a, err := netip.ParseAddr(prefix)
		return err == nil && a == address
	}
}

// fromHere matches the source's place in its subnet.
func (d *decision) fromHere(prefix string) bool {
	if prefix == "*" || strings.EqualFold(prefix, "VirtualNetwork") {
		return true
	}
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		a, err := netip.ParseAddr(prefix)
		if err != nil {
			return false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if d.src.Private.IsValid() {
		return p.Contains(d.src.Private)
	}
	own := subnetPrefix(d.subnet)
	return own.IsValid() && p.Bits() <= own.Bits() && p.Contains(own.Addr())
}

// filtered reports whether the security group of a subnet lets the call pass, and
// ends the decision when it does not. Without a group all passes.
func (d *decision) filtered(dir direction, at *arm.Resource, destination func(prefix string) bool) (bool, error) {
	id := at.Body.String("properties.networkSecurityGroup.id")
	group, err := arm.ParseID(id)
	if err != nil {
		return true, nil
	}
	var rules []*arm.Resource
	for r, err := range d.w.Children(group, typeSecurityRule) {
		if err != nil {
			return false, err
		}
		if strings.EqualFold(r.Body.String("properties.direction"), string(dir)) {
			rules = append(rules, r)
		}
	}
	rules = append(rules, network.DefaultRules(id, string(dir))...)
	slices.SortFunc(rules, func(a, b *arm.Resource) int {
		return cmp.Compare(a.Body.Int("properties.priority", 0), b.Body.Int("properties.priority", 0))
	})
	for _, r := range rules {
		b := r.Body.Object("properties")
		protocol := b.String("protocol")
		if protocol != "*" && !strings.EqualFold(protocol, "Tcp") ||
			!slices.ContainsFunc(values(b, "sourceAddressPrefix", "sourceAddressPrefixes"), d.fromHere) ||
			!slices.ContainsFunc(values(b, "destinationAddressPrefix", "destinationAddressPrefixes"), destination) ||
			!slices.ContainsFunc(values(b, "destinationPortRange", "destinationPortRanges"), func(s string) bool { return inRange(s, d.dst.port, d.dst.port) }) ||
			// a client's port is any of those that systems give out
			!slices.ContainsFunc(values(b, "sourcePortRange", "sourcePortRanges"), func(s string) bool { return inRange(s, 49152, 60999) }) {
			continue
		}
		priority := b.Int("priority", 0)
		if strings.EqualFold(b.String("access"), "Allow") {
			d.pass(r.ID, "The rule %s (%d, %s) of the network security group %s lets it pass.", r.Name(), priority, dir, group.Name())
			return true, nil
		}
		what := "the address of the private endpoint"
		if d.v.Via == Public {
			what = "the service tag " + d.dst.tag()
		}
		change := fmt.Sprintf("Add a rule to the network security group %s, %s, with a priority below %d, that allows TCP %d to %s.",
			group.Name(), strings.ToLower(string(dir)), priority, d.dst.port, what)
		if d.hint != "" && dir == outbound {
			change = d.hint + " Or: " + change
		}
		return false, d.deny(Filtered, r.ID, change, "The rule %s (%d, %s, Deny) of the network security group %s on the subnet %s.",
			r.Name(), priority, dir, group.Name(), at.Name())
	}
	return true, nil // the default rules match all
}

// values are what a rule names once or in a list.
func values(b arm.Doc, one, many string) []string {
	var out []string
	if s := b.String(one); s != "" {
		out = append(out, s)
	}
	for _, v := range b.List(many) {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// inRange reports whether a range of ports such as "80", "1000-2000" or "*" has
// all of low to high.
func inRange(s string, low, high int) bool {
	if s == "*" {
		return true
	}
	from, to, ranged := strings.Cut(s, "-")
	first, err := strconv.Atoi(strings.TrimSpace(from))
	if err != nil {
		return false
	}
	last := first
	if ranged {
		if last, err = strconv.Atoi(strings.TrimSpace(to)); err != nil {
			return false
		}
	}
	return first <= low && high <= last
}
