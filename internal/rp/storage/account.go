package storage

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func invalidName(name string) *arm.Error {
	return arm.BadRequest("AccountNameInvalid",
		"%s is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only.", name)
}

func (p *provider) account() *arm.ResourceType {
	return &arm.ResourceType{
		Type:     AccountType,
		Tracked:  true,
		Identity: []string{"SystemAssigned", "UserAssigned"},
		// clients take 200 or 202 from a PUT, never 201
		PutStatus:   [2]int{http.StatusOK, http.StatusOK},
		StartStatus: http.StatusAccepted,
		Latency:     arm.Latency{Create: 20 * time.Second},
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[a-z0-9]{3,24}$`),
			Error:   invalidName,
		},
		Unimplemented: map[string]string{
			"properties.encryption.keySource=Microsoft.Keyvault":                               "encrypts with a key of yours",
			"properties.customDomain.name":                                                     "serves under a domain of yours",
			"properties.azureFilesIdentityBasedAuthentication.directoryServiceOptions=AADDS":   "authenticates SMB",
			"properties.azureFilesIdentityBasedAuthentication.directoryServiceOptions=AADKERB": "authenticates SMB",
			"properties.azureFilesIdentityBasedAuthentication.directoryServiceOptions=AD":      "authenticates SMB",
			"properties.allowedCopyScope":                                                      "restricts where blobs are copied from",
			"properties.sasPolicy":                                                             "limits signatures",
			"properties.keyPolicy":                                                             "lets keys expire",
			"properties.isSftpEnabled":                                                         "serves SFTP",
			"properties.isNfsV3Enabled":                                                        "serves NFS",
			"properties.immutableStorageWithVersioning.enabled":                                "makes blobs immutable",
			"properties.routingPreference.publishInternetEndpoints":                            "serves other endpoints",
			"properties.routingPreference.publishMicrosoftEndpoints":                           "serves other endpoints",
			"properties.dnsEndpointType=AzureDnsZone":                                          "serves other endpoints",
			"extendedLocation":                                                                 "places the account at an edge site",
		},
		Index:    func(r *arm.Resource) []string { return []string{NameIndex(r.Name())} },
		Validate: p.validateAccount,
		Put:      p.putAccount,
		Read:     p.readAccount,
		Delete: func(ctx context.Context, d *arm.Delete) error {
			if err := p.Containers.DeleteAccount(ctx, d.Tx, d.Resource.UID); err != nil {
				return fmt.Errorf("delete the data of storage account %s: %w", d.Resource.ID, err)
			}
			d.After(p.Containers.Reclaim)
			return nil
		},
		Actions: []arm.Action{
			{Name: "listKeys", Permission: AccountType + "/listkeys/action", Handle: p.listKeys},
			{Name: "regenerateKey", Permission: AccountType + "/regeneratekey/action", Handle: p.regenerateKey},
			{Name: "ListAccountSas", Permission: AccountType + "/listAccountSas/action", Handle: p.listAccountSAS},
			{Name: "ListServiceSas", Permission: AccountType + "/listServiceSas/action", Handle: p.listServiceSAS},
			{Name: "revokeUserDelegationKeys", Permission: AccountType + "/revokeUserDelegationKeys/action", Handle: p.revokeDelegations},
		},
	}
}

// skus is the SKUs of each kind.
func skus(kind string) []string {
	switch kind {
	case "StorageV2":
		return []string{"Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_RAGRS", "Standard_GZRS", "Standard_RAGZRS", "Premium_LRS"}
	case "Storage":
		return []string{"Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_RAGRS", "Premium_LRS"}
	case "BlobStorage":
		return []string{"Standard_LRS", "Standard_GRS", "Standard_RAGRS"}
	case "BlockBlobStorage", "FileStorage":
		return []string{"Premium_LRS", "Premium_ZRS"}
	}
	return nil
}

// match finds v in values without regard to case.
func match(v string, values []string) (string, bool) {
	i := slices.IndexFunc(values, func(s string) bool { return strings.EqualFold(s, v) })
	if i < 0 {
		return "", false
	}
	return values[i], true
}

// settable is what a PUT leaves as it was when it does not name it.
func settable() []string {
	out := []string{"kind", "sku"}
	for _, name := range []string{
		"accessTier", "allowBlobPublicAccess", "allowCrossTenantReplication", "allowSharedKeyAccess", "allowedCopyScope",
		"defaultToOAuthAuthentication", "dnsEndpointType", "encryption", "isHnsEnabled", "isLocalUserEnabled", "isNfsV3Enabled",
		"isSftpEnabled", "largeFileSharesState", "minimumTlsVersion", "networkAcls", "publicNetworkAccess", "supportsHttpsTrafficOnly",
	} {
		out = append(out, "properties."+name)
	}
	return out
}

func (p *provider) validateAccount(_ context.Context, put *arm.Put) error {
	put.Keep(settable()...)
	body, name := put.Resource.Body, put.ID.Name()
	for r, err := range p.kernel.Resources().Find(put.Tx, AccountType, NameIndex(name)) {
		if err != nil {
			return err
		}
		if arm.Key(r.ID) != put.ID.Key() {
			return taken(name)
		}
	}
	kinds := []string{"Storage", "StorageV2", "BlobStorage", "BlockBlobStorage", "FileStorage"}
	kind, ok := match(body.String("kind"), kinds)
	if !ok {
		return arm.BadRequest("InvalidRequestPropertyValue", "The value '%s' is not allowed for property kind. The allowed values are %s.", body.String("kind"), strings.Join(kinds, ", "))
	}
	if put.Existing != nil {
		if was := put.Existing.Body.String("kind"); was != kind && !(kind == "StorageV2" && (was == "Storage" || was == "BlobStorage")) {
			return arm.BadRequest("InvalidAccountKindChange", "The account kind cannot be changed from %s to %s.", was, kind)
		}
	}
	sku, ok := match(body.String("sku.name"), skus(kind))
	if !ok {
		return arm.BadRequest("InvalidRequestPropertyValue", "The value '%s' is not allowed for property sku.name of an account of kind %s. The allowed values are %s.",
			body.String("sku.name"), kind, strings.Join(skus(kind), ", "))
	}
	tier, _, _ := strings.Cut(sku, "_")
	body["kind"], body["sku"] = kind, map[string]any{"name": sku, "tier": tier}
	if err := checkEnum(body, "properties.accessTier", "Hot", "Cool", "Cold", "Premium"); err != nil {
		return err
	}
	if err := checkEnum(body, "properties.minimumTlsVersion", "TLS1_0", "TLS1_1", "TLS1_2", "TLS1_3"); err != nil {
		return err
	}
	if err := checkEnum(body, "properties.publicNetworkAccess", "Enabled", "Disabled", "SecuredByPerimeter"); err != nil {
		return err
	}
	if err := checkEnum(body, "properties.networkAcls.defaultAction", "Allow", "Deny"); err != nil {
		return err
	}
	if err := p.checkSubnets(put); err != nil {
		return err
	}
	if kind == "BlobStorage" && !body.Has("properties.accessTier") {
		return arm.BadRequest("AccessTierRequired", "Access tier is required for a storage account of kind BlobStorage.")
	}
	if body.Bool("properties.isHnsEnabled", false) && kind != "StorageV2" && kind != "BlockBlobStorage" {
		return arm.BadRequest("InvalidRequestPropertyValue", "A hierarchical namespace is not supported for an account of kind %s.", kind)
	}
	if put.Existing == nil {
		return nil
	}
	if was := put.Existing.Body.String("sku.tier"); was != tier {
		return arm.BadRequest("InvalidAccountTypeChange", "The account cannot be changed from tier %s to %s.", was, tier)
	}
	for _, path := range []string{"properties.isHnsEnabled", "properties.isNfsV3Enabled", "properties.encryption.requireInfrastructureEncryption"} {
		if put.Existing.Body.Bool(path, false) != body.Bool(path, false) {
			// Azure's words are not known
			e := arm.Errorf(http.StatusConflict, "PropertyChangeNotAllowed", "The property '%s' of storage account '%s' cannot be changed after creation.", strings.TrimPrefix(path, "properties."), name)
			e.Target = path
			return e
		}
	}
	return nil
}

// taken is the answer for a name in use anywhere.
func taken(name string) *arm.Error {
	return arm.Errorf(http.StatusConflict, "StorageAccountAlreadyTaken", "The storage account named %s is already taken.", name)
}

// checkEnum refuses a string that is none of the values, and writes it as Azure
// does.
func checkEnum(body arm.Doc, path string, values ...string) error {
	s := body.String(path)
	if s == "" {
		return nil
	}
	v, ok := match(s, values)
	if !ok {
		e := arm.BadRequest("InvalidRequestPropertyValue", "The value '%s' is not allowed for property %s. The allowed values are %s.",
			s, strings.TrimPrefix(path, "properties."), strings.Join(values, ", "))
		e.Target = path
		return e
	}
	body.Set(path, v)
	return nil
}

func (p *provider) putAccount(_ context.Context, put *arm.Put) error {
	r, body, name := put.Resource, put.Resource.Body, put.ID.Name()
	now := arm.Timestamp(put.Now)
	kind, sku := body.String("kind"), body.String("sku.name")
	if put.Creating() {
		if err := newKeys(r, put.Now, keyNames()...); err != nil {
			return err
		}
	}
	body.Set("properties.keyCreationTime", map[string]any{
		"key1": r.Private.String("keys.key1.created"), "key2": r.Private.String("keys.key2.created"),
	})
	put.Force("properties.creationTime")
	body.Default("properties.creationTime", now)
	location := arm.NormalizeLocation(body.String("location"))
	body["location"] = location
	body.Set("properties.primaryLocation", location)
	body.Set("properties.statusOfPrimary", "available")
	body.Set("properties.primaryEndpoints", endpoints(name, "", kind, sku))
	for _, path := range []string{"secondaryLocation", "statusOfSecondary", "secondaryEndpoints"} {
		body.Delete("properties." + path)
	}
	if second := pairedRegion(location); second != "" && strings.Contains(sku, "G") {
		body.Set("properties.secondaryLocation", second)
		body.Set("properties.statusOfSecondary", "available")
		if strings.Contains(sku, "RAG") {
			body.Set("properties.secondaryEndpoints", endpoints(name, "-secondary", kind, sku))
		}
	}
	if kind == "StorageV2" || kind == "BlobStorage" {
		tier := "Hot"
		if strings.HasPrefix(sku, "Premium") {
			tier = "Premium"
		}
		body.Default("properties.accessTier", tier)
	}
	// new accounts refuse anonymous reads unless asked to allow them
	body.Default("properties.allowBlobPublicAccess", false)
	body.Default("properties.allowCrossTenantReplication", false)
	body.Default("properties.minimumTlsVersion", "TLS1_0")
	body.Default("properties.supportsHttpsTrafficOnly", true)
	body.Default("properties.publicNetworkAccess", "Enabled")
	body.Delete("properties.privateEndpointConnections")
	for name, v := range map[string]any{
		"bypass": "AzureServices", "defaultAction": "Allow", "ipRules": []any{}, "virtualNetworkRules": []any{}, "resourceAccessRules": []any{},
	} {
		body.Default("properties.networkAcls."+name, v)
	}
	for _, rules := range []string{"ipRules", "virtualNetworkRules"} {
		for _, v := range body.List("properties.networkAcls." + rules) {
			if m, ok := v.(map[string]any); ok {
				arm.Doc(m).Default("action", "Allow")
				if rules == "virtualNetworkRules" {
					arm.Doc(m).Default("state", "Succeeded")
				}
			}
		}
	}
	body.Default("properties.encryption.keySource", "Microsoft.Storage")
	body.Default("properties.encryption.services.blob.keyType", "Account")
	body.Default("properties.encryption.services.file.keyType", "Account")
	for service := range body.Object("properties.encryption.services") {
		body.Default("properties.encryption.services."+service+".enabled", true)
		body.Default("properties.encryption.services."+service+".lastEnabledTime", body.String("properties.creationTime"))
	}
	return nil
}

// readAccount shows who is connected to an account.
func (p *provider) readAccount(ctx context.Context, tx store.Tx, r *arm.Resource) error {
	list, err := p.kernel.RenderChildren(ctx, tx, r.ParsedID(), AccountType+"/privateEndpointConnections")
	r.Body.Set("properties.privateEndpointConnections", list)
	return err
}

// endpoints is where an account of a kind and SKU serves what.
func endpoints(name, suffix, kind, sku string) map[string]any {
	services := []string{"blob", "queue", "table", "file", "dfs", "web"}
	switch {
	case kind == "FileStorage":
		services = []string{"file"}
	case kind == "BlobStorage":
		services = []string{"blob", "table", "dfs"}
	case kind == "BlockBlobStorage":
		services = []string{"blob", "dfs", "web"}
	case kind == "Storage":
		services = []string{"blob", "queue", "table", "file"}
	case strings.HasPrefix(sku, "Premium"):
		services = []string{"blob", "web", "dfs"}
	}
	out := map[string]any{}
	for _, s := range services {
		if suffix != "" && s == "file" {
			continue // files have no secondary
		}
		// Azure numbers the zones of static web sites; z13 is eastus's
		host := s
		if s == "web" {
			host = "z13.web"
		}
		out[s] = "https://" + name + suffix + "." + host + ".core.windows.net/"
	}
	return out
}

// pairedRegion is the region that geo-redundant accounts copy to; "" where it
// has none or it is not known here.
func pairedRegion(location string) string {
	pairs := [][2]string{
		{"eastus", "westus"}, {"eastus2", "centralus"}, {"northcentralus", "southcentralus"}, {"westus2", "westcentralus"},
		{"northeurope", "westeurope"}, {"uksouth", "ukwest"}, {"francecentral", "francesouth"}, {"germanywestcentral", "germanynorth"},
		{"norwayeast", "norwaywest"}, {"swedencentral", "swedensouth"}, {"switzerlandnorth", "switzerlandwest"},
		{"eastasia", "southeastasia"}, {"japaneast", "japanwest"}, {"koreacentral", "koreasouth"}, {"australiaeast", "australiasoutheast"},
		{"australiacentral", "australiacentral2"}, {"canadacentral", "canadaeast"}, {"centralindia", "southindia"}, {"uaenorth", "uaecentral"},
		{"southafricanorth", "southafricawest"},
	}
	for _, p := range pairs {
		if p[0] == location {
			return p[1]
		}
		if p[1] == location {
			return p[0]
		}
	}
	return ""
}

func (p *provider) checkName(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	name := req.Body.String("name")
	if typ := req.Body.String("type"); !strings.EqualFold(typ, AccountType) {
		return nil, arm.BadRequest("InvalidRequestPropertyValue", "The value '%s' is not allowed for property type. The allowed value is %s.", typ, AccountType)
	}
	no := func(reason string, e *arm.Error) (*arm.Response, error) {
		return arm.OK(map[string]any{"nameAvailable": false, "reason": reason, "message": e.Message}), nil
	}
	if !p.account().Name.Pattern.MatchString(name) {
		return no("AccountNameInvalid", invalidName(name))
	}
	found := false
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		for _, err := range p.kernel.Resources().Find(tx, AccountType, NameIndex(name)) {
			found = true
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if found {
		return no("AlreadyExists", taken(name))
	}
	return arm.OK(map[string]any{"nameAvailable": true}), nil
}
