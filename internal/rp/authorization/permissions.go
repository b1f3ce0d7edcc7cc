package authorization

import (
	"context"
	"errors"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// permissions lists what the caller may do at a scope: the permissions of every
// role that it holds there or above.
func (p *provider) permissions(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	page := &arm.Page{}
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		if _, err := p.scopeExists(ctx, tx, req.ID); err != nil {
			return err
		}
		principals, err := p.Roles().Principals(tx, req.Caller.ObjectID)
		if err != nil {
			return err
		}
		for _, at := range req.ID.Lineage() {
			for _, principal := range principals {
				if err := p.permissionsOf(tx, principal, at, page); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return req.Kernel.PageResponse(req, page), nil
}

// permissionsOf adds the permissions of the roles that a principal is assigned
// directly at a scope.
func (p *provider) permissionsOf(tx store.Tx, principal string, at arm.ID, page *arm.Page) error {
	index := rbac.AssignmentIndex(principal, at.String())
	for r, err := range p.kernel.Resources().Find(tx, rbac.AssignmentType, index) {
		if err != nil {
			return err
		}
		d, err := p.Roles().Definition(tx, r.Body.String("properties.roleDefinitionId"))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, v := range document(d).List("properties.permissions") {
			one := v.(map[string]any)
			if c := r.Body.String("properties.condition"); c != "" {
				one["condition"], one["conditionVersion"] = c, abac.Version
			}
			page.Value = append(page.Value, one)
		}
	}
	return nil
}
