package reach

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// firewall is what a resource says of who may come in at its public door.
type firewall struct {
	// open is public network access.
	open bool
	// deny is the default action; without it the lists do not matter.
	deny bool
	// trusted lets trusted services in, trustedClosed also when the door is shut.
	trusted, trustedClosed bool
	ips                    []string
	subnets                []string
	// resources are the ARM IDs of resources, with wildcards, that are let in.
	resources []string
	// regional says that addresses of the resource's own region are never seen, so
	// that no rule can name them.
	regional bool
	// names of the arguments, for people
	publicName, listName, ipName, subnetName string
}

func ids(b arm.Doc, list, field string) []string {
	var out []string
	for _, v := range b.List(list) {
		if m, ok := v.(map[string]any); ok {
			out = append(out, arm.Doc(m).String(field))
		}
	}
	return out
}

// firewallOf reads the firewall of a resource.
func firewallOf(t *target) *firewall {
	if t.resource == nil {
		return nil
	}
	b := t.resource.Body.Object("properties")
	public := b.String("publicNetworkAccess")
	f := &firewall{open: public == "" || strings.EqualFold(public, "Enabled"), publicName: "public_network_access_enabled"}
	switch t.typ {
	case typeAccount:
		f.listName, f.ipName, f.subnetName, f.regional = "network_rules", "ip_rules", "virtual_network_subnet_ids", true
		f.deny = strings.EqualFold(b.String("networkAcls.defaultAction"), "Deny")
		f.trusted = strings.Contains(strings.ToLower(b.String("networkAcls.bypass")), "azureservices")
		f.ips, f.subnets = ids(b, "networkAcls.ipRules", "value"), ids(b, "networkAcls.virtualNetworkRules", "id")
		f.resources = ids(b, "networkAcls.resourceAccessRules", "resourceId")
	case typeVault:
		f.listName, f.ipName, f.subnetName = "network_acls", "ip_rules", "virtual_network_subnet_ids"
		f.deny = strings.EqualFold(b.String("networkAcls.defaultAction"), "Deny")
		f.trusted = strings.EqualFold(b.String("networkAcls.bypass"), "AzureServices")
		f.trustedClosed = f.trusted
		f.ips, f.subnets = ids(b, "networkAcls.ipRules", "value"), ids(b, "networkAcls.virtualNetworkRules", "id")
	case typeRegistry:
		f.listName, f.ipName, f.subnetName = "network_rule_set", "ip_rule", "virtual_network"
		f.deny = strings.EqualFold(b.String("networkRuleSet.defaultAction"), "Deny")
		f.trusted = strings.EqualFold(b.String("networkRuleBypassOptions"), "AzureServices")
		f.trustedClosed = f.trusted
		f.ips, f.subnets = ids(b, "networkRuleSet.ipRules", "value"), ids(b, "networkRuleSet.virtualNetworkRules", "id")
	case typeWorkspace:
		for _, v := range b.List("ipAllowlist") {
			if s, ok := v.(string); ok {
				f.ips = append(f.ips, s)
			}
		}
		f.deny = len(f.ips) > 0
	}
	return f
}

