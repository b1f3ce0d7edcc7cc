package gosdk

import (
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armlocks"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/v4"
)

// TestAccess gives an identity a role of its own, and a credential that is federated.
func TestAccess(t *testing.T) {
	c := newCloud(t, "rg-gosdk-access")
	m := must(armmsi.NewClientFactory(c.subscription, c.credential, nil))(t)
	identities, federated := m.NewUserAssignedIdentitiesClient(), m.NewFederatedIdentityCredentialsClient()
	id := must(identities.CreateOrUpdate(c.ctx, c.group, "id-go", armmsi.Identity{Location: to.Ptr(region)}, nil))(t)
	if id.Properties.PrincipalID == nil || id.Properties.ClientID == nil || *id.Properties.TenantID != tenant {
		t.Errorf("identity: %+v", id.Properties)
	}
	if got := must(identities.Update(c.ctx, c.group, "id-go", armmsi.IdentityUpdate{Tags: team}, nil))(t); *got.Tags["team"] != "ml" || *got.Properties.ClientID != *id.Properties.ClientID {
		t.Errorf("updated: %+v", got.Identity)
	}
	identityName := func(v *armmsi.Identity) *string { return v.Name }
	has(t, "the group's identities", all(t, c, identities.NewListByResourceGroupPager(c.group, nil), func(p armmsi.UserAssignedIdentitiesClientListByResourceGroupResponse) []*armmsi.Identity {
		return p.Value
	}), "id-go", identityName)
	has(t, "the subscription's identities", all(t, c, identities.NewListBySubscriptionPager(nil), func(p armmsi.UserAssignedIdentitiesClientListBySubscriptionResponse) []*armmsi.Identity {
		return p.Value
	}), "id-go", identityName)
	must(federated.CreateOrUpdate(c.ctx, c.group, "id-go", "ci-go", armmsi.FederatedIdentityCredential{Properties: &armmsi.FederatedIdentityCredentialProperties{
		Issuer: to.Ptr("https://token.actions.githubusercontent.com"), Subject: to.Ptr("repo:a/b:ref:refs/heads/main"), Audiences: []*string{to.Ptr("api://AzureADTokenExchange")}}}, nil))(t)
	has(t, "credentials", all(t, c, federated.NewListPager(c.group, "id-go", nil), func(p armmsi.FederatedIdentityCredentialsClientListResponse) []*armmsi.FederatedIdentityCredential {
		return p.Value
	}), "ci-go", func(v *armmsi.FederatedIdentityCredential) *string { return v.Name })
	must(federated.Delete(c.ctx, c.group, "id-go", "ci-go", nil))(t)

	a := must(armauthorization.NewClientFactory(c.subscription, c.credential, nil))(t)
	definitions, assignments := a.NewRoleDefinitionsClient(), a.NewRoleAssignmentsClient()
	const role, assignment = "9f6b1c1e-0000-4000-8000-0000000c0de1", "9f6b1c1e-0000-4000-8000-0000000c0de2"
	made := must(definitions.CreateOrUpdate(c.ctx, c.id, role, armauthorization.RoleDefinition{Properties: &armauthorization.RoleDefinitionProperties{
		RoleName: to.Ptr("Go operator"), RoleType: to.Ptr("CustomRole"), AssignableScopes: []*string{&c.id},
		Permissions: []*armauthorization.Permission{{Actions: []*string{to.Ptr("Microsoft.MachineLearningServices/*")}, NotActions: []*string{to.Ptr("Microsoft.MachineLearningServices/workspaces/delete")}}}}}, nil))(t)
	has(t, "roles by name", all(t, c, definitions.NewListPager(c.id, &armauthorization.RoleDefinitionsClientListOptions{Filter: to.Ptr("roleName eq 'Go operator'")}),
		func(p armauthorization.RoleDefinitionsClientListResponse) []*armauthorization.RoleDefinition {
			return p.Value
		}), role, func(v *armauthorization.RoleDefinition) *string { return v.Name })
	must(assignments.Create(c.ctx, c.id, assignment, armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		RoleDefinitionID: made.ID, PrincipalID: id.Properties.PrincipalID, PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal)}}, nil))(t)
	_, err := assignments.Create(c.ctx, c.id, "9f6b1c1e-0000-4000-8000-0000000c0de3", armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		RoleDefinitionID: made.ID, PrincipalID: id.Properties.PrincipalID}}, nil)
	refused(t, err, http.StatusConflict, "RoleAssignmentExists")
	byName := func(v *armauthorization.RoleAssignment) *string { return v.Name }
	has(t, "the group's assignments", all(t, c, assignments.NewListForResourceGroupPager(c.group, nil), func(p armauthorization.RoleAssignmentsClientListForResourceGroupResponse) []*armauthorization.RoleAssignment {
		return p.Value
	}), assignment, byName)
	has(t, "the subscription's assignments", all(t, c, assignments.NewListForSubscriptionPager(&armauthorization.RoleAssignmentsClientListForSubscriptionOptions{Filter: to.Ptr("principalId eq '" + *id.Properties.PrincipalID + "'")}),
		func(p armauthorization.RoleAssignmentsClientListForSubscriptionResponse) []*armauthorization.RoleAssignment {
			return p.Value
		}), assignment, byName)
	_, err = definitions.Delete(c.ctx, c.id, role, nil)
	refused(t, err, http.StatusBadRequest, "RoleDefinitionHasAssignments")
	must(assignments.DeleteByID(c.ctx, c.id+"/providers/Microsoft.Authorization/roleAssignments/"+assignment, nil))(t)
	must(definitions.Delete(c.ctx, c.id, role, nil))(t)
	if got := all(t, c, a.NewPermissionsClient().NewListForResourceGroupPager(c.group, nil), func(p armauthorization.PermissionsClientListForResourceGroupResponse) []*armauthorization.Permission {
		return p.Value
	}); len(got) == 0 || *got[0].Actions[0] != "*" {
		t.Errorf("permissions: %+v", got)
	}
	must(identities.Delete(c.ctx, c.group, "id-go", nil))(t)
	_, err = identities.Get(c.ctx, c.group, "id-go", nil)
	missing(t, err)
}

