package containerregistry

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// ReplicationType is the type of the regions that a registry is in.
const ReplicationType = RegistryType + "/replications"

// replication is another region of a registry. All regions are on this machine and
// have the same content at once: a client cannot tell which one answers it, in Azure
// either. So regionEndpointEnabled, which routes requests, changes nothing. What stands in the region of the registry itself is there without a PUT.
func (p *provider) replication() *arm.ResourceType {
	return &arm.ResourceType{
		Type: ReplicationType, Tracked: true,
		Name: arm.NameRule{Pattern: regexp.MustCompile(`^[a-zA-Z0-9]{5,50}$`), Text: "A replication has 5 to 50 letters and digits."},
		Unimplemented: map[string]string{
			"properties.zoneRedundancy=Enabled": "spreads over zones",
		},
		Validate: func(_ context.Context, put *arm.Put) error {
			if !strings.EqualFold(put.Parent.Body.String("sku.name"), "Premium") {
				// Azure's words are not known
				return arm.BadRequest("GeoReplicationNotSupported", "The registry '%s' of SKU '%s' does not support geo-replication; Premium does.", put.Parent.Name(), put.Parent.Body.String("sku.name"))
			}
			location, home := arm.NormalizeLocation(put.Resource.Body.String("location")), arm.NormalizeLocation(put.Parent.Body.String("location"))
			if location == home {
				return arm.Errorf(http.StatusConflict, "ReplicationAlreadyExists", "The registry '%s' is in '%s' already.", put.Parent.Name(), location)
			}
			for other, err := range p.kernel.Resources().Children(put.Tx, put.Parent.ParsedID(), ReplicationType) {
				if err != nil {
					return err
				}
				if !strings.EqualFold(other.Name(), put.ID.Name()) && arm.NormalizeLocation(other.Body.String("location")) == location {
					return arm.Errorf(http.StatusConflict, "ReplicationAlreadyExists", "The registry '%s' is in '%s' already.", put.Parent.Name(), location)
				}
			}
			return nil
		},
		Put: func(_ context.Context, put *arm.Put) error {
			body := put.Resource.Body
			body["location"] = arm.NormalizeLocation(body.String("location"))
			body.Default("properties.regionEndpointEnabled", true)
			body.Default("properties.zoneRedundancy", "Disabled")
			body.Set("properties.status", map[string]any{"displayStatus": "Ready", "timestamp": arm.Timestamp(put.Now)})
			put.Force("properties.status")
			return nil
		},
		Default: func(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			r, err := p.kernel.Load(ctx, tx, id.Parent())
			if err != nil {
				return nil, err
			}
			if h := homeReplication(r); h != nil && strings.EqualFold(h.Name(), id.Name()) {
				return h, nil
			}
			return nil, nil
		},
		List: func(ctx context.Context, _ *arm.Request, parent arm.ID) (*arm.Page, error) {
			page := &arm.Page{}
			err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
				page.Value = nil
				r, err := p.kernel.Load(ctx, tx, parent)
				if err != nil {
					return err
				}
				add := func(r *arm.Resource) error {
					doc, err := p.kernel.Render(ctx, tx, r)
					page.Value = append(page.Value, doc)
					return err
				}
				if h := homeReplication(r); h != nil {
					if err := add(h); err != nil {
						return err
					}
				}
				for c, err := range p.kernel.Resources().Children(tx, parent, ReplicationType) {
					if err != nil {
						return err
					}
					if err := add(c); err != nil {
						return err
					}
				}
				return nil
			})
			return page, err
		},
	}
}

// homeReplication is the region of the registry itself, which Azure lists for
// Premium registries; nil for others.
func homeReplication(r *arm.Resource) *arm.Resource {
	if !strings.EqualFold(r.Body.String("sku.name"), "Premium") {
		return nil
	}
	location := arm.NormalizeLocation(r.Body.String("location"))
	return &arm.Resource{ID: r.ID + "/replications/" + location, Private: arm.Doc{}, Body: arm.Doc{"location": location, "properties": map[string]any{
		"regionEndpointEnabled": true, "zoneRedundancy": "Disabled",
		"status": map[string]any{"displayStatus": "Ready", "timestamp": arm.Timestamp(r.Created)},
	}}}
}

// checkReplications refuses to take a registry with other regions from Premium.
func (p *provider) checkReplications(put *arm.Put) error {
	if put.Creating() || strings.EqualFold(put.Resource.Body.String("sku.name"), "Premium") {
		return nil
	}
	for other, err := range p.kernel.Resources().Children(put.Tx, put.ID, ReplicationType) {
		if err != nil {
			return err
		}
		// Azure's words are not known
		return arm.Errorf(http.StatusConflict, "GeoReplicationNotSupported", "The registry '%s' is replicated to '%s', which Premium alone can be.", put.ID.Name(), other.Name())
	}
	return nil
}
