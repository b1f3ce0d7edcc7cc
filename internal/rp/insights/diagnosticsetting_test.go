package insights_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/insights"
	"github.com/azimuth-ml/azimuth/internal/rp/operationalinsights"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// logs is a setting that sends categories, or groups with a + before them, to a
// workspace.
func logs(workspace string, categories ...string) string {
	var list []string
	for _, c := range categories {
		name, kind := strings.TrimPrefix(c, "+"), "category"
		if name != c {
			kind = "categoryGroup"
		}
		list = append(list, fmt.Sprintf(`{%q:%q,"enabled":true}`, kind, name))
	}
	return `{"properties":{"workspaceId":"` + workspace + `","logs":[` + strings.Join(list, ",") + `]}}`
}

// TestDiagnosticSettings keeps what the activity log and components can send.
func TestDiagnosticSettings(t *testing.T) {
	changes := 0
	e := rptest.New(t, rptest.Options{}, resources.Provider(), operationalinsights.Provider(operationalinsights.Deps{}),
		insights.Provider(insights.Deps{SettingsChanged: func() { changes++ }}))
	e.NewGroup()
	ws := func(i int) string {
		return fmt.Sprintf("%s/providers/Microsoft.OperationalInsights/workspaces/logs%d", rptest.Group, i)
	}
	for i := range 6 {
		e.Want(http.StatusCreated, "PUT", ws(i), `{"location":"eastus"}`)
	}
	sub, _, _ := strings.Cut(rptest.Group, "/resourceGroups/")
	const at = "/providers/Microsoft.Insights/diagnosticSettings/"
	settings := func() (all []insights.DiagnosticSetting) {
		t.Helper()
		if err := e.Kernel.Store().View(t.Context(), func(tx store.Tx) (err error) {
			all, err = insights.Settings(tx, e.Kernel)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}

	r := e.Want(http.StatusOK, "PUT", sub+at+"activity", logs(ws(0), "Administrative", "ServiceHealth"))
	if r.Body.String("properties.workspaceId") != ws(0) || len(r.Body.List("properties.metrics")) != 0 {
		t.Errorf("setting %s", r.Raw)
	}
	if all := settings(); len(all) != 1 || all[0].Resource != sub || strings.Join(all[0].Categories, " ") != "Administrative" || changes != 1 {
		t.Errorf("settings %+v, %d changes", all, changes)
	}
	e.Refused(409, "Conflict", "already used in diagnostic setting 'activity'", "PUT", sub+at+"again", logs(ws(0), "Administrative"))
	for i := 1; i < 5; i++ {
		e.Want(http.StatusOK, "PUT", sub+at+fmt.Sprint("more", i), logs(ws(i), "Administrative"))
	}
	e.Refused(400, "BadRequest", "5 diagnostic settings", "PUT", sub+at+"six", logs(ws(5), "Administrative"))
	e.Refused(400, "BadRequest", "'Administrative'", "PUT", sub+at+"activity", logs(ws(0), "Nothing"))
	e.Refused(400, "BadRequest", "sink", "PUT", sub+at+"activity", logs("", "Administrative"))
	e.Refused(400, "InvalidParameterValue", "not the ID", "PUT", sub+at+"activity", logs("/nothing", "Administrative"))
	e.Refused(404, "ResourceNotFound", "not found", "PUT", sub+at+"activity", logs(ws(9), "Administrative"))
	e.Refused(501, "NotImplementedByAzimuth", "Audit", "PUT", ws(0)+at+"audit", logs(ws(1), "+audit"))
	e.Refused(501, "NotImplementedByAzimuth", "retentionPolicy", "PUT", sub+at+"activity",
		strings.Replace(logs(ws(0), "Administrative"), `"enabled":true`, `"enabled":true,"retentionPolicy":{"enabled":true,"days":3}`, 1))
	e.Refused(501, "NotImplementedByAzimuth", "event hub", "PUT", sub+at+"activity",
		strings.Replace(logs(ws(0), "Administrative"), `"workspaceId"`, `"eventHubAuthorizationRuleId":"/x","workspaceId"`, 1))
	e.Refused(400, "ResourceTypeNotSupported", "resourcegroups", "PUT", rptest.Group+at+"x", logs(ws(0), "Administrative"))

	// What is switched off sends nothing, and is kept.
	e.Want(http.StatusOK, "PUT", sub+at+"more1", strings.Replace(logs(ws(1), "Administrative"), "true", "false", 1))
	if all := settings(); len(all) != 4 {
		t.Errorf("%d settings", len(all))
	}
	if list := e.Want(http.StatusOK, "GET", sub+strings.TrimSuffix(at, "/"), nil).Names(); len(list) != 5 {
		t.Errorf("list %v", list)
	}
	e.Want(http.StatusOK, "DELETE", sub+at+"activity", nil)
	e.Want(http.StatusNoContent, "DELETE", sub+at+"activity", nil)
	if all := settings(); len(all) != 3 {
		t.Errorf("%d settings are left", len(all))
	}
	if names := strings.Join(e.Want(http.StatusOK, "GET", sub+"/providers/Microsoft.Insights/diagnosticSettingsCategories", nil).Names(), " "); !strings.HasPrefix(names, "Administrative Security") {
		t.Errorf("categories %s", names)
	}
	e.Want(http.StatusOK, "GET", ws(0)+"/providers/Microsoft.Insights/diagnosticSettingsCategories/Audit", nil)
	e.Want(http.StatusNotFound, "GET", ws(0)+"/providers/Microsoft.Insights/diagnosticSettingsCategories/Nothing", nil)

	// A resource takes its settings along.
	before := changes
	e.Want(http.StatusOK, "DELETE", ws(4), nil)
	if changes != before {
		t.Errorf("%d changes", changes-before)
	}
}
