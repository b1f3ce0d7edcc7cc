package network

import (
	"context"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

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
			"properties.virtualNetworkPeerings": "connects networks",
			"properties.enableDdosProtection":   "protects public addresses",
			"properties.ddosProtectionPlan":     "protects public addresses",
			"properties.encryption.enabled":     "encrypts traffic between machines",
			"properties.ipAllocations":          "takes prefixes from a pool",
			"extendedLocation":                  "places the network at an edge site",
		},
		Validate: validateNetwork,
		Put:      p.putNetwork,
		Read:     p.readNetwork,
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
	put.Force("properties.resourceGuid")
	body.Default("properties.resourceGuid", uuid.NewString())
	body.Default("properties.enableDdosProtection", false)
	body.Set("properties.virtualNetworkPeerings", []any{})

	keep := map[string]*arm.Resource{}
	for r, err := range p.kernel.Resources().Children(put.Tx, put.ID, SubnetType) {
		if err != nil {
			return err
		}
		keep[strings.ToLower(r.Name())] = r
	}
	list, given := body.Get("properties.subnets").([]any)
	body.Delete("properties.subnets")
	if !given {
		for _, r := range keep {
			if err := p.checkRange(put.Resource, r, nil); err != nil {
				return err
			}
		}
		return nil
	}
	var want []*arm.Resource
	for _, v := range list {
		m, _ := v.(map[string]any)
		in := arm.Doc(m).Clone()
		name := in.String("name")
		if !p.subnet.Name.Pattern.MatchString(name) {
			return arm.BadRequest("InvalidResourceName", "Resource name '%s' is invalid. %s", name, p.subnet.Name.Text)
		}
		id := put.ID.Child("subnets", name)
		r := &arm.Resource{
			ID: id.String(), UID: uuid.NewString(), Body: arm.Doc{"properties": in.Get("properties")}, Private: arm.Doc{},
			Created: put.Now, CreatedBy: put.Resource.CreatedBy, Modified: put.Now, ModifiedBy: put.Resource.ModifiedBy, ETag: uuid.NewString(),
		}
		r.Body.Delete("properties.provisioningState")
		old := keep[strings.ToLower(name)]
		delete(keep, strings.ToLower(name))
		var was arm.Doc
		if old != nil {
			r.ID, r.UID, r.Created, r.CreatedBy, was = old.ID, old.UID, old.Created, old.CreatedBy, old.Body
		}
		if err := p.subnet.CheckUnimplemented(r.Body, was); err != nil {
			return err
		}
		if err := p.completeSubnet(put.Tx, put.Resource, r, old, want); err != nil {
			return err
		}
		want = append(want, r)
	}
	for _, r := range keep {
		after, err := p.kernel.DeleteInTx(ctx, put.Tx, put.Request, r)
		if err != nil {
			return err
		}
		put.After(after)
	}
	for _, r := range want {
		if err := p.kernel.Resources().Put(put.Tx, r); err != nil {
			return err
		}
	}
	return nil
}

func (p *provider) readNetwork(ctx context.Context, tx store.Tx, r *arm.Resource) error {
	subnets := []any{}
	for c, err := range p.kernel.Resources().Children(tx, r.ParsedID(), SubnetType) {
		if err != nil {
			return err
		}
		doc, err := p.kernel.Render(ctx, tx, c)
		if err != nil {
			return err
		}
		subnets = append(subnets, map[string]any(doc))
	}
	r.Body.Set("properties.subnets", subnets)
	return nil
}
