package gosdk

import (
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
)

// TestConditions assigns a role under a condition, and reads what only tells.
func TestConditions(t *testing.T) {
	c := newCloud(t, "rg-gosdk-conditions")
	m := must(armmsi.NewClientFactory(c.subscription, c.credential, nil))(t)
	id := must(m.NewUserAssignedIdentitiesClient().CreateOrUpdate(c.ctx, c.group, "id-go", armmsi.Identity{Location: to.Ptr(region)}, nil))(t)
	_, err := m.NewSystemAssignedIdentitiesClient().GetByScope(c.ctx, *id.ID, nil)
	missing(t, err) // it has none of its own

	a := must(armauthorization.NewClientFactory(c.subscription, c.credential, nil))(t)
	assignments := a.NewRoleAssignmentsClient()
	const name, condition = "9f6b1c1e-0000-4000-8000-0000000c0de9", "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'}) OR @Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {acdd72a7-3385-48ef-bd42-f606fba81ae7}"
	params := func(condition, version string) armauthorization.RoleAssignmentCreateParameters {
		return armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
			RoleDefinitionID: to.Ptr("/providers/Microsoft.Authorization/roleDefinitions/f58310d9-a9f6-439a-9e8d-f62e7b41a168"),
			PrincipalID:      id.Properties.PrincipalID, Condition: &condition, ConditionVersion: &version,
		}}
	}
	_, err = assignments.Create(c.ctx, c.id, name, params(condition, "1.0"), nil)
	refused(t, err, http.StatusBadRequest, "BadRequest")
	_, err = assignments.Create(c.ctx, c.id, name, params("@Principal[a:b] StringEquals 'x'", "2.0"), nil)
	refused(t, err, http.StatusNotImplemented, "NotImplementedByAzimuth")
	made := must(assignments.Create(c.ctx, c.id, name, params(condition, "2.0"), nil))(t)
	if *made.Properties.Condition != condition || *made.Properties.ConditionVersion != "2.0" {
		t.Errorf("assignment: %+v", made.Properties)
	}
	must(assignments.Delete(c.ctx, c.id, name, nil))(t)

	if got := all(t, c, a.NewDenyAssignmentsClient().NewListForResourceGroupPager(c.group, nil), func(p armauthorization.DenyAssignmentsClientListForResourceGroupResponse) []*armauthorization.DenyAssignment {
		return p.Value
	}); len(got) != 0 {
		t.Errorf("deny assignments: %+v", got)
	}
	if got := all(t, c, a.NewClassicAdministratorsClient().NewListPager(nil), func(p armauthorization.ClassicAdministratorsClientListResponse) []*armauthorization.ClassicAdministrator {
		return p.Value
	}); len(got) != 0 {
		t.Errorf("classic administrators: %+v", got)
	}
	operations := a.NewProviderOperationsMetadataClient()
	has(t, "providers' operations", all(t, c, operations.NewListPager(nil), func(p armauthorization.ProviderOperationsMetadataClientListResponse) []*armauthorization.ProviderOperationsMetadata {
		return p.Value
	}), "Microsoft.Storage", func(v *armauthorization.ProviderOperationsMetadata) *string { return v.Name })
	one := must(operations.Get(c.ctx, "Microsoft.Storage", &armauthorization.ProviderOperationsMetadataClientGetOptions{Expand: to.Ptr("resourceTypes")}))(t)
	data := false
	for _, typ := range one.ResourceTypes {
		for _, op := range typ.Operations {
			data = data || *op.IsDataAction && *op.Name == "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
		}
	}
	if !data {
		t.Errorf("no data action to read blobs among %d types", len(one.ResourceTypes))
	}
	must(m.NewUserAssignedIdentitiesClient().Delete(c.ctx, c.group, "id-go", nil))(t)
}
