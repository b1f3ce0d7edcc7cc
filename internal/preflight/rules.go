package preflight

import (
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

const (
	typeWorkspace = "Microsoft.MachineLearningServices/workspaces"
	typeCompute   = "Microsoft.MachineLearningServices/workspaces/computes"
	typeInsights  = "Microsoft.Insights/components"
	typeRegistry  = "Microsoft.ContainerRegistry/registries"
	typeVNet      = "Microsoft.Network/virtualNetworks"
	typeSubnet    = "Microsoft.Network/virtualNetworks/subnets"
	typeEndpoint  = "Microsoft.Network/privateEndpoints"
)

// Rules is every rule, in the order in which a resource is checked.
func Rules() []Rule {
	return []Rule{
		{"hns-default-storage", typeWorkspace, hnsDefaultStorage},
		{"retired-vm-size", typeCompute, retiredSize},
		{"size-not-in-region", typeCompute, sizeNotInRegion},
		{"compute-identity", typeCompute, computeIdentity},
		{"classic-application-insights", typeInsights, classicInsights},
		{"registry-private-endpoint", typeRegistry, registryPrivateEndpoint},
		{"private-endpoint-registry-sku", typeEndpoint, endpointRegistrySKU},
		{"managed-network-registry-sku", typeWorkspace, managedNetworkRegistrySKU},
		{"low-priority-retirement", typeCompute, lowPriority},
		{"instance-never-stops", typeCompute, instanceNeverStops},
		{"compute-name", typeCompute, computeName},
		{"compute-network", typeCompute, computeNetwork},
		{"docker-range", typeCompute, dockerRange},
		{"subnet-too-small", typeCompute, subnetTooSmall},
	}
}

// P1 of aml-facts §1.1.
func hnsDefaultStorage(v *View, ws *arm.Resource) (*Finding, error) {
	account, err := v.Get(ws.Body.String("properties.storageAccount"))
	if err != nil || account == nil || !account.Body.Bool("properties.isHnsEnabled", false) {
		return nil, err
	}
	return &Finding{
		Severity: Refused, Argument: "storage_account_id",
		Code: "BadRequest", Message: "Cannot use storage with HNS enabled.",
		Fix: fmt.Sprintf("Leave is_hns_enabled out of storage account %q, which is this workspace's default storage. For a hierarchical namespace add a second account and attach it with azurerm_machine_learning_datastore_datalake_gen2.",
			account.Name()),
		Source: "github.com/microsoft/AzureTRE/issues/1920; Azure ML docs, how-to-manage-workspace-cli (2025-06-13)",
	}, nil
}

func vmSize(r *arm.Resource) string { return r.Body.String("properties.properties.vmSize") }

func isCluster(r *arm.Resource) bool {
	return strings.EqualFold(r.Body.String("properties.computeType"), "AmlCompute")
}

func isInstance(r *arm.Resource) bool {
	return strings.EqualFold(r.Body.String("properties.computeType"), "ComputeInstance")
}

// retirementNotice is how far ahead a retirement is reported.
const retirementNotice = 2 * 365 * 24 * time.Hour

// P2. Azure ML's exact text for a retired size is not known (aml-facts,
// "Unknown"); the code is the one of Azure Batch for sizes it does not offer.
func retiredSize(v *View, r *arm.Resource) (*Finding, error) {
	size, ok := v.sizes.VMSize(vmSize(r))
	if !ok || size.Retirement.IsZero() {
		return nil, nil
	}
	argument := "vm_size"
	if isInstance(r) {
		argument = "virtual_machine_size"
	}
	alternative := "Choose a size that Azure still offers"
	if size.GPUs > 0 {
		alternative += ", such as Standard_NC4as_T4_v3 or Standard_NC24ads_A100_v4"
	} else {
		alternative += ", such as Standard_D4s_v3 or Standard_D4ds_v5"
	}
	date := size.Retirement.Format(time.DateOnly)
	f := &Finding{
		Argument: argument, Fix: alternative + " in this region, and check its quota: GPU families start at 0.",
		Source: "Azure/EOL service_list.json (2025-12-18)", Unverified: true,
	}
	if size.Retired(v.Now) {
		f.Severity, f.Code = Refused, "VMSizeNotSupported"
		f.Message = fmt.Sprintf("The VM size %s was retired on %s and is no longer offered. (Azure ML's exact wording is not known.)", size.Name, date)
		return f, nil
	}
	if size.Retirement.Sub(v.Now) > retirementNotice {
		return nil, nil
	}
	f.Severity = Warning
	f.Message = fmt.Sprintf("Azure retires the VM size %s on %s.", size.Name, date)
	return f, nil
}

// sizeNotInRegion reports a size that Azure's price list does not have in the region
// of a compute, where nobody can buy it, then. How Azure ML says so is not known.
func sizeNotInRegion(v *View, r *arm.Resource) (*Finding, error) {
	size, ok := v.sizes.VMSize(vmSize(r))
	region := arm.NormalizeLocation(r.Body.String("location"))
	if !ok || region == "" || size.Retired(v.Now) || v.sizes.Sold(size.Name, region) {
		return nil, nil
	}
	argument := "vm_size"
	if isInstance(r) {
		argument = "virtual_machine_size"
	}
	return &Finding{
		Severity: Refused, Argument: argument, Code: "VMSizeNotSupported", Unverified: true,
		Message: fmt.Sprintf("The VM size %s is not offered in region %s. (Azure ML's exact wording is not known.)", size.Name, region),
		Fix:     "Choose a size or a region from: az vm list-skus --size " + size.Name,
		Source:  "Azure's retail prices of 2026-06-18, in Azure/karpenter-provider-azure",
	}, nil
}

// P3. An image is pulled with the compute's identity when the registry's admin
// user is off.
func computeIdentity(v *View, r *arm.Resource) (*Finding, error) {
	if !isCluster(r) && !isInstance(r) {
		return nil, nil
	}
	ws, err := v.Get(r.ParsedID().Parent().String())
	if err != nil || ws == nil {
		return nil, err
	}
	registry, err := v.Get(ws.Body.String("properties.containerRegistry"))
	if err != nil || registry == nil || registry.Body.Bool("properties.adminUserEnabled", false) {
		return nil, err
	}
	f := &Finding{
		Severity: Fails, Argument: "identity", Code: "FailedPullingImage",
		Source: "Azure ML docs, how-to-identity-based-service-authentication (2025-06-10)",
	}
	principal := r.Body.String("identity.principalId")
	for _, u := range r.Body.Object("identity.userAssignedIdentities") {
		if m, ok := u.(map[string]any); ok && principal == "" {
			principal, _ = m["principalId"].(string)
		}
	}
	if principal == "" {
		f.Message = "Failed to pull Docker image. This error may occur because the compute could not authenticate with the Docker registry to pull the image. If using ACR please ensure the ACR has Admin user enabled or a Managed Identity with `AcrPull` access to the ACR is assigned to the compute."
		f.Fix = fmt.Sprintf("Registry %q has its admin user off, so give the compute an identity block (SystemAssigned) and that identity the role AcrPull on the registry.", registry.Name())
		return f, nil
	}
	var missing []string
	pull, err := v.roles.AllowedInTx(v.tx, principal, "Microsoft.ContainerRegistry/registries/pull/read", false, registry.ID)
	if err != nil {
		return nil, err
	}
	if !pull {
		missing = append(missing, fmt.Sprintf("AcrPull on registry %q", registry.Name()))
	}
	if account, err := v.Get(ws.Body.String("properties.storageAccount")); err != nil {
		return nil, err
	} else if account != nil {
		ok, err := v.roles.AllowedInTx(v.tx, principal, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", true, account.ID)
		if err != nil {
			return nil, err
		}
		if !ok {
			missing = append(missing, fmt.Sprintf("Storage Blob Data Reader (or Contributor) on account %q", account.Name()))
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	f.Severity = Warning
	f.Message = "The compute's identity has no role by which it could " + missingVerbs(missing) + ": what it does with its own identity is refused (403). Azure ML grants AcrPull by itself only when the registry was attached before the compute was made; it grants no storage role."
	f.Fix = "Assign its identity " + strings.Join(missing, " and ") + " with azurerm_role_assignment."
	f.Code = ""
	return f, nil
}

func missingVerbs(missing []string) string {
	if len(missing) == 2 {
		return "pull images or read data"
	}
	if strings.HasPrefix(missing[0], "AcrPull") {
		return "pull images"
	}
	return "read data"
}

// P5.
func classicInsights(_ *View, r *arm.Resource) (*Finding, error) {
	if r.Body.Has("properties.WorkspaceResourceId") {
		return nil, nil
	}
	return &Finding{
		Severity: Fails, Argument: "workspace_id",
		Message: "Classic Application Insights was retired on 2024-02-29. Azure creates the component with a Log Analytics workspace of its own choosing, and the next plan fails: `workspace_id` can not be removed after set.",
		Fix:     "Add an azurerm_log_analytics_workspace and set workspace_id.",
		Source:  "Azure/EOL service_list.json (2025-12-18); terraform-provider-azurerm#24677",
	}, nil
}

// §1.4: only Premium registries take private endpoints. They are "in view" when
// the resource group has a private endpoint or a subnet made for them.
func registryPrivateEndpoint(v *View, r *arm.Resource) (*Finding, error) {
	if strings.EqualFold(r.Body.String("sku.name"), "Premium") {
		return nil, nil
	}
	group, ok := r.ParsedID().Group()
	if !ok {
		return nil, nil
	}
	seen := ""
	for e, err := range v.res.OfType(v.tx, group.Subscription, typeEndpoint) {
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(e.ParsedID().ResourceGroup, group.ResourceGroup) {
			seen = "private endpoint " + e.Name()
			break
		}
	}
	for vnet, err := range v.res.OfType(v.tx, group.Subscription, typeVNet) {
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(vnet.ParsedID().ResourceGroup, group.ResourceGroup) {
			continue
		}
		for s, err := range v.res.Children(v.tx, vnet.ParsedID(), typeSubnet) {
			if err != nil {
				return nil, err
			}
			name := strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(s.Name()))
			if strings.Contains(name, "privateendpoint") || strings.HasSuffix(name, "pe") && strings.HasPrefix(name, "snet") {
				seen = "subnet " + s.Name()
			}
		}
	}
	if seen == "" {
		return nil, nil
	}
	return &Finding{
		Severity: Warning, Argument: "sku",
		Message: fmt.Sprintf("The registry is %s, and %s is there for private endpoints. Your Azure Container Registry must be Premium version to take one.", r.Body.String("sku.name"), seen),
		Fix:     "Set sku = \"Premium\" where the registry gets a private endpoint.",
		Source:  "Azure ML docs, how-to-secure-workspace-vnet (2024-07-08)",
	}, nil
}

// A registry of another tier takes no private endpoint. Azure's code is not known;
// the words are those of its documentation.
func endpointRegistrySKU(v *View, e *arm.Resource) (*Finding, error) {
	for _, list := range []string{"properties.privateLinkServiceConnections", "properties.manualPrivateLinkServiceConnections"} {
		for _, c := range e.Body.List(list) {
			m, _ := c.(map[string]any)
			id, err := arm.ParseID(arm.Doc(m).String("properties.privateLinkServiceId"))
			if err != nil || !strings.EqualFold(id.Type(), typeRegistry) {
				continue
			}
			registry, err := v.Get(id.String())
			if err != nil || registry == nil || strings.EqualFold(registry.Body.String("sku.name"), "Premium") {
				return nil, err
			}
			return &Finding{
				Severity: Refused, Argument: "private_service_connection", Unverified: true,
				Code: "BadRequest", Message: fmt.Sprintf("Your Azure Container Registry must be Premium version. Registry %s is %s.", registry.Name(), registry.Body.String("sku.name")),
				Fix:    fmt.Sprintf("Set sku = \"Premium\" on registry %q, or leave its private endpoint out.", registry.Name()),
				Source: "Azure ML docs, how-to-secure-workspace-vnet; Azure Container Registry docs, container-registry-private-link",
			}, nil
		}
	}
	return nil, nil
}

// A managed network in which only what is approved may leave has a private endpoint to
// the registry, whatever that allows to public addresses. What provisioning says
// where the registry takes none is not known.
func managedNetworkRegistrySKU(v *View, ws *arm.Resource) (*Finding, error) {
	if !strings.EqualFold(ws.Body.String("properties.managedNetwork.isolationMode"), "AllowOnlyApprovedOutbound") {
		return nil, nil
	}
	registry, err := v.Get(ws.Body.String("properties.containerRegistry"))
	if err != nil || registry == nil || strings.EqualFold(registry.Body.String("sku.name"), "Premium") {
		return nil, err
	}
	return &Finding{
		Severity: Fails, Argument: "managed_network", Unverified: true,
		Message: fmt.Sprintf("The managed network has a private endpoint to the container registry, which must be Premium version to take one. Registry %s is %s.", registry.Name(), registry.Body.String("sku.name")),
		Fix:     fmt.Sprintf("Set sku = \"Premium\" on registry %q, or allow internet outbound.", registry.Name()),
		Source:  "Azure ML docs, how-to-managed-network (2025-05-23); how-to-secure-workspace-vnet (2024-07-08)",
	}, nil
}

// P4. What Azure answers after the date is not known.
func lowPriority(_ *View, r *arm.Resource) (*Finding, error) {
	if !strings.EqualFold(r.Body.String("properties.properties.vmPriority"), "LowPriority") {
		return nil, nil
	}
	return &Finding{
		Severity: Warning, Argument: "vm_priority", Unverified: true,
		Message: "Azure lists low-priority machines of Azure Machine Learning as retired on 2026-03-31, while its Azure ML pages still describe them. What a create returns today is not known.",
		Fix:     "Use vm_priority = \"Dedicated\", or try the cluster on Azure before depending on it.",
		Source:  "Azure/EOL service_list.json (2025-12-18)",
	}, nil
}

// §1.3: azurerm 3.x has no argument for idle shutdown.
func instanceNeverStops(_ *View, r *arm.Resource) (*Finding, error) {
	if !isInstance(r) || r.Body.Has("properties.properties.idleTimeBeforeShutdown") || len(r.Body.List("properties.properties.schedules.computeStartStop")) > 0 {
		return nil, nil
	}
	return &Finding{
		Severity: Warning,
		Message:  "This compute instance runs, and is billed, until somebody stops it: nothing shuts it down when idle, and azurerm has no argument for that.",
		Fix:      "After apply, set an idle shutdown (POST …/updateIdleShutdownSetting, 15 minutes to 3 days) or a schedule in the studio, or stop the instance by hand.",
		Source:   "Azure ML docs, how-to-create-compute-instance (2024-08-21); azurerm schemas 3.80 to 3.117.1",
	}, nil
}

// §1.2: the studio's rule is stricter than azurerm's. Which of them the service
// keeps is not known.
func computeName(_ *View, r *arm.Resource) (*Finding, error) {
	name := r.Name()
	dash := strings.LastIndexByte(name, '-')
	if dash < 0 || strings.ContainsFunc(name[dash:], func(c rune) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }) {
		return nil, nil
	}
	return &Finding{
		Severity: Warning, Argument: "name", Unverified: true,
		Message: fmt.Sprintf("Azure ML's studio refuses the compute name %q: a '-' must be followed by at least one letter somewhere. Whether the service does, too, is not known.", name),
		Fix:     "Put a letter behind the last '-', such as \"" + name[:dash+1] + "n" + name[dash+1:] + "\".",
		Source:  "Azure ML studio, compute form",
	}, nil
}
