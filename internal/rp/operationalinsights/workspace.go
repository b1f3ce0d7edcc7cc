// Package operationalinsights is the resource provider
// Microsoft.OperationalInsights: Log Analytics workspaces.
package operationalinsights

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.OperationalInsights"

	// WorkspaceType is the type of Log Analytics workspaces.
	WorkspaceType = namespace + "/workspaces"
)

// Deps is what the provider needs of others.
type Deps struct {
	// Removed is told the UID of each workspace that is gone for good, outside of
	// any transaction. Nil tells nobody.
	Removed func(uid string)
	// Tables returns the tables of the workspace with a UID. Nil: there are none.
	Tables func(ctx context.Context, uid string) ([]Table, error)
}

type provider struct {
	deps   Deps
	kernel *arm.Kernel
}

// Provider returns the descriptors of the namespace.
func Provider(d Deps) *arm.Provider {
	p := &provider{deps: d}
	return &arm.Provider{
		Namespace: namespace,
		Types:     []*arm.ResourceType{p.workspace(), p.table(), p.savedSearch()},
		Actions: []arm.Action{
			// Workspaces are removed at once here, so none is ever soft-deleted.
			{Name: "deletedWorkspaces", Method: "GET", Permission: namespace + "/deletedWorkspaces/read", Handle: func(_ context.Context, req *arm.Request) (*arm.Response, error) {
				return req.Kernel.PageResponse(req, &arm.Page{}), nil
			}},
		},
		Bind: func(k *arm.Kernel) { p.kernel = k },
	}
}

// skus is the SKUs of a workspace. Free and the per-node ones are closed to new
// customers in Azure; what it answers to them is not known.
func skus() []string {
	return []string{"PerGB2018", "CapacityReservation", "LACluster", "Standalone", "PerNode", "Premium", "Standard", "Free"}
}

func (p *provider) workspace() *arm.ResourceType {
	return &arm.ResourceType{
		Type:     WorkspaceType,
		Tracked:  true,
		Latency:  arm.Latency{Create: 20 * time.Second},
		ETag:     true,
		Identity: []string{"SystemAssigned", "UserAssigned"},
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]$`),
			Text:    "A workspace has 4 to 63 letters, digits and -, and begins and ends with a letter or digit.",
		},
		Unimplemented: map[string]string{
			"properties.forceCmkForQuery":                    "keeps queries in storage of yours",
			"properties.defaultDataCollectionRuleResourceId": "sends data through a collection rule",
			"properties.features.clusterResourceId":          "puts the workspace into a dedicated cluster",
		},
		Validate: validate,
		Put:      put,
		Index:    func(r *arm.Resource) []string { return []string{customerIndex(r.Body.String("properties.customerId"))} },
		Delete: func(_ context.Context, d *arm.Delete) error {
			if uid := d.Resource.UID; p.deps.Removed != nil {
				d.After(func() { p.deps.Removed(uid) })
			}
			return nil
		},
		Actions: []arm.Action{
			{Name: "sharedKeys", Permission: WorkspaceType + "/sharedKeys/action", Handle: p.sharedKeys},
			{Name: "regenerateSharedKey", Permission: WorkspaceType + "/regenerateSharedKey/action", Handle: p.regenerate},
		},
	}
}

func validate(_ context.Context, put *arm.Put) error {
	put.Keep("properties.sku", "properties.features")
	body := put.Resource.Body
	if name := body.String("properties.sku.name"); name != "" {
		i := slices.IndexFunc(skus(), func(s string) bool { return strings.EqualFold(s, name) })
		if i < 0 {
			return arm.InvalidProperty("properties.sku.name", "The SKU '%s' is not one of %s.", name, strings.Join(skus(), ", "))
		}
		body.Set("properties.sku.name", skus()[i])
	}
	// 0 and -1 stand for the SKU's default
	if n := body.Int("properties.retentionInDays", 0); n != 0 && n != -1 && n != 7 && (n < 30 || n > 730) {
		return arm.InvalidProperty("properties.retentionInDays", "The retention of %d days is not between 30 and 730.", n)
	}
	return nil
}

func put(_ context.Context, put *arm.Put) error {
	body, r := put.Resource.Body, put.Resource
	if put.Creating() {
		body.Set("properties.customerId", uuid.NewString())
		body.Set("properties.createdDate", arm.Timestamp(put.Now))
		for _, name := range []string{"primarySharedKey", "secondarySharedKey"} {
			if err := newKey(r, name); err != nil {
				return err
			}
		}
	}
	put.Force("properties.customerId", "properties.createdDate")
	body.Set("properties.modifiedDate", arm.Timestamp(put.Now))
	body.Default("properties.sku.name", "PerGB2018")
	if n := body.Int("properties.retentionInDays", 0); n <= 0 {
		body.Set("properties.retentionInDays", 30)
	}
	body.Default("properties.features.enableLogAccessUsingOnlyResourcePermissions", true)
	body.Default("properties.publicNetworkAccessForIngestion", "Enabled")
	body.Default("properties.publicNetworkAccessForQuery", "Enabled")
	body.Default("properties.workspaceCapping.dailyQuotaGb", -1.0)
	body.Set("properties.workspaceCapping.dataIngestionStatus", "RespectQuota")
	return nil
}

const keySize = 64 // bytes

func newKey(r *arm.Resource, name string) error {
	b := make([]byte, keySize)
	if _, err := rand.Read(b); err != nil {
		return fmt.Errorf("make shared key: %w", err)
	}
	r.Private.Set(name, base64.StdEncoding.EncodeToString(b))
	return nil
}

func keys(r *arm.Resource) map[string]any {
	return map[string]any{
		"primarySharedKey": r.Private.String("primarySharedKey"), "secondarySharedKey": r.Private.String("secondarySharedKey"),
	}
}

func (p *provider) sharedKeys(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var out map[string]any
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		out = keys(r)
		return nil
	})
	return arm.OK(out), err
}

// regenerate replaces both keys, as the operation does that names none.
func (p *provider) regenerate(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var out map[string]any
	err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
		return p.kernel.Resources().Update(tx, req.ID.Key(), func(r *arm.Resource) error {
			for _, name := range []string{"primarySharedKey", "secondarySharedKey"} {
				if err := newKey(r, name); err != nil {
					return err
				}
			}
			out = keys(r)
			return nil
		})
	})
	return arm.OK(out), err
}

func customerIndex(id string) string { return "customer:" + id }

// ByCustomer returns the workspace with the ID that clients know it by, or
// store.ErrNotFound.
func ByCustomer(tx store.Tx, res *arm.Resources, customerID string) (*arm.Resource, error) {
	for r, err := range res.Find(tx, WorkspaceType, customerIndex(customerID)) {
		return r, err
	}
	return nil, store.ErrNotFound
}

// Keys returns the two shared keys, base64.
func Keys(r *arm.Resource) [2]string {
	return [2]string{r.Private.String("primarySharedKey"), r.Private.String("secondarySharedKey")}
}
