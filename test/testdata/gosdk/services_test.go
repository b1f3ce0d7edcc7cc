package gosdk

import (
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/applicationinsights/armapplicationinsights"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerregistry/armcontainerregistry"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/operationalinsights/armoperationalinsights"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
)

// tenant is that of the signed-in principal in every home.
const tenant = "00000000-0000-0000-0000-0000000000aa"

// TestStorage creates an account, rotates its key and keeps containers.
func TestStorage(t *testing.T) {
	c := newCloud(t, "rg-gosdk-storage")
	f := must(armstorage.NewClientFactory(c.subscription, c.credential, nil))(t)
	accounts, containers := f.NewAccountsClient(), f.NewBlobContainersClient()
	const name = "stgosdk"
	check := armstorage.AccountCheckNameAvailabilityParameters{Name: to.Ptr(name), Type: to.Ptr("Microsoft.Storage/storageAccounts")}
	if !*must(accounts.CheckNameAvailability(c.ctx, check, nil))(t).NameAvailable {
		t.Error("the name is taken")
	}
	account := c.account(t, f, name)
	if *must(accounts.CheckNameAvailability(c.ctx, check, nil))(t).NameAvailable {
		t.Error("the name is still to be had")
	}
	if *account.Properties.PrimaryEndpoints.Dfs != "https://"+name+".dfs.core.windows.net/" {
		t.Errorf("endpoints: %+v", account.Properties.PrimaryEndpoints)
	}
	updated := must(accounts.Update(c.ctx, c.group, name, armstorage.AccountUpdateParameters{Tags: team, Properties: &armstorage.AccountPropertiesUpdateParameters{
		AllowBlobPublicAccess: to.Ptr(false)}}, nil))(t)
	if *updated.Tags["team"] != "ml" || *updated.Properties.AllowBlobPublicAccess {
		t.Errorf("updated: %+v", updated.Account)
	}
	before := must(accounts.ListKeys(c.ctx, c.group, name, nil))(t).Keys
	after := must(accounts.RegenerateKey(c.ctx, c.group, name, armstorage.AccountRegenerateKeyParameters{KeyName: to.Ptr("key1")}, nil))(t).Keys
	if *before[0].Value == *after[0].Value || *before[1].Value != *after[1].Value {
		t.Error("not the first key alone is new")
	}
	must(containers.Create(c.ctx, c.group, name, "data", armstorage.BlobContainer{}, nil))(t)
	must(containers.Update(c.ctx, c.group, name, "data", armstorage.BlobContainer{ContainerProperties: &armstorage.ContainerProperties{Metadata: team}}, nil))(t)
	if got := must(containers.Get(c.ctx, c.group, name, "data", nil))(t); *got.ContainerProperties.Metadata["team"] != "ml" {
		t.Errorf("container: %+v", got.ContainerProperties)
	}
	has(t, "containers", all(t, c, containers.NewListPager(c.group, name, nil), func(p armstorage.BlobContainersClientListResponse) []*armstorage.ListContainerItem { return p.Value }), "data", func(v *armstorage.ListContainerItem) *string { return v.Name })
	must(containers.Delete(c.ctx, c.group, name, "data", nil))(t)
	services := f.NewBlobServicesClient()
	must(services.SetServiceProperties(c.ctx, c.group, name, armstorage.BlobServiceProperties{BlobServiceProperties: &armstorage.BlobServicePropertiesProperties{
		DeleteRetentionPolicy: &armstorage.DeleteRetentionPolicy{Enabled: to.Ptr(true), Days: to.Ptr[int32](7)}}}, nil))(t)
	if got := must(services.GetServiceProperties(c.ctx, c.group, name, nil))(t); *got.BlobServiceProperties.BlobServiceProperties.DeleteRetentionPolicy.Days != 7 {
		t.Errorf("blob service: %+v", got.BlobServiceProperties)
	}
	accountName := func(v *armstorage.Account) *string { return v.Name }
	has(t, "the group's accounts", all(t, c, accounts.NewListByResourceGroupPager(c.group, nil), func(p armstorage.AccountsClientListByResourceGroupResponse) []*armstorage.Account { return p.Value }), name, accountName)
	has(t, "the subscription's accounts", all(t, c, accounts.NewListPager(nil), func(p armstorage.AccountsClientListResponse) []*armstorage.Account { return p.Value }), name, accountName)
	must(accounts.Delete(c.ctx, c.group, name, nil))(t)
	_, err := accounts.GetProperties(c.ctx, c.group, name, nil)
	missing(t, err)
}

