// Package network is the resource provider Microsoft.Network as far as machine
// learning environments describe their networks with it. Networks are
// configuration here: what Azure would refuse is refused, no packet is filtered.
package network

import (
	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.Network"

	// VirtualNetworkType and SubnetType are the types of this provider.
	VirtualNetworkType = namespace + "/virtualNetworks"
	SubnetType         = VirtualNetworkType + "/subnets"
)

// Deps is what the provider needs.
type Deps struct {
	// Users names what stands in a subnet, as IDs, so that the subnet is not
	// deleted below it. Nil means that nothing ever does.
	Users func(tx store.Tx, subnetID string) ([]string, error)
}

type provider struct {
	Deps
	kernel *arm.Kernel
	subnet *arm.ResourceType
}

// Provider returns the descriptors of the namespace.
func Provider(deps Deps) *arm.Provider {
	p := &provider{Deps: deps}
	p.subnet = p.subnetType()
	return &arm.Provider{
		Namespace: namespace,
		Types:     []*arm.ResourceType{p.virtualNetworkType(), p.subnet},
		Bind:      func(k *arm.Kernel) { p.kernel = k },
	}
}