// TestResources tags, locks and lists what is in a group.
func TestResources(t *testing.T) {
	c := newCloud(t, "rg-gosdk-resources")
	f := must(armresources.NewClientFactory(c.subscription, c.credential, nil))(t)
	groups, resources, providers := f.NewResourceGroupsClient(), f.NewClient(), f.NewProvidersClient()
	if got := must(groups.CheckExistence(c.ctx, "rg-gosdk-none", nil))(t); got.Success {
		t.Error("rg-gosdk-none exists")
	}
	if got := must(groups.Update(c.ctx, c.group, armresources.ResourceGroupPatchable{Tags: team}, nil))(t); *got.Tags["team"] != "ml" || *got.Location != region {
		t.Errorf("group: %+v", got.ResourceGroup)
	}
	has(t, "groups by tag", all(t, c, groups.NewListPager(&armresources.ResourceGroupsClientListOptions{Filter: to.Ptr("tagName eq 'team' and tagValue eq 'ml'")}),
		func(p armresources.ResourceGroupsClientListResponse) []*armresources.ResourceGroup { return p.Value }), c.group, func(v *armresources.ResourceGroup) *string { return v.Name })
	const version = "2023-09-01"
	vnet := c.id + "/providers/Microsoft.Network/virtualNetworks/any"
	done(resources.BeginCreateOrUpdateByID(c.ctx, vnet, version, armresources.GenericResource{Location: to.Ptr(region), Properties: map[string]any{"addressSpace": map[string]any{"addressPrefixes": []string{"10.9.0.0/16"}}}}, nil))(t, c)
	if got := must(resources.CheckExistenceByID(c.ctx, vnet, version, nil))(t); !got.Success {
		t.Error("HEAD does not see the network")
	}
	done(resources.BeginUpdateByID(c.ctx, vnet, version, armresources.GenericResource{Tags: team}, nil))(t, c)
	if got := must(resources.GetByID(c.ctx, vnet, version, nil))(t); *got.Tags["team"] != "ml" || got.Properties == nil {
		t.Errorf("tagged: %+v", got.GenericResource)
	}
	byType := &armresources.ClientListOptions{Filter: to.Ptr("resourceType eq 'Microsoft.Network/virtualNetworks' and name eq 'any'"), Expand: to.Ptr("createdTime,changedTime,provisioningState"), Top: to.Ptr[int32](1)}
	has(t, "networks", all(t, c, resources.NewListPager(byType), func(p armresources.ClientListResponse) []*armresources.GenericResourceExpanded { return p.Value }), "any", func(v *armresources.GenericResourceExpanded) *string { return v.Name })
	if got := must(providers.Get(c.ctx, "Microsoft.Network", nil))(t); *got.RegistrationState != "Registered" || len(got.ResourceTypes) == 0 {
		t.Errorf("provider: %+v", got.Provider)
	}
	has(t, "providers", all(t, c, providers.NewListPager(nil), func(p armresources.ProvidersClientListResponse) []*armresources.Provider { return p.Value }), "Microsoft.Storage", func(v *armresources.Provider) *string { return v.Namespace })

	locks := must(armlocks.NewManagementLocksClient(c.subscription, c.credential, nil))(t)
	must(locks.CreateOrUpdateAtResourceGroupLevel(c.ctx, c.group, "keep", armlocks.ManagementLockObject{Properties: &armlocks.ManagementLockProperties{Level: to.Ptr(armlocks.LockLevelCanNotDelete), Notes: to.Ptr("of the test")}}, nil))(t)
	_, err := resources.BeginDeleteByID(c.ctx, vnet, version, nil)
	refused(t, err, http.StatusConflict, "ScopeLocked")
	_, err = groups.BeginDelete(c.ctx, c.group, nil)
	refused(t, err, http.StatusConflict, "ScopeLocked")
	has(t, "locks", all(t, c, locks.NewListAtResourceGroupLevelPager(c.group, nil), func(p armlocks.ManagementLocksClientListAtResourceGroupLevelResponse) []*armlocks.ManagementLockObject {
		return p.Value
	}), "keep", func(v *armlocks.ManagementLockObject) *string { return v.Name })
	has(t, "the subscription's locks", all(t, c, locks.NewListAtSubscriptionLevelPager(nil), func(p armlocks.ManagementLocksClientListAtSubscriptionLevelResponse) []*armlocks.ManagementLockObject {
		return p.Value
	}), "keep", func(v *armlocks.ManagementLockObject) *string { return v.Name })
	must(locks.DeleteAtResourceGroupLevel(c.ctx, c.group, "keep", nil))(t)
	done(resources.BeginDeleteByID(c.ctx, vnet, version, nil))(t, c)
}