func (c *cloud) account(t *testing.T, f *armstorage.ClientFactory, name string) armstorage.Account {
	t.Helper()
	return done(f.NewAccountsClient().BeginCreate(c.ctx, c.group, name, armstorage.AccountCreateParameters{
		Kind: to.Ptr(armstorage.KindStorageV2), Location: to.Ptr(region), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)}}, nil))(t, c).Account
}

func (c *cloud) vault(t *testing.T, vaults *armkeyvault.VaultsClient, name string) armkeyvault.Vault {
	t.Helper()
	return done(vaults.BeginCreateOrUpdate(c.ctx, c.group, name, armkeyvault.VaultCreateOrUpdateParameters{Location: to.Ptr(region), Properties: &armkeyvault.VaultProperties{
		TenantID: to.Ptr(tenant), SKU: &armkeyvault.SKU{Family: to.Ptr(armkeyvault.SKUFamilyA), Name: to.Ptr(armkeyvault.SKUNameStandard)}, EnableRbacAuthorization: to.Ptr(true)}}, nil))(t, c).Vault
}

// TestKeyVault deletes a vault softly, recovers it and purges it.
func TestKeyVault(t *testing.T) {
	c := newCloud(t, "rg-gosdk-vault")
	vaults := must(armkeyvault.NewVaultsClient(c.subscription, c.credential, nil))(t)
	const name = "kv-gosdk"
	v := c.vault(t, vaults, name)
	if *v.Properties.VaultURI != "https://kv-gosdk.vault.azure.net/" || !*v.Properties.EnableSoftDelete {
		t.Errorf("vault: %+v", v.Properties)
	}
	updated := must(vaults.Update(c.ctx, c.group, name, armkeyvault.VaultPatchParameters{Tags: team}, nil))(t)
	if *updated.Tags["team"] != "ml" || *updated.Properties.VaultURI != *v.Properties.VaultURI {
		t.Errorf("updated: %+v", updated.Vault)
	}
	vaultName := func(v *armkeyvault.Vault) *string { return v.Name }
	has(t, "the group's vaults", all(t, c, vaults.NewListByResourceGroupPager(c.group, nil), func(p armkeyvault.VaultsClientListByResourceGroupResponse) []*armkeyvault.Vault { return p.Value }), name, vaultName)
	has(t, "the subscription's vaults", all(t, c, vaults.NewListBySubscriptionPager(nil), func(p armkeyvault.VaultsClientListBySubscriptionResponse) []*armkeyvault.Vault { return p.Value }), name, vaultName)
	must(vaults.Delete(c.ctx, c.group, name, nil))(t)
	_, err := vaults.Get(c.ctx, c.group, name, nil)
	missing(t, err)
	must(vaults.GetDeleted(c.ctx, name, region, nil))(t)
	has(t, "deleted vaults", all(t, c, vaults.NewListDeletedPager(nil), func(p armkeyvault.VaultsClientListDeletedResponse) []*armkeyvault.DeletedVault { return p.Value }), name, func(v *armkeyvault.DeletedVault) *string { return v.Name })
	done(vaults.BeginCreateOrUpdate(c.ctx, c.group, name, armkeyvault.VaultCreateOrUpdateParameters{Location: to.Ptr(region), Properties: &armkeyvault.VaultProperties{
		TenantID: to.Ptr(tenant), SKU: v.Properties.SKU, CreateMode: to.Ptr(armkeyvault.CreateModeRecover)}}, nil))(t, c)
	if got := must(vaults.Get(c.ctx, c.group, name, nil))(t); *got.Tags["team"] != "ml" {
		t.Errorf("recovered: %+v", got.Vault)
	}
	must(vaults.Delete(c.ctx, c.group, name, nil))(t)
	done(vaults.BeginPurgeDeleted(c.ctx, name, region, nil))(t, c)
	_, err = vaults.GetDeleted(c.ctx, name, region, nil)
	refused(t, err, http.StatusNotFound, "DeletedVaultNotFound")
}

