package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// Config says which cloud the provider works on, and as whom.
type Config struct {
	// Major is the azurerm major version whose schemas are served: 3, 4 or 5.
	Major int
	// HTTPClient reaches Azure's host names as this cloud serves them. Required.
	HTTPClient *http.Client
	// Token returns a bearer token for an audience such as
	// https://management.azure.com/, of the principal below. Required.
	Token func(ctx context.Context, audience string) (string, error)
	// SubscriptionID and TenantID are the only ones that this cloud has.
	SubscriptionID, TenantID string
	// ClientID and ObjectID are the principal that Token speaks for.
	ClientID, ObjectID string
	// Clock times retries and polling. Default: the machine's.
	Clock clock.Clock
	// ManagementURL is the address of Azure Resource Manager. Default:
	// https://management.azure.com
	ManagementURL string
	// LoginURL is the address of Microsoft Entra. Default:
	// https://login.microsoftonline.com
	LoginURL string
	// StorageSuffix is the domain of the storage data planes. Default:
	// core.windows.net
	StorageSuffix string
	// WorkDir is the directory that terraform runs in, where relative paths of
	// files begin. Default: this process's own.
	WorkDir string
}

// Provider serves one azurerm major version. It is safe for concurrent use.
type Provider struct {
	cfg   Config
	table *table
	types map[string]*resourceType
	data  map[string]*dataSource
}

// New prepares a provider. It reads the schema table of cfg.Major only.
func New(cfg Config) (*Provider, error) {
	if cfg.HTTPClient == nil || cfg.Token == nil {
		return nil, errors.New("built-in provider: an HTTP client and a token source are required")
	}
	if cfg.SubscriptionID == "" || cfg.TenantID == "" {
		return nil, errors.New("built-in provider: a subscription and a tenant are required")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.NewAdjustable(0)
	}
	if cfg.ManagementURL == "" {
		cfg.ManagementURL = "https://management.azure.com"
	}
	if cfg.LoginURL == "" {
		cfg.LoginURL = "https://login.microsoftonline.com"
	}
	if cfg.StorageSuffix == "" {
		cfg.StorageSuffix = "core.windows.net"
	}
	cfg.ManagementURL = strings.TrimSuffix(cfg.ManagementURL, "/")
	cfg.LoginURL = strings.TrimSuffix(cfg.LoginURL, "/")
	t, err := loadTable(cfg.Major)
	if err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, table: t, types: map[string]*resourceType{}, data: map[string]*dataSource{}}
	for _, rt := range resourceTypes() {
		if t.Resources[rt.name] != nil {
			p.types[rt.name] = rt
		}
	}
	for _, ds := range dataSources() {
		if t.DataSources[ds.name] != nil {
			p.data[ds.name] = ds
		}
	}
	return p, nil
}

// Version is the azurerm release whose schemas are served.
func (p *Provider) Version() string { return p.table.Version }

// session is a configured provider: a principal, and the features that its block
// asks for.
type session struct {
	*client
	major         int
	subscription  string
	tenant        string
	clientID      string
	objectID      string
	storageSuffix string
	workDir       string
	// storageAzureAD says to use tokens, not account keys, for storage data.
	storageAzureAD bool
	features       map[string]any
}

// feature reads a flag of the features block, as "key_vault.recover_soft_deleted_key_vaults".
func (s *session) feature(path string, byDefault bool) bool {
	group, flag, _ := strings.Cut(path, ".")
	if v, ok := first(s.features[group])[flag].(bool); ok {
		return v
	}
	return byDefault
}

// errUnconfigured is the error of every call before ConfigureProvider.
var errUnconfigured = errors.New("the provider is not configured")

// newSession checks the provider block against this cloud. The arguments are as in
// the configuration; environment variables for Azure itself are not consulted, so
// that a shell that is set up for Azure does not disturb this cloud.
func (p *Provider) newSession(ctx context.Context, config map[string]any) (*session, error) {
	s := &session{
		client: &client{
			http:  p.cfg.HTTPClient,
			base:  p.cfg.ManagementURL,
			token: p.cfg.Token,
			clock: p.cfg.Clock,
		},
		major:          p.cfg.Major,
		subscription:   p.cfg.SubscriptionID,
		tenant:         p.cfg.TenantID,
		clientID:       p.cfg.ClientID,
		objectID:       p.cfg.ObjectID,
		storageSuffix:  p.cfg.StorageSuffix,
		workDir:        p.cfg.WorkDir,
		storageAzureAD: asBool(config["storage_use_azuread"]),
		features:       first(config["features"]),
	}
	if want := asString(config["subscription_id"]); want != "" && !strings.EqualFold(want, s.subscription) {
		return nil, fmt.Errorf("subscription_id is %s, but this cloud has the subscription %s only", want, s.subscription)
	}
	if want := asString(config["tenant_id"]); want != "" && !strings.EqualFold(want, s.tenant) {
		return nil, fmt.Errorf("tenant_id is %s, but this cloud has the tenant %s only", want, s.tenant)
	}
	id, secret := asString(config["client_id"]), asString(config["client_secret"])
	if id != "" && secret != "" {
		login := &credential{s: s, url: p.cfg.LoginURL, id: id, secret: secret}
		claims, err := login.verify(ctx)
		if err != nil {
			return nil, fmt.Errorf("the credentials of the provider block were refused: %w", err)
		}
		s.clientID, s.objectID = id, asString(claims["oid"])
		s.token = login.token
	}
	return s, nil
}
