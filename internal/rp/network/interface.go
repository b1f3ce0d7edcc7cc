package network

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// InterfaceType is the type of network interfaces.
const InterfaceType = namespace + "/networkInterfaces"

func subnetEntry(id string) string { return "subnet|" + arm.Key(id) }

// interfaceType is the network interfaces of private endpoints. Azure's other
// interfaces belong to machines that are not described one by one here.
func (p *provider) interfaceType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: InterfaceType, Tracked: true, ETag: true,
		Name:    networkName("network interface"),
		Methods: []string{http.MethodGet, http.MethodPatch},
		Index: func(r *arm.Resource) []string {
			var out []string
			seen := map[string]bool{}
			for _, c := range configurations(r) {
				if id := arm.Key(c.String("properties.subnet.id")); !seen[id] {
					seen[id] = true
					out = append(out, subnetEntry(id))
				}
			}
			return out
		},
	}
}

// configurationType is the addresses of interfaces as resources of their own.
func (p *provider) configurationType() *arm.ResourceType {
	load := func(ctx context.Context, tx store.Tx, nic arm.ID) ([]arm.Doc, error) {
		r, err := p.kernel.Load(ctx, tx, nic)
		if err != nil {
			return nil, err
		}
		return configurations(r), nil
	}
	return &arm.ResourceType{
		Type: InterfaceType + "/ipConfigurations", Virtual: true, Methods: []string{http.MethodGet},
		Default: func(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			all, err := load(ctx, tx, id.Parent())
			for _, c := range all {
				if strings.EqualFold(c.String("name"), id.Name()) {
					return &arm.Resource{ID: c.String("id"), Body: arm.Doc{"properties": c.Get("properties")}}, err
				}
			}
			return nil, err
		},
		List: func(ctx context.Context, _ *arm.Request, nic arm.ID) (*arm.Page, error) {
			page := &arm.Page{}
			err := p.kernel.Store().View(ctx, func(tx store.Tx) (err error) {
				page.Value, err = load(ctx, tx, nic)
				return err
			})
			return page, err
		},
	}
}

// configurations are the addresses of an interface.
func configurations(nic *arm.Resource) []arm.Doc {
	var out []arm.Doc
	for _, v := range nic.Body.List("properties.ipConfigurations") {
		m, _ := v.(map[string]any)
		out = append(out, m)
	}
	return out
}

// allocate finds addresses in a subnet: the wanted ones, and the lowest free one
// for each that is "". Azure keeps the first four and the last of each range.
func (p *provider) allocate(tx store.Tx, subnet *arm.Resource, from string, wanted []string) ([]netip.Addr, error) {
	taken, err := p.taken(tx, subnet)
	if err != nil {
		return nil, err
	}
	out := make([]netip.Addr, len(wanted))
	for i, w := range wanted {
		if w == "" {
			continue
		}
		a, err := checkAddress(subnet, w)
		if err != nil {
			return nil, err
		}
		if user, ok := taken[a]; ok {
			return nil, arm.BadRequest("PrivateIPAddressIsAllocated",
				"IP configuration %s is using the private IP address %s which is already allocated to resource %s.", user, w, from)
		}
		taken[a] = from
		out[i] = a
	}
	for i, w := range wanted {
		if w != "" {
			continue
		}
		a, ok := lowestFree(Prefixes(subnet), taken)
		if !ok {
			return nil, arm.BadRequest("SubnetIsFull",
				"Subnet %s with address prefix %s does not have enough capacity for %d IP addresses.", subnet.Name(), Prefixes(subnet)[0], len(wanted))
		}
		taken[a] = from
		out[i] = a
	}
	return out, nil
}

// taken is the addresses of a subnet that are given out, and to what.
func (p *provider) taken(tx store.Tx, subnet *arm.Resource) (map[netip.Addr]string, error) {
	out, err := Taken(tx, p.kernel.Resources(), subnet.ID)
	if err == nil && p.Addresses != nil {
		maps.Copy(out, p.Addresses(subnet.ID))
	}
	return out, err
}

// Taken is the addresses of a subnet that network interfaces have, and the ID of what
// has each.
func Taken(tx store.Tx, res *arm.Resources, subnetID string) (map[netip.Addr]string, error) {
	out := map[netip.Addr]string{}
	for nic, err := range res.Find(tx, InterfaceType, subnetEntry(subnetID)) {
		if err != nil {
			return nil, err
		}
		for _, c := range configurations(nic) {
			if a, err := netip.ParseAddr(c.String("properties.privateIPAddress")); err == nil {
				out[a] = c.String("id")
			}
		}
	}
	return out, nil
}

// checkAddress refuses an address that a subnet cannot give.
func checkAddress(subnet *arm.Resource, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, arm.BadRequest("InvalidIPAddressFormat", "The IP address %s is not formatted correctly.", s)
	}
	for _, n := range Prefixes(subnet) {
		if !n.Contains(a) {
			continue
		}
		if reserved(n, a) {
			return a, arm.BadRequest("PrivateIPAddressInReservedRange", "Private static IP address %s falls within reserved IP range of subnet prefix %s.", s, n)
		}
		return a, nil
	}
	return a, arm.BadRequest("PrivateIPAddressNotInSubnet", "Private static IP address %s does not belong to the range of subnet prefix %s.", s, Prefixes(subnet)[0])
}

func reserved(n netip.Prefix, a netip.Addr) bool {
	first := n.Masked().Addr()
	for range 4 {
		if a == first {
			return true
		}
		first = first.Next()
	}
	return a.Is4() && !n.Contains(a.Next())
}

func lowestFree(in []netip.Prefix, taken map[netip.Addr]string) (netip.Addr, bool) {
	for _, n := range in {
		a := hostAddress(n, 4)
		for ; n.Contains(a); a = a.Next() {
			if _, ok := taken[a]; !ok && !reserved(n, a) {
				return a, true
			}
		}
	}
	return netip.Addr{}, false
}

// drop removes a resource that belongs to another, if it is still there.
func (p *provider) drop(tx store.Tx, id string) error {
	err := p.kernel.Resources().Remove(tx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
