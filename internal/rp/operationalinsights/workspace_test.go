package operationalinsights_test

import (
	"net/http"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/operationalinsights"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

const workspace = rptest.Group + "/providers/Microsoft.OperationalInsights/workspaces/log-1"

func TestWorkspace(t *testing.T) {
	e := rptest.New(t, rptest.Options{}, resources.Provider(), operationalinsights.Provider(operationalinsights.Deps{}))
	e.NewGroup()
	// azurerm puts twice, with retention 0 for "the default"
	const body = `{"location":"eastus","properties":{"sku":{"name":"pergb2018"},"retentionInDays":0,"features":{"enableLogAccessUsingOnlyResourcePermissions":false},"workspaceCapping":{"dailyQuotaGb":-1}}}`
	first := e.Want(http.StatusCreated, "PUT", workspace, body)
	r := e.Want(http.StatusOK, "PUT", workspace, body)
	for path, want := range map[string]any{
		"properties.sku.name": "PerGB2018", "properties.retentionInDays": 30.0, "properties.provisioningState": "Succeeded",
		"properties.features.enableLogAccessUsingOnlyResourcePermissions": false,
		"properties.customerId": first.Body.Get("properties.customerId"),
	} {
		if got := r.Body.Get(path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	keys := e.Want(http.StatusOK, "POST", workspace+"/sharedKeys", nil)
	if keys.Body.String("primarySharedKey") == "" || keys.Body.String("primarySharedKey") == keys.Body.String("secondarySharedKey") {
		t.Errorf("keys: %s", keys.Raw)
	}
	if again := e.Want(http.StatusOK, "POST", workspace+"/sharedKeys", nil); again.Raw != keys.Raw {
		t.Error("the keys changed by themselves")
	}
	if other := e.Want(http.StatusOK, "POST", workspace+"/regenerateSharedKey", nil); other.Raw == keys.Raw {
		t.Error("regenerating changed nothing")
	}
	e.Refused(http.StatusBadRequest, "InvalidParameterValue", "Gold", "PUT", workspace, `{"location":"eastus","properties":{"sku":{"name":"Gold"}}}`)
	e.Refused(http.StatusBadRequest, "InvalidParameterValue", "29", "PUT", workspace, `{"location":"eastus","properties":{"retentionInDays":29}}`)
	e.Refused(http.StatusBadRequest, "InvalidResourceName", "", "PUT", workspace+"-", `{"location":"eastus"}`)
	if n := len(e.Want(http.StatusOK, "GET", rptest.Sub+"/providers/Microsoft.OperationalInsights/deletedWorkspaces", nil).Body.List("value")); n != 0 {
		t.Errorf("%d deleted workspaces", n)
	}
}
