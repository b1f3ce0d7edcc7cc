package machinelearning

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// link is a resource that a workspace stands on.
type link struct {
	property, typ string
	required      bool
}

func links() []link {
	return []link{
		{"storageAccount", "Microsoft.Storage/storageAccounts", true},
		{"keyVault", "Microsoft.KeyVault/vaults", true},
		{"applicationInsights", "Microsoft.Insights/components", false},
		{"containerRegistry", "Microsoft.ContainerRegistry/registries", false},
	}
}

func (p *provider) workspace() *arm.ResourceType {
	return &arm.ResourceType{
		Type:       WorkspaceType,
		Tracked:    true,
		SystemData: true,
		Identity:   []string{"SystemAssigned", "UserAssigned"},
		// clients take 200 or 202 from a PUT, never 201
		PutStatus:   [2]int{http.StatusOK, http.StatusOK},
		StartStatus: http.StatusAccepted,
		Latency:     arm.Latency{Create: time.Minute, Delete: time.Minute},
		Name: arm.NameRule{
			// the rule that azurerm quotes from the service
			Pattern: regexp.MustCompile(`^[a-zA-Z0-9][\w-]{2,32}$`),
			Text:    "A workspace name has 3 to 33 letters, digits, '-' and '_', and begins with a letter or digit.",
		},
		Unimplemented: map[string]string{
			"kind=FeatureStore":                                                "makes a feature store",
			"properties.encryption.status=Enabled":                             "encrypts with a key of yours",
			"properties.enableServiceSideCMKEncryption":                        "encrypts with a key of yours",
			"properties.featureStoreSettings":                                  "makes a feature store",
			"properties.serviceManagedResourcesSettings":                       "sizes what the service manages",
			"properties.sharedPrivateLinkResources":                            "connects over private links",
			"properties.systemDatastoresAuthMode=Identity":                     "opens datastores with the identity of who asks",
			"properties.systemDatastoresAuthMode=UserDelegationSAS":            "opens datastores with the identity of who asks",
			"properties.enableDataIsolation":                                   "separates the data of workspaces",
			"properties.workspaceHubConfig.additionalWorkspaceStorageAccounts": "gives projects storage accounts of their own",
		},
		Index: func(r *arm.Resource) []string {
			out := []string{"guid|" + r.Body.String("properties.workspaceId")}
			if id := r.Body.String(serverlessSubnet); id != "" {
				out = append(out, SubnetIndex(id))
			}
			if id := r.Body.String("properties.hubResourceId"); id != "" {
				out = append(out, hubIndex(id))
			}
			return out
		},
		Filter:       ofKind,
		Validate:     p.validateWorkspace,
		Put:          p.putWorkspace,
		Read:         p.readWorkspace,
		Delete:       p.deleteWorkspace,
		SetAside:     p.setAside,
		DeleteAbsent: p.purgeAbsent,
		Actions: []arm.Action{
			{Name: "listKeys", Permission: WorkspaceType + "/listKeys/action", Handle: p.listKeys},
			{Name: "listStorageAccountKeys", Permission: WorkspaceType + "/listStorageAccountKeys/action", Handle: p.listStorageKeys},
			{Name: "resyncKeys", Permission: WorkspaceType + "/resyncKeys/action", Handle: resyncKeys},
			{Name: "provisionManagedNetwork", Permission: WorkspaceType + "/provisionManagedNetwork/action", Handle: p.provisionNetwork},
			{Name: "diagnose", Permission: WorkspaceType + "/diagnose/action", Handle: p.diagnose},
		},
	}
}

func (p *provider) validateWorkspace(ctx context.Context, put *arm.Put) error {
	if err := p.freeName(ctx, put); err != nil {
		return err
	}
	put.Keep("kind", "sku", "properties.storageAccount", "properties.keyVault", "properties.applicationInsights",
		"properties.containerRegistry", "properties.hbiWorkspace")
	body := put.Resource.Body
	if err := p.validateKind(ctx, put); err != nil {
		return err
	}
	for _, l := range links() {
		path := "properties." + l.property
		id := body.String(path)
		if id == "" {
			if l.required {
				return arm.BadRequest("ValidationError", "Missing dependent resources in workspace json: %s", l.property)
			}
			continue
		}
		parsed, err := arm.ParseID(id)
		if err != nil || !strings.EqualFold(parsed.Type(), l.typ) {
			e := arm.BadRequest("ValidationError", "The property '%s' is '%s', which is not the ID of a resource of type %s.", l.property, id, l.typ)
			e.Target = path
			return e
		}
		if put.Existing != nil && strings.EqualFold(put.Existing.Body.String(path), id) {
			continue // it was there when it was linked
		}
		if _, err := p.kernel.Load(ctx, put.Tx, parsed); err != nil {
			return err
		}
	}
	if err := p.validateNetwork(put); err != nil {
		return err
	}
	if err := p.checkServerless(ctx, put); err != nil {
		return err
	}
	if put.Existing != nil && !put.Existing.Body.Bool("properties.hbiWorkspace", false) && body.Bool("properties.hbiWorkspace", false) {
		return arm.BadRequest("ValidationError", "The property 'hbiWorkspace' can be set only when a workspace is created.")
	}
	// Azure refuses to change these; its words are not known
	return put.Immutable("properties.storageAccount", "properties.keyVault")
}

