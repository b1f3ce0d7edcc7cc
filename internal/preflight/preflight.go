// Package preflight knows what Azure would refuse, or let through and then
// fail, although Azimuth and `terraform plan` take it. Rules look at stored
// resources: `azimuth up` reports what they find, and --strict turns a refusal
// at create into the very failure.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Severity says when a finding bites.
type Severity string

const (
	// Refused: Azure refuses to create the resource. --strict does, too.
	Refused Severity = "refused"
	// Fails: Azure creates the resource and something fails later.
	Fails Severity = "fails later"
	// Warning: it works today and costs money, or stops working.
	Warning Severity = "warning"
)

// Finding is one thing that Azure minds about one resource.
type Finding struct {
	// Rule is the name of the rule, stable: "hns-default-storage".
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// ResourceID is the resource, in its own casing.
	ResourceID string `json:"resourceId"`
	// Argument is the Terraform argument that says it, where there is one.
	Argument string `json:"argument,omitempty"`
	// Code and Message are Azure's own error. Unverified is set when Azure's
	// exact text is not known; Message then says what is.
	Code       string `json:"code,omitempty"`
	Message    string `json:"message"`
	Unverified bool   `json:"unverified,omitempty"`
	// Fix says what to do.
	Fix string `json:"fix"`
	// Source says where the fact comes from.
	Source string `json:"source"`
}

// Error is the finding as ARM would answer it.
func (f *Finding) Error() *arm.Error {
	return arm.Errorf(http.StatusBadRequest, f.Code, "%s", f.Message)
}

// View is what a rule may look at.
type View struct {
	tx    store.Tx
	res   *arm.Resources
	sizes *catalog.Catalog
	roles Roles
	// Now is the time on the injected clock.
	Now time.Time
	// overlay is a resource about to be written, seen as if it were.
	overlay *arm.Resource
}

// Roles tells what a principal may do.
type Roles interface {
	// AllowedInTx decides as rbac does, in the given transaction.
	AllowedInTx(tx store.Tx, principalID, action string, data bool, scope string) (bool, error)
}

// Get returns the resource with the given ID, or nil.
func (v *View) Get(id string) (*arm.Resource, error) {
	if id == "" {
		return nil, nil
	}
	if v.overlay != nil && strings.EqualFold(v.overlay.ID, id) {
		return v.overlay, nil
	}
	r, err := v.res.Get(v.tx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return r, err
}

// Rule looks at resources of one type.
type Rule struct {
	// Name is stable and kebab-case; Type the ARM type it looks at.
	Name, Type string
	// Check returns what Azure minds about r, or nil.
	Check func(v *View, r *arm.Resource) (*Finding, error)
}

// Checker runs rules.
type Checker struct {
	store store.Store
	res   *arm.Resources
	sizes *catalog.Catalog
	roles Roles
	now   func() time.Time
	rules []Rule
}

// New returns a Checker over stored resources with every rule there is.
func New(st store.Store, res *arm.Resources, sizes *catalog.Catalog, roles Roles, now func() time.Time) *Checker {
	return &Checker{store: st, res: res, sizes: sizes, roles: roles, now: now, rules: Rules()}
}

func (c *Checker) view(tx store.Tx) *View {
	return &View{tx: tx, res: c.res, sizes: c.sizes, roles: c.roles, Now: c.now()}
}

func (c *Checker) run(v *View, r *arm.Resource, out []Finding) ([]Finding, error) {
	typ := r.ParsedID().Type()
	for _, rule := range c.rules {
		if !strings.EqualFold(rule.Type, typ) {
			continue
		}
		f, err := rule.Check(v, r)
		if err != nil {
			return nil, fmt.Errorf("rule %s on %s: %w", rule.Name, r.ID, err)
		}
		if f != nil {
			f.Rule, f.ResourceID = rule.Name, r.ID
			out = append(out, *f)
		}
	}
	return out, nil
}

// Scan runs every rule over the resources of a subscription, or of one resource
// group when scope is one. Refusals come first.
func (c *Checker) Scan(ctx context.Context, scope arm.ID) ([]Finding, error) {
	var out []Finding
	err := c.store.View(ctx, func(tx store.Tx) error {
		v := c.view(tx)
		types := map[string]bool{}
		for _, rule := range c.rules {
			types[rule.Type] = true
		}
		each := func(r *arm.Resource) (err error) {
			out, err = c.run(v, r, out)
			return err
		}
		for typ := range types {
			parent, child := childOf(typ)
			for r, err := range c.res.OfType(tx, scope.Subscription, parent) {
				if err != nil {
					return err
				}
				id := r.ParsedID()
				if scope.ResourceGroup != "" && !strings.EqualFold(id.ResourceGroup, scope.ResourceGroup) {
					continue
				}
				if child == "" {
					if err := each(r); err != nil {
						return err
					}
					continue
				}
				for r, err := range c.res.Children(tx, id, typ) {
					if err != nil {
						return err
					}
					if err := each(r); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	rank := map[Severity]int{Refused: 0, Fails: 1, Warning: 2}
	slices.SortFunc(out, func(a, b Finding) int {
		if d := rank[a.Severity] - rank[b.Severity]; d != 0 {
			return d
		}
		if d := strings.Compare(a.Rule, b.Rule); d != 0 {
			return d
		}
		return strings.Compare(a.ResourceID, b.ResourceID)
	})
	return out, err
}

// childOf splits the type of a child into its parent's type and its own last
// segment; child is "" for a top-level type.
func childOf(typ string) (parent, child string) {
	if strings.Count(typ, "/") < 2 {
		return typ, ""
	}
	i := strings.LastIndexByte(typ, '/')
	return typ[:i], typ[i+1:]
}

// Refuse is arm.Config.Check for --strict: the first refusal of what is about
// to be written, as the error that Azure gives.
func (c *Checker) Refuse(_ context.Context, p *arm.Put) error {
	v := c.view(p.Tx)
	v.overlay = p.Resource
	found, err := c.run(v, p.Resource, nil)
	if err != nil {
		return err
	}
	for i := range found {
		if found[i].Severity == Refused {
			return found[i].Error()
		}
	}
	return nil
}
