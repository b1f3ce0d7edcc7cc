package network

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const zoneGroupType = EndpointType + "/privateDnsZoneGroups"

// recordTTL is what Azure gives the records of endpoints, in seconds.
const recordTTL = 10

// zoneGroupType ties an endpoint to private zones, in which its names have their
// records.
func (p *provider) zoneGroupType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: zoneGroupType, ETag: true, Latency: arm.Latency{Create: 10 * time.Second, Update: 10 * time.Second, Delete: 10 * time.Second},
		Name: networkName("private DNS zone group"),
		Put:  p.putZoneGroup,
		Delete: func(_ context.Context, d *arm.Delete) error {
			endpoint, err := p.kernel.Resources().Get(d.Tx, d.Resource.ParsedID().Parent().Key())
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			return p.removeRecords(d.Tx, endpoint, d.Resource)
		},
	}
}

func zoneConfigs(group *arm.Resource) []arm.Doc {
	var out []arm.Doc
	for _, v := range group.Body.List("properties.privateDnsZoneConfigs") {
		m, _ := v.(map[string]any)
		out = append(out, m)
	}
	return out
}

func (p *provider) putZoneGroup(ctx context.Context, put *arm.Put) error {
	for r, err := range p.kernel.Resources().Children(put.Tx, put.ID.Parent(), zoneGroupType) {
		if err != nil {
			return err
		}
		if arm.Key(r.ID) != put.ID.Key() {
			// that there is one is documented, the words are not known
			return badEndpoint("private endpoint %s has the DNS zone group '%s', and has one at most.", put.Parent.ID, r.Name())
		}
	}
	seen := map[string]bool{}
	for _, c := range zoneConfigs(put.Resource) {
		id, name := c.String("properties.privateDnsZoneId"), c.String("name")
		if name == "" || seen[strings.ToLower(name)] {
			return badEndpoint("the configurations of DNS zone group %s have names of their own.", put.ID)
		}
		seen[strings.ToLower(name)] = true
		zone, err := p.referTo(ctx, put, put.Resource.ID, id, "", reference{typ: ZoneType, anywhere: true})
		if err != nil {
			return err
		}
		if err := put.AllowedLinked(ctx, ZoneType+"/join/action", zone.ParsedID()); err != nil {
			return err
		}
		c.Set("id", put.Resource.ID+"/privateDnsZoneConfigs/"+name)
		c.Set("type", zoneGroupType+"/privateDnsZoneConfigs")
	}
	if put.Existing != nil {
		if err := p.removeRecords(put.Tx, put.Parent, put.Existing); err != nil {
			return err
		}
	}
	return p.makeRecords(put.Tx, put.Parent, put.Resource)
}

// syncEndpoint makes the records of an endpoint whose connection has changed.
func (p *provider) syncEndpoint(_ context.Context, tx store.Tx, id string) error {
	endpoint, err := p.kernel.Resources().Get(tx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var groups []*arm.Resource
	for g, err := range p.kernel.Resources().Children(tx, endpoint.ParsedID(), zoneGroupType) {
		if err != nil {
			return err
		}
		groups = append(groups, g)
	}
	for _, g := range groups {
		if err := p.makeRecords(tx, endpoint, g); err != nil {
			return err
		}
		g.ETag = uuid.NewString()
		if err := p.kernel.Resources().Put(tx, g); err != nil {
			return err
		}
	}
	return p.touch(tx, endpoint.ID)
}

// creator is what Azure writes into the metadata of the records of an endpoint.
func creator(endpoint *arm.Resource) string {
	return "created by private endpoint " + endpoint.Name() + " with resource guid " + endpoint.Body.String("properties.resourceGuid")
}

// makeRecords writes the records of an endpoint into the zones of its group, and
// says in the group what it wrote. An endpoint that waits for approval has none.
// Whether Azure takes the records of a rejected one away is not known; they stay.
func (p *provider) makeRecords(tx store.Tx, endpoint, group *arm.Resource) error {
	state, err := p.connectionState(tx, endpoint)
	if err != nil {
		return err
	}
	var names []endpointName
	if state["status"] == "Approved" {
		if names, err = p.endpointNames(tx, endpoint); err != nil {
			return err
		}
	} else if state["status"] != "Pending" {
		return nil
	}
	for _, c := range zoneConfigs(group) {
		zone, err := p.kernel.Resources().Get(tx, c.String("properties.privateDnsZoneId"))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		sets := []any{}
		for _, n := range names {
			if !strings.EqualFold(n.zone, zone.Name()) {
				continue
			}
			if err := p.putRecord(tx, zone, endpoint, n); err != nil {
				return err
			}
			sets = append(sets, map[string]any{
				"recordType": "A", "recordSetName": n.record, "fqdn": n.record + "." + zone.Name(), "ttl": float64(recordTTL),
				"ipAddresses": []any{n.address.String()}, "provisioningState": "Succeeded",
			})
		}
		c.Set("properties.recordSets", sets)
	}
	return nil
}

// putRecord writes one record, over whatever was there.
func (p *provider) putRecord(tx store.Tx, zone, endpoint *arm.Resource, n endpointName) error {
	id := zone.ParsedID().Child("A", n.record)
	r, err := p.kernel.Resources().Get(tx, id.Key())
	switch {
	case errors.Is(err, store.ErrNotFound):
		r = &arm.Resource{
			ID: id.String(), UID: uuid.NewString(), Private: arm.Doc{},
			Created: endpoint.Modified, CreatedBy: endpoint.ModifiedBy,
		}
		if err := p.count(tx, zone.ParsedID(), countRecordSets, 1, maxRecordSets); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	r.ETag, r.Modified, r.ModifiedBy = uuid.NewString(), endpoint.Modified, endpoint.ModifiedBy
	r.Body = arm.Doc{"properties": map[string]any{
		"ttl": float64(recordTTL), "fqdn": n.record + "." + zone.Name() + ".", "isAutoRegistered": false,
		"aRecords": []any{map[string]any{"ipv4Address": n.address.String()}},
		"metadata": map[string]any{"creator": creator(endpoint)},
	}}
	return p.kernel.Resources().Put(tx, r)
}

// removeRecords takes the records away that a group says it wrote, unless they
// have become another's.
func (p *provider) removeRecords(tx store.Tx, endpoint, group *arm.Resource) error {
	for _, c := range zoneConfigs(group) {
		zone, err := arm.ParseID(c.String("properties.privateDnsZoneId"))
		if err != nil {
			continue // it was checked when it was written
		}
		for _, v := range c.List("properties.recordSets") {
			m, _ := v.(map[string]any)
			id := zone.Child("A", arm.Doc(m).String("recordSetName"))
			r, err := p.kernel.Resources().Get(tx, id.Key())
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if r.Body.String("properties.metadata.creator") != creator(endpoint) {
				continue
			}
			if err := p.kernel.Resources().Remove(tx, r.ID); err != nil {
				return err
			}
			if err := p.count(tx, zone, countRecordSets, -1, 0); err != nil {
				return err
			}
		}
	}
	return nil
}
