package network

import (
	"context"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const peeringType = VirtualNetworkType + "/virtualNetworkPeerings"

// peeringType connects two networks. Each side has a peering of its own, and
// they are connected once both are there.
func (p *provider) peeringType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: peeringType, ETag: true, Latency: latency(5),
		Name: networkName("virtual network peering"),
		Unimplemented: map[string]string{
			"properties.enableOnlyIPv6Peering": "peers IPv6 alone",
			"properties.localSubnetNames":      "peers some subnets alone",
			"properties.remoteSubnetNames":     "peers some subnets alone",
		},
		Index:  uses("properties.remoteVirtualNetwork"),
		Put:    p.putPeering,
		Read:   p.readPeering,
		Delete: p.deleteChild,
	}
}

func (p *provider) putPeering(ctx context.Context, put *arm.Put) error {
	body := put.Resource.Body
	for name, v := range map[string]bool{
		"allowVirtualNetworkAccess": true, "allowForwardedTraffic": false, "allowGatewayTransit": false, "useRemoteGateways": false,
		"peerCompleteVnets": true, "doNotVerifyRemoteGateways": false,
	} {
		body.Default("properties."+name, v)
	}
	for _, shown := range []string{"peeringState", "peeringSyncLevel", "remoteAddressSpace", "remoteVirtualNetworkAddressSpace"} {
		body.Delete("properties." + shown)
	}
	if !body.Bool("properties.peerCompleteVnets", true) {
		return arm.NotImplemented("peerings of some subnets alone")
	}
	if body.Bool("properties.useRemoteGateways", false) {
		return arm.NotImplemented("virtual network gateways, which useRemoteGateways needs")
	}
	if err := put.Immutable("properties.remoteVirtualNetwork.id"); err != nil {
		return err
	}
	remote, err := p.refer(ctx, put, put.Resource, put.Existing, "", reference{
		path: "properties.remoteVirtualNetwork", typ: VirtualNetworkType, join: VirtualNetworkType + "/peer/action", anywhere: true,
	})
	if err != nil {
		return err
	}
	if remote == nil || arm.Key(remote.ID) == arm.Key(put.Parent.ID) {
		// Azure's words are not known
		return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: peering %s has a remoteVirtualNetwork that is another.", put.ID)
	}
	const space = "properties.addressSpace.addressPrefixes"
	own, err := prefixes(put.Parent.ParsedID(), put.Parent.Body, space)
	if err != nil {
		return err
	}
	theirs, err := prefixes(remote.ParsedID(), remote.Body, space)
	if err != nil {
		return err
	}
	var overlap []string
	for _, a := range own {
		for _, b := range theirs {
			if a.Overlaps(b) {
				overlap = append(overlap, a.String())
				break
			}
		}
	}
	if len(overlap) > 0 {
		return arm.BadRequest("VnetAddressSpacesOverlap",
			"Cannot create or update peering %s. Virtual networks %s and %s cannot be peered because their address spaces overlap. Overlapping address prefixes: %s",
			put.ID, put.Parent.ID, remote.ID, strings.Join(overlap, ", "))
	}
	resourceGUID(put)
	return p.touch(put.Tx, put.Parent.ID)
}

// readPeering says how the other side is: a peering is initiated until there is
// one back, and disconnected when the other network has gone. (Azure also calls it
// disconnected when the one back has gone.)
func (p *provider) readPeering(_ context.Context, tx store.Tx, r *arm.Resource) error {
	local := r.ParsedID().Parent()
	remote, err := arm.ParseID(r.Body.String("properties.remoteVirtualNetwork.id"))
	if err != nil {
		return nil // it was checked when it was put
	}
	state := "Initiated"
	for other, err := range p.kernel.Resources().Find(tx, peeringType, useEntry(local.String())) {
		if err != nil {
			return err
		}
		if other.ParsedID().Parent().Key() == remote.Key() {
			state = "Connected"
		}
	}
	r.Body.Set("properties.peeringState", state)
	r.Body.Set("properties.peeringSyncLevel", "FullyInSync")
	there, err := p.kernel.Resources().Exists(tx, remote.Key())
	if err != nil {
		return err
	}
	if !there {
		r.Body.Set("properties.peeringState", "Disconnected")
		return nil
	}
	network, err := p.kernel.Resources().Get(tx, remote.Key())
	if err != nil {
		return err
	}
	list := network.Body.List("properties.addressSpace.addressPrefixes")
	r.Body.Set("properties.remoteAddressSpace", map[string]any{"addressPrefixes": list})
	r.Body.Set("properties.remoteVirtualNetworkAddressSpace", map[string]any{"addressPrefixes": list})
	return nil
}
