package storage

import (
	"context"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// maxAccounts is how many accounts a subscription may have in a region by default:
// https://learn.microsoft.com/azure/storage/common/scalability-targets-standard-account
// It is told and not enforced.
const maxAccounts = 250

// usages counts the accounts of a region.
func (p *provider) usages(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	region := arm.NormalizeLocation(req.Args[0])
	n := 0
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		n = 0
		for r, err := range p.kernel.Resources().OfType(tx, p.kernel.Subscription(), AccountType) {
			if err != nil {
				return err
			}
			if arm.NormalizeLocation(r.Body.String("location")) == region {
				n++
			}
		}
		return nil
	})
	return arm.OK(map[string]any{"value": []any{map[string]any{
		"unit": "Count", "currentValue": n, "limit": maxAccounts,
		"name": map[string]any{"value": "StorageAccounts", "localizedValue": "Storage Accounts"},
	}}}), err
}

// listSKUs lists the SKUs of each kind, for every region: which of them Azure
// offers where is not known here, nor the capabilities that it lists with them.
func (p *provider) listSKUs(context.Context, *arm.Request) (*arm.Response, error) {
	value := []any{}
	for _, kind := range []string{"Storage", "StorageV2", "BlobStorage", "BlockBlobStorage", "FileStorage"} {
		for _, sku := range skus(kind) {
			tier, _, _ := strings.Cut(sku, "_")
			for _, location := range arm.Locations() {
				value = append(value, map[string]any{
					"resourceType": "storageAccounts", "name": sku, "tier": tier, "kind": kind, "locations": []string{location},
					"capabilities": []any{}, "restrictions": []any{},
				})
			}
		}
	}
	return arm.OK(map[string]any{"value": value}), nil
}

// revokeDelegations makes the account's user delegation keys void.
func (p *provider) revokeDelegations(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var uid string
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := p.kernel.Load(ctx, tx, req.ID)
		if err == nil {
			uid = r.UID
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &arm.Response{}, p.Revoke(ctx, uid)
}
