package network

import (
	"context"
	"net/http"
	"net/netip"
	"regexp"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func (p *provider) virtualNetworkType() *arm.ResourceType {
	return &arm.ResourceType{
		Type:    VirtualNetworkType,
		Tracked: true,
		ETag:    true,
		Latency: arm.Latency{Create: 4 * time.Second, Update: 4 * time.Second, Delete: 10 * time.Second},
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}[A-Za-z0-9_]$`),
			Text:    "A virtual network name has 2 to 64 letters, digits, '_', '.' and '-', begins with a letter or digit and ends with one or with '_'.",
		},
		Unimplemented: map[string]string{
			"properties.enableDdosProtection": "protects public addresses",
			"properties.ddosProtectionPlan":   "protects public addresses",
			"properties.encryption.enabled":   "encrypts traffic between machines",
			"properties.ipAllocations":        "takes prefixes from a pool",
			"extendedLocation":                "places the network at an edge site",
		},
		Validate: validateNetwork,
		Put:      p.putNetwork,
		Read:     p.readNetwork,
		Actions: []arm.Action{
			{Name: "CheckIPAddressAvailability", Method: http.MethodGet, Permission: VirtualNetworkType + "/checkIpAddressAvailability/read", Handle: p.checkAvailability},
			{Name: "usages", Method: http.MethodGet, Permission: VirtualNetworkType + "/usages/read", Handle: p.networkUsages},
		},
	}
}

// prefixes parses the address prefixes at path.
func prefixes(id arm.ID, body arm.Doc, path string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, v := range body.List(path) {
		s, _ := v.(string)
		n, err := parsePrefix(id, s)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func parsePrefix(id arm.ID, s string) (netip.Prefix, error) {
	n, err := netip.ParsePrefix(s)
	if err != nil {
		return n, arm.BadRequest("InvalidAddressPrefixFormat",
			"Address prefix %s of resource %s is not formatted correctly. It should follow CIDR notation, for example 10.0.0.0/24.", s, id)
	}
	if n.Masked() != n {
		return n, arm.BadRequest("InvalidCIDRNotation",
			"The address prefix %s in resource %s has an invalid CIDR notation. For the given prefix length, the address prefix should be %s.", s, id, n.Masked())
	}
	return n, nil
}

func validateNetwork(_ context.Context, put *arm.Put) error {
	put.Keep("properties.addressSpace")
	space, err := prefixes(put.ID, put.Resource.Body, "properties.addressSpace.addressPrefixes")
	if err != nil {
		return err
	}
	if len(space) == 0 {
		// Azure's words for an empty address space are not known
		return arm.BadRequest("InvalidRequestFormat", "The virtual network '%s' has no address space.", put.ID.Name())
	}
	for i, a := range space {
		for _, b := range space[:i] {
			if a.Overlaps(b) {
				return arm.BadRequest("NetcfgInvalidVirtualNetworkAddressSpace",
					"The address prefixes %s and %s of virtual network '%s' overlap.", b, a, put.ID.Name())
			}
		}
	}
	return nil
}

// putNetwork completes a network. A body with a list of subnets says what
// subnets there are; one without leaves them alone.
func (p *provider) putNetwork(ctx context.Context, put *arm.Put) error {
	body := put.Resource.Body
	resourceGUID(put)
	body.Default("properties.enableDdosProtection", false)
	body.Delete("properties.virtualNetworkPeerings")
	if !body.Has(p.subnets.path) {
		for r, err := range p.kernel.Resources().Children(put.Tx, put.ID, SubnetType) {
			if err != nil {
				return err
			}
			if err := p.checkRange(put.Resource, r, nil); err != nil {
				return err
			}
		}
	}
	return p.putChildren(ctx, put, p.subnets)
}

func (p *provider) readNetwork(ctx context.Context, tx store.Tx, r *arm.Resource) error {
	peerings, err := p.kernel.RenderChildren(ctx, tx, r.ParsedID(), peeringType)
	if err != nil {
		return err
	}
	r.Body.Set("properties.virtualNetworkPeerings", peerings)
	return p.readChildren(ctx, tx, r, p.subnets)
}
