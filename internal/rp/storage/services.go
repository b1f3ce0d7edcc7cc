package storage

import (
	"context"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// service describes one of the four services of an account. Each account has
// exactly one of each, named "default", that its kind supports.
func (p *provider) service(segment, title string, defaults func() arm.Doc, unimplemented map[string]string) *arm.ResourceType {
	endpoint := strings.ToLower(title)
	return &arm.ResourceType{
		Type:                AccountType + "/" + segment,
		NoProvisioningState: true,
		PutStatus:           [2]int{http.StatusOK, http.StatusOK},
		Methods:             []string{http.MethodGet, http.MethodPut},
		Unimplemented:       unimplemented,
		Validate: func(ctx context.Context, put *arm.Put) error {
			if put.ID.Name() != "default" {
				return arm.NotFound(put.ID)
			}
			for name, v := range defaults().Object("properties") {
				put.Keep("properties." + name)
				put.Resource.Body.Default("properties."+name, v)
			}
			put.Resource.Body["sku"] = put.Parent.Body["sku"]
			return supports(put.Parent, title, endpoint)
		},
		Default: func(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			if !strings.EqualFold(id.Name(), "default") {
				return nil, nil
			}
			account, err := p.kernel.Load(ctx, tx, id.Parent())
			if err != nil {
				return nil, err
			}
			if err := supports(account, title, endpoint); err != nil {
				return nil, err
			}
			body := defaults()
			body["sku"] = account.Body["sku"]
			return &arm.Resource{ID: account.ID + "/" + segment + "/default", Body: body, Private: arm.Doc{}}, nil
		},
		List: func(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
			page := &arm.Page{}
			err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
				r, err := p.kernel.Load(ctx, tx, parent.Child(segment, "default"))
				if err != nil {
					return err
				}
				doc, err := p.kernel.Render(ctx, tx, r)
				page.Value = append(page.Value, doc)
				return err
			})
			return page, err
		},
	}
}

// blobService is the service of the blob data plane, which keeps what it says
// about deleted and replaced blobs.
func (p *provider) blobService() *arm.ResourceType {
	t := p.service("blobServices", "Blob", corsDefaults, map[string]string{
		"properties.deleteRetentionPolicy.allowPermanentDelete": "deletes for good what soft delete keeps",
		"properties.changeFeed.enabled":                         "logs changes",
		"properties.restorePolicy.enabled":                      "restores to a point in time",
		"properties.lastAccessTimeTrackingPolicy.enable":        "tracks reads",
		"properties.automaticSnapshotPolicyEnabled":             "takes snapshots",
		"properties.cors.corsRules":                             "lets web pages of other origins in",
		"properties.defaultServiceVersion":                      "sets the version of requests that name none",
	})
	validate := t.Validate
	t.Validate = func(ctx context.Context, put *arm.Put) error {
		if err := validate(ctx, put); err != nil {
			return err
		}
		r := Retention{}
		if err := r.change(put.Resource.Body); err != nil {
			return err
		}
		if r.Versioning && put.Parent.Body.Bool("properties.isHnsEnabled", false) {
			return arm.NotImplemented("versions in an account with a hierarchical namespace")
		}
		return nil
	}
	// The data plane has these properties, whose clients change them, too. They
	// are not stored here.
	t.Put = func(ctx context.Context, put *arm.Put) error {
		r, err := p.Containers.Retention(ctx, put.Tx, put.Parent.UID)
		if err != nil {
			return err
		}
		if err := r.change(put.Resource.Body); err != nil {
			return err
		}
		put.Resource.Body.Delete("properties.deleteRetentionPolicy")
		put.Resource.Body.Delete("properties.containerDeleteRetentionPolicy")
		put.Resource.Body.Delete("properties.isVersioningEnabled")
		return p.Containers.SetRetention(ctx, put.Tx, put.Parent.UID, r)
	}
	t.Read = func(ctx context.Context, tx store.Tx, r *arm.Resource) error {
		account, err := p.accountOf(ctx, tx, r.ParsedID())
		if err != nil {
			return err
		}
		kept, err := p.Containers.Retention(ctx, tx, account.UID)
		if err != nil {
			return err
		}
		policy := map[string]any{"allowPermanentDelete": false, "enabled": kept.Days > 0}
		if kept.Days > 0 {
			policy["days"] = kept.Days
		}
		r.Body.Set("properties.deleteRetentionPolicy", policy)
		if kept.ContainerDays > 0 {
			r.Body.Set("properties.containerDeleteRetentionPolicy", map[string]any{"enabled": true, "days": kept.ContainerDays})
		}
		if kept.Versioning {
			r.Body.Set("properties.isVersioningEnabled", true)
		}
		return nil
	}
	return t
}

// change takes over what a request says, and leaves the rest as it is.
func (r *Retention) change(body arm.Doc) error {
	r.Versioning = body.Bool("properties.isVersioningEnabled", r.Versioning)
	for name, days := range map[string]*int{"deleteRetentionPolicy": &r.Days, "containerDeleteRetentionPolicy": &r.ContainerDays} {
		path := "properties." + name
		if !body.Has(path) {
			continue
		}
		if *days = 0; !body.Bool(path+".enabled", false) {
			continue
		}
		if *days = body.Int(path+".days", 0); *days < 1 || *days > 365 {
			return arm.BadRequest("InvalidRequestPropertyValue", "The value '%d' is not allowed for property %s.days. It must be from 1 to 365.", *days, name)
		}
	}
	return nil
}

func supports(account *arm.Resource, title, endpoint string) error {
	if account.Body.Has("properties.primaryEndpoints." + endpoint) {
		return nil
	}
	return arm.BadRequest("FeatureNotSupportedForAccount", "%s is not supported for the account.", title)
}

func corsDefaults() arm.Doc {
	return arm.Doc{"properties": map[string]any{"cors": map[string]any{"corsRules": []any{}}}}
}

// fileService is the service of the file data plane, which is told for how long
// deleted shares are kept.
func (p *provider) fileService(segment, title string, defaults func() arm.Doc, unimplemented map[string]string) *arm.ResourceType {
	t := p.service(segment, title, defaults, unimplemented)
	t.Put = func(_ context.Context, put *arm.Put) error {
		days := 0
		if policy := "properties.shareDeleteRetentionPolicy"; put.Resource.Body.Bool(policy+".enabled", false) {
			if days = put.Resource.Body.Int(policy+".days", 0); days < 1 || days > 365 {
				return arm.BadRequest("InvalidRequestPropertyValue", "The value '%d' is not allowed for property shareDeleteRetentionPolicy.days. It must be from 1 to 365.", days)
			}
		}
		return p.KeepShares(put.Tx, put.Parent.UID, days)
	}
	return t
}

// fileDefaults: a new account keeps deleted shares for seven days.
func fileDefaults() arm.Doc {
	d := corsDefaults()
	d.Set("properties.shareDeleteRetentionPolicy", map[string]any{"enabled": true, "days": 7})
	d.Set("properties.protocolSettings", map[string]any{"smb": map[string]any{}})
	return d
}
