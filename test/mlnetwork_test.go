package test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	aml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// TestAzureSDKForGoNetworks drives managed networks, hubs, projects and connections
// with armmachinelearning v4.
func TestAzureSDKForGoNetworks(t *testing.T) {
	t.Parallel()
	e, _ := smallEnv(t)
	s := newSDK(t, e)
	s.connections()
	s.networks()
	s.hubs()
}

const (
	smallAccount = smallGroup + "/providers/Microsoft.Storage/storageAccounts/stsmall001"
	smallVault   = smallGroup + "/providers/Microsoft.KeyVault/vaults/kv-small"
)

// workspace makes a workspace beside the first, on what that stands on.
func (s *sdk) workspace(name, kind string, props *aml.WorkspaceProperties) (aml.Workspace, error) {
	poller, err := s.clients.NewWorkspacesClient().BeginCreateOrUpdate(s.ctx, sdkGroup, name, aml.Workspace{
		Location: to.Ptr("westeurope"), Kind: to.Ptr(kind), Properties: props,
		Identity: &aml.ManagedServiceIdentity{Type: to.Ptr(aml.ManagedServiceIdentityTypeSystemAssigned)},
	}, nil)
	if err != nil {
		return aml.Workspace{}, err
	}
	made, err := poller.PollUntilDone(s.ctx, pollAtOnce)
	return made.Workspace, err
}

