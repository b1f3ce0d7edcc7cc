package server

import (
	"context"
	"net/netip"

	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The addresses of a subnet are given out in two places: to network interfaces in
// the store, and to nodes by the runners, which keep their nodes themselves. Each
// asks the other before it gives one.

// nodeAddresses are the addresses that nodes and instances have in a subnet.
func (s *Server) nodeAddresses(subnetID string) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for a, node := range s.runner.Addresses(subnetID) {
		out[a] = node
	}
	for a, node := range s.machines.Addresses(subnetID) {
		out[a] = node
	}
	return out
}

// addressesTaken are the addresses of a subnet that are given to anything.
func (s *Server) addressesTaken(tx store.Tx, subnetID string) (map[netip.Addr]string, error) {
	out, err := network.Taken(tx, s.kernel.Resources(), subnetID)
	if err != nil {
		return nil, err
	}
	for a, node := range s.nodeAddresses(subnetID) {
		out[a] = node
	}
	return out, nil
}

// interfaceAddresses are those that network interfaces have, for a runner, with
// those of the nodes of another runner.
func (s *Server) interfaceAddresses(others func(subnetID string) map[netip.Addr]string) func(subnetID string) (map[netip.Addr]bool, error) {
	return func(subnetID string) (map[netip.Addr]bool, error) {
		out := map[netip.Addr]bool{}
		err := s.store.View(context.Background(), func(tx store.Tx) error {
			taken, err := network.Taken(tx, s.kernel.Resources(), subnetID)
			for a := range taken {
				out[a] = true
			}
			return err
		})
		for a := range others(subnetID) {
			out[a] = true
		}
		return out, err
	}
}
