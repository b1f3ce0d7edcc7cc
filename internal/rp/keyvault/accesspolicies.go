package keyvault

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// policyAction is PUT …/accessPolicies/NAME: it changes the permissions of the
// principals that the body names and leaves the others.
func (p *provider) policyAction(name string, change func(have, given []any) []any) arm.Action {
	return arm.Action{
		Name: "accessPolicies/" + name, Method: http.MethodPut, Permission: VaultType + "/accessPolicies/write",
		Handle: func(ctx context.Context, req *arm.Request) (*arm.Response, error) {
			given := req.Body.List("properties.accessPolicies")
			if err := checkPolicies(given); err != nil {
				return nil, err
			}
			var out arm.Doc
			err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
				return p.kernel.Resources().Update(tx, req.ID.Key(), func(r *arm.Resource) error {
					list := r.Body.List("properties.accessPolicies")
					for _, v := range given {
						list = applyPolicy(list, arm.Doc(v.(map[string]any)), change)
					}
					if list == nil {
						list = []any{}
					}
					if len(list) > 1024 {
						return badRequest("A vault has at most 1024 access policies; this one would have %d.", len(list))
					}
					r.Body.Set("properties.accessPolicies", list)
					out = arm.Doc{
						"id": r.ID + "/accessPolicies/", "type": VaultType + "/accessPolicies", "location": r.Body["location"],
						"properties": map[string]any{"accessPolicies": list},
					}
					return nil
				})
			})
			return arm.OK(out), err
		},
	}
}

// applyPolicy changes the policy of given's principal in list.
func applyPolicy(list []any, given arm.Doc, change func(have, given []any) []any) []any {
	same := func(v any) bool {
		m, _ := v.(map[string]any)
		d := arm.Doc(m)
		return strings.EqualFold(d.String("objectId"), given.String("objectId")) &&
			strings.EqualFold(d.String("applicationId"), given.String("applicationId"))
	}
	i := slices.IndexFunc(list, same)
	policy := given.Clone()
	policy["permissions"] = map[string]any{}
	var have arm.Doc
	if i >= 0 {
		have = arm.Doc(list[i].(map[string]any))
	}
	left := 0
	for _, kind := range kinds() {
		perms := change(have.List("permissions."+kind), given.List("permissions."+kind))
		if len(perms) > 0 || kind != "storage" {
			if perms == nil {
				perms = []any{}
			}
			policy.Set("permissions."+kind, perms)
		}
		left += len(perms)
	}
	switch {
	case i < 0 && left == 0:
		return list
	case i < 0:
		return append(list, map[string]any(policy))
	case left == 0:
		return slices.Delete(slices.Clone(list), i, i+1)
	}
	out := slices.Clone(list)
	out[i] = map[string]any(policy)
	return out
}

func hasPermission(list []any, v any) bool {
	s, _ := v.(string)
	return slices.ContainsFunc(list, func(h any) bool { t, _ := h.(string); return strings.EqualFold(s, t) })
}

func addPermissions(have, given []any) []any {
	out := slices.Clone(have)
	for _, v := range given {
		if !hasPermission(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func replacePermissions(_, given []any) []any { return given }

func removePermissions(have, given []any) []any {
	var out []any
	for _, v := range have {
		if !hasPermission(given, v) && !hasPermission(given, "all") {
			out = append(out, v)
		}
	}
	return out
}
