package network

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"regexp"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// PublicIPType is the type of public addresses.
const PublicIPType = namespace + "/publicIPAddresses"

func addressEntry(address string) string { return "address|" + address }
func labelEntry(fqdn string) string      { return "label|" + strings.ToLower(fqdn) }

func (p *provider) publicIPType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: PublicIPType, Tracked: true, ETag: true, Latency: latency(3),
		Name: networkName("public IP address"),
		Unimplemented: map[string]string{
			"properties.ddosSettings.protectionMode=Enabled": "protects the address",
			"properties.ddosSettings.ddosProtectionPlan":     "protects the address",
			"properties.publicIPPrefix":                      "takes the address from a prefix",
			"properties.ipTags":                              "takes the address from a special range",
			"properties.dnsSettings.reverseFqdn":             "answers reverse look-ups",
			"properties.dnsSettings.domainNameLabelScope":    "hashes the label",
			"sku.tier=Global":                                "serves from several regions",
			"extendedLocation":                               "places the address at an edge site",
		},
		Index: func(r *arm.Resource) []string {
			var out []string
			if a := r.Body.String("properties.ipAddress"); a != "" {
				out = append(out, addressEntry(a))
			}
			if n := r.Body.String("properties.dnsSettings.fqdn"); n != "" {
				out = append(out, labelEntry(n))
			}
			return out
		},
		Put: p.putPublicIP,
		Read: func(_ context.Context, tx store.Tx, r *arm.Resource) error {
			users, err := p.usersOf(tx, NATGatewayType, r.ID)
			if err == nil && len(users) > 0 {
				r.Body.Set("properties.natGateway", map[string]any{"id": users[0]})
			}
			return err
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			users, err := p.usersOf(d.Tx, NATGatewayType, d.Resource.ID)
			if err != nil {
				return err
			}
			if users = staying(d, users); len(users) > 0 {
				return arm.BadRequest("PublicIPAddressCannotBeDeleted",
					"Public IP address %s can not be deleted since it is still allocated to resource %s. In order to delete the public IP, disassociate/detach the Public IP address from the resource.  To learn how to do this, see aka.ms/deletepublicip.",
					d.Resource.ID, users[0])
			}
			return nil
		},
	}
}

var domainLabel = regexp.MustCompile(`^[a-z][a-z0-9-]{1,61}[a-z0-9]$`)

func (p *provider) putPublicIP(_ context.Context, put *arm.Put) error {
	body := put.Resource.Body
	body.Delete("properties.natGateway")
	body.Delete("properties.ipConfiguration")
	put.Keep("sku", "properties.publicIPAllocationMethod", "properties.publicIPAddressVersion", "properties.idleTimeoutInMinutes")
	for path, v := range map[string]any{
		// the defaults of the REST API
		"sku.name": "Basic", "sku.tier": "Regional", "properties.publicIPAllocationMethod": "Dynamic", "properties.publicIPAddressVersion": "IPv4",
		"properties.idleTimeoutInMinutes": float64(4), "properties.ipTags": []any{},
	} {
		body.Default(path, v)
	}
	for path, values := range map[string][]string{
		"sku.name": {"Basic", "Standard", "StandardV2"}, "sku.tier": {"Regional", "Global"},
		"properties.publicIPAllocationMethod": {"Static", "Dynamic"}, "properties.publicIPAddressVersion": {"IPv4", "IPv6"},
	} {
		if err := oneOf(body, path, values...); err != nil {
			return err
		}
	}
	if err := put.Immutable("sku.name", "properties.publicIPAddressVersion"); err != nil {
		return err
	}
	if n := body.Int("properties.idleTimeoutInMinutes", 4); n < 4 || n > 30 {
		// Azure's words are not known
		return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: idleTimeoutInMinutes is %d, and may be 4 to 30.", n)
	}
	static := body.String("properties.publicIPAllocationMethod") == "Static"
	if !static && body.String("sku.name") != "Basic" {
		return arm.BadRequest("StandardSkuPublicIPAddressesCannotHaveDynamicAllocation",
			"Standard sku publicIp %s must have Static allocation method.", put.ID)
	}
	resourceGUID(put)
	if err := p.nameAddress(put); err != nil {
		return err
	}
	put.Force("properties.ipAddress")
	if put.Existing == nil || !put.Existing.Body.Has("properties.ipAddress") {
		body.Delete("properties.ipAddress")
	}
	if !static || body.Has("properties.ipAddress") {
		return nil // a dynamic address comes with what uses it
	}
	address, err := p.nextAddress(put.Tx, body.String("properties.publicIPAddressVersion") == "IPv6")
	if err != nil {
		return err
	}
	body.Set("properties.ipAddress", address)
	return nil
}

