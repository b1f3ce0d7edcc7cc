package gosdk

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-azure-helpers/lang/pointer"
	"github.com/hashicorp/go-azure-helpers/lang/response"
	"github.com/hashicorp/go-azure-helpers/resourcemanager/commonids"
	"github.com/hashicorp/go-azure-helpers/resourcemanager/identity"
	"github.com/hashicorp/go-azure-sdk/resource-manager/authorization/2022-04-01/roleassignments"
	"github.com/hashicorp/go-azure-sdk/resource-manager/keyvault/2026-02-01/vaults"
	"github.com/hashicorp/go-azure-sdk/resource-manager/machinelearningservices/2025-06-01/machinelearningcomputes"
	"github.com/hashicorp/go-azure-sdk/resource-manager/machinelearningservices/2025-06-01/workspaces"
	"github.com/hashicorp/go-azure-sdk/resource-manager/managedidentity/2024-11-30/identities"
	"github.com/hashicorp/go-azure-sdk/resource-manager/network/2025-01-01/subnets"
	"github.com/hashicorp/go-azure-sdk/resource-manager/network/2025-01-01/virtualnetworks"
	"github.com/hashicorp/go-azure-sdk/resource-manager/resources/2023-07-01/resourcegroups"
	"github.com/hashicorp/go-azure-sdk/resource-manager/storage/2025-08-01/storageaccounts"
	"github.com/hashicorp/go-azure-sdk/sdk/auth"
	"github.com/hashicorp/go-azure-sdk/sdk/client/resourcemanager"
	"github.com/hashicorp/go-azure-sdk/sdk/environments"
)

