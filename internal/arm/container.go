package arm

import (
	"context"
	"errors"
	"net/http"
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
			return read(TypeSubscription+"/read", func() (*Response, error) {
				doc, err := k.taggedSubscription(ctx)
				return OK(doc), err
			})
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
			doc, err := k.subscriptionIn(tx)
			if err != nil {
				return err
			}
			page.Value = []Doc{doc}
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
		for _, p := range k.listed() {
			doc, err := k.providerDoc(tx, scope, p)
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
	expand := strings.Split(strings.ToLower(strings.ReplaceAll(req.Query.Get("$expand"), " ", "")), ",")
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
			doc, err := k.summary(ctx, tx, res, expand)
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

// summary is a resource as generic lists show it: without its properties, and with
// what $expand names.
func (k *Kernel) summary(ctx context.Context, tx store.Tx, r *Resource, expand []string) (Doc, error) {
	full, err := k.Render(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	out := Doc{}
	for _, name := range []string{"id", "type", "location", "tags", "kind", "sku", "identity", "managedBy", "zones", "plan", "systemData"} {
		if v, ok := full[name]; ok && v != nil {
			out[name] = v
		}
	}
	out["name"] = r.ParsedID().FullName()
	for _, name := range expand {
		switch name {
		case "createdtime":
			out["createdTime"] = Timestamp(r.Created)
		case "changedtime":
			out["changedTime"] = Timestamp(r.Modified)
		case "provisioningstate":
			out["provisioningState"] = full.Get("properties.provisioningState")
		}
	}
	return out, nil
}
