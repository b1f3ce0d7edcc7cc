package machinelearning_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

// What workspaces are allowed of the quota of a family.
func TestWorkspaceQuotas(t *testing.T) {
	e, eng := newEnv(t, false)
	eng.quotas = map[string]int{"eastus/standardDSv3Family": 24}
	e.Want(201, "PUT", ws+"/computes/cpu-cluster", cluster(`"vmSize":"Standard_D4s_v3",`+scale))
	const at = "/providers/Microsoft.MachineLearningServices/locations/"
	update := func(region, family string, limit int) string {
		t.Helper()
		id := ws + "/quotas/" + family
		r := e.Want(200, "POST", rptest.Sub+at+region+"/updateQuotas", fmt.Sprintf(
			`{"location":%q,"value":[{"id":%q,"type":"Microsoft.MachineLearningServices/workspaces/quotas","limit":%d,"unit":"Count"}]}`, region, id, limit))
		one := arm.Doc(r.Body.List("value")[0].(map[string]any))
		if one.String("id") != id || one.Int("limit", 0) != limit || one.String("unit") != "Count" {
			t.Errorf("%s", r.Raw)
		}
		return one.String("status")
	}
	for _, c := range []struct {
		region, family string
		limit          int
		want           string
	}{
		{"eastus", "standardDSv3Family", 25, "InvalidQuotaExceedsSubscriptionLimit"},
		{"eastus", "standardDSv3Family", 0, "InvalidQuotaBelowClusterMinimum"},
		{"eastus", "standardNoneFamily", 8, "InvalidVMFamilyName"},
		{"westus", "standardDSv3Family", 8, "OperationNotEnabledForRegion"},
		{"eastus", "STANDARDDSV3FAMILY", 8, "Success"},
	} {
		if got := update(c.region, c.family, c.limit); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	list := func(region string) map[string]int {
		t.Helper()
		out := map[string]int{}
		for _, v := range e.Want(200, "GET", rptest.Sub+at+region+"/quotas", nil).Body.List("value") {
			d := arm.Doc(v.(map[string]any))
			out[d.String("id")] = int(d.Get("limit").(float64))
		}
		return out
	}
	all := list("East US")
	if all[rptest.Sub+"/quotas/standardDSv3Family"] != 24 || all[rptest.Sub+"/quotas/standardDSv2Family"] != -1 || all[ws+"/quotas/standardDSv3Family"] != 8 {
		t.Errorf("quotas: %v", all)
	}
	if _, there := list("westus")[ws+"/quotas/standardDSv3Family"]; there {
		t.Error("a workspace's quota is in another region")
	}
	path := rptest.Sub + at + "eastus/updateQuotas"
	e.Refused(400, "BadRequest", "names no quotas", "POST", path, `{}`)
	e.Refused(400, "BadRequest", "no workspace", "POST", path, `{"value":[{"id":"/subscriptions/x/quotas/y","limit":1}]}`)
	e.Refused(400, "BadRequest", "not a number", "POST", path, `{"value":[{"id":"/x","limit":1.5}]}`)

	eng.quotas["eastus/standardDSv2Family"] = 2
	e.Refused(400, "BadRequest", "total vCPU quota of 2 and cannot accomodate for at least 1 requested compute training cluster and/or compute instance's node which maps to 4 vCPUs",
		"PUT", ws+"/computes/ci-two", `{"location":"eastus","properties":{"computeType":"ComputeInstance","properties":{"vmSize":"Standard_DS3_v2"}}}`)
	e.Want(200, "DELETE", ws, nil)
	if len(eng.quotas) != 2 {
		t.Errorf("left of the workspace: %v", eng.quotas)
	}
}

// A size with GPUs is listed where Azure sells it.
func TestSizesOfRegions(t *testing.T) {
	e, _ := newEnv(t, false)
	has := func(region string) bool {
		r := e.Want(200, "GET", rptest.Sub+"/providers/Microsoft.MachineLearningServices/locations/"+region+"/vmSizes", nil)
		return strings.Contains(r.Raw, `"Standard_NC4as_T4_v3"`)
	}
	if !has("eastus") || has("norwaywest") {
		t.Error("Standard_NC4as_T4_v3 is sold in eastus, and not in norwaywest")
	}
}