// public decides at the public door of the target.
func (d *decision) public() error {
	d.v.Via = Public
	if d.src.Subnet == "" && d.src.Workspace == "" && !d.src.Azure {
		d.v.Client = d.src.Public
	}
	if d.endpoint {
		d.v.Subnet = d.subnet.ID
	}
	f := firewallOf(d.dst)
	if f == nil && d.passed != "" {
		return d.allow(d.passedID, "", "%s", d.passed)
	}
	if f == nil {
		return d.allow("", "", "No rule is about %s.", d.dst.host)
	}
	r := d.dst.resource
	arguments := f.listName
	if d.dst.typ == typeWorkspace {
		return d.workspaceDoor(f)
	}
	if !f.open {
		if d.src.Trusted && f.trustedClosed {
			return d.allow(r.ID, "Take the bypass away.", "%s has %s = false, and lets trusted services of Azure in.", r.Name(), f.publicName)
		}
		change := fmt.Sprintf("Reach it over a private endpoint, or set %s = true on %s.", f.publicName, r.Name())
		if d.hint != "" {
			change = d.hint
		}
		return d.deny(PublicDisabled, r.ID, change, "%s has %s = false, and the call comes in at its public address.", r.Name(), f.publicName)
	}
	if !f.deny {
		return d.allow(r.ID, fmt.Sprintf("Set %s = false on %s, or let its %s deny by default.", f.publicName, r.Name(), arguments),
			"%s has public network access, and its %s let everybody in.", r.Name(), arguments)
	}
	if d.src.Trusted && f.trusted {
		return d.allow(r.ID, "Take the bypass away.", "%s lets trusted services of Azure in (bypass).", r.Name())
	}
	if d.src.Trusted && listed(f.resources, d.src.Resource) {
		return d.allow(r.ID, "Take it out of them.", "The %s of %s let the resource %s in.", arguments, r.Name(), d.src.Resource)
	}
	if d.endpoint {
		for _, id := range f.subnets {
			if arm.Key(id) == arm.Key(d.subnet.ID) {
				return d.allow(r.ID, fmt.Sprintf("Take it out of %s, or the service endpoint away from it.", f.subnetName), "The subnet %s is in the %s of %s, and has the service endpoint.", d.subnet.Name(), arguments, r.Name())
			}
		}
		return d.refuse(f, fmt.Sprintf("Add the subnet %s to %s of %s.", d.subnet.ID, f.subnetName, r.Name()),
			"the subnet %s, which its service endpoint shows, is not in its %s", d.subnet.Name(), f.subnetName)
	}
	if d.subnet != nil {
		for _, id := range f.subnets {
			if arm.Key(id) == arm.Key(d.subnet.ID) {
				return d.refuse(f, fmt.Sprintf("Add %s to the service endpoints of the subnet %s.", d.dst.service, d.subnet.Name()),
					"it lists the subnet %s, which has no service endpoint %s to show it", d.subnet.Name(), d.dst.service)
			}
		}
	}
	if f.regional && d.network != nil && arm.NormalizeLocation(d.network.Body.String("location")) == arm.NormalizeLocation(r.Body.String("location")) {
		return d.refuse(f, d.way(f, ""), "the call comes from its own region, where Azure shows it no public address that %s could name", f.ipName)
	}
	if d.v.Client.IsValid() {
		if by, ok := contains(f.ips, d.v.Client); ok {
			return d.allow(r.ID, fmt.Sprintf("Take %s out of %s.", by, f.ipName), "The address %s is in the %s of %s (%s).", d.v.Client, f.ipName, r.Name(), by)
		}
		return d.refuse(f, d.way(f, d.v.Client.String()), "the address %s is not in its %s", d.v.Client, f.ipName)
	}
	return d.refuse(f, d.way(f, ""), "the call comes from a public address that is not known")
}

// workspaceDoor decides at the public door of a workspace.
func (d *decision) workspaceDoor(f *firewall) error {
	r := d.dst.resource
	switch by, ok := contains(f.ips, d.v.Client); {
	case d.src.Trusted:
		return d.allow(r.ID, "", "Services of Azure reach the workspace %s.", r.Name())
	case !f.open:
		change := fmt.Sprintf("Reach it over a private endpoint, or set %s = true on %s.", f.publicName, r.Name())
		if d.hint != "" {
			change = d.hint
		}
		return d.deny(PublicDisabled, r.ID, change, "The workspace %s has %s = false, and the call comes in at its public address.", r.Name(), f.publicName)
	case !f.deny:
		return d.allow(r.ID, fmt.Sprintf("Set %s = false on %s.", f.publicName, r.Name()), "The workspace %s has public network access.", r.Name())
	case ok:
		return d.allow(r.ID, "Take it out of the list.", "The address %s is in the ipAllowlist of the workspace %s (%s).", d.v.Client, r.Name(), by)
	}
	return d.deny(NotListed, r.ID, "Add the address to the list, or reach the workspace over a private endpoint.", "The workspace %s has an ipAllowlist, in which the address of the call is not.", r.Name())
}

// way says how the source could get in.
func (d *decision) way(f *firewall, address string) string {
	name := d.dst.resource.Name()
	switch {
	case d.hint != "":
		return d.hint
	case d.subnet != nil && d.dst.service != "":
		return fmt.Sprintf("Make a private endpoint of %s with a DNS zone group, or give the subnet %s the service endpoint %s and add it to %s.", name, d.subnet.Name(), d.dst.service, f.subnetName)
	case address != "":
		return fmt.Sprintf("Add %s to %s of %s.", address, f.ipName, name)
	}
	return fmt.Sprintf("Place the compute in a subnet, and let that in by a private endpoint or by %s of %s.", f.subnetName, name)
}

func (d *decision) refuse(f *firewall, change, format string, args ...any) error {
	r := d.dst.resource
	return d.deny(NotListed, r.ID, change, "The %s of %s deny by default, and %s.", f.listName, r.Name(), fmt.Sprintf(format, args...))
}

// contains finds the rule that has an address: one, or a range.
func contains(rules []string, a netip.Addr) (string, bool) {
	for _, s := range rules {
		if p, err := netip.ParsePrefix(s); err == nil && p.Contains(a) {
			return s, true
		}
		if one, err := netip.ParseAddr(s); err == nil && one == a {
			return s, true
		}
	}
	return "", false
}

// listed reports whether a resource is among those that rules name. A rule may have
// * for the subscription, group or name, as the portal writes for "all in …".
func listed(rules []string, id string) bool {
	own := strings.Split(arm.Key(id), "/")
	for _, rule := range rules {
		want := strings.Split(arm.Key(rule), "/")
		if id == "" || len(want) != len(own) {
			continue
		}
		same := true
		for i := range want {
			same = same && (want[i] == "*" || want[i] == own[i])
		}
		if same {
			return true
		}
	}
	return false
}
