// Package containerregistry is the resource provider
// Microsoft.ContainerRegistry. The registry that images are pushed to is a data
// plane of its own.
package containerregistry

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.ContainerRegistry"

	// RegistryType is the type of container registries.
	RegistryType = namespace + "/registries"
)

// Contents is the registries' data plane, as far as this provider needs it. uid is
// the UID of a registry's resource.
type Contents interface {
	// DeleteRegistry removes everything in a registry.
	DeleteRegistry(tx store.Tx, uid string) error
	// Usage is how many bytes a registry holds.
	Usage(tx store.Tx, uid string) (bytes int64, err error)
	// Reclaim tells that a transaction in which DeleteRegistry was called is durable.
	Reclaim()
}

// Deps is what the provider needs.
type Deps struct {
	// Contents may be nil: registries hold nothing then.
	Contents Contents
}

type provider struct {
	Deps
	kernel *arm.Kernel
}

// Provider returns the descriptors of the namespace.
func Provider(deps Deps) *arm.Provider {
	p := &provider{Deps: deps}
	return &arm.Provider{
		Namespace: namespace,
		Types:     []*arm.ResourceType{p.registry(), p.replication()},
		Actions: []arm.Action{
			{Name: "checkNameAvailability", Permission: namespace + "/checkNameAvailability/read", Handle: p.checkName},
		},
		Bind: func(k *arm.Kernel) { p.kernel = k },
	}
}

