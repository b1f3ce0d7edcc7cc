// Package network is the resource provider Microsoft.Network as far as machine
// learning environments describe their networks with it. What gets
// through the networks that it keeps is decided by package reach.
package network

import (
	"net/netip"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.Network"

	// VirtualNetworkType and SubnetType are the types of networks.
	VirtualNetworkType = namespace + "/virtualNetworks"
	SubnetType         = VirtualNetworkType + "/subnets"
)

// Deps is what the provider needs.
type Deps struct {
	// Users names what stands in a subnet besides this provider's own, as IDs, so
	// that the subnet is not deleted below it. Nil means that nothing ever does.
	Users func(tx store.Tx, subnetID string) ([]string, error)
	// Addresses are those of a subnet that are given to others than network
	// interfaces, and to whom. Nil means that none are.
	Addresses func(subnetID string) map[netip.Addr]string
}

type provider struct {
	Deps
	kernel *arm.Kernel

	subnets, securityRules, routes inline
}

// Provider returns the descriptors of the namespace.
func Provider(deps Deps) *arm.Provider {
	p := &provider{Deps: deps}
	p.subnets = inline{typ: p.subnetType(), path: "properties.subnets", keep: true, complete: p.completeSubnet}
	p.securityRules = inline{typ: p.securityRuleType(), path: "properties.securityRules", complete: completeSecurityRule}
	p.routes = inline{typ: p.routeType(), path: "properties.routes", complete: completeRoute}
	types := []*arm.ResourceType{
		p.virtualNetworkType(), p.subnets.typ, p.peeringType(),
		p.securityGroupType(), p.securityRules.typ, p.defaultSecurityRuleType(),
		p.routeTableType(), p.routes.typ,
		p.publicIPType(), p.natGatewayType(), p.interfaceType(), p.configurationType(),
		p.zoneType(), p.zoneLinkType(), p.allRecordsType(),
		p.endpointType(), p.zoneGroupType(),
	}
	for _, rec := range recordTypes() {
		types = append(types, p.recordSetType(rec))
	}
	return &arm.Provider{Namespace: namespace, Types: types, Bind: func(k *arm.Kernel) { p.kernel = k }}
}
