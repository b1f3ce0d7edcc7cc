// Package reach decides whether a call gets from one place to another: from a node in
// a subnet, a node of a managed network or a machine on the internet to a service of
// this cloud. It says which rule decided, and what would change that. It reads the
// networks as they are described and keeps nothing itself.
//
// A call takes the steps that it takes in Azure: the source's networks resolve the
// name, privately where a private DNS zone that is linked to them has it; the
// source's route table and security group let the packets out; the security group
// of a private endpoint's subnet may let them in; and at the public door the
// firewall of the resource looks at who knocks.
package reach

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// World is what there is, as far as a decision reads it. Each call reads what it
// names by key, whatever else there is.
type World interface {
	// Get returns the resource with an ID, or store.ErrNotFound.
	Get(id string) (*arm.Resource, error)
	// Children yields the resources of a type directly in another.
	Children(parent arm.ID, typ string) iter.Seq2[*arm.Resource, error]
	// Named returns the storage account, vault, registry or workspace that a part
	// of a host name means, in lower case, or store.ErrNotFound.
	Named(typ, name string) (*arm.Resource, error)
	// ZoneLinks yields the links of private DNS zones to a virtual network.
	ZoneLinks(networkID string) iter.Seq2[*arm.Resource, error]
}

// Source is where a call comes from. The zero Source is a machine on the internet
// of which nothing is known.
type Source struct {
	// Name is for people: "node tvm-1 of cpu-cluster".
	Name string
	// Subnet is the ARM ID of the subnet that it stands in, or "".
	Subnet string
	// Workspace is the ARM ID of the workspace in whose managed network it stands,
	// or "".
	Workspace string
	// Private is its address in the subnet, if it has one.
	Private netip.Addr
	// Public is the address by which the internet knows it, if it has one of its own.
	Public netip.Addr
	// PublicIP says that it has a public address, known or not, and so a way out.
	PublicIP bool
	// Azure says that it is a machine of the service's in no network of the
	// customer's, which the internet knows by an address that changes.
	Azure bool
	// Trusted says that it is a service that firewalls may let pass as trusted, and
	// Resource is the ARM ID of the resource for which it acts.
	Trusted  bool
	Resource string
}

// Key tells apart sources of which different things are decided. It is in lower case.
func (s Source) Key() string {
	if s.Subnet == "" && s.Workspace == "" && !s.Trusted && !s.Azure {
		return "ip|" + s.Public.String()
	}
	return strings.ToLower(fmt.Sprintf("at|%s|%s|%s|%s|%t|%t|%t|%s", s.Subnet, s.Workspace, s.Private, s.Public, s.PublicIP, s.Azure, s.Trusted, s.Resource))
}

// Destination is what a call is made to.
type Destination struct {
	// Host is the name, in any case, without a port.
	Host string
	// Port is 443 if zero.
	Port int
}

// Reason is why a call does not get through.
type Reason string

// The reasons. Refused ones are answers of the resource; all others are packets
// that do not arrive.
const (
	// Through is that of a call that gets through.
	Through Reason = ""
	// PublicDisabled: the resource has no public door.
	PublicDisabled Reason = "PublicNetworkAccessDisabled"
	// NotListed: the firewall of the resource does not let the source in.
	NotListed Reason = "NotInNetworkRules"
	// Unresolved: the name has no address where the source asks.
	Unresolved Reason = "NameNotResolved"
	// Filtered: a rule of a network security group denies it.
	Filtered Reason = "SecurityRule"
	// Unrouted: no route leads there.
	Unrouted Reason = "NoRoute"
	// NotApproved: a managed network's outbound rules do not name it.
	NotApproved Reason = "OutboundRules"
)

// Refused reports whether the call arrives and is answered with a refusal.
func (r Reason) Refused() bool { return r == PublicDisabled || r == NotListed }

// Verdict is a decision.
type Verdict struct {
	Allowed bool
	Reason  Reason
	// Rule says which rule decided, and RuleID is the ARM ID of what it stands in,
	// or "" where that is no resource.
	Rule   string
	RuleID string
	// Change says what would turn the decision around.
	Change string
	// Via is "public", or the ARM ID of the private endpoint.
	Via string
	// Subnet is the ARM ID of the subnet that its service endpoint shows to the
	// destination, or "".
	Subnet string
	// Target is the ARM ID of the resource that the host belongs to, or "".
	Target string
	// Client is the address by which the destination knows the source, if any.
	Client netip.Addr
	// Steps is what was looked at, in order, a sentence each.
	Steps []string
}

// Public is the Via of what does not go over a private endpoint.
const Public = "public"

// decision is a verdict in the making.
type decision struct {
	w   World
	src Source
	dst *target
	v   Verdict

	subnet, network *arm.Resource // of the source; nil outside
	// endpoint is the service endpoint that leads from the subnet to the target's
	// service.
	endpoint bool
	// appliance says that a route leads through an appliance, whose address is
	// not known to the target.
	appliance bool
	// passed is the last rule that let the call pass, in a sentence, and its ID.
	passed, passedID string
	// hint says how the target could be reached privately, where that is nearly so.
	hint string
}

// Decide decides about a call. Errors are those of the World alone.
func Decide(w World, src Source, dst Destination) (Verdict, error) {
	t, err := find(w, dst)
	if err != nil {
		return Verdict{}, err
	}
	d := &decision{w: w, src: src, dst: t}
	if t.resource != nil {
		d.v.Target = t.resource.ID
	}
	switch {
	case src.Workspace != "":
		err = d.fromManaged()
	case src.Subnet != "":
		err = d.fromSubnet()
	default:
		err = d.public()
	}
	return d.v, err
}

