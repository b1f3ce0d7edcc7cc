package ml_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// pools are the serverless pools of the workspace.
func (h *harness) pools() (out []compute.PoolStatus) {
	h.t.Helper()
	h.must(h.Store.View(h.t.Context(), func(tx store.Tx) (err error) {
		out, err = h.Manager.Pools(tx, ml.ServerlessPools(wsID))
		return err
	}))
	return out
}

func TestServerlessJobs(t *testing.T) {
	h := newHarness(t)
	r := h.submit("j1", "computeId", nil)
	if got := r.Body.Get("properties.computeId"); got != nil {
		t.Errorf("computeId is %v", got)
	}
	// the name that clients write for it, a size, a tier, and more nodes than there would be
	r = h.submit("j2", "computeId", "azureml:serverless", "resources", map[string]any{"instanceType": "Standard_D4s_v3", "instanceCount": 5}, "queueSettings.jobTier", "Spot")
	if p := r.Body.Object("properties"); p.Get("computeId") != nil || p.String("resources.instanceType") != "Standard_D4s_v3" {
		t.Errorf("job is %v", p)
	}
	h.submit("j3", "computeId", wsID+"/computes/serverless", "queueSettings", map[string]any{"jobTier": "Standard"})
	all := h.pools()
	if len(all) != 2 || all[0].VMSize != "Standard_DS3_v2" || all[0].Priority != "Dedicated" || all[0].Max != 2 ||
		all[1].VMSize != "Standard_D4s_v3" || all[1].Priority != "LowPriority" || all[1].Max != 5 {
		t.Errorf("pools are %+v", all)
	}
	for _, p := range all {
		if !ml.IsServerless(p.ID) {
			t.Errorf("%s is not serverless", p.ID)
		}
	}
	if ml.IsServerless(arm.Key(clusterID)) {
		t.Error("a cluster is serverless")
	}
	s := h.prepare("j1", 1, 1)[0]
	b, err := os.ReadFile(s.LogPath)
	h.must(err)
	if !strings.Contains(string(b), "The job runs on serverless compute: 1 node of Standard_DS3_v2 (Dedicated).\n") {
		t.Errorf("log is %s", b)
	}
	if envOf(s, "MSI_ENDPOINT") != "" {
		t.Error("a serverless job has an identity that it did not ask for")
	}
	h.started("j1", 1)
	d := h.data(rptest.Owner, "GET", "/history/v1.0"+wsID+"/experiments/iris/runs/j1/details", nil)
	if d.Body.String("target") != "serverless" || d.Body.String("compute.vmSize") != "Standard_DS3_v2" {
		t.Errorf("details are %s", d.Raw)
	}
	h.finish("j1", 1, completed())
	if got := h.status("j1"); got != "Completed" {
		t.Errorf("status is %s", got)
	}
	// a smaller job leaves room for the larger one
	h.submit("j4", "computeId", nil, "resources.instanceType", "Standard_D4s_v3", "queueSettings.jobTier", "Spot")
	if all := h.pools(); all[1].Max != 5 {
		t.Errorf("maximum is %d", all[1].Max)
	}
}

func TestServerlessQuota(t *testing.T) {
	h := newHarness(t)
	h.must(h.Store.Update(t.Context(), func(tx store.Tx) error { return h.Manager.SetQuota(tx, region+"/cores", 4) }))
	h.submit("j1", "computeId", nil)
	r := h.Do("PUT", h.jobID("j2"), job("computeId", nil, "resources.instanceCount", 2))
	if r.Status != 400 || r.Code() != "JobNodeCountExceedsCoreQuota" {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
}

func TestServerlessIdentity(t *testing.T) {
	h := newHarness(t)
	h.must(h.Store.Update(t.Context(), func(tx store.Tx) error {
		ws, err := h.Kernel.Resources().Get(tx, wsID)
		if err != nil {
			return err
		}
		ws.Body.Set("identity", map[string]any{"type": "SystemAssigned, UserAssigned", "principalId": "system", "userAssignedIdentities": map[string]any{
			"/a": map[string]any{"principalId": "p-a", "clientId": "c-a"}, "/b": map[string]any{"principalId": "p-b", "clientId": "c-b"},
		}})
		ws.Body.Set("properties.primaryUserAssignedIdentity", "/B")
		return h.Kernel.Resources().Put(tx, ws)
	}))
	for name, c := range map[string]struct {
		identity map[string]any
		secret   string
	}{
		"primary": {map[string]any{"identityType": "Managed"}, "secret-of-p-b"},
		"other":   {map[string]any{"identityType": "Managed", "clientId": "c-a"}, "secret-of-p-a"},
		"user":    {map[string]any{"identityType": "UserIdentity"}, ""},
		"none":    {map[string]any{"identityType": "AMLToken"}, ""},
	} {
		h.submit(name, "computeId", nil, "identity", c.identity)
		if got := envOf(h.prepare(name, 1, 1)[0], "MSI_SECRET"); got != c.secret {
			t.Errorf("%s: secret is %q, want %q", name, got, c.secret)
		}
	}
}

func TestServerlessGoesWithItsWorkspace(t *testing.T) {
	h := newHarness(t)
	h.submit("j1", "computeId", nil)
	h.Want(200, "DELETE", wsID, nil)
	for _, p := range h.pools() {
		if !p.Deleting {
			t.Errorf("%s stays", p.ID)
		}
	}
	if err := h.Store.View(t.Context(), func(tx store.Tx) error {
		_, err := h.Kernel.Resources().Get(tx, h.jobID("j1"))
		return err
	}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("job is %v", err)
	}
}
