package insights_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/insights"
	"github.com/azimuth-ml/azimuth/internal/rp/operationalinsights"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

const (
	component = rptest.Group + "/providers/Microsoft.Insights/components/ai-1"
	workspace = rptest.Group + "/providers/Microsoft.OperationalInsights/workspaces/log-1"
)

func newEnv(t *testing.T) *rptest.Env {
	e := rptest.New(t, rptest.Options{}, resources.Provider(), insights.Provider(insights.Deps{}), operationalinsights.Provider(operationalinsights.Deps{}))
	e.NewGroup()
	return e
}

func TestComponent(t *testing.T) {
	e := newEnv(t)
	const body = `{"kind":"web","location":"eastus","properties":{"Application_Type":"web","RetentionInDays":90,"SamplingPercentage":100},"tags":{"a":"b"}}`
	r := e.Want(http.StatusOK, "PUT", component, body)
	key, app := r.Body.String("properties.InstrumentationKey"), r.Body.String("properties.AppId")
	if key == "" || app == "" || !strings.Contains(r.Body.String("properties.ConnectionString"), "InstrumentationKey="+key+";IngestionEndpoint=https://eastus-") {
		t.Errorf("computed: %s", r.Raw)
	}
	r = e.Want(http.StatusOK, "PUT", component, strings.Replace(body, `"web","RetentionInDays":90`, `"web","RetentionInDays":30,"InstrumentationKey":"forged"`, 1))
	if r.Body.String("properties.InstrumentationKey") != key || r.Body.String("properties.AppId") != app || r.Body.Int("properties.RetentionInDays", 0) != 30 {
		t.Errorf("update: %s", r.Raw)
	}
	e.Want(http.StatusOK, "DELETE", component, nil)
	e.Want(http.StatusNoContent, "DELETE", component, nil)
}

func TestComponentOnAWorkspaceStaysThere(t *testing.T) {
	e := newEnv(t)
	with := `{"location":"eastus","properties":{"Application_Type":"web","WorkspaceResourceId":"` + workspace + `"}}`
	e.Refused(http.StatusBadRequest, "LinkedWorkspaceNotFound", "log-1", "PUT", component, with)
	e.Want(http.StatusCreated, "PUT", workspace, `{"location":"eastus","properties":{}}`)
	r := e.Want(http.StatusOK, "PUT", component, with)
	if r.Body.String("properties.IngestionMode") != "LogAnalytics" {
		t.Errorf("mode: %s", r.Raw)
	}
	r = e.Want(http.StatusOK, "PUT", component, `{"location":"eastus","properties":{"Application_Type":"web"}}`)
	if r.Body.String("properties.WorkspaceResourceId") != workspace {
		t.Errorf("a PUT without workspace removed it: %s", r.Raw)
	}
}

func TestBadComponents(t *testing.T) {
	e := newEnv(t)
	for name, body := range map[string]string{
		"type":      `{"location":"eastus","properties":{}}`,
		"retention": `{"location":"eastus","properties":{"Application_Type":"web","RetentionInDays":31}}`,
		"sampling":  `{"location":"eastus","properties":{"Application_Type":"web","SamplingPercentage":101}}`,
		"network":   `{"location":"eastus","properties":{"Application_Type":"web","publicNetworkAccessForQuery":"maybe"}}`,
		"workspace": `{"location":"eastus","properties":{"Application_Type":"web","WorkspaceResourceId":"/x"}}`,
		"location":  `{"properties":{"Application_Type":"web"}}`,
	} {
		if r := e.Do("PUT", component, body); r.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, r.Status, r.Raw)
		}
	}
}

func TestBillingFeatures(t *testing.T) {
	e := newEnv(t)
	if r := e.Do("GET", component+"/currentbillingfeatures", nil); r.Status != http.StatusNotFound {
		t.Errorf("of no component: %d", r.Status)
	}
	e.Want(http.StatusOK, "PUT", component, `{"location":"eastus","properties":{"Application_Type":"web"}}`)
	r := e.Want(http.StatusOK, "GET", component+"/currentbillingfeatures", nil)
	if r.Body.Int("DataVolumeCap.Cap", 0) != 100 {
		t.Errorf("default: %s", r.Raw)
	}
	e.Want(http.StatusOK, "PUT", component+"/currentbillingfeatures", `{"CurrentBillingFeatures":["Basic"],"DataVolumeCap":{"Cap":5}}`)
	e.Want(http.StatusOK, "PUT", component, `{"location":"eastus","properties":{"Application_Type":"web"}}`)
	r = e.Want(http.StatusOK, "GET", component+"/currentbillingfeatures", nil)
	if r.Body.Int("DataVolumeCap.Cap", 0) != 5 || r.Body.Int("DataVolumeCap.WarningThreshold", 0) != 90 {
		t.Errorf("after a change, and an update of the component: %s", r.Raw)
	}
	e.Refused(http.StatusBadRequest, "InvalidParameterValue", "Gold", "PUT", component+"/currentbillingfeatures", `{"CurrentBillingFeatures":["Gold"]}`)
}