func (d *decision) step(format string, args ...any) {
	d.v.Steps = append(d.v.Steps, fmt.Sprintf(format, args...))
}

// pass notes a rule that lets the call pass.
func (d *decision) pass(id, format string, args ...any) {
	d.passed, d.passedID = fmt.Sprintf(format, args...), id
	d.step("%s", d.passed)
}

// allow ends a decision.
func (d *decision) allow(id, change, format string, args ...any) error {
	d.v.Allowed, d.v.Reason, d.v.RuleID, d.v.Rule, d.v.Change = true, Through, id, fmt.Sprintf(format, args...), change
	return nil
}

// deny ends a decision.
func (d *decision) deny(why Reason, id, change, format string, args ...any) error {
	d.v.Allowed, d.v.Reason, d.v.RuleID, d.v.Rule, d.v.Change = false, why, id, fmt.Sprintf(format, args...), change
	return nil
}

// fromSubnet decides about a node in a subnet.
func (d *decision) fromSubnet() (err error) {
	if d.subnet, err = d.get(d.src.Subnet); err != nil || d.subnet == nil {
		if err == nil {
			err = d.deny(Unrouted, d.src.Subnet, "Make the subnet again, or place the compute in another.", "The subnet %s is not there any more.", d.src.Subnet)
		}
		return err
	}
	if d.network, err = d.get(d.subnet.ParsedID().Parent().String()); err != nil {
		return err
	}
	if d.network == nil {
		return d.deny(Unrouted, d.src.Subnet, "Make the virtual network again.", "The virtual network of the subnet %s is not there any more.", d.src.Subnet)
	}
	answer, err := d.resolve()
	if err != nil || answer.unresolved {
		return err
	}
	if answer.address.IsValid() {
		return d.private(answer.address)
	}
	return d.outward()
}

// outward decides about a call from a subnet to a public address.
func (d *decision) outward() error {
	d.v.Via = Public
	d.endpoint = d.serviceEndpoint()
	if ok, err := d.routed(); err != nil || !ok {
		return err
	}
	if ok, err := d.filtered(outbound, d.subnet, d.dst.match); err != nil || !ok {
		return err
	}
	if d.endpoint {
		d.step("The subnet has a service endpoint for the service, so the resource sees the subnet %s.", d.subnet.Name())
		return d.public()
	}
	if d.appliance {
		d.step("The route leads through an appliance, whose public address is not known here.")
		return d.public()
	}
	client, way, err := d.wayOut()
	if err != nil {
		return err
	}
	if !way {
		return d.deny(Unrouted, d.subnet.ID, "Give the subnet a NAT gateway or a route through a firewall, or its nodes public addresses.",
			"The subnet %s has no default outbound access, and neither a NAT gateway nor a public address leads out.", d.subnet.Name())
	}
	d.v.Client = client
	return d.public()
}

// wayOut is the address that packets leave a subnet with, if it is known, and
// whether there is a way out at all.
func (d *decision) wayOut() (netip.Addr, bool, error) {
	if id := d.subnet.Body.String("properties.natGateway.id"); id != "" {
		nat, err := d.get(id)
		if err != nil {
			return netip.Addr{}, false, err
		}
		if nat != nil {
			for _, v := range nat.Body.List("properties.publicIpAddresses") {
				m, _ := v.(map[string]any)
				ip, err := d.get(arm.Doc(m).String("id"))
				if err != nil {
					return netip.Addr{}, false, err
				}
				if ip == nil {
					continue
				}
				if a, err := netip.ParseAddr(ip.Body.String("properties.ipAddress")); err == nil {
					d.step("The NAT gateway %s leads out, with the address %s.", nat.Name(), a)
					return a, true, nil
				}
			}
			d.step("The NAT gateway %s leads out.", nat.Name())
			return netip.Addr{}, true, nil
		}
	}
	if d.src.PublicIP || d.src.Public.IsValid() {
		return d.src.Public, true, nil
	}
	return netip.Addr{}, d.subnet.Body.Bool("properties.defaultOutboundAccess", true), nil
}

// private decides about a call from a subnet to the address of a private endpoint.
func (d *decision) private(address netip.Addr) error {
	e, err := d.endpointAt(address)
	if err != nil {
		return err
	}
	if e == nil {
		return d.deny(Unrouted, "", "Point the record of the private DNS zone at the private endpoint's address, or remove it.",
			"The name %s resolves to %s, where no private endpoint of it is.", d.dst.host, address)
	}
	d.v.Via = e.id
	if ok, err := d.reachable(e); err != nil || !ok {
		return err
	}
	if ok, err := d.filtered(outbound, d.subnet, d.at(address)); err != nil || !ok {
		return err
	}
	if policies(e.subnet, "NetworkSecurityGroupEnabled") {
		if ok, err := d.filtered(inbound, e.subnet, d.at(address)); err != nil || !ok {
			return err
		}
	}
	d.v.Client = d.src.Private
	return d.allow(e.id, "Remove the endpoint, reject its connection, or unlink the private DNS zone.", "The name resolves to %s, the private endpoint %s, whose connection is approved.", address, last(e.id))
}

// get returns a resource, or nil when there is none.
func (d *decision) get(id string) (*arm.Resource, error) { return get(d.w, id) }

func get(w World, id string) (*arm.Resource, error) {
	if id == "" {
		return nil, nil
	}
	r, err := w.Get(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return r, err
}

// last is the last segment of an ID.
func last(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }
