package network

import (
	"context"
	"net/netip"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// checkAvailability answers whether an address of a network is free, and, when it
// is not, with up to five others of its subnet.
func (p *provider) checkAvailability(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	text := req.Query.Get("ipaddress")
	address, err := netip.ParseAddr(text)
	if err != nil {
		return nil, arm.BadRequest("InvalidIPAddressFormat", "The IP address %s is not formatted correctly.", text)
	}
	out := map[string]any{"available": false, "isPlatformReserved": false}
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		for subnet, err := range p.kernel.Resources().Children(tx, req.ID, SubnetType) {
			if err != nil {
				return err
			}
			for _, n := range Prefixes(subnet) {
				if !n.Contains(address) {
					continue
				}
				taken, err := p.taken(tx, subnet)
				if err != nil {
					return err
				}
				_, used := taken[address]
				kept := reserved(n, address)
				out["available"], out["isPlatformReserved"] = !used && !kept, kept
				if used || kept {
					out["availableIPAddresses"] = free([]netip.Prefix{n}, taken, 5)
				}
				return nil
			}
		}
		return nil
	})
	return arm.OK(out), err
}

// free is the first few free addresses of a subnet. It marks them as taken.
func free(in []netip.Prefix, taken map[netip.Addr]string, n int) []any {
	out := []any{}
	for range n {
		a, ok := lowestFree(in, taken)
		if !ok {
			break
		}
		taken[a] = "shown"
		out = append(out, a.String())
	}
	return out
}

// Usable is how many IPv4 addresses a subnet has to give: Azure keeps five of each
// range.
func Usable(subnet *arm.Resource) int {
	n := 0
	for _, p := range Prefixes(subnet) {
		if p.Addr().Is4() {
			n += 1<<(32-p.Bits()) - 5
		}
	}
	return n
}

// networkUsages tells how many addresses of each subnet are given out. Limit is
// what is left of a subnet's addresses without those that Azure keeps.
func (p *provider) networkUsages(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	value := []any{}
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		for subnet, err := range p.kernel.Resources().Children(tx, req.ID, SubnetType) {
			if err != nil {
				return err
			}
			taken, err := p.taken(tx, subnet)
			if err != nil {
				return err
			}
			value = append(value, map[string]any{
				"currentValue": float64(len(taken)), "limit": float64(Usable(subnet)), "unit": "Count", "id": subnet.ID,
				"name": map[string]any{"value": "SubnetSpace", "localizedValue": "Subnet size and usage"},
			})
		}
		return nil
	})
	return arm.OK(map[string]any{"value": value}), err
}