func namePattern() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]{5,50}$`) }

const nameRule = "Registry names may contain alpha numeric characters only and must be between 5 and 50 characters."

// nameIndex is the index entry of a registry's name, which is unique in all of
// Azure.
func nameIndex(name string) string { return "name|" + strings.ToLower(name) }

func (p *provider) registry() *arm.ResourceType {
	return &arm.ResourceType{
		Type:       RegistryType,
		Tracked:    true,
		Latency:    arm.Latency{Create: 10 * time.Second, Delete: 5 * time.Second},
		SystemData: true,
		Identity:   []string{"SystemAssigned", "UserAssigned"},
		// clients take 200, 201 or 202
		PutStatus: [2]int{http.StatusOK, http.StatusOK},
		Name: arm.NameRule{
			Pattern: namePattern(),
			Error:   func(name string) *arm.Error { return arm.BadRequest("InvalidName", "%s", nameRule) },
		},
		Unimplemented: map[string]string{
			"properties.encryption.status=enabled":                    "encrypts with a key of yours",
			"properties.dataEndpointEnabled":                          "serves data from endpoints of its own",
			"properties.zoneRedundancy=Enabled":                       "spreads over zones",
			"properties.policies.quarantinePolicy.status=enabled":     "hides images until they are approved",
			"properties.policies.trustPolicy.status=enabled":          "demands signed images",
			"properties.policies.retentionPolicy.status=enabled":      "deletes untagged images",
			"properties.policies.exportPolicy.status=disabled":        "forbids export",
			"properties.networkRuleBypassAllowedForTasks":             "lets tasks past network rules",
			"properties.roleAssignmentMode=AbacRepositoryPermissions": "assigns roles on repositories",
		},
		Index:    func(r *arm.Resource) []string { return []string{nameIndex(r.Name())} },
		Validate: p.validate,
		Put:      p.put,
		Read:     p.read,
		Delete:   p.delete,
		Actions: []arm.Action{
			{Name: "listUsages", Method: http.MethodGet, Permission: RegistryType + "/listUsages/read", Handle: p.listUsages},
			{Name: "listCredentials", Handle: p.listCredentials},
			{Name: "regenerateCredential", Handle: p.regenerate},
		},
	}
}

// Registry finds a registry by its global name, or returns store.ErrNotFound.
func Registry(tx store.Tx, res *arm.Resources, name string) (*arm.Resource, error) {
	for r, err := range res.Find(tx, RegistryType, nameIndex(name)) {
		return r, err
	}
	return nil, store.ErrNotFound
}

// read shows who is connected to a registry.
func (p *provider) read(ctx context.Context, tx store.Tx, r *arm.Resource) error {
	list, err := p.kernel.RenderChildren(ctx, tx, r.ParsedID(), RegistryType+"/privateEndpointConnections")
	r.Body.Set("properties.privateEndpointConnections", list)
	return err
}

func (p *provider) delete(_ context.Context, d *arm.Delete) error {
	if p.Contents == nil {
		return nil
	}
	if err := p.Contents.DeleteRegistry(d.Tx, d.Resource.UID); err != nil {
		return fmt.Errorf("delete the images of registry %s: %w", d.Resource.ID, err)
	}
	d.After(p.Contents.Reclaim)
	return nil
}

// limits are how much storage and how many webhooks a tier has:
// https://learn.microsoft.com/azure/container-registry/container-registry-skus
func limits(tier string) (bytes int64, webhooks int) {
	switch tier {
	case "Basic":
		return 10 << 30, 2
	case "Standard":
		return 100 << 30, 10
	}
	return 500 << 30, 500
}

// listUsages tells how much a registry holds. What it may hold is told, and not
// enforced.
func (p *provider) listUsages(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var out []any
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		var have int64
		if p.Contents != nil {
			if have, err = p.Contents.Usage(tx, r.UID); err != nil {
				return err
			}
		}
		bytes, webhooks := limits(r.Body.String("sku.tier"))
		out = []any{
			map[string]any{"name": "Size", "limit": bytes, "currentValue": have, "unit": "Bytes"},
			map[string]any{"name": "Webhooks", "limit": webhooks, "currentValue": 0, "unit": "Count"},
		}
		return nil
	})
	return arm.OK(map[string]any{"value": out}), err
}

// inUse is the ID of the registry that has a name, or "".
func (p *provider) inUse(tx store.Tx, name string) (string, error) {
	for r, err := range p.kernel.Resources().Find(tx, RegistryType, nameIndex(name)) {
		if err != nil {
			return "", err
		}
		return r.ID, nil
	}
	return "", nil
}

func (p *provider) validate(_ context.Context, put *arm.Put) error {
	put.Keep("sku", "properties.adminUserEnabled", "properties.policies")
	body, name := put.Resource.Body, put.ID.Name()
	id, err := p.inUse(put.Tx, name)
	if err != nil {
		return err
	}
	if id != "" && arm.Key(id) != put.ID.Key() {
		return arm.Errorf(http.StatusConflict, "AlreadyInUse", "The registry DNS name %s is already in use. You can check if the name is already claimed using following API: https://docs.microsoft.com/en-us/rest/api/containerregistry/registries/checknameavailability", loginServer(name))
	}
	tiers := []string{"Basic", "Standard", "Premium"}
	i := slices.IndexFunc(tiers, func(s string) bool { return strings.EqualFold(s, body.String("sku.name")) })
	if i < 0 {
		return arm.InvalidProperty("sku.name", "The SKU '%s' is not Basic, Standard or Premium.", body.String("sku.name"))
	}
	body["sku"] = map[string]any{"name": tiers[i], "tier": tiers[i]}
	// that network rules are for Premium is documented, the service's words are not
	closed := strings.EqualFold(body.String("properties.publicNetworkAccess"), "Disabled") ||
		strings.EqualFold(body.String("properties.networkRuleSet.defaultAction"), "Deny")
	if closed && tiers[i] != "Premium" {
		return arm.BadRequest("BadRequest", "The registry '%s' is of the SKU %s: public network access is disabled and network rules are set for the SKU Premium alone.", name, tiers[i])
	}
	return p.checkReplications(put)
}

func loginServer(name string) string { return strings.ToLower(name) + ".azurecr.io" }

func (p *provider) put(_ context.Context, put *arm.Put) error {
	body, r := put.Resource.Body, put.Resource
	if put.Creating() {
		body.Set("properties.creationDate", arm.Timestamp(put.Now))
		for _, name := range passwordNames() {
			if err := newPassword(r, name); err != nil {
				return err
			}
		}
	}
	put.Force("properties.creationDate")
	body.Set("properties.loginServer", loginServer(put.ID.Name()))
	body.Default("properties.adminUserEnabled", false)
	body.Default("properties.anonymousPullEnabled", false)
	body.Default("properties.dataEndpointEnabled", false)
	body.Default("properties.dataEndpointHostNames", []any{})
	body.Default("properties.encryption.status", "disabled")
	body.Default("properties.networkRuleBypassOptions", "AzureServices")
	body.Delete("properties.privateEndpointConnections")
	body.Default("properties.publicNetworkAccess", "Enabled")
	body.Default("properties.zoneRedundancy", "Disabled")
	body.Default("properties.policies.quarantinePolicy.status", "disabled")
	body.Default("properties.policies.trustPolicy.type", "Notary")
	body.Default("properties.policies.trustPolicy.status", "disabled")
	body.Default("properties.policies.retentionPolicy.days", 7)
	body.Default("properties.policies.retentionPolicy.status", "disabled")
	body.Default("properties.policies.exportPolicy.status", "enabled")
	body.Default("properties.policies.azureADAuthenticationAsArmPolicy.status", "enabled")
	return nil
}

func passwordNames() []string { return []string{"password", "password2"} }

func newPassword(r *arm.Resource, name string) error {
	s := rand.Text() + rand.Text()
	if len(s) < 32 {
		return fmt.Errorf("make registry password: too short")
	}
	r.Private.Set("passwords."+name, s)
	return nil
}

// credentials is the admin user, or the refusal of a registry without one.
func credentials(r *arm.Resource) (map[string]any, error) {
	if !r.Body.Bool("properties.adminUserEnabled", false) {
		// the text is the service's as the CLI shows it; its code is not known
		return nil, arm.BadRequest("UnAuthorizedForCredentialOperations",
			"Cannot perform credential operations for %s as admin user is disabled. Kindly enable admin user as per docs: https://docs.microsoft.com/en-us/azure/container-registry/container-registry-authentication#admin-account", r.ID)
	}
	passwords := []any{}
	for _, name := range passwordNames() {
		passwords = append(passwords, map[string]any{"name": name, "value": r.Private.String("passwords." + name)})
	}
	return map[string]any{"username": r.Name(), "passwords": passwords}, nil
}

func (p *provider) listCredentials(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var out map[string]any
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		out, err = credentials(r)
		return err
	})
	return arm.OK(out), err
}

func (p *provider) regenerate(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	name := req.Body.String("name")
	if !slices.Contains(passwordNames(), name) {
		return nil, arm.InvalidProperty("name", "The password '%s' is not password or password2.", name)
	}
	var out map[string]any
	err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
		return p.kernel.Resources().Update(tx, req.ID.Key(), func(r *arm.Resource) (err error) {
			if _, err := credentials(r); err != nil {
				return err
			}
			if err := newPassword(r, name); err != nil {
				return err
			}
			out, err = credentials(r)
			return err
		})
	})
	return arm.OK(out), err
}

func (p *provider) checkName(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	name := req.Body.String("name")
	if typ := req.Body.String("type"); !strings.EqualFold(typ, RegistryType) {
		return nil, arm.InvalidProperty("type", "The type '%s' is not %s.", typ, RegistryType)
	}
	answer := func(reason, message string) *arm.Response {
		return arm.OK(map[string]any{"nameAvailable": false, "reason": reason, "message": message})
	}
	if !namePattern().MatchString(name) {
		return answer("Invalid", nameRule), nil
	}
	var id string
	err := p.kernel.Store().View(ctx, func(tx store.Tx) (err error) {
		id, err = p.inUse(tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	if id != "" {
		return answer("AlreadyExists", fmt.Sprintf("The registry %s is already in use.", name)), nil
	}
	return arm.OK(map[string]any{"nameAvailable": true}), nil
}

// Admin is the admin user of a registry and its passwords by name; ok is false
// when the registry has its admin user off.
func Admin(r *arm.Resource) (user string, passwords map[string]string, ok bool) {
	if !r.Body.Bool("properties.adminUserEnabled", false) {
		return "", nil, false
	}
	passwords = map[string]string{}
	for _, name := range passwordNames() {
		passwords[name] = r.Private.String("passwords." + name)
	}
	return r.Name(), passwords, true
}
