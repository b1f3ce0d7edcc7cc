// Package insights is the resource provider Microsoft.Insights as far as
// machine learning environments use it: Application Insights components, the
// activity log and diagnostic settings.
package insights

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.Insights"

	// ComponentType is the type of Application Insights components.
	ComponentType = namespace + "/components"

	workspaceType = "Microsoft.OperationalInsights/workspaces"
)

// Deps is what the provider needs of others.
type Deps struct {
	// Removed is told the UID of each component that is gone for good, outside of
	// any transaction. Nil tells nobody.
	Removed func(uid string)
	// Activities returns the events of the activity log that match, the newest
	// first. Nil has none: they are not implemented then.
	Activities func(ctx context.Context, f ActivityFilter) ([]Activity, error)
	// SettingsChanged is told when a diagnostic setting was written or removed,
	// outside of any transaction: Settings has those that there are. Nil refuses
	// them: they are not implemented then.
	SettingsChanged func()
}

type provider struct {
	deps   Deps
	kernel *arm.Kernel
	// categories are what resources can send, by lower-cased type.
	categories func() (map[string][]category, error)
}

// Provider returns the descriptors of the namespace.
func Provider(d Deps) *arm.Provider {
	p := &provider{deps: d, categories: sync.OnceValues(func() (map[string][]category, error) { return readCategories(categoriesText) })}
	return &arm.Provider{
		Namespace: namespace,
		Types:     []*arm.ResourceType{p.component(), p.diagnosticSetting(), p.diagnosticCategory()},
		Actions: []arm.Action{
			{Name: "eventtypes/management/values", Method: http.MethodGet, Permission: activityRead, Handle: p.activities},
		},
		Bind: func(k *arm.Kernel) { p.kernel = k },
	}
}

