package arm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// resourceGroupActions is how RBAC actions name resource groups.
const resourceGroupActions = "Microsoft.Resources/subscriptions/resourceGroups"

// routeContainer serves the tenant, the subscription, and what is listed
// directly in them and in resource groups. ok is false for anything else.
func (k *Kernel) routeContainer(ctx context.Context, req *Request, p path) (resp *Response, err error, ok bool) {
	method, last := req.HTTP.Method, strings.ToLower(p.trailing)
	read := func(action string, f func() (*Response, error)) (*Response, error, bool) {
		if method != http.MethodGet && method != http.MethodHead {
			return nil, k.uncovered(method, p.id.Type()+"/"+p.trailing), true
		}
		if action != "" {
			if err := k.authorize(ctx, req, action, false, p.id); err != nil {
				return nil, err, true
			}
		}
		resp, err := f()
		return resp, err, true
	}
	switch p.id.Type() {
	case TypeTenant:
		switch last {
		case "subscriptions":
			return read("", func() (*Response, error) { return k.subscriptionList(ctx, req) })
		case "tenants":
			return read("", func() (*Response, error) {
				return k.PageResponse(req, &Page{Value: []Doc{{
					"id": "/tenants/" + k.cfg.Tenant, "tenantId": k.cfg.Tenant, "displayName": "Azimuth", "tenantCategory": "Home",
				}}}), nil
			})
		case "providers":
			return read("", func() (*Response, error) { return k.providerList(ctx, req, p.id) })
		}
	case TypeSubscription:
		switch last {
		case "":
			return read(TypeSubscription+"/read", func() (*Response, error) { return OK(k.subscription()), nil })
		case "locations":
			return read(TypeSubscription+"/locations/read", func() (*Response, error) {
				page := &Page{}
				for _, l := range Locations() {
					page.Value = append(page.Value, Doc{
						"id": p.id.String() + "/locations/" + l, "name": l, "displayName": l, "regionalDisplayName": l,
						"type": "Region", "metadata": map[string]any{"regionType": "Physical"},
					})
				}
				return k.PageResponse(req, page), nil
			})
		case "resourcegroups":
			if t := k.types.lookup(TypeResourceGroup); t != nil {
				return read("", func() (*Response, error) { return k.list(ctx, req, p.id, t) })
			}
		case "resources":
			return read("", func() (*Response, error) {
				var err error
				if req.sees, err = k.visible(ctx, req, TypeSubscription+"/resources/read", p.id); err != nil {
					return nil, err
				}
				return k.resourceList(ctx, req, p.id)
			})
		case "providers":
			return read(TypeSubscription+"/providers/read", func() (*Response, error) { return k.providerList(ctx, req, p.id) })
		}
	case TypeResourceGroup:
		if last == "resources" {
			return read(resourceGroupActions+"/resources/read", func() (*Response, error) { return k.resourceList(ctx, req, p.id) })
		}
	}
	return nil, nil, false
}