// TestHashiCorpSDK makes the calls of azurerm, with the packages and versions of
// azurerm 5.x: a network, an account, a vault, an identity with a role, a workspace
// and its cluster.
func TestHashiCorpSDK(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // pollers ask for an end
	defer cancel()
	env := environments.AzurePublic()
	api := env.ResourceManager
	authorizer := must(auth.NewAuthorizerFromCredentials(ctx, auth.Credentials{Environment: *env, TenantID: os.Getenv("ARM_TENANT_ID"),
		ClientID: os.Getenv("ARM_CLIENT_ID"), ClientSecret: os.Getenv("ARM_CLIENT_SECRET"), EnableAuthenticatingUsingClientSecret: true}, api))(t)
	signed := func(c *resourcemanager.Client) { c.SetAuthorizer(authorizer) }
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const group = "rg-hashicorp"
	subscription := os.Getenv("ARM_SUBSCRIPTION_ID")
	tags := &map[string]string{"team": "ml"}

	groups := must(resourcegroups.NewResourceGroupsClientWithBaseURI(api))(t)
	signed(groups.Client)
	groupID := commonids.NewResourceGroupID(subscription, group)
	must(groups.CreateOrUpdate(ctx, groupID, resourcegroups.ResourceGroup{Location: region}))(t)

	nets, subs := must(virtualnetworks.NewVirtualNetworksClientWithBaseURI(api))(t), must(subnets.NewSubnetsClientWithBaseURI(api))(t)
	signed(nets.Client)
	signed(subs.Client)
	vnet := commonids.NewVirtualNetworkID(subscription, group, "vnet")
	if r, err := nets.Get(ctx, vnet, virtualnetworks.DefaultGetOperationOptions()); err == nil || !response.WasNotFound(r.HttpResponse) {
		t.Errorf("a network that is not there: %v", err)
	}
	ok(nets.CreateOrUpdateThenPoll(ctx, vnet, virtualnetworks.VirtualNetwork{Location: pointer.To(region), Properties: &virtualnetworks.VirtualNetworkPropertiesFormat{
		AddressSpace: &virtualnetworks.AddressSpace{AddressPrefixes: &[]string{"10.0.0.0/16"}}}}))
	subnet := commonids.NewSubnetID(subscription, group, "vnet", "one")
	ok(subs.CreateOrUpdateThenPoll(ctx, subnet, subnets.Subnet{Properties: &subnets.SubnetPropertiesFormat{AddressPrefix: pointer.To("10.0.1.0/24")}}))
	must(nets.UpdateTags(ctx, vnet, virtualnetworks.TagsObject{Tags: tags}))(t)
	got := must(nets.Get(ctx, vnet, virtualnetworks.DefaultGetOperationOptions()))(t).Model
	if (*got.Tags)["team"] != "ml" || len(*got.Properties.Subnets) != 1 {
		t.Errorf("network: %+v", got)
	}
	if l := must(nets.ListComplete(ctx, groupID))(t); len(l.Items) != 1 {
		t.Errorf("networks: %+v", l.Items)
	}

	accounts := must(storageaccounts.NewStorageAccountsClientWithBaseURI(api))(t)
	signed(accounts.Client)
	account := commonids.NewStorageAccountID(subscription, group, "sthashicorp")
	ok(accounts.CreateThenPoll(ctx, account, storageaccounts.StorageAccountCreateParameters{Location: region, Kind: storageaccounts.KindStorageVTwo, Sku: storageaccounts.Sku{Name: storageaccounts.SkuNameStandardLRS}}))
	must(accounts.Update(ctx, account, storageaccounts.StorageAccountUpdateParameters{Tags: tags}))(t)
	if k := must(accounts.ListKeys(ctx, account, storageaccounts.DefaultListKeysOperationOptions()))(t).Model; len(*k.Keys) != 2 {
		t.Errorf("keys: %+v", k)
	}
	a := must(accounts.GetProperties(ctx, account, storageaccounts.DefaultGetPropertiesOperationOptions()))(t).Model
	if *a.Properties.PrimaryEndpoints.Blob != "https://sthashicorp.blob.core.windows.net/" || (*a.Tags)["team"] != "ml" {
		t.Errorf("account: %+v", a)
	}

	vaultsClient := must(vaults.NewVaultsClientWithBaseURI(api))(t)
	signed(vaultsClient.Client)
	vault := commonids.NewKeyVaultID(subscription, group, "kv-hashicorp")
	ok(vaultsClient.CreateOrUpdateThenPoll(ctx, vault, vaults.VaultCreateOrUpdateParameters{Location: region, Properties: vaults.VaultProperties{
		TenantId: tenant, Sku: vaults.Sku{Family: vaults.SkuFamilyA, Name: vaults.SkuNameStandard}, EnableRbacAuthorization: pointer.To(true)}}))
	must(vaultsClient.Update(ctx, vault, vaults.VaultPatchParameters{Tags: tags}))(t)
	if v := must(vaultsClient.Get(ctx, vault))(t).Model; *v.Properties.VaultUri != "https://kv-hashicorp.vault.azure.net/" {
		t.Errorf("vault: %+v", v)
	}

	ids := must(identities.NewIdentitiesClientWithBaseURI(api))(t)
	signed(ids.Client)
	id := commonids.NewUserAssignedIdentityID(subscription, group, "id-hashicorp")
	must(ids.UserAssignedIdentitiesCreateOrUpdate(ctx, id, identities.Identity{Location: region}))(t)
	user := must(ids.UserAssignedIdentitiesGet(ctx, id))(t).Model
	assignments := must(roleassignments.NewRoleAssignmentsClientWithBaseURI(api))(t)
	signed(assignments.Client)
	assignment := roleassignments.NewScopedRoleAssignmentID(account.ID(), "9f6b1c1e-0000-4000-8000-00000000ac01")
	if r := must(assignments.Create(ctx, assignment, roleassignments.RoleAssignmentCreateParameters{Properties: roleassignments.RoleAssignmentProperties{
		RoleDefinitionId: "/subscriptions/" + subscription + "/providers/Microsoft.Authorization/roleDefinitions/ba92f5b4-2d11-453d-a403-e96b0029c9fe",
		PrincipalId:      *user.Properties.PrincipalId}}))(t); r.HttpResponse.StatusCode != http.StatusCreated {
		t.Errorf("a new assignment is %d", r.HttpResponse.StatusCode)
	}
	if l := must(assignments.ListForScopeComplete(ctx, commonids.NewScopeID(account.ID()), roleassignments.DefaultListForScopeOperationOptions()))(t); len(l.Items) == 0 {
		t.Error("no assignment is listed")
	}

	spaces, computes := must(workspaces.NewWorkspacesClientWithBaseURI(api))(t), must(machinelearningcomputes.NewMachineLearningComputesClientWithBaseURI(api))(t)
	signed(spaces.Client)
	signed(computes.Client)
	space := workspaces.NewWorkspaceID(subscription, group, "mlw-hashicorp")
	ok(spaces.CreateOrUpdateThenPoll(ctx, space, workspaces.Workspace{Location: pointer.To(region),
		Identity:   &identity.LegacySystemAndUserAssignedMap{Type: identity.TypeSystemAssigned},
		Properties: &workspaces.WorkspaceProperties{StorageAccount: pointer.To(account.ID()), KeyVault: pointer.To(vault.ID()), PublicNetworkAccess: pointer.To(workspaces.PublicNetworkAccessEnabled)}}))
	ok(spaces.UpdateThenPoll(ctx, space, workspaces.WorkspaceUpdateParameters{Tags: tags}))
	w := must(spaces.Get(ctx, space))(t).Model
	if w.Properties.WorkspaceId == nil || w.Properties.PublicNetworkAccess == nil || w.Sku == nil || w.Sku.Tier == nil {
		t.Errorf("workspace: %+v", w.Properties)
	}
	compute := machinelearningcomputes.NewComputeID(subscription, group, "mlw-hashicorp", "cpu")
	ok(computes.ComputeCreateOrUpdateThenPoll(ctx, compute, machinelearningcomputes.ComputeResource{Location: pointer.To(region), Properties: machinelearningcomputes.AmlCompute{
		Properties: &machinelearningcomputes.AmlComputeProperties{VMSize: pointer.To("STANDARD_DS3_V2"), VMPriority: pointer.To(machinelearningcomputes.VMPriorityDedicated),
			Subnet:        &machinelearningcomputes.ResourceId{Id: subnet.ID()},
			ScaleSettings: &machinelearningcomputes.ScaleSettings{MaxNodeCount: 2, MinNodeCount: pointer.To[int64](0), NodeIdleTimeBeforeScaleDown: pointer.To("PT2M")}}}}))
	c, isCluster := must(computes.ComputeGet(ctx, compute))(t).Model.Properties.(machinelearningcomputes.AmlCompute)
	if !isCluster || *c.Properties.VMSize != "STANDARD_DS3_V2" || c.Properties.RemoteLoginPortPublicAccess == nil {
		t.Errorf("compute: %+v", c)
	}
	if err := subs.DeleteThenPoll(ctx, subnet); err == nil {
		t.Error("a subnet that a cluster is in was deleted")
	}

	ok(computes.ComputeDeleteThenPoll(ctx, compute, machinelearningcomputes.ComputeDeleteOperationOptions{UnderlyingResourceAction: pointer.To(machinelearningcomputes.UnderlyingResourceActionDelete)}))
	ok(spaces.DeleteThenPoll(ctx, space, workspaces.DeleteOperationOptions{ForceToPurge: pointer.To(true)}))
	must(assignments.Delete(ctx, assignment, roleassignments.DefaultDeleteOperationOptions()))(t)
	must(ids.UserAssignedIdentitiesDelete(ctx, id))(t)
	must(vaultsClient.Delete(ctx, vault))(t)
	must(accounts.Delete(ctx, account))(t)
	ok(subs.DeleteThenPoll(ctx, subnet))
	ok(nets.DeleteThenPoll(ctx, vnet))
	if r, err := nets.Get(ctx, vnet, virtualnetworks.DefaultGetOperationOptions()); err == nil || !response.WasNotFound(r.HttpResponse) {
		t.Errorf("a deleted network: %v", err)
	}
	ok(groups.DeleteThenPoll(ctx, groupID, resourcegroups.DefaultDeleteOperationOptions()))
}