// nameAddress makes the host name of an address with a label.
func (p *provider) nameAddress(put *arm.Put) error {
	body := put.Resource.Body
	label := body.String("properties.dnsSettings.domainNameLabel")
	body.Delete("properties.dnsSettings.fqdn")
	if label == "" {
		body.Delete("properties.dnsSettings")
		return nil
	}
	if !domainLabel.MatchString(label) {
		// the pattern is that of the documentation, the words are not known
		return arm.BadRequest("InvalidDomainNameLabel", "The domain name label %s is invalid. It must conform to the following regular expression: %s.", label, domainLabel)
	}
	fqdn := label + "." + arm.NormalizeLocation(body.String("location")) + ".cloudapp.azure.com"
	for r, err := range p.kernel.Resources().Find(put.Tx, PublicIPType, labelEntry(fqdn)) {
		if err != nil {
			return err
		}
		if arm.Key(r.ID) != put.ID.Key() {
			return arm.BadRequest("DnsRecordInUse", "DNS record %s is already used by another public IP.", fqdn)
		}
	}
	body.Set("properties.dnsSettings.fqdn", fqdn)
	return nil
}

const addressBucket = "network.publicAddress"

// nextAddress hands out an address that nobody on the Internet has: of
// 203.0.113.0/24 (documentation, RFC 5737), then of 198.18.0.0/15 (benchmarks,
// RFC 2544); of 2001:db8::/32 (documentation, RFC 3849) for IPv6. Each is
// given out once before any is given out again.
func (p *provider) nextAddress(tx store.Tx, v6 bool) (string, error) {
	pools, key := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.18.0.0/15")}, "v4"
	if v6 {
		pools, key = []netip.Prefix{netip.MustParsePrefix("2001:db8::/112")}, "v6"
	}
	size := 0
	for _, pool := range pools {
		size += 1<<(pool.Addr().BitLen()-pool.Bits()) - 2
	}
	at := 0
	b, err := tx.Get(addressBucket, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	if len(b) == 4 {
		at = int(binary.BigEndian.Uint32(b))
	}
	for range size {
		address := nthAddress(pools, at)
		at = (at + 1) % size
		taken := false
		for _, err := range p.kernel.Resources().Find(tx, PublicIPType, addressEntry(address)) {
			if err != nil {
				return "", err
			}
			taken = true
			break
		}
		if !taken {
			return address, tx.Put(addressBucket, key, binary.BigEndian.AppendUint32(nil, uint32(at)))
		}
	}
	return "", arm.BadRequest("PublicIPCountLimitReached", "Cannot create more than %d public IP addresses.", size)
}

// nthAddress is the n-th host address of the pools.
func nthAddress(pools []netip.Prefix, n int) string {
	for _, pool := range pools {
		size := 1<<(pool.Addr().BitLen()-pool.Bits()) - 2
		if n >= size {
			n -= size
			continue
		}
		return hostAddress(pool, n+1).String()
	}
	return ""
}

// hostAddress is the n-th address of a prefix, from its first.
func hostAddress(prefix netip.Prefix, n int) netip.Addr {
	b := prefix.Masked().Addr().AsSlice()
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	a, _ := netip.AddrFromSlice(b) // the slice is of an address
	return a
}