func (s *sdk) removeWorkspace(name string) error {
	poller, err := s.clients.NewWorkspacesClient().BeginDelete(s.ctx, sdkGroup, name, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(s.ctx, pollAtOnce)
	return err
}

func (s *sdk) connections() {
	c := s.clients.NewWorkspaceConnectionsClient()
	made := got[aml.WorkspaceConnectionsClientCreateResponse](s.t, "create connection")(c.Create(s.ctx, sdkGroup, sdkWS, "code", aml.WorkspaceConnectionPropertiesV2BasicResource{
		Properties: &aml.PATAuthTypeWorkspaceConnectionProperties{
			AuthType: to.Ptr(aml.ConnectionAuthTypePAT), Category: to.Ptr(aml.ConnectionCategoryGit), Target: to.Ptr("https://example.com/repo"),
			Credentials: &aml.WorkspaceConnectionPersonalAccessToken{Pat: to.Ptr("token")},
		},
	}, nil))
	if p, ok := made.Properties.(*aml.PATAuthTypeWorkspaceConnectionProperties); !ok || p.Credentials != nil || *p.Target != "https://example.com/repo" {
		s.t.Errorf("connection: %+v", made.Properties)
	}
	secret := got[aml.WorkspaceConnectionsClientListSecretsResponse](s.t, "secrets")(c.ListSecrets(s.ctx, sdkGroup, sdkWS, "code", nil))
	if p, ok := secret.Properties.(*aml.PATAuthTypeWorkspaceConnectionProperties); !ok || p.Credentials == nil || *p.Credentials.Pat != "token" {
		s.t.Errorf("secrets: %+v", secret.Properties)
	}
	list := func(o *aml.WorkspaceConnectionsClientListOptions) string {
		s.t.Helper()
		return names(s, c.NewListPager(sdkGroup, sdkWS, o), func(p aml.WorkspaceConnectionsClientListResponse) []*aml.WorkspaceConnectionPropertiesV2BasicResource {
			return p.Value
		}, func(v *aml.WorkspaceConnectionPropertiesV2BasicResource) *string { return v.Name })
	}
	s.same("connections", list(nil), "code")
	s.same("connections of a category", list(&aml.WorkspaceConnectionsClientListOptions{Category: to.Ptr("PythonFeed")}), "")
	got[aml.WorkspaceConnectionsClientDeleteResponse](s.t, "delete connection")(c.Delete(s.ctx, sdkGroup, sdkWS, "code", nil))
	_, err := c.Get(s.ctx, sdkGroup, sdkWS, "code", nil)
	s.refused("a deleted connection", err, http.StatusNotFound, "ResourceNotFound")
}

func (s *sdk) networks() {
	const name = "mlw-isolated"
	ws, err := s.workspace(name, "Default", &aml.WorkspaceProperties{
		StorageAccount: to.Ptr(smallAccount), KeyVault: to.Ptr(smallVault),
		ManagedNetwork: &aml.ManagedNetworkSettings{IsolationMode: to.Ptr(aml.IsolationModeAllowOnlyApprovedOutbound)},
	})
	if err != nil {
		s.t.Fatalf("create isolated workspace: %v", err)
	}
	if n := ws.Properties.ManagedNetwork; *n.Status.Status != aml.ManagedNetworkStatusInactive || len(n.OutboundRules) != 13 {
		s.t.Errorf("network: %+v with %d rules", n, len(n.OutboundRules))
	}
	rules := s.clients.NewManagedNetworkSettingsRuleClient()
	put := func(rule string, props aml.OutboundRuleClassification) (aml.OutboundRuleBasicResource, error) {
		poller, err := rules.BeginCreateOrUpdate(s.ctx, sdkGroup, name, rule, aml.OutboundRuleBasicResource{Properties: props}, nil)
		if err != nil {
			return aml.OutboundRuleBasicResource{}, err
		}
		made, err := poller.PollUntilDone(s.ctx, pollAtOnce)
		return made.OutboundRuleBasicResource, err
	}
	for rule, props := range map[string]aml.OutboundRuleClassification{
		"packages": &aml.FqdnOutboundRule{Type: to.Ptr(aml.RuleTypeFQDN), Category: to.Ptr(aml.RuleCategoryUserDefined), Destination: to.Ptr("pypi.org")},
		"factory": &aml.ServiceTagOutboundRule{Type: to.Ptr(aml.RuleTypeServiceTag), Destination: &aml.ServiceTagDestination{
			ServiceTag: to.Ptr("DataFactory"), Protocol: to.Ptr("TCP"), PortRanges: to.Ptr("80, 8080-8089"),
		}},
		"tables": &aml.PrivateEndpointOutboundRule{Type: to.Ptr(aml.RuleTypePrivateEndpoint), Destination: &aml.PrivateEndpointDestination{
			ServiceResourceID: to.Ptr(smallAccount), SubresourceTarget: to.Ptr("table"), SparkEnabled: to.Ptr(false),
		}},
	} {
		if _, err := put(rule, props); err != nil {
			s.t.Errorf("rule %s: %v", rule, err)
		}
	}
	provision := got[*runtime.Poller[aml.ManagedNetworkProvisionsClientProvisionManagedNetworkResponse]](s.t, "provision")(
		s.clients.NewManagedNetworkProvisionsClient().BeginProvisionManagedNetwork(s.ctx, sdkGroup, name, &aml.ManagedNetworkProvisionsClientBeginProvisionManagedNetworkOptions{
			Body: &aml.ManagedNetworkProvisionOptions{IncludeSpark: to.Ptr(false)},
		}))
	done := got[aml.ManagedNetworkProvisionsClientProvisionManagedNetworkResponse](s.t, "provisioned")(provision.PollUntilDone(s.ctx, pollAtOnce))
	if *done.Status != aml.ManagedNetworkStatusActive || *done.SparkReady {
		s.t.Errorf("provisioned: %+v", done)
	}
	list := names(s, rules.NewListPager(sdkGroup, name, nil), func(p aml.ManagedNetworkSettingsRuleClientListResponse) []*aml.OutboundRuleBasicResource {
		return p.Value
	},
		func(r *aml.OutboundRuleBasicResource) *string { return r.Name })
	for _, want := range []string{"packages", "factory", "tables", "__SYS_ST_AzureActiveDirectory_TCP", "__SYS_PE_stsmall001_blob"} {
		if !strings.Contains(list, want) {
			s.t.Errorf("rule %s is not among %s", want, list)
		}
	}
	one := got[aml.ManagedNetworkSettingsRuleClientGetResponse](s.t, "rule")(rules.Get(s.ctx, sdkGroup, name, "tables", nil))
	if r, ok := one.Properties.(*aml.PrivateEndpointOutboundRule); !ok || *r.Status != aml.RuleStatusActive || *r.Category != aml.RuleCategoryUserDefined {
		s.t.Errorf("rule: %+v", one.Properties)
	}
	_, err = put("more", &aml.FqdnOutboundRule{Type: to.Ptr(aml.RuleTypeFQDN), Destination: to.Ptr("no name")})
	s.refused("a rule to no name", err, http.StatusBadRequest, "ValidationError")
	gone := got[*runtime.Poller[aml.ManagedNetworkSettingsRuleClientDeleteResponse]](s.t, "delete rule")(rules.BeginDelete(s.ctx, sdkGroup, name, "packages", nil))
	got[aml.ManagedNetworkSettingsRuleClientDeleteResponse](s.t, "deleted rule")(gone.PollUntilDone(s.ctx, pollAtOnce))
	_, err = rules.Get(s.ctx, sdkGroup, name, "packages", nil)
	s.refused("a deleted rule", err, http.StatusNotFound, "ResourceNotFound")
	if err := s.removeWorkspace(name); err != nil {
		s.t.Errorf("delete isolated workspace: %v", err)
	}
}

func (s *sdk) hubs() {
	hub, err := s.workspace("hub-small", "Hub", &aml.WorkspaceProperties{StorageAccount: to.Ptr(smallAccount), KeyVault: to.Ptr(smallVault)})
	if err != nil {
		s.t.Fatalf("create hub: %v", err)
	}
	project, err := s.workspace("proj-small", "Project", &aml.WorkspaceProperties{HubResourceID: hub.ID, FriendlyName: to.Ptr("Small")})
	if err != nil {
		s.t.Fatalf("create project: %v", err)
	}
	s.same("account of the project", *project.Properties.StorageAccount, smallAccount)
	hub = got[aml.WorkspacesClientGetResponse](s.t, "hub")(s.clients.NewWorkspacesClient().Get(s.ctx, sdkGroup, "hub-small", nil)).Workspace
	if all := hub.Properties.AssociatedWorkspaces; len(all) != 1 || *all[0] != *project.ID {
		s.t.Errorf("projects of the hub: %v", all)
	}
	// a project has what any workspace has from the start
	stores := names(s, s.clients.NewDatastoresClient().NewListPager(sdkGroup, "proj-small", nil),
		func(p aml.DatastoresClientListResponse) []*aml.Datastore { return p.Value }, func(d *aml.Datastore) *string { return d.Name })
	s.same("datastores of the project", stores, "workspaceartifactstore workspaceblobstore workspacefilestore workspaceworkingdirectory")
	_, err = s.workspace("proj-small", "Project", &aml.WorkspaceProperties{HubResourceID: hub.ID, KeyVault: to.Ptr(smallVault)})
	s.refused("a vault of the project's own", err, http.StatusBadRequest, "ValidationError")
	s.refused("deleting a hub with projects", s.removeWorkspace("hub-small"), http.StatusConflict, "")
	for _, name := range []string{"proj-small", "hub-small"} {
		if err := s.removeWorkspace(name); err != nil {
			s.t.Errorf("delete %s: %v", name, err)
		}
	}
}