// subscriptionList lists the subscription to those who have a role in it.
func (k *Kernel) subscriptionList(ctx context.Context, req *Request) (*Response, error) {
	page := &Page{}
	err := k.cfg.Store.View(ctx, func(tx store.Tx) error {
		ok, err := k.auth.AssignedInTx(tx, req.Caller.ObjectID, ID{Subscription: k.cfg.Subscription})
		if ok {
			page.Value = []Doc{k.subscription()}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return k.PageResponse(req, page), nil
}

// visible decides what of a list in a subscription its caller sees: all, with the
// action at the subscription; what it may read, with a role somewhere in it, as
// Azure does; and nothing, which is refused. sees is nil for all.
func (k *Kernel) visible(ctx context.Context, req *Request, action string, scope ID) (sees func(store.Tx, *Resource) (bool, error), err error) {
	refused := k.authorize(ctx, req, action, false, scope)
	if e := (*Error)(nil); refused == nil || !errors.As(refused, &e) {
		return nil, refused
	}
	var some bool
	err = k.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
		some, err = k.auth.AssignedInTx(tx, req.Caller.ObjectID, scope)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !some {
		return nil, refused
	}
	return func(tx store.Tx, r *Resource) (bool, error) {
		id := r.ParsedID()
		t := k.types.lookup(id.Type())
		if t == nil {
			return false, nil
		}
		return k.auth.AllowedInTx(tx, req.Caller.ObjectID, t.actionBase()+"/read", false, r.ID)
	}, nil
}

func (k *Kernel) subscription() Doc {
	return Doc{
		"id": "/subscriptions/" + k.cfg.Subscription, "subscriptionId": k.cfg.Subscription, "tenantId": k.cfg.Tenant,
		"displayName": k.cfg.SubscriptionName, "state": "Enabled", "authorizationSource": "RoleBased", "managedByTenants": []any{},
		"subscriptionPolicies": map[string]any{
			"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off",
		},
	}
}

// endpoints is the cloud's description, from which clients learn where
// everything is. With metadata_host the answer names the host that was asked,
// without a final slash: azurerm 3.x joins paths to it with one of its own, and
// then polls deletions at paths that it reads wrong.
func (k *Kernel) endpoints(r *http.Request) any {
	doc := k.cloud(r.Host)
	// azurerm asks with the newest of these, az for the list.
	switch r.URL.Query().Get("api-version") {
	case "2015-01-01", "2018-01-01", "2022-09-01":
		return doc // one cloud
	}
	return []Doc{doc}
}

// cloud is the description of the cloud for who knows it by the given host.
func (k *Kernel) cloud(host string) Doc {
	self, login := "https://"+Host+"/", "https://login.microsoftonline.com/"
	if host != Host {
		self = "https://" + host
		login = self
	}
	return Doc{
		"name": "AzureCloud", "portal": "https://portal.azure.com", "gallery": "https://gallery.azure.com/",
		"graph": "https://graph.windows.net/", "graphAudience": "https://graph.windows.net/",
		"microsoftGraphResourceId": "https://graph.microsoft.com/", "resourceManager": self, "media": "https://rest.media.azure.net",
		"batch": "https://batch.core.windows.net/", "vmImageAliasDoc": "",
		"sqlManagement": "https://management.core.windows.net:8443/", "activeDirectoryDataLake": "https://datalake.azure.net/",
		"authentication": map[string]any{
			"loginEndpoint": login, "audiences": []any{"https://management.core.windows.net/", "https://management.azure.com/"},
			"tenant": "common", "identityProvider": "AAD",
		},
		"suffixes": map[string]any{
			"storage": "core.windows.net", "keyVaultDns": "vault.azure.net", "acrLoginServer": "azurecr.io",
			"sqlServerHostname": "database.windows.net", "azureDataLakeStoreFileSystem": "azuredatalakestore.net",
			"azureDataLakeAnalyticsCatalogAndJob": "azuredatalakeanalytics.net", "attestation": "attest.azure.net",
			"mhsmDns": "managedhsm.azure.net", "synapseAnalytics": "dev.azuresynapse.net", "azureFrontDoorEndpointSuffix": "azurefd.net",
		},
	}
}

// providerList lists the resource providers with their types.
func (k *Kernel) providerList(ctx context.Context, req *Request, scope ID) (*Response, error) {
	var page Page
	err := k.cfg.Store.View(ctx, func(tx store.Tx) error {
		for _, ns := range slices.Sorted(maps.Keys(k.types.providers)) {
			doc, err := k.providerDoc(tx, scope, k.types.providers[ns])
			if err != nil {
				return err
			}
			page.Value = append(page.Value, doc)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return k.PageResponse(req, &page), nil
}

const registrationBucket = "providerRegistration"

func (k *Kernel) providerDoc(tx store.Tx, scope ID, p *Provider) (Doc, error) {
	state := "Registered" // every provider is registered until someone unregisters it
	b, err := tx.Get(registrationBucket, strings.ToLower(p.Namespace))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if len(b) > 0 {
		state = string(b)
	}
	var types []any
	for _, t := range k.types.sortedTypes() {
		if ns, name, _ := strings.Cut(t.Type, "/"); strings.EqualFold(ns, p.Namespace) {
			types = append(types, map[string]any(describeType(t, name)))
		}
	}
	doc := Doc{"namespace": p.Namespace, "resourceTypes": types, "registrationState": state, "registrationPolicy": "RegistrationRequired"}
	if !scope.IsZero() {
		doc["id"] = scope.String() + "/providers/" + p.Namespace
	}
	return doc, nil
}

// describeType is a type as its provider lists it.
func describeType(t *ResourceType, name string) Doc {
	locations := []any{}
	if t.Global {
		locations = append(locations, "global")
	} else if t.Tracked {
		for _, l := range Locations() {
			locations = append(locations, l)
		}
	}
	return Doc{"resourceType": name, "locations": locations, "apiVersions": apiVersions(), "capabilities": "None"}
}

// apiVersions is what a provider says it accepts. Azimuth accepts any version;
// these are the ones its clients were seen to use.
func apiVersions() []any {
	return []any{
		"2026-02-01", "2025-11-01", "2025-08-01", "2025-06-01", "2025-01-01", "2024-04-01", "2023-11-01", "2023-07-01", "2023-04-01",
		"2023-02-01", "2023-01-01", "2022-09-01", "2022-05-01", "2022-04-01", "2021-08-01-preview", "2021-04-01", "2020-06-01", "2020-02-02",
	}
}

// Core is the provider of what the kernel itself serves: provider registration
// and operation statuses. The composition root adds it to the others.
func Core() *Provider {
	status := func(result bool) func(context.Context, *Request) (*Response, error) {
		return func(ctx context.Context, req *Request) (*Response, error) {
			return req.Kernel.operationStatus(ctx, req, req.Args[1], result)
		}
	}
	return &Provider{
		Namespace: "Microsoft.Resources",
		Actions: []Action{
			{Name: "locations/{}/operationStatuses/{}", Method: http.MethodGet, Handle: status(false)},
			{Name: "locations/{}/operationResults/{}", Method: http.MethodGet, Handle: status(true)},
		},
	}
}

// providerActions are the operations that every namespace has.
func providerActions(p *Provider) []Action {
	ns := p.Namespace
	register := func(state string) func(context.Context, *Request) (*Response, error) {
		return func(ctx context.Context, req *Request) (*Response, error) {
			k := req.Kernel
			var doc Doc
			err := k.cfg.Store.Update(ctx, func(tx store.Tx) error {
				if err := tx.Put(registrationBucket, strings.ToLower(ns), []byte(state)); err != nil {
					return err
				}
				var err error
				doc, err = k.providerDoc(tx, req.ID, k.types.providers[strings.ToLower(ns)])
				return err
			})
			return OK(doc), err
		}
	}
	return []Action{
		{Name: "", Method: http.MethodGet, Handle: func(ctx context.Context, req *Request) (*Response, error) {
			var doc Doc
			err := req.Kernel.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
				doc, err = req.Kernel.providerDoc(tx, req.ID, req.Kernel.types.providers[strings.ToLower(ns)])
				return err
			})
			return OK(doc), err
		}},
		{Name: "operations", Method: http.MethodGet, Handle: func(ctx context.Context, req *Request) (*Response, error) {
			return req.Kernel.PageResponse(req, &Page{Value: req.Kernel.operationsList(req.Kernel.types.providers[strings.ToLower(ns)])}), nil
		}},
		{Name: "register", Permission: ns + "/register/action", Handle: register("Registered")},
		{Name: "unregister", Permission: ns + "/unregister/action", Handle: register("Unregistered")},
	}
}

// resourceList is GET …/resources: the tracked resources of a group or
// subscription, with the filters that clients use.
func (k *Kernel) resourceList(ctx context.Context, req *Request, scope ID) (*Response, error) {
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	filter, err := ParseFilter(req.Query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	page := &Page{}
	err = k.cfg.Store.View(ctx, func(tx store.Tx) error {
		if err := k.containerExists(ctx, tx, scope); err != nil {
			return err
		}
		r := store.Range{Prefix: store.Exact(scope.Key()), After: after}
		if scope.Type() == TypeSubscription {
			r.Prefix = scope.Key() + "/"
		}
		var last *Resource
		for res, err := range k.res.opened(k.res.c.By(tx, "group", r)) {
			if err != nil {
				return err
			}
			if ok, err := req.Sees(tx, res); err != nil {
				return err
			} else if !ok {
				continue
			}
			doc, err := k.summary(ctx, tx, res)
			if err != nil {
				return err
			}
			if !filter.Match(res, doc) {
				continue
			}
			if len(page.Value) == size {
				g, _ := last.ParsedID().Group()
				page.Next = EncodeToken(k.res.c.Position(g.Key(), last))
				break
			}
			page.Value = append(page.Value, doc)
			last = res
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return k.PageResponse(req, page), nil
}

// summary is a resource as generic lists show it: without its properties.
func (k *Kernel) summary(ctx context.Context, tx store.Tx, r *Resource) (Doc, error) {
	full, err := k.Render(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	out := Doc{"createdTime": Timestamp(r.Created), "changedTime": Timestamp(r.Modified)}
	for _, name := range []string{"id", "type", "location", "tags", "kind", "sku", "identity", "managedBy", "zones", "plan", "systemData"} {
		if v, ok := full[name]; ok && v != nil {
			out[name] = v
		}
	}
	out["name"] = r.ParsedID().FullName()
	out["provisioningState"] = full.Get("properties.provisioningState")
	return out, nil
}

// Filter is the part of OData that resource lists are asked with:
// "resourceType eq 'x' and name eq 'y' and tagName eq 'a' and tagValue eq 'b'".
type Filter struct {
	equal, notEqual map[string]string
}

// ParseFilter reads a $filter; the empty one matches everything.
func ParseFilter(s string) (Filter, error) {
	f := Filter{equal: map[string]string{}, notEqual: map[string]string{}}
	if strings.TrimSpace(s) == "" {
		return f, nil
	}
	bad := BadRequest("InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string.", s)
	for _, term := range splitAnd(s) {
		words := strings.SplitN(strings.TrimSpace(term), " ", 3)
		if len(words) != 3 {
			return f, bad
		}
		v := strings.TrimSpace(words[2])
		if len(v) < 2 || v[0] != '\'' || v[len(v)-1] != '\'' {
			return f, bad
		}
		v = strings.ReplaceAll(v[1:len(v)-1], "''", "'")
		name := strings.ToLower(words[0])
		switch name {
		case "resourcetype", "name", "location", "resourcegroup", "tagname", "tagvalue":
		default:
			return f, Errorf(http.StatusNotImplemented, "NotImplementedByAzimuth", "Azimuth does not implement $filter on '%s'.", words[0])
		}
		switch strings.ToLower(words[1]) {
		case "eq":
			f.equal[name] = v
		case "ne":
			f.notEqual[name] = v
		default:
			return f, Errorf(http.StatusNotImplemented, "NotImplementedByAzimuth", "Azimuth does not implement '%s' in $filter.", words[1])
		}
	}
	return f, nil
}

// splitAnd splits at " and " outside quotes.
func splitAnd(s string) []string {
	var out []string
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		if s[i] == '\'' {
			quoted = !quoted
		}
		if !quoted && len(s)-i >= 5 && strings.EqualFold(s[i:i+5], " and ") {
			out = append(out, s[start:i])
			start = i + 5
			i += 4
		}
	}
	return append(out, s[start:])
}

// Match reports whether r, shown as doc, passes the filter.
func (f Filter) Match(r *Resource, doc Doc) bool {
	id := r.ParsedID()
	tags := doc.Object("tags")
	value := func(name string) string {
		switch name {
		case "resourcetype":
			return id.Type()
		case "name":
			return id.Name()
		case "location":
			return doc.String("location")
		case "resourcegroup":
			return id.ResourceGroup
		}
		return ""
	}
	for name, want := range f.equal {
		switch name {
		case "tagname":
			v, ok := tags[want]
			if !ok {
				return false
			}
			if tv, there := f.equal["tagvalue"]; there && fmt.Sprint(v) != tv {
				return false
			}
		case "tagvalue":
		default:
			if !strings.EqualFold(value(name), want) {
				return false
			}
		}
	}
	for name, not := range f.notEqual {
		if strings.EqualFold(value(name), not) {
			return false
		}
	}
	return true
}
