package network

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"regexp"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The types of private DNS.
const (
	ZoneType     = namespace + "/privateDnsZones"
	zoneLinkType = ZoneType + "/virtualNetworkLinks"
)

// Azure's limits of a zone, which it also shows:
// https://learn.microsoft.com/azure/azure-resource-manager/management/azure-subscription-service-limits#azure-dns-limits
const (
	maxRecordSets        = 25000
	maxLinks             = 1000
	maxRegistrationLinks = 100
)

// The counts that a zone's document has.
const (
	countRecordSets    = "properties.numberOfRecordSets"
	countLinks         = "properties.numberOfVirtualNetworkLinks"
	countRegistrations = "properties.numberOfVirtualNetworkLinksWithRegistration"
)

var zoneName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)+$`)

func (p *provider) zoneType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: ZoneType, Tracked: true, Global: true, ETag: true, Latency: latency(10),
		Name: arm.NameRule{
			Pattern: zoneName,
			// the rule is that of the documentation; Azure's words are not known
			Text: "The name of a private DNS zone has 2 to 34 labels of 1 to 63 letters, digits, '_' and '-'.",
		},
		Index: func(r *arm.Resource) []string { return []string{zoneEntry(r.Name())} },
		Put:   p.putZone,
	}
}

func zoneEntry(name string) string { return "zone|" + strings.ToLower(name) }

func (p *provider) putZone(_ context.Context, put *arm.Put) error {
	body := put.Resource.Body
	if name := put.ID.Name(); strings.Count(name, ".") > 33 || len(name) > 253 {
		return arm.BadRequest("InvalidResourceName", "The resource name '%s' of type '%s' is invalid. %s", name, ZoneType, p.zoneType().Name.Text)
	}
	body.Delete("properties")
	body.Set("properties.maxNumberOfRecordSets", float64(maxRecordSets))
	body.Set("properties.maxNumberOfVirtualNetworkLinks", float64(maxLinks))
	body.Set("properties.maxNumberOfVirtualNetworkLinksWithRegistration", float64(maxRegistrationLinks))
	for path, n := range map[string]float64{countRecordSets: 1, countLinks: 0, countRegistrations: 0} {
		body.Set(path, n)
	}
	put.Force(countRecordSets, countLinks, countRegistrations)
	if !put.Creating() {
		return nil
	}
	soa := &arm.Resource{
		ID: put.ID.Child("SOA", "@").String(), UID: put.Resource.UID, ETag: put.Resource.ETag, Private: arm.Doc{},
		Created: put.Now, CreatedBy: put.Resource.CreatedBy, Modified: put.Now, ModifiedBy: put.Resource.ModifiedBy,
		Body: arm.Doc{"properties": map[string]any{
			"ttl": float64(3600), "fqdn": put.ID.Name() + ".", "isAutoRegistered": false,
			"soaRecord": map[string]any{
				"email": "azureprivatedns-host.microsoft.com", "host": "azureprivatedns.net",
				"expireTime": float64(2419200), "minimumTtl": float64(10), "refreshTime": float64(3600), "retryTime": float64(300), "serialNumber": float64(1),
			},
		}},
	}
	return p.kernel.Resources().Put(put.Tx, soa)
}

// count changes a count of a zone, up to a limit, without a new etag.
func (p *provider) count(tx store.Tx, zone arm.ID, path string, by, limit int) error {
	err := p.kernel.Resources().Update(tx, zone.Key(), func(r *arm.Resource) error {
		n := r.Body.Int(path, 0) + by
		if by > 0 && n > limit {
			// Azure's words are not known
			return arm.BadRequest("LimitExceeded", "The private DNS zone '%s' has %d of at most %d already: %s.", r.Name(), limit, limit, strings.TrimPrefix(path, "properties."))
		}
		r.Body.Set(path, float64(max(n, 0)))
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil // the zone goes as well
	}
	return err
}

func (p *provider) zoneLinkType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: zoneLinkType, Tracked: true, Global: true, ETag: true, Latency: latency(15),
		Name:  networkName("virtual network link"),
		Index: uses("properties.virtualNetwork"),
		Put:   p.putZoneLink,
		Delete: func(_ context.Context, d *arm.Delete) error {
			zone := d.Resource.ParsedID().Parent()
			if d.Root.Key() == zone.Key() {
				return arm.Errorf(http.StatusConflict, "CannotDeleteResource",
					"Cannot delete resource while nested resources exist. Some existing nested resource IDs include: '%s/%s/virtualNetworkLinks/%s'. Please delete all nested resources before deleting this resource.",
					ZoneType, zone.Name(), d.Resource.Name())
			}
			if d.Resource.Body.Bool("properties.registrationEnabled", false) {
				if err := p.count(d.Tx, zone, countRegistrations, -1, 0); err != nil {
					return err
				}
			}
			return p.count(d.Tx, zone, countLinks, -1, 0)
		},
	}
}

// ZoneLinks yields the links of private DNS zones to a virtual network.
func ZoneLinks(tx store.Tx, res *arm.Resources, networkID string) iter.Seq2[*arm.Resource, error] {
	return res.Find(tx, zoneLinkType, useEntry(networkID))
}

func (p *provider) putZoneLink(ctx context.Context, put *arm.Put) error {
	body, zone := put.Resource.Body, put.ID.Parent()
	put.Keep("properties.virtualNetwork", "properties.registrationEnabled", "properties.resolutionPolicy")
	body.Default("properties.registrationEnabled", false)
	body.Default("properties.resolutionPolicy", "Default")
	if err := oneOf(body, "properties.resolutionPolicy", "Default", "NxDomainRedirect"); err != nil {
		return err
	}
	if err := put.Immutable("properties.virtualNetwork.id"); err != nil {
		return err
	}
	if !body.Has("properties.virtualNetwork.id") {
		return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: a virtual network link has a virtualNetwork with an id.")
	}
	ref := reference{path: "properties.virtualNetwork", typ: VirtualNetworkType, join: VirtualNetworkType + "/join/action", anywhere: true}
	network, err := p.refer(ctx, put, put.Resource, put.Existing, "", ref)
	if err != nil {
		return err
	}
	registers := body.Bool("properties.registrationEnabled", false)
	for r, err := range p.kernel.Resources().Find(put.Tx, zoneLinkType, useEntry(network.ID)) {
		if err != nil {
			return err
		}
		other := r.ParsedID().Parent()
		switch {
		case arm.Key(r.ID) == put.ID.Key():
		case strings.EqualFold(other.Name(), zone.Name()):
			return arm.BadRequest("BadRequest",
				"A virtual network cannot be linked to multiple zones with overlapping namespaces. You tried to link virtual network with '%s' and '%s' zones.", zone.Name(), other.Name())
		case registers && r.Body.Bool("properties.registrationEnabled", false):
			return arm.BadRequest("BadRequest",
				"A virtual network can only be linked to 1 Private DNS zone(s) with auto-registration enabled; conflicting Private DNS zone is '%s'.", other.Name())
		}
	}
	body.Set("properties.virtualNetworkLinkState", "Completed")
	registered := put.Existing != nil && put.Existing.Body.Bool("properties.registrationEnabled", false)
	if registers != registered {
		by := 1
		if registered {
			by = -1
		}
		if err := p.count(put.Tx, zone, countRegistrations, by, maxRegistrationLinks); err != nil {
			return err
		}
	}
	if put.Creating() {
		return p.count(put.Tx, zone, countLinks, 1, maxLinks)
	}
	return nil
}
