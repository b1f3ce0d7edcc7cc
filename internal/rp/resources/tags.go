package resources

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// tagsType is the tags of anything as a resource of its own: they may be changed by
// who may not change what has them.
func (s *Service) tagsType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: namespace + "/tags", Scope: arm.OnAnything, Virtual: true, NoProvisioningState: true,
		PutStatus: [2]int{http.StatusOK, http.StatusOK},
		Name:      arm.NameRule{Pattern: regexp.MustCompile(`(?i)^default$`), Text: "Its name is 'default'."},
		Default: func(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			tags, err := s.tagsOf(ctx, tx, id.Parent())
			if err != nil || !strings.EqualFold(id.Name(), "default") {
				return nil, err
			}
			if tags == nil {
				tags = arm.Doc{}
			}
			return &arm.Resource{ID: id.String(), Body: arm.Doc{"properties": map[string]any{"tags": map[string]any(tags)}}}, nil
		},
		Patch: patchTags,
		Put: func(_ context.Context, p *arm.Put) error {
			tags := p.Resource.Body.Object("properties.tags")
			if tags == nil {
				tags = arm.Doc{}
			}
			p.Resource.Body = arm.Doc{"properties": map[string]any{"tags": map[string]any(tags)}}
			return s.setTags(p.Tx, p.Request, p.ID.Parent(), tags)
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			return s.setTags(d.Tx, d.Request, d.Resource.ParsedID().Parent(), arm.Doc{})
		},
	}
}

// patchTags merges tags into those there are, replaces them or deletes some.
func patchTags(doc, patch arm.Doc) error {
	tags, change := doc.Object("properties.tags").Clone(), patch.Object("properties.tags")
	if tags == nil {
		tags = arm.Doc{}
	}
	name := func(tag string) string { // tags are the same in any case
		for have := range tags {
			if strings.EqualFold(have, tag) {
				return have
			}
		}
		return tag
	}
	switch operation := patch.String("operation"); strings.ToLower(operation) {
	case "merge":
		for tag, v := range change {
			tags[name(tag)] = v
		}
	case "replace":
		tags = change.Clone()
	case "delete":
		for tag, v := range change {
			if have := name(tag); tags[have] == v {
				delete(tags, have)
			}
		}
	default:
		return arm.BadRequest("InvalidTagPatchOperation", "The tag patch operation '%s' is not one of 'Merge, Replace, Delete'.", operation)
	}
	doc.Set("properties.tags", map[string]any(tags))
	return nil
}

// tagsOf are the tags at a scope.
func (s *Service) tagsOf(ctx context.Context, tx store.Tx, scope arm.ID) (arm.Doc, error) {
	switch scope.Type() {
	case arm.TypeTenant:
		return nil, arm.NotImplemented("tags of the tenant")
	case arm.TypeSubscription:
		return s.kernel.SubscriptionTags(tx)
	}
	r, err := s.kernel.Load(ctx, tx, scope)
	if err != nil {
		return nil, err
	}
	return r.Body.Object("tags"), nil
}

func (s *Service) setTags(tx store.Tx, req *arm.Request, scope arm.ID, tags arm.Doc) error {
	if err := arm.CheckTags(map[string]any(tags)); err != nil {
		return err
	}
	switch typ := scope.Type(); typ {
	case arm.TypeTenant:
		return arm.NotImplemented("tags of the tenant")
	case arm.TypeSubscription:
		return s.kernel.SetSubscriptionTags(tx, tags)
	case arm.TypeResourceGroup:
	default:
		if t := s.kernel.TypeOf(typ); t == nil || !t.Tracked {
			// that it is refused is documented, its code is not
			return arm.BadRequest("ResourceTypeDoesNotSupportTags", "The resource type '%s' does not support tags.", typ)
		}
	}
	return s.kernel.Resources().Update(tx, scope.Key(), func(r *arm.Resource) error {
		r.Body["tags"] = maps.Clone(map[string]any(tags))
		if len(tags) == 0 {
			delete(r.Body, "tags")
		}
		r.Modified, r.ETag = req.Now, newETag()
		return nil
	})
}