// serverlessSubnet is the subnet in which the nodes of serverless jobs stand.
const serverlessSubnet = "properties.serverlessComputeSettings.serverlessComputeCustomSubnet"

// checkServerless checks what serverless compute is given. Azure's words for what
// is wrong with it are not known.
func (p *provider) checkServerless(ctx context.Context, put *arm.Put) error {
	id := put.Resource.Body.String(serverlessSubnet)
	if id == "" {
		return nil
	}
	if put.Existing != nil && strings.EqualFold(put.Existing.Body.String(serverlessSubnet), id) {
		return nil
	}
	parsed, err := p.usableSubnet(ctx, put, serverlessSubnet, id, arm.NormalizeLocation(put.Resource.Body.String("location")))
	if err != nil {
		return err
	}
	return put.AllowedLinked(ctx, "Microsoft.Network/virtualNetworks/subnets/join/action", parsed)
}

func (p *provider) putWorkspace(ctx context.Context, put *arm.Put) error {
	body, r := put.Resource.Body, put.Resource
	region := arm.NormalizeLocation(body.String("location"))
	if !body.Has("sku.name") {
		body["sku"] = map[string]any{"name": "Basic", "tier": "Basic"}
	}
	// callers read the tier without asking whether it is there
	body.Default("sku.tier", body.String("sku.name"))
	put.Force("properties.workspaceId", "properties.creationTime")
	body.Default("properties.workspaceId", uuid.NewString())
	body.Default("properties.creationTime", arm.Timestamp(put.Now))
	body.Default("properties.description", "")
	body.Default("properties.publicNetworkAccess", "Enabled")
	body.Default("properties.hbiWorkspace", false)
	body.Default("properties.v1LegacyMode", false)
	body.Default("properties.allowPublicAccessWhenBehindVnet", false)
	body.Default("properties.enableDataIsolation", false)
	body.Default("properties.systemDatastoresAuthMode", "AccessKey")
	body.Set("properties.tenantId", p.kernel.Tenant())
	body.Set("properties.discoveryUrl", "https://"+region+".api.azureml.ms/discovery")
	body.Set("properties.mlFlowTrackingUri", "azureml://"+region+".api.azureml.ms/mlflow/v1.0"+r.ID)
	body.Delete("properties.privateEndpointConnections")
	body.Delete("properties.privateLinkCount")
	if !isKind(put.Resource, kindProject) {
		if err := p.putNetwork(put); err != nil {
			return err
		}
	}
	if err := p.inheritAll(put.Tx, put.Resource); err != nil {
		return err
	}
	if put.Creating() {
		return p.Lifecycle.WorkspaceCreated(ctx, put)
	}
	return nil
}

// readWorkspace says of the default storage what it is now, and who is connected
// to the workspace.
func (p *provider) readWorkspace(ctx context.Context, tx store.Tx, r *arm.Resource) error {
	list, err := p.kernel.RenderChildren(ctx, tx, r.ParsedID(), WorkspaceType+"/privateEndpointConnections")
	if err != nil {
		return err
	}
	r.Body.Set("properties.privateEndpointConnections", list)
	r.Body.Set("properties.privateLinkCount", len(list))
	account, err := p.linked(tx, r, "storageAccount")
	if err != nil {
		return err
	}
	r.Body.Set("properties.storageHnsEnabled", account != nil && account.Body.Bool("properties.isHnsEnabled", false))
	if err := p.readHub(tx, r); err != nil {
		return err
	}
	return p.readNetwork(tx, r)
}

// deleteWorkspace ends a workspace, or keeps it to be recovered.
func (p *provider) deleteWorkspace(ctx context.Context, d *arm.Delete) error {
	if err := p.deleteHub(d); err != nil {
		return err
	}
	if err := p.liftQuotas(d.Tx, d.Resource.ID); err != nil {
		return err
	}
	return p.hold(ctx, d)
}
