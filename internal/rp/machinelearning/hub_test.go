package machinelearning_test

import (
	"slices"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func project(hub, more string) string {
	return `{"kind":"Project","location":"eastus","identity":{"type":"SystemAssigned"},"properties":{"hubResourceId":"` + hub + `"` + more + `}}`
}

func TestHub(t *testing.T) {
	e, eng := newEnv(t, false)
	hub, one := mlw+"hub-one", mlw+"proj-one"
	r := e.Want(200, "PUT", hub, `{"kind":"Hub",`+isolated("AllowInternetOutbound", "")[1:])
	if r.Body.String("kind") != "Hub" || len(r.Body.List("properties.associatedWorkspaces")) != 0 || !r.Body.Has("properties.associatedWorkspaces") {
		t.Errorf("hub: %s", r.Raw)
	}
	r = e.Want(200, "PUT", one, project(hub, `,"friendlyName":"One"`))
	for field, want := range map[string]any{
		"kind": "Project", "properties.hubResourceId": hub, "properties.storageAccount": account, "properties.keyVault": kv,
		"properties.applicationInsights": ai, "properties.containerRegistry": registry, "properties.publicNetworkAccess": "Enabled",
		"properties.managedNetwork.isolationMode": "AllowInternetOutbound", "properties.managedNetwork.status.status": "Inactive",
		"properties.storageHnsEnabled": true, "properties.friendlyName": "One", "identity.principalId": rptest.IdentityOf(one),
		"properties.discoveryUrl": "https://eastus.api.azureml.ms/discovery",
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if len(eng.created) != 3 { // the workspace of the environment, the hub, the project
		t.Errorf("created %v", eng.created)
	}
	if r := e.Want(200, "GET", hub, nil); !slices.Equal(r.Body.List("properties.associatedWorkspaces"), []any{any(one)}) {
		t.Errorf("hub: %s", r.Raw)
	}
	// what azurerm sends to change a project: all that it read but what is the hub's
	r = e.Want(200, "GET", one, nil)
	for _, name := range []string{"managedNetwork", "keyVault", "storageAccount", "containerRegistry", "applicationInsights", "encryption"} {
		r.Body.Delete("properties." + name)
	}
	r.Body.Set("properties.description", "changed")
	if r := e.Want(200, "PUT", one, r.Body); r.Body.String("properties.description") != "changed" || r.Body.String("properties.storageAccount") != account {
		t.Errorf("changed: %s", r.Raw)
	}
	e.Want(200, "PATCH", one, `{"tags":{"a":"b"}}`)

	// projects follow their hub
	const ai2 = rg + "Microsoft.Insights/components/ai-two"
	e.Want(200, "PUT", ai2, `{"kind":"web","location":"eastus","properties":{"Application_Type":"web"}}`)
	e.Want(200, "PATCH", hub, `{"properties":{"applicationInsights":"`+ai2+`"}}`)
	e.Want(200, "POST", hub+"/provisionManagedNetwork", `{"includeSpark":false}`)
	if r := e.Want(200, "GET", one, nil); r.Body.String("properties.applicationInsights") != ai2 || r.Body.String("properties.managedNetwork.status.status") != "Active" || r.Body.String("tags.a") != "b" {
		t.Errorf("after its hub: %s", r.Raw)
	}
	// a project's computes, datastores and jobs are those of a workspace
	e.Want(201, "PUT", one+"/computes/cpu-cluster", cluster(`"vmSize":"Standard_D4s_v3",`+scale))

	for query, want := range map[string][]string{
		"": {"hub-one", "mlw-one", "proj-one"}, "?kind=Hub": {"hub-one"}, "?kind=project": {"proj-one"}, "?kind=Default": {"mlw-one"}, "?kind=Hub,Project": {"hub-one", "proj-one"}, "?kind=FeatureStore": nil,
	} {
		for _, at := range []string{rg, rptest.Sub + "/providers/"} {
			got := e.Want(200, "GET", at+"Microsoft.MachineLearningServices/workspaces"+query, nil).Names()
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
	}
	if r := e.Want(200, "GET", rg+"Microsoft.MachineLearningServices/workspaces?kind=Project&$top=1", nil); len(r.Names()) != 1 || r.Body.Has("nextLink") {
		t.Errorf("page: %s", r.Raw)
	}

	for _, tc := range []struct {
		path, body string
		status     int
		code, text string
	}{
		{mlw + "proj-two", project("", ""), 400, "ValidationError", "hubResourceId"},
		{mlw + "proj-two", project(account, ""), 400, "ValidationError", "not the ID of a hub"},
		{mlw + "proj-two", project(ws, ""), 400, "ValidationError", "kind 'Default'"},
		{mlw + "proj-two", project(mlw+"hub-none", ""), 404, "ResourceNotFound", "hub-none"},
		{mlw + "proj-two", project(hub, `,"storageAccount":"`+account+`"`), 400, "ValidationError", "that of its hub"},
		{mlw + "proj-two", project(hub, `,"managedNetwork":{"isolationMode":"Disabled"}`), 400, "ValidationError", "that of its hub"},
		{mlw + "proj-two", `{"kind":"Project","location":"westus","properties":{"hubResourceId":"` + hub + `"}}`, 400, "ValidationError", "westus"},
		{mlw + "mlw-two", workspace(`,"hubResourceId":"` + hub + `"`), 400, "ValidationError", "kind Project"},
		{one, project(hub+"x", ""), 409, "PropertyChangeNotAllowed", "hubResourceId"},
		{one, `{"kind":"Hub",` + workspace("")[1:], 400, "ValidationError", "cannot be changed to 'Hub'"},
		{one + "/outboundRules/blobs", endpointRule(account, "queue"), 400, "ValidationError", "its hub"},
	} {
		e.Refused(tc.status, tc.code, tc.text, "PUT", tc.path, tc.body)
	}
	e.Refused(400, "ValidationError", "its hub", "POST", one+"/provisionManagedNetwork", nil)
	e.Refused(409, "Conflict", "proj-one", "DELETE", hub, nil)
	e.Want(200, "DELETE", one, nil)
	e.Want(200, "DELETE", hub, nil)

	// a group goes as a whole
	e.Want(200, "PUT", hub, `{"kind":"Hub",`+workspace("")[1:])
	e.Want(200, "PUT", one, project(hub, ""))
	e.Want(202, "DELETE", rptest.Group, nil)
	if r := e.Want(200, "GET", rptest.Sub+"/resources", nil); len(r.Names()) != 0 {
		t.Errorf("left: %v", r.Names())
	}
}