func (p *provider) component() *arm.ResourceType {
	return &arm.ResourceType{
		Type:    ComponentType,
		Tracked: true,
		// clients take 200 from a PUT, never 201
		PutStatus: [2]int{http.StatusOK, http.StatusOK},
		ETag:      true,
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[^%&\\?/]{0,254}[^%&\\?/. ]$`),
			Text:    "A component has up to 255 characters, none of %&\\?/, and does not end with a space or a period.",
		},
		Unimplemented: map[string]string{
			"properties.ForceCustomerStorageForProfiler": "keeps profiles in storage of yours",
		},
		Validate: p.validate,
		Put:      p.put,
		Index: func(r *arm.Resource) []string {
			return []string{keyIndex(r.Body.String("properties.InstrumentationKey")), appIndex(r.Body.String("properties.AppId"))}
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			if uid := d.Resource.UID; p.deps.Removed != nil {
				d.After(func() { p.deps.Removed(uid) })
			}
			return nil
		},
		Actions: []arm.Action{
			{Name: "currentbillingfeatures", Method: http.MethodGet, Permission: ComponentType + "/currentbillingfeatures/read", Handle: p.billing},
			{Name: "currentbillingfeatures", Method: http.MethodPut, Permission: ComponentType + "/currentbillingfeatures/write", Handle: p.setBilling},
		},
	}
}

// retentions is what RetentionInDays may be.
func retentions() []int { return []int{30, 60, 90, 120, 180, 270, 365, 550, 730} }

func (p *provider) validate(_ context.Context, put *arm.Put) error {
	body := put.Resource.Body
	if t := body.String("properties.Application_Type"); t == "" {
		return arm.BadRequest("InvalidRequestContent", "The property 'Application_Type' of component '%s' is required.", put.ID.Name())
	}
	if n := body.Int("properties.RetentionInDays", 90); !slices.Contains(retentions(), n) {
		return arm.InvalidProperty("properties.RetentionInDays", "The retention of %d days is not one of 30, 60, 90, 120, 180, 270, 365, 550 and 730.", n)
	}
	if v, ok := body.Get("properties.SamplingPercentage").(float64); ok && (v <= 0 || v > 100) {
		return arm.InvalidProperty("properties.SamplingPercentage", "The sampling percentage %g is not above 0 and at most 100.", v)
	}
	for _, name := range []string{"publicNetworkAccessForIngestion", "publicNetworkAccessForQuery"} {
		switch v := body.String("properties." + name); strings.ToLower(v) {
		case "", "enabled", "disabled", "securedbyperimeter":
		default:
			return arm.InvalidProperty("properties."+name, "The value '%s' is not Enabled, Disabled or SecuredByPerimeter.", v)
		}
	}
	ws := body.String("properties.WorkspaceResourceId")
	if ws == "" {
		body.Delete("properties.WorkspaceResourceId")
		return nil
	}
	id, err := arm.ParseID(ws)
	if err != nil || !strings.EqualFold(id.Type(), workspaceType) {
		return arm.InvalidProperty("properties.WorkspaceResourceId", "'%s' is not the ID of a Log Analytics workspace.", ws)
	}
	there, err := p.kernel.Resources().Exists(put.Tx, ws)
	if err != nil {
		return err
	}
	if !there {
		// Azure's words are not known
		e := arm.BadRequest("LinkedWorkspaceNotFound", "The Log Analytics workspace '%s' was not found.", ws)
		e.Target = "properties.WorkspaceResourceId"
		return e
	}
	return nil
}

func (p *provider) put(_ context.Context, put *arm.Put) error {
	body, name := put.Resource.Body, put.ID.Name()
	if put.Creating() {
		body.Set("properties.InstrumentationKey", uuid.NewString())
		body.Set("properties.AppId", uuid.NewString())
		body.Set("properties.CreationDate", arm.Timestamp(put.Now))
	} else {
		put.Force("properties.InstrumentationKey", "properties.AppId", "properties.CreationDate")
		// what was linked to a workspace stays so
		put.Keep("properties.WorkspaceResourceId")
		put.Resource.Private = put.Existing.Private
	}
	region := arm.NormalizeLocation(body.String("location"))
	body.Set("properties.ConnectionString", "InstrumentationKey="+body.String("properties.InstrumentationKey")+
		";IngestionEndpoint=https://"+region+"-0.in.applicationinsights.azure.com/;LiveEndpoint=https://"+region+
		".livediagnostics.monitor.azure.com/;ApplicationId="+body.String("properties.AppId"))
	mode := "ApplicationInsights"
	if body.Has("properties.WorkspaceResourceId") {
		mode = "LogAnalytics"
	}
	body.Set("properties.IngestionMode", mode)
	body.Set("properties.ApplicationId", name)
	body.Set("properties.Name", name)
	body.Set("properties.TenantId", put.ID.Subscription)
	body.Default("kind", body.String("properties.Application_Type"))
	body.Default("properties.Flow_Type", "Bluefield")
	body.Default("properties.Request_Source", "rest")
	body.Default("properties.RetentionInDays", 90)
	body.Default("properties.publicNetworkAccessForIngestion", "Enabled")
	body.Default("properties.publicNetworkAccessForQuery", "Enabled")
	body.Set("properties.Ver", "v2")
	return nil
}

// billingKey is where a component keeps its billing features, which have a path
// of their own and are not part of its body.
const billingKey = "billing"

func defaultBilling() map[string]any {
	return map[string]any{
		"CurrentBillingFeatures": []any{"Basic"},
		"DataVolumeCap": map[string]any{
			"Cap": 100.0, "ResetTime": 0, "WarningThreshold": 90, "MaxHistoryCap": 500.0,
			"StopSendNotificationWhenHitThreshold": false, "StopSendNotificationWhenHitCap": false,
		},
	}
}

func billingOf(r *arm.Resource) any {
	if b := r.Private.Object(billingKey); b != nil {
		return b
	}
	return defaultBilling()
}

func (p *provider) billing(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var out any
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		out = billingOf(r)
		return nil
	})
	return arm.OK(out), err
}

func (p *provider) setBilling(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	want := req.Body.Clone()
	for _, f := range want.List("CurrentBillingFeatures") {
		if s, _ := f.(string); s != "Basic" && s != "Application Insights Enterprise" {
			return nil, arm.InvalidProperty("CurrentBillingFeatures", "The billing feature '%v' is not Basic or Application Insights Enterprise.", f)
		}
	}
	if v, ok := want.Get("DataVolumeCap.Cap").(float64); ok && v < 0 {
		return nil, arm.InvalidProperty("DataVolumeCap.Cap", "The daily cap of %g GB is negative.", v)
	}
	var out arm.Doc
	err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
		return p.kernel.Resources().Update(tx, req.ID.Key(), func(r *arm.Resource) error {
			out = arm.Doc(defaultBilling())
			if have := r.Private.Object(billingKey); have != nil {
				out = have.Clone()
			}
			out.Merge(want)
			r.Private.Set(billingKey, map[string]any(out))
			return nil
		})
	})
	return arm.OK(out), err
}

func keyIndex(key string) string { return "key:" + key }
func appIndex(app string) string { return "app:" + app }

// ByKey returns the component with an instrumentation key, or store.ErrNotFound.
func ByKey(tx store.Tx, res *arm.Resources, key string) (*arm.Resource, error) {
	return first(tx, res, keyIndex(key))
}

// ByApp returns the component with an application ID, or store.ErrNotFound.
func ByApp(tx store.Tx, res *arm.Resources, app string) (*arm.Resource, error) {
	return first(tx, res, appIndex(app))
}

func first(tx store.Tx, res *arm.Resources, entry string) (*arm.Resource, error) {
	for r, err := range res.Find(tx, ComponentType, entry) {
		return r, err
	}
	return nil, store.ErrNotFound
}

// DailyCap is how many GB a component takes in a day.
func DailyCap(r *arm.Resource) float64 {
	limit := 100.0
	if b := r.Private.Object(billingKey); b != nil {
		if v, ok := b.Get("DataVolumeCap.Cap").(float64); ok {
			limit = v
		}
	}
	return limit
}
