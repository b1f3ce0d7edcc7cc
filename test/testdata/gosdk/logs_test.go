package gosdk

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerregistry/armcontainerregistry"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/operationalinsights/armoperationalinsights"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
)

// TestStorageRules keeps lifecycle rules, and has an account sign.
func TestStorageRules(t *testing.T) {
	c := newCloud(t, "rg-gosdk-rules")
	f := must(armstorage.NewClientFactory(c.subscription, c.credential, nil))(t)
	const name = "stgosdkrules"
	c.account(t, f, name)
	policies := f.NewManagementPoliciesClient()
	_, err := policies.Get(c.ctx, c.group, name, armstorage.ManagementPolicyNameDefault, nil)
	refused(t, err, http.StatusNotFound, "ManagementPolicyNotFound")
	rule := &armstorage.ManagementPolicyRule{Name: to.Ptr("old"), Type: to.Ptr(armstorage.RuleTypeLifecycle), Definition: &armstorage.ManagementPolicyDefinition{
		Filters: &armstorage.ManagementPolicyFilter{BlobTypes: []*string{to.Ptr("blockBlob")}},
		Actions: &armstorage.ManagementPolicyAction{BaseBlob: &armstorage.ManagementPolicyBaseBlob{Delete: &armstorage.DateAfterModification{DaysAfterModificationGreaterThan: to.Ptr[float32](30)}}},
	}}
	policy := armstorage.ManagementPolicy{Properties: &armstorage.ManagementPolicyProperties{Policy: &armstorage.ManagementPolicySchema{Rules: []*armstorage.ManagementPolicyRule{rule}}}}
	made := must(policies.CreateOrUpdate(c.ctx, c.group, name, armstorage.ManagementPolicyNameDefault, policy, nil))(t)
	if len(made.Properties.Policy.Rules) != 1 || made.Properties.LastModifiedTime == nil {
		t.Errorf("policy: %+v", made.Properties)
	}
	rule.Definition.Actions.BaseBlob.TierToArchive = &armstorage.DateAfterModification{DaysAfterModificationGreaterThan: to.Ptr[float32](10)}
	_, err = policies.CreateOrUpdate(c.ctx, c.group, name, armstorage.ManagementPolicyNameDefault, policy, nil)
	refused(t, err, http.StatusNotImplemented, "NotImplementedByAzimuth")
	must(policies.Delete(c.ctx, c.group, name, armstorage.ManagementPolicyNameDefault, nil))(t)

	// Signatures are good for what they say.
	accounts := f.NewAccountsClient()
	from, until := to.Ptr(time.Now().Add(-time.Hour)), to.Ptr(time.Now().Add(time.Hour))
	must(f.NewBlobContainersClient().Create(c.ctx, c.group, name, "data", armstorage.BlobContainer{}, nil))(t)
	account := *must(accounts.ListAccountSAS(c.ctx, c.group, name, armstorage.AccountSasParameters{
		Services: to.Ptr(armstorage.ServicesB), ResourceTypes: to.Ptr(armstorage.SignedResourceTypes("sco")), Permissions: to.Ptr(armstorage.Permissions("rl")),
		SharedAccessStartTime: from, SharedAccessExpiryTime: until, Protocols: to.Ptr(armstorage.HTTPProtocolHTTPS)}, nil))(t).AccountSasToken
	service := *must(accounts.ListServiceSAS(c.ctx, c.group, name, armstorage.ServiceSasParameters{
		CanonicalizedResource: to.Ptr("/blob/" + name + "/data"), Resource: to.Ptr(armstorage.SignedResourceC), Permissions: to.Ptr(armstorage.Permissions("l")),
		SharedAccessStartTime: from, SharedAccessExpiryTime: until, KeyToSign: to.Ptr("key2")}, nil))(t).ServiceSasToken
	for what, sas := range map[string]string{"account": account, "service": service} {
		for want, token := range map[int]string{http.StatusOK: sas, http.StatusForbidden: strings.Replace(sas, "sp=", "sp=w", 1)} {
			r := must(http.NewRequestWithContext(c.ctx, http.MethodGet, "https://"+name+".blob.core.windows.net/data?restype=container&comp=list&"+token, nil))(t)
			resp := must(http.DefaultClient.Do(r))(t)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s SAS: %s, want %d", what, resp.Status, want)
			}
		}
	}
	must(accounts.RevokeUserDelegationKeys(c.ctx, c.group, name, nil))(t)
	if u := all(t, c, f.NewUsagesClient().NewListByLocationPager(region, nil), func(p armstorage.UsagesClientListByLocationResponse) []*armstorage.Usage { return p.Value }); len(u) != 1 || *u[0].CurrentValue < 1 {
		t.Errorf("usages: %v", u)
	}
	has(t, "SKUs", all(t, c, f.NewSKUsClient().NewListPager(nil), func(p armstorage.SKUsClientListResponse) []*armstorage.SKUInformation { return p.Value }), "Premium_ZRS",
		func(s *armstorage.SKUInformation) *string { return (*string)(s.Name) })
	must(accounts.Delete(c.ctx, c.group, name, nil))(t)
}