// TestRegistry creates a registry and its administrator's passwords.
func TestRegistry(t *testing.T) {
	c := newCloud(t, "rg-gosdk-registry")
	registries := must(armcontainerregistry.NewRegistriesClient(c.subscription, c.credential, nil))(t)
	const name = "acrgosdk"
	if r := must(registries.CheckNameAvailability(c.ctx, armcontainerregistry.RegistryNameCheckRequest{Name: to.Ptr(name), Type: to.Ptr("Microsoft.ContainerRegistry/registries")}, nil))(t); !*r.NameAvailable {
		t.Error("the name is taken")
	}
	created := done(registries.BeginCreate(c.ctx, c.group, name, armcontainerregistry.Registry{Location: to.Ptr(region),
		SKU: &armcontainerregistry.SKU{Name: to.Ptr(armcontainerregistry.SKUNameBasic)}, Properties: &armcontainerregistry.RegistryProperties{AdminUserEnabled: to.Ptr(false)}}, nil))(t, c)
	if *created.Properties.LoginServer != "acrgosdk.azurecr.io" || *created.SKU.Tier != armcontainerregistry.SKUTierBasic {
		t.Errorf("created: %+v", created.Registry)
	}
	updated := done(registries.BeginUpdate(c.ctx, c.group, name, armcontainerregistry.RegistryUpdateParameters{Tags: team,
		SKU: &armcontainerregistry.SKU{Name: to.Ptr(armcontainerregistry.SKUNamePremium)}, Properties: &armcontainerregistry.RegistryPropertiesUpdateParameters{AdminUserEnabled: to.Ptr(true)}}, nil))(t, c)
	if *updated.Tags["team"] != "ml" || *updated.SKU.Name != armcontainerregistry.SKUNamePremium || !*updated.Properties.AdminUserEnabled {
		t.Errorf("updated: %+v", updated.Registry)
	}
	before := must(registries.ListCredentials(c.ctx, c.group, name, nil))(t)
	after := must(registries.RegenerateCredential(c.ctx, c.group, name, armcontainerregistry.RegenerateCredentialParameters{Name: to.Ptr(armcontainerregistry.PasswordNamePassword)}, nil))(t)
	if len(after.Passwords) != 2 || *before.Passwords[0].Value == *after.Passwords[0].Value || *before.Passwords[1].Value != *after.Passwords[1].Value {
		t.Error("not the first password alone is new")
	}
	must(registries.ListUsages(c.ctx, c.group, name, nil))(t)
	registryName := func(v *armcontainerregistry.Registry) *string { return v.Name }
	has(t, "the group's registries", all(t, c, registries.NewListByResourceGroupPager(c.group, nil), func(p armcontainerregistry.RegistriesClientListByResourceGroupResponse) []*armcontainerregistry.Registry {
		return p.Value
	}), name, registryName)
	has(t, "the subscription's registries", all(t, c, registries.NewListPager(nil), func(p armcontainerregistry.RegistriesClientListResponse) []*armcontainerregistry.Registry {
		return p.Value
	}), name, registryName)
	done(registries.BeginDelete(c.ctx, c.group, name, nil))(t, c)
	_, err := registries.Get(c.ctx, c.group, name, nil)
	missing(t, err)
}

