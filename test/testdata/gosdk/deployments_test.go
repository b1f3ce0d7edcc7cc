package gosdk

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armdeployments"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/v4"
)

const deployed = `{
	"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
	"parameters": {"count": {"type": "int"}},
	"resources": [
		{"type": "Microsoft.Network/virtualNetworks", "apiVersion": "2023-09-01", "name": "net", "location": "[resourceGroup().location]",
			"properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}},
		{"type": "Microsoft.Network/virtualNetworks/subnets", "apiVersion": "2023-09-01", "name": "[format('net/s{0}', copyIndex())]", "dependsOn": ["net"],
			"copy": {"name": "subnets", "count": "[parameters('count')]", "mode": "serial"}, "properties": {"addressPrefix": "[cidrSubnet('10.0.0.0/16', 24, copyIndex())]"}}],
	"outputs": {"space": {"type": "array", "value": "[reference('net').addressSpace.addressPrefixes]"}}}`

func TestDeployments(t *testing.T) {
	c := newCloud(t, "rg-deployments")
	client := must(armdeployments.NewDeploymentsClient(c.subscription, c.credential, nil))(t)
	operations := must(armdeployments.NewDeploymentOperationsClient(c.subscription, c.credential, nil))(t)
	resources := must(armresources.NewClient(c.subscription, c.credential, nil))(t)
	var template any
	if err := json.Unmarshal([]byte(deployed), &template); err != nil {
		t.Fatal(err)
	}
	properties := func(count int, mode armdeployments.DeploymentMode) *armdeployments.DeploymentProperties {
		return &armdeployments.DeploymentProperties{
			Mode: to.Ptr(mode), Template: template, Parameters: map[string]*armdeployments.DeploymentParameter{"count": {Value: count}},
		}
	}
	incremental := armdeployments.Deployment{Properties: properties(2, armdeployments.DeploymentModeIncremental), Tags: team}
	if r := must(client.CheckExistence(c.ctx, c.group, "d", nil))(t); r.Success {
		t.Error("it exists before")
	}
	done(client.BeginValidate(c.ctx, c.group, "d", incremental, nil))(t, c)
	r := done(client.BeginCreateOrUpdate(c.ctx, c.group, "d", incremental, nil))(t, c)
	if *r.Properties.ProvisioningState != armdeployments.ProvisioningStateSucceeded || len(r.Properties.OutputResources) != 3 || *r.Tags["team"] != "ml" {
		t.Errorf("deployed: %+v", r.Properties)
	}
	if r := must(client.CheckExistence(c.ctx, c.group, "d", nil))(t); !r.Success {
		t.Error("it does not exist")
	}
	if l := all(t, c, operations.NewListPager(c.group, "d", nil), func(p armdeployments.DeploymentOperationsClientListResponse) []*armdeployments.DeploymentOperation {
		return p.Value
	}); len(l) != 4 {
		t.Errorf("%d operations", len(l))
	}
	w := done(client.BeginWhatIf(c.ctx, c.group, "d", armdeployments.DeploymentWhatIf{Properties: &armdeployments.DeploymentWhatIfProperties{
		Mode: to.Ptr(armdeployments.DeploymentModeIncremental), Template: template, Parameters: map[string]*armdeployments.DeploymentParameter{"count": {Value: 3}},
	}}, nil))(t, c)
	kinds := map[armdeployments.ChangeType]int{}
	for _, change := range w.Properties.Changes {
		kinds[*change.ChangeType]++
	}
	if kinds[armdeployments.ChangeTypeCreate] != 1 || kinds[armdeployments.ChangeTypeNoChange] != 3 {
		t.Errorf("what if: %v", kinds)
	}
	exported := must(client.ExportTemplate(c.ctx, c.group, "d", nil))(t)
	if h := must(client.CalculateTemplateHash(c.ctx, exported.Template, nil))(t); *h.TemplateHash != *r.Properties.TemplateHash {
		t.Errorf("hashes %s and %s", *h.TemplateHash, *r.Properties.TemplateHash)
	}

	// tags of the group, as a resource of their own
	tags := must(armresources.NewTagsClient(c.subscription, c.credential, nil))(t)
	done(tags.BeginCreateOrUpdateAtScope(c.ctx, c.id, armresources.TagsResource{Properties: &armresources.Tags{Tags: team}}, nil))(t, c)
	merged := done(tags.BeginUpdateAtScope(c.ctx, c.id, armresources.TagsPatchResource{
		Operation: to.Ptr(armresources.TagsPatchOperationMerge), Properties: &armresources.Tags{Tags: map[string]*string{"more": to.Ptr("x")}},
	}, nil))(t, c)
	if len(merged.Properties.Tags) != 2 {
		t.Errorf("tags: %v", merged.Properties.Tags)
	}

	// the group as a template, deployed over itself
	groups := must(armresources.NewResourceGroupsClient(c.subscription, c.credential, nil))(t)
	whole := done(groups.BeginExportTemplate(c.ctx, c.group, armresources.ExportTemplateRequest{
		Resources: []*string{to.Ptr("*")}, Options: to.Ptr("IncludeParameterDefaultValue"),
	}, nil))(t, c)
	over := done(client.BeginCreateOrUpdate(c.ctx, c.group, "over", armdeployments.Deployment{Properties: &armdeployments.DeploymentProperties{
		Mode: to.Ptr(armdeployments.DeploymentModeIncremental), Template: whole.Template,
	}}, nil))(t, c)
	if *over.Properties.ProvisioningState != armdeployments.ProvisioningStateSucceeded {
		t.Errorf("over itself: %+v", over.Properties.Error)
	}

	// one that fails says why
	bad := armdeployments.Deployment{Properties: properties(300, armdeployments.DeploymentModeIncremental)}
	p, err := client.BeginCreateOrUpdate(c.ctx, c.group, "bad", bad, nil)
	if err == nil {
		_, err = p.PollUntilDone(c.ctx, nil)
	}
	if err == nil || !strings.Contains(err.Error(), "InvalidTemplate") {
		t.Errorf("300 subnets of a network of 256: %v", err)
	}
	// what is not in the template goes
	var nothing any
	if err := json.Unmarshal([]byte(deployed[:strings.Index(deployed, `"parameters"`)]+`"resources": []}`), &nothing); err != nil {
		t.Fatal(err)
	}
	done(client.BeginCreateOrUpdate(c.ctx, c.group, "e", armdeployments.Deployment{Properties: &armdeployments.DeploymentProperties{
		Mode: to.Ptr(armdeployments.DeploymentModeComplete), Template: nothing,
	}}, nil))(t, c)
	if l := all(t, c, resources.NewListByResourceGroupPager(c.group, nil), func(p armresources.ClientListByResourceGroupResponse) []*armresources.GenericResourceExpanded {
		return p.Value
	}); len(l) != 0 {
		t.Errorf("%d resources are left", len(l))
	}
	done(client.BeginDelete(c.ctx, c.group, "d", nil))(t, c)
}
