package authorization

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// denyAssignment is the type of deny assignments. There are none and none can
// come to be: Azure makes them for deployment stacks and managed applications,
// neither of which is here, and lets nobody write one. So every list is empty.
func (p *provider) denyAssignment() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                namespace + "/denyAssignments",
		Scope:               arm.OnAnything,
		NoProvisioningState: true,
		Methods:             []string{http.MethodGet},
		Virtual:             true,
		List: func(ctx context.Context, req *arm.Request, scope arm.ID) (*arm.Page, error) {
			if _, err := parseTerms(req.Query.Get("$filter"), "atscope()", "denyassignmentname", "principalid", "assignedto()",
				"gdprexportprincipalid"); err != nil {
				return nil, err
			}
			return p.nothing(ctx, scope)
		},
	}
}

// nothing is the page of a list in a scope in which there can be none.
func (p *provider) nothing(ctx context.Context, scope arm.ID) (*arm.Page, error) {
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		_, err := p.scopeExists(ctx, tx, scope)
		return err
	})
	return &arm.Page{}, err
}

// empty serves a list of what cannot be here.
func (p *provider) empty(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	page, err := p.nothing(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	return req.Kernel.PageResponse(req, page), nil
}

// listings are the operations that only tell.
func (p *provider) listings() []arm.Action {
	return []arm.Action{
		{Name: "permissions", Method: http.MethodGet, Permission: namespace + "/permissions/read", Handle: p.permissions},
		// Classic administrators were retired in August 2024; a subscription made since
		// has none.
		{Name: "classicAdministrators", Method: http.MethodGet, Permission: namespace + "/classicAdministrators/read", Handle: p.empty},
		// What a caller is eligible for comes from Privileged Identity Management, which
		// is not here: nobody is eligible for anything.
		{Name: "eligibleChildResources", Method: http.MethodGet, Permission: namespace + "/eligibleChildResources/read", Handle: p.empty},
		{Name: "providerOperations", Method: http.MethodGet, Handle: p.providerOperations},
		{Name: "providerOperations/{}", Method: http.MethodGet, Handle: p.providerOperations},
	}
}

// providerOperations tells what the providers can be asked, as roles name it: the
// operations of Azimuth's own types, and the data actions that built-in roles name.
// It is open to everybody in the tenant.
func (p *provider) providerOperations(_ context.Context, req *arm.Request) (*arm.Response, error) {
	if v := req.Query.Get("$expand"); v != "" && !strings.EqualFold(v, "resourceTypes") {
		return nil, arm.NotImplemented("$expand with '%s' of provider operations", v)
	}
	all := req.Kernel.ProviderOperations()
	for _, d := range p.Roles().BuiltIn() {
		for _, perm := range d.Permissions {
			for _, action := range perm.DataActions {
				ns, _, _ := strings.Cut(action, "/")
				if all[ns] != nil && !strings.Contains(action, "*") {
					all[ns][action] = true
				}
			}
		}
	}
	var docs []arm.Doc
	for ns, ops := range all {
		if len(req.Args) == 0 || strings.EqualFold(req.Args[0], ns) {
			docs = append(docs, operationsDocument(ns, ops))
		}
	}
	slices.SortFunc(docs, func(a, b arm.Doc) int { return cmp.Compare(a.String("name"), b.String("name")) })
	switch {
	case len(req.Args) == 0:
		return req.Kernel.PageResponse(req, &arm.Page{Value: docs}), nil
	case len(docs) == 0:
		return nil, arm.Errorf(http.StatusNotFound, "ProviderNotFound", "Provider not found.")
	}
	return arm.OK(docs[0]), nil
}

// operationsDocument describes the operations of one namespace, by name with
// whether they are data actions, by resource type.
func operationsDocument(ns string, ops map[string]bool) arm.Doc {
	byType := map[string][]any{}
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		parts := strings.Split(name, "/")[1:]
		n := len(parts) - 1
		if parts[n] == "action" {
			n--
		}
		typ := strings.Join(parts[:max(n, 0)], "/")
		byType[typ] = append(byType[typ], map[string]any{
			"name": name, "displayName": name, "description": "", "origin": "user,system", "isDataAction": ops[name], "properties": nil,
		})
	}
	types := []any{}
	for _, typ := range slices.Sorted(maps.Keys(byType)) {
		if typ != "" {
			types = append(types, map[string]any{"name": typ, "displayName": typ, "operations": byType[typ]})
		}
	}
	own := byType[""]
	if own == nil {
		own = []any{}
	}
	return arm.Doc{
		"id": "/providers/" + namespace + "/providerOperations/" + ns, "type": namespace + "/providerOperations", "name": ns,
		"displayName": ns, "resourceTypes": types, "operations": own,
	}
}