// TestInsights keeps a workspace of logs and a component that writes to it.
func TestInsights(t *testing.T) {
	c := newCloud(t, "rg-gosdk-insights")
	workspaces := must(armoperationalinsights.NewWorkspacesClient(c.subscription, c.credential, nil))(t)
	w := done(workspaces.BeginCreateOrUpdate(c.ctx, c.group, "law-gosdk", armoperationalinsights.Workspace{Location: to.Ptr(region), Properties: &armoperationalinsights.WorkspaceProperties{
		RetentionInDays: to.Ptr[int32](30), SKU: &armoperationalinsights.WorkspaceSKU{Name: to.Ptr(armoperationalinsights.WorkspaceSKUNameEnumPerGB2018)}}}, nil))(t, c)
	if w.Properties.CustomerID == nil || *w.Properties.RetentionInDays != 30 {
		t.Errorf("workspace: %+v", w.Properties)
	}
	if got := must(workspaces.Update(c.ctx, c.group, "law-gosdk", armoperationalinsights.WorkspacePatch{Tags: team, Properties: &armoperationalinsights.WorkspaceProperties{RetentionInDays: to.Ptr[int32](60)}}, nil))(t); *got.Tags["team"] != "ml" || *got.Properties.RetentionInDays != 60 {
		t.Errorf("updated: %+v", got.Workspace)
	}
	keys := must(armoperationalinsights.NewSharedKeysClient(c.subscription, c.credential, nil))(t)
	if k := must(keys.GetSharedKeys(c.ctx, c.group, "law-gosdk", nil))(t); k.PrimarySharedKey == nil || *k.PrimarySharedKey == "" {
		t.Error("no shared key")
	}
	workspaceName := func(v *armoperationalinsights.Workspace) *string { return v.Name }
	has(t, "the group's workspaces", all(t, c, workspaces.NewListByResourceGroupPager(c.group, nil), func(p armoperationalinsights.WorkspacesClientListByResourceGroupResponse) []*armoperationalinsights.Workspace {
		return p.Value
	}), "law-gosdk", workspaceName)
	has(t, "the subscription's workspaces", all(t, c, workspaces.NewListPager(nil), func(p armoperationalinsights.WorkspacesClientListResponse) []*armoperationalinsights.Workspace {
		return p.Value
	}), "law-gosdk", workspaceName)

	components := must(armapplicationinsights.NewComponentsClient(c.subscription, c.credential, nil))(t)
	made := must(components.CreateOrUpdate(c.ctx, c.group, "appi-gosdk", armapplicationinsights.Component{Location: to.Ptr(region), Kind: to.Ptr("web"), Properties: &armapplicationinsights.ComponentProperties{
		ApplicationType: to.Ptr(armapplicationinsights.ApplicationTypeWeb), WorkspaceResourceID: w.ID}}, nil))(t)
	if *made.Properties.InstrumentationKey == "" || *made.Properties.ConnectionString == "" {
		t.Errorf("component: %+v", made.Properties)
	}
	if got := must(components.UpdateTags(c.ctx, c.group, "appi-gosdk", armapplicationinsights.TagsResource{Tags: team}, nil))(t); *got.Tags["team"] != "ml" || *got.Properties.AppID != *made.Properties.AppID {
		t.Errorf("tagged: %+v", got.Component)
	}
	componentName := func(v *armapplicationinsights.Component) *string { return v.Name }
	has(t, "the group's components", all(t, c, components.NewListByResourceGroupPager(c.group, nil), func(p armapplicationinsights.ComponentsClientListByResourceGroupResponse) []*armapplicationinsights.Component {
		return p.Value
	}), "appi-gosdk", componentName)
	has(t, "the subscription's components", all(t, c, components.NewListPager(nil), func(p armapplicationinsights.ComponentsClientListResponse) []*armapplicationinsights.Component {
		return p.Value
	}), "appi-gosdk", componentName)
	billing := must(armapplicationinsights.NewComponentCurrentBillingFeaturesClient(c.subscription, c.credential, nil))(t)
	b := must(billing.Get(c.ctx, c.group, "appi-gosdk", nil))(t)
	must(billing.Update(c.ctx, c.group, "appi-gosdk", b.ComponentBillingFeatures, nil))(t)
	must(components.Delete(c.ctx, c.group, "appi-gosdk", nil))(t)
	done(workspaces.BeginDelete(c.ctx, c.group, "law-gosdk", &armoperationalinsights.WorkspacesClientBeginDeleteOptions{Force: to.Ptr(true)}))(t, c)
	_, err := workspaces.Get(c.ctx, c.group, "law-gosdk", nil)
	missing(t, err)
}
