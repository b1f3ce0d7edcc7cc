package arm

import (
	"context"
	_ "embed" // the list of namespaces
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const registrationBucket = "providerRegistration"

// namespaceList is the namespaces that azurerm and Azure's built-in roles name, one
// in a line. It tells those that Azure has and Azimuth has not from those that are
// nobody's. Azure lists them all; here the list has those with a "+", which azurerm does
// not register by itself when it starts, as it does with the others of a list.
//
//go:embed namespaces.txt
var namespaceList string

// azureNamespace is a namespace of Azure's in its own casing, or "".
func azureNamespace(name string) string {
	all := strings.Fields(namespaceList)
	if name == "+" {
		return ""
	}
	if i := slices.IndexFunc(all, func(n string) bool { return strings.EqualFold(n, name) }); i >= 0 {
		return all[i]
	}
	return ""
}

// listed are the providers that are listed, by their namespaces.
func (k *Kernel) listed() []*Provider {
	all := map[string]*Provider{}
	for key, p := range k.types.providers {
		all[key] = p
	}
	for line := range strings.Lines(namespaceList) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), " +"); ok && all[strings.ToLower(name)] == nil {
			all[strings.ToLower(name)] = &Provider{Namespace: name}
		}
	}
	var out []*Provider
	for _, key := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[key])
	}
	return out
}

// provider is the provider of a namespace: one that Azimuth has, or one without types
// that Azure has; nil for neither.
func (k *Kernel) provider(namespace string) *Provider {
	if p := k.types.providers[strings.ToLower(namespace)]; p != nil {
		return p
	}
	if n := azureNamespace(namespace); n != "" {
		return &Provider{Namespace: n}
	}
	return nil
}

func invalidNamespace(namespace string) error {
	return Errorf(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", namespace)
}

// registrationFree says which namespaces need no registration.
func registrationFree(namespace string) bool {
	return slices.ContainsFunc([]string{"Microsoft.Resources", "Microsoft.Authorization"}, func(n string) bool { return strings.EqualFold(n, namespace) })
}

// registration is the state of a namespace in the subscription. What Azimuth has is
// registered until someone unregisters it; the rest is not.
func (k *Kernel) registration(tx store.Tx, namespace string) (string, error) {
	b, err := tx.Get(registrationBucket, strings.ToLower(namespace))
	switch {
	case err == nil && len(b) > 0:
		return string(b), nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return "", err
	case k.types.providers[strings.ToLower(namespace)] != nil:
		return "Registered", nil
	}
	return "NotRegistered", nil
}

// checkRegistered refuses new resources of a namespace that is not registered.
func (k *Kernel) checkRegistered(tx store.Tx, id ID) error {
	n := len(id.Providers)
	if n == 0 || registrationFree(id.Providers[n-1].Namespace) {
		return nil
	}
	namespace := id.Providers[n-1].Namespace
	state, err := k.registration(tx, namespace)
	if err != nil || state == "Registered" {
		return err
	}
	return Errorf(http.StatusConflict, "MissingSubscriptionRegistration",
		"The subscription is not registered to use namespace '%s'. See https://aka.ms/rps-not-found for how to register subscriptions.", namespace)
}

func (k *Kernel) providerDoc(tx store.Tx, scope ID, p *Provider) (Doc, error) {
	state, err := k.registration(tx, p.Namespace)
	if err != nil {
		return nil, err
	}
	policy := "RegistrationRequired"
	if registrationFree(p.Namespace) {
		policy = "RegistrationFree"
	}
	doc := Doc{"namespace": p.Namespace, "resourceTypes": k.describeTypes(p), "registrationState": state, "registrationPolicy": policy}
	if !scope.IsZero() {
		doc["id"] = scope.String() + "/providers/" + p.Namespace
	}
	return doc, nil
}

// describeTypes is a provider's types as it lists them.
func (k *Kernel) describeTypes(p *Provider) []any {
	types := []any{}
	for _, t := range k.types.sortedTypes() {
		if ns, name, _ := strings.Cut(t.Type, "/"); strings.EqualFold(ns, p.Namespace) {
			types = append(types, map[string]any(describeType(t, name)))
		}
	}
	return types
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

// providerActions are the operations that every namespace has.
func providerActions(ns string) []Action {
	doc := func(ctx context.Context, req *Request, change func(tx store.Tx, p *Provider) error) (*Response, error) {
		k := req.Kernel
		p := k.provider(ns)
		var out Doc
		work := func(tx store.Tx) (err error) {
			if change != nil {
				if err := change(tx, p); err != nil {
					return err
				}
			}
			out, err = k.providerDoc(tx, req.ID, p)
			return err
		}
		run := k.cfg.Store.View
		if change != nil {
			run = k.cfg.Store.Update
		}
		if err := run(ctx, work); err != nil {
			return nil, err
		}
		return OK(out), nil
	}
	register := func(state string) func(context.Context, *Request) (*Response, error) {
		return func(ctx context.Context, req *Request) (*Response, error) {
			return doc(ctx, req, func(tx store.Tx, p *Provider) error {
				return tx.Put(registrationBucket, strings.ToLower(p.Namespace), []byte(state))
			})
		}
	}
	return []Action{
		{Name: "", Method: http.MethodGet, Handle: func(ctx context.Context, req *Request) (*Response, error) { return doc(ctx, req, nil) }},
		{Name: "operations", Method: http.MethodGet, Handle: func(_ context.Context, req *Request) (*Response, error) {
			return req.Kernel.PageResponse(req, &Page{Value: req.Kernel.operationsList(req.Kernel.provider(ns))}), nil
		}},
		{Name: "resourceTypes", Method: http.MethodGet, Handle: func(_ context.Context, req *Request) (*Response, error) {
			return OK(Doc{"value": req.Kernel.describeTypes(req.Kernel.provider(ns))}), nil
		}},
		// no namespace here has features to be registered
		{Name: "Microsoft.Features/features", Method: http.MethodGet, Permission: "Microsoft.Features/features/read", Handle: func(_ context.Context, _ *Request) (*Response, error) {
			return OK(Doc{"value": []any{}}), nil
		}},
		{Name: "register", Permission: ns + "/register/action", Handle: register("Registered")},
		{Name: "unregister", Permission: ns + "/unregister/action", Handle: register("Unregistered")},
	}
}
