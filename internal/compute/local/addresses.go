package local

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// Azure keeps the first four addresses of a subnet and its last one to itself.
const reservedAddresses = 4

// privateIP is the address that a node shows. In a subnet it is one that no other
// node there has, nor anything in taken; without a subnet it is counted as if the pool had a network
// 10.0.0.0/16 of its own. Nothing listens there: tasks reach each other at
// loopbackHost. r.mu is held.
func (r *Runner) privateIP(spec compute.NodeSpec, taken map[netip.Addr]bool) (string, error) {
	if spec.SubnetPrefix == "" {
		n := spec.Index + reservedAddresses
		return fmt.Sprintf("10.0.%d.%d", n>>8&0xff, n&0xff), nil
	}
	prefix, err := netip.ParsePrefix(spec.SubnetPrefix)
	if err != nil {
		return "", fmt.Errorf("address range of the subnet: %w", err)
	}
	used := map[netip.Addr]bool{}
	maps.Copy(used, taken)
	for a := range r.addresses(spec.SubnetID) {
		used[a] = true
	}
	addr := prefix.Masked().Addr()
	for range reservedAddresses {
		addr = addr.Next()
	}
	for ; prefix.Contains(addr) && prefix.Contains(addr.Next()); addr = addr.Next() {
		if !used[addr] {
			return addr.String(), nil
		}
	}
	// the words are those of Azure's networks; how Azure ML passes them on is not known
	return "", fmt.Errorf("SubnetIsFull: Subnet %s with address prefix %s does not have enough capacity for 1 IP addresses",
		spec.SubnetID[strings.LastIndexByte(spec.SubnetID, '/')+1:], spec.SubnetPrefix)
}

// Addresses are those that nodes have in a subnet, and the node that has each.
func (r *Runner) Addresses(subnetID string) map[netip.Addr]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addresses(subnetID)
}

// addresses is Addresses with r.mu held.
func (r *Runner) addresses(subnetID string) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for id, n := range r.nodes {
		if !strings.EqualFold(n.Spec.SubnetID, subnetID) {
			continue
		}
		if a, err := netip.ParseAddr(n.Info.PrivateIP); err == nil {
			out[a] = id
		}
	}
	return out
}

// loopbackHost is an address of this machine that no other node has, so that
// nodes can use the same ports: one of 127.64.0.0/10. Where the system has only
// 127.0.0.1 on its loopback, all nodes share that. r.mu is held.
func (r *Runner) loopbackHost() string {
	const shared = "127.0.0.1"
	used := map[string]bool{}
	for _, n := range r.nodes {
		used[n.Info.Host] = true
	}
	for i := 1; i <= len(used)+1; i++ {
		host := fmt.Sprintf("127.%d.%d.%d", 64+i>>16&0x3f, i>>8&0xff, i&0xff)
		if used[host] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return shared
		}
		l.Close()
		return host
	}
	return shared
}
