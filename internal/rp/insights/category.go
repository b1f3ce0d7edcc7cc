package insights

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

//go:embed categories.txt
var categoriesText string

// What Azimuth does about a category.
const (
	stateSent    = "sent"
	stateNever   = "never"
	stateMissing = "missing"
)

// category is one kind of logs or metrics that resources of a type can send.
type category struct {
	name, kind string
	groups     []string
	state      string
}

// readCategories reads the categories by lower-cased type.
func readCategories(text string) (map[string][]category, error) {
	out := map[string][]category{}
	for n, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 5 || f[2] != "Logs" && f[2] != "Metrics" || !slices.Contains([]string{stateSent, stateNever, stateMissing}, f[4]) {
			return nil, fmt.Errorf("categories.txt:%d: %q is no category", n+1, line)
		}
		c := category{name: f[1], kind: f[2], state: f[4]}
		if f[3] != "-" {
			c.groups = strings.Split(f[3], ",")
		}
		key := strings.ToLower(f[0])
		out[key] = append(out[key], c)
	}
	return out, nil
}

// categoriesOf returns what a resource can send, or Azure's refusal for a type
// that has none.
func (p *provider) categoriesOf(resource arm.ID) ([]category, error) {
	all, err := p.categories()
	if err != nil {
		return nil, err
	}
	list := all[strings.ToLower(resource.Type())]
	if len(list) == 0 {
		return nil, arm.BadRequest("ResourceTypeNotSupported", "The resource type '%s' does not support diagnostic settings.", strings.ToLower(resource.Type()))
	}
	return list, nil
}

const categoryType = namespace + "/diagnosticSettingsCategories"

// diagnosticCategory tells what a resource can send.
func (p *provider) diagnosticCategory() *arm.ResourceType {
	doc := func(c category) arm.Doc {
		props := map[string]any{"categoryType": c.kind}
		if len(c.groups) > 0 {
			props["categoryGroups"] = c.groups
		}
		return arm.Doc{"properties": props}
	}
	return &arm.ResourceType{
		Type: categoryType, Scope: arm.OnAnything, Virtual: true, NoProvisioningState: true,
		Methods: []string{http.MethodGet},
		Default: func(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			list, err := p.seenCategories(ctx, tx, id.Parent())
			if err != nil {
				return nil, err
			}
			for _, c := range list {
				if strings.EqualFold(c.name, id.Name()) {
					return &arm.Resource{ID: id.Parent().Child(categoryType, c.name).String(), Body: doc(c), Private: arm.Doc{}}, nil
				}
			}
			return nil, nil
		},
		List: func(ctx context.Context, req *arm.Request, resource arm.ID) (*arm.Page, error) {
			page := &arm.Page{}
			err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
				list, err := p.seenCategories(ctx, tx, resource)
				if err != nil {
					return err
				}
				for _, c := range list {
					r := &arm.Resource{ID: resource.Child(categoryType, c.name).String(), Body: doc(c), Private: arm.Doc{}}
					d, err := p.kernel.Render(ctx, tx, r)
					if err != nil {
						return err
					}
					page.Value = append(page.Value, d)
				}
				return nil
			})
			return page, err
		},
	}
}

// seenCategories is categoriesOf for a resource that must be there.
func (p *provider) seenCategories(ctx context.Context, tx store.Tx, resource arm.ID) ([]category, error) {
	if len(resource.Providers) > 0 {
		if _, err := p.kernel.Load(ctx, tx, resource); err != nil {
			return nil, err
		}
	}
	return p.categoriesOf(resource)
}
