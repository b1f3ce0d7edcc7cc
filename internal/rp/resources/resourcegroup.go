package resources

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func resourceGroup() *arm.ResourceType {
	return &arm.ResourceType{
		Type:         arm.TypeResourceGroup,
		DeleteStatus: http.StatusAccepted,
		// Azure takes longer the more the group holds; the type's own part is
		// seconds. This figure is a choice: none is documented.
		Latency: arm.Latency{Delete: 15 * time.Second},
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[\p{L}\p{N}_\-().]{0,89}[\p{L}\p{N}_\-()]$`),
			Text:    "A resource group name has 1 to 90 letters, digits, '-', '_', '.', '(' and ')', and does not end with '.'.",
		},
		Validate: validateGroup,
		List:     listGroups,
	}
}

func validateGroup(_ context.Context, p *arm.Put) error {
	loc := p.Resource.Body.String("location")
	if p.Existing != nil {
		was := p.Existing.Body.String("location")
		if loc != "" && arm.NormalizeLocation(loc) != arm.NormalizeLocation(was) {
			return arm.Errorf(http.StatusConflict, "InvalidResourceGroupLocation",
				"Invalid resource group location '%s'. The Resource group already exists in location '%s'.", loc, was)
		}
		p.Resource.Body["location"] = was
		if by := p.Existing.Body.String("managedBy"); by != "" {
			if now := p.Resource.Body.String("managedBy"); now != "" && !strings.EqualFold(by, now) {
				// Azure does not allow it to change; its exact words are not known
				return arm.Errorf(http.StatusConflict, "ResourceGroupManagedByMismatch",
					"The resource group '%s' is managed by '%s', which cannot be changed.", p.ID.Name(), by)
			}
			p.Resource.Body.Default("managedBy", by)
		}
		return nil
	}
	switch {
	case loc == "":
		return arm.BadRequest("LocationRequired", "The location property is required for this definition.")
	case !slices.Contains(arm.Locations(), arm.NormalizeLocation(loc)):
		return arm.BadRequest("LocationNotAvailableForResourceGroup",
			"The provided location '%s' is not available for resource group. List of available regions is '%s'.",
			loc, strings.Join(arm.Locations(), ","))
	}
	p.Resource.Body["location"] = arm.NormalizeLocation(loc)
	return nil
}

// listGroups lists the groups of a subscription. It reads all of them up to the
// page it answers, because a filter may skip any; there are few.
func listGroups(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
	filter, err := arm.ParseFilter(req.Query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	err = req.Kernel.Store().View(ctx, func(tx store.Tx) error {
		last := ""
		for r, err := range req.Kernel.Resources().Children(tx, parent, arm.TypeResourceGroup) {
			if err != nil {
				return err
			}
			if after != "" && arm.Key(r.ID) <= after {
				continue
			}
			if ok, err := req.Sees(tx, r); err != nil {
				return err
			} else if !ok {
				continue
			}
			doc, err := req.Kernel.Render(ctx, tx, r)
			if err != nil {
				return err
			}
			if !filter.Match(r, doc) {
				continue
			}
			if len(page.Value) == size {
				page.Next = arm.EncodeToken(last)
				return nil
			}
			page.Value = append(page.Value, doc)
			last = arm.Key(r.ID)
		}
		return nil
	})
	return page, err
}