// TestLogTables shows the tables of a workspace, and keeps a query.
func TestLogTables(t *testing.T) {
	c := newCloud(t, "rg-gosdk-tables")
	f := must(armoperationalinsights.NewClientFactory(c.subscription, c.credential, nil))(t)
	const name = "law-gosdk-tables"
	done(f.NewWorkspacesClient().BeginCreateOrUpdate(c.ctx, c.group, name, armoperationalinsights.Workspace{Location: to.Ptr(region), Properties: &armoperationalinsights.WorkspaceProperties{RetentionInDays: to.Ptr[int32](60)}}, nil))(t, c)
	tables := f.NewTablesClient()
	has(t, "tables", all(t, c, tables.NewListByWorkspacePager(c.group, name, nil), func(p armoperationalinsights.TablesClientListByWorkspaceResponse) []*armoperationalinsights.Table {
		return p.Value
	}),
		"StorageBlobLogs", func(v *armoperationalinsights.Table) *string { return v.Name })
	table := must(tables.Get(c.ctx, c.group, name, "AzureActivity", nil))(t)
	if *table.Properties.RetentionInDays != 60 {
		t.Errorf("table: %+v", table.Properties)
	}
	_, err := tables.Update(c.ctx, c.group, name, "AzureActivity", armoperationalinsights.Table{Properties: &armoperationalinsights.TableProperties{RetentionInDays: to.Ptr[int32](7)}}, nil)
	refused(t, err, http.StatusNotImplemented, "NotImplementedByAzimuth")
	searches := f.NewSavedSearchesClient()
	search := armoperationalinsights.SavedSearch{Properties: &armoperationalinsights.SavedSearchProperties{Category: to.Ptr("ml"), DisplayName: to.Ptr("failed"), Query: to.Ptr("AmlComputeJobEvent | count")}}
	must(searches.CreateOrUpdate(c.ctx, c.group, name, "failed", search, nil))(t)
	if got := must(searches.Get(c.ctx, c.group, name, "failed", nil))(t); *got.Properties.Query != *search.Properties.Query || *got.Properties.Version != 2 {
		t.Errorf("search: %+v", got.Properties)
	}
	if list := must(searches.ListByWorkspace(c.ctx, c.group, name, nil))(t); len(list.Value) != 1 {
		t.Errorf("searches: %v", list.Value)
	}
	must(searches.Delete(c.ctx, c.group, name, "failed", nil))(t)
	done(f.NewWorkspacesClient().BeginDelete(c.ctx, c.group, name, nil))(t, c)
}

// TestReplications has a registry in two regions.
func TestReplications(t *testing.T) {
	c := newCloud(t, "rg-gosdk-regions")
	f := must(armcontainerregistry.NewClientFactory(c.subscription, c.credential, nil))(t)
	const name = "acrgosdkregions"
	registries, replications := f.NewRegistriesClient(), f.NewReplicationsClient()
	registry := armcontainerregistry.Registry{Location: to.Ptr(region), SKU: &armcontainerregistry.SKU{Name: to.Ptr(armcontainerregistry.SKUNameBasic)}}
	done(registries.BeginCreate(c.ctx, c.group, name, registry, nil))(t, c)
	north := armcontainerregistry.Replication{Location: to.Ptr("northeurope"), Tags: team}
	_, err := replications.BeginCreate(c.ctx, c.group, name, "northeurope", north, nil)
	refused(t, err, http.StatusBadRequest, "GeoReplicationNotSupported")
	registry.SKU.Name = to.Ptr(armcontainerregistry.SKUNamePremium)
	done(registries.BeginCreate(c.ctx, c.group, name, registry, nil))(t, c)
	made := done(replications.BeginCreate(c.ctx, c.group, name, "northeurope", north, nil))(t, c)
	if *made.Properties.Status.DisplayStatus != "Ready" || !*made.Properties.RegionEndpointEnabled {
		t.Errorf("replication: %+v", made.Properties)
	}
	list := all(t, c, replications.NewListPager(c.group, name, nil), func(p armcontainerregistry.ReplicationsClientListResponse) []*armcontainerregistry.Replication {
		return p.Value
	})
	if len(list) != 2 || *list[0].Name != region {
		t.Errorf("%d replications", len(list))
	}
	done(replications.BeginDelete(c.ctx, c.group, name, "northeurope", nil))(t, c)
	_, err = replications.Get(c.ctx, c.group, name, "northeurope", nil)
	missing(t, err)
	done(registries.BeginDelete(c.ctx, c.group, name, nil))(t, c)
}
