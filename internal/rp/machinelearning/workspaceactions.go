package machinelearning

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/containerregistry"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// linked is the resource that a workspace names in a property, or nil when it
// names none or it is gone.
func (p *provider) linked(tx store.Tx, ws *arm.Resource, property string) (*arm.Resource, error) {
	id := ws.Body.String("properties." + property)
	if id == "" {
		return nil, nil
	}
	r, err := p.kernel.Resources().Get(tx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return r, err
}

// onWorkspace runs f on the workspace of a request, in a read transaction.
func (p *provider) onWorkspace(ctx context.Context, req *arm.Request, f func(tx store.Tx, ws *arm.Resource) error) error {
	return p.kernel.Store().View(ctx, func(tx store.Tx) error {
		ws, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		return f(tx, ws)
	})
}

// listKeys gathers the secrets of what a workspace stands on.
func (p *provider) listKeys(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	out := map[string]any{}
	err := p.onWorkspace(ctx, req, func(tx store.Tx, ws *arm.Resource) error {
		account, err := p.linked(tx, ws, "storageAccount")
		if err != nil {
			return err
		}
		if account != nil {
			out["userStorageKey"], out["userStorageResourceId"] = storage.Keys(account)[0], account.ID
		}
		component, err := p.linked(tx, ws, "applicationInsights")
		if err != nil {
			return err
		}
		if component != nil {
			out["appInsightsInstrumentationKey"] = component.Body.String("properties.InstrumentationKey")
		}
		registry, err := p.linked(tx, ws, "containerRegistry")
		if err != nil || registry == nil {
			return err
		}
		if user, passwords, ok := containerregistry.Admin(registry); ok {
			list := []any{}
			for _, name := range slices.Sorted(maps.Keys(passwords)) {
				list = append(list, map[string]any{"name": name, "value": passwords[name]})
			}
			out["containerRegistryCredentials"] = map[string]any{
				"location": registry.Body["location"], "username": user, "passwords": list,
			}
		}
		return nil
	})
	return arm.OK(out), err
}

func (p *provider) listStorageKeys(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	out := map[string]any{}
	err := p.onWorkspace(ctx, req, func(tx store.Tx, ws *arm.Resource) error {
		account, err := p.linked(tx, ws, "storageAccount")
		if err != nil {
			return err
		}
		if account == nil {
			return arm.BadRequest("ValidationError", "The storage account of the workspace is gone.")
		}
		out["userStorageKey"] = storage.Keys(account)[0]
		return nil
	})
	return arm.OK(out), err
}

// resyncKeys has nothing to do: keys are read where they are, each time.
func resyncKeys(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var resp *arm.Response
	err := req.Kernel.Store().Update(ctx, func(tx store.Tx) (err error) {
		resp, err = req.Kernel.Accepted(tx, req)
		return err
	})
	return resp, err
}

// diagnose looks whether what the workspace stands on is there. Findings about
// networks, DNS and locks have no counterpart here: their lists are empty.
func (p *provider) diagnose(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	out := map[string]any{}
	for _, name := range []string{
		"userDefinedRouteResults", "networkSecurityRuleResults", "resourceLockResults", "dnsResolutionResults", "storageAccountResults",
		"keyVaultResults", "containerRegistryResults", "applicationInsightsResults", "otherResults",
	} {
		out[name] = []any{}
	}
	add := func(list, code, message string) {
		out[list] = append(out[list].([]any), map[string]any{"code": code, "level": "Error", "message": message})
	}
	err := p.onWorkspace(ctx, req, func(tx store.Tx, ws *arm.Resource) error {
		for _, l := range links() {
			id := ws.Body.String("properties." + l.property)
			r, err := p.linked(tx, ws, l.property)
			if err != nil {
				return err
			}
			if id != "" && r == nil {
				// Azure's codes are not known, but for the image build compute
				add(l.property+"Results", "ResourceNotFound", fmt.Sprintf("The resource '%s' was not found.", id))
			}
		}
		name := ws.Body.String("properties.imageBuildCompute")
		if name == "" {
			return nil
		}
		there, err := p.kernel.Resources().Exists(tx, ws.ParsedID().Child("computes", name).Key())
		if err == nil && !there {
			add("otherResults", "ImageBuildComputeNotValid", fmt.Sprintf("The workspace builds images on compute '%s', which was not found.", name))
		}
		return err
	})
	return arm.OK(map[string]any{"value": out}), err
}
