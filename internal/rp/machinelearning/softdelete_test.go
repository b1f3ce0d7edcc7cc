package machinelearning_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

const recovers = `,"allowRecoverSoftDeletedWorkspace":"True"`

// TestWorkspaceRecovery checks what of a deleted workspace comes back.
func TestWorkspaceRecovery(t *testing.T) {
	e, eng := newEnv(t, true)
	one := mlw + "mlw-two"
	r := e.Want(200, "PUT", one, strings.Replace(isolated("AllowInternetOutbound", ""), `"location":"eastus"`, `"location":"eastus","tags":{"team":"lab"}`, 1))
	guid, principal := r.Body.String("properties.workspaceId"), r.Body.String("identity.principalId")
	e.Want(201, "PUT", one+"/computes/cpu-cluster", cluster(`"vmSize":"Standard_D4s_v3",`+scale))
	e.Want(200, "PUT", one+"/outboundRules/tables", endpointRule(account, "table"))
	e.Want(200, "PUT", one+"/connections/code", `{"properties":{"authType":"PAT","target":"https://example.com","credentials":{"pat":"token"}}}`)
	made := len(eng.created)
	e.Want(200, "DELETE", one, nil)
	if len(eng.pools) != 0 || !slices.Equal(eng.kept, []string{guid}) || len(eng.deleted) != 0 {
		t.Errorf("pools %v, kept %v, deleted %v", eng.pools, eng.kept, eng.deleted)
	}
	e.Refused(404, "ResourceNotFound", "mlw-two", "GET", one, nil)
	e.Refused(404, "ResourceNotFound", "mlw-two", "GET", one+"/connections/code", nil)
	e.Refused(404, "ParentResourceNotFound", "mlw-two", "PUT", one+"/computes/cpu-cluster", cluster(`"vmSize":"Standard_D4s_v3",`+scale))
	if n := len(e.Want(200, "GET", account+"/privateEndpointConnections", nil).Body.List("value")); n != 0 {
		t.Errorf("%d connections of its network are left", n)
	}
	e.Refused(400, "BadRequest", "Please purge or recover it.", "PUT", one, workspace(""))
	e.Refused(400, "ValidationError", "kv-onex", "PUT", one, strings.Replace(workspace(recovers), kv, kv+"x", 1))

	e.Clock.Step(13 * 24 * time.Hour)
	// the least that a PUT has to say: the rest is as it was
	r = e.Want(200, "PUT", one, `{"location":"eastus","properties":{"description":"back"`+recovers+`}}`)
	for field, want := range map[string]any{
		"properties.workspaceId": guid, "properties.storageAccount": account, "properties.description": "back", "tags.team": "lab",
		"properties.managedNetwork.isolationMode": "AllowInternetOutbound", "properties.managedNetwork.status.status": "Inactive",
		"identity.type": "SystemAssigned", "properties.allowRecoverSoftDeletedWorkspace": nil,
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if r.Body.String("identity.principalId") == "" || principal == "" || len(eng.created) != made {
		t.Errorf("identity %s was %s; made %v", r.Body.String("identity.principalId"), principal, eng.created)
	}
	if got := e.Want(200, "GET", one+"/connections", nil).Names(); !slices.Equal(got, []string{"code"}) {
		t.Errorf("connections: %v", got)
	}
	if r := e.Want(200, "POST", one+"/connections/code/listsecrets", nil); r.Body.String("properties.credentials.pat") != "token" {
		t.Errorf("secrets: %s", r.Raw)
	}
	for _, gone := range []string{"computes", "outboundRules"} {
		if got := e.Want(200, "GET", one+"/"+gone, nil).Names(); len(got) != 0 {
			t.Errorf("%s: %v", gone, got)
		}
	}
	// what was recovered can be deleted, and purged, again
	e.Want(200, "DELETE", one, nil)
	e.Want(200, "DELETE", one+"?forceToPurge=true", nil)
	if !slices.Equal(eng.deleted, []string{guid}) {
		t.Errorf("purged %v", eng.deleted)
	}
	if r := e.Want(200, "PUT", one, workspace(recovers)); r.Body.String("properties.workspaceId") == guid {
		t.Errorf("a purged workspace is back: %s", r.Raw)
	}
	if got := e.Want(200, "GET", one+"/connections", nil).Names(); len(got) != 0 {
		t.Errorf("connections of a purged workspace: %v", got)
	}

	// without what it stands on it cannot be recovered
	e.Want(200, "DELETE", one, nil)
	e.Want(200, "DELETE", ai, nil)
	e.Refused(400, "ValidationError", "cannot be recovered without", "PUT", one, `{"location":"eastus","properties":{"x":1`+recovers+`}}`)
	e.Want(200, "PUT", ai, `{"kind":"web","location":"eastus","properties":{"Application_Type":"web"}}`)

	// the clock ends it
	e.Clock.Step(14 * 24 * time.Hour)
	if err := machinelearning.PurgeOver(t.Context(), e.Kernel, eng, e.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	if len(eng.deleted) != 2 {
		t.Errorf("purged %v", eng.deleted)
	}
	e.Want(204, "DELETE", one+"?forceToPurge=true", nil)
	e.Want(200, "PUT", one, workspace(""))

	// one that goes with its group holds its name, and no more
	e.Want(202, "DELETE", rptest.Group, nil)
	e.NewGroup()
	e.Want(200, "PUT", account, `{"kind":"StorageV2","location":"eastus","sku":{"name":"Standard_LRS"},"properties":{}}`)
	e.Refused(400, "ValidationError", "with its resource group", "PUT", one, `{"location":"eastus","properties":{"storageAccount":"`+account+`"`+recovers+`}}`)
	e.Want(200, "DELETE", one+"?forceToPurge=true", nil)
}

// TestUserAssignedAlone checks that a workspace of user-assigned identities alone is
// gone when it is deleted.
func TestUserAssignedAlone(t *testing.T) {
	e, eng := newEnv(t, true)
	const uai = rg + "Microsoft.ManagedIdentity/userAssignedIdentities/uai"
	e.Want(201, "PUT", uai, `{"location":"eastus"}`)
	own := strings.Replace(workspace(`,"primaryUserAssignedIdentity":"`+uai+`"`), `"identity":{"type":"SystemAssigned","userAssignedIdentities":null}`, `"identity":{"type":"UserAssigned","userAssignedIdentities":{"`+uai+`":{}}}`, 1)
	e.Want(200, "PUT", mlw+"mlw-two", own)
	e.Want(200, "DELETE", mlw+"mlw-two", nil)
	if len(eng.deleted) != 1 {
		t.Errorf("deleted %v", eng.deleted)
	}
	e.Want(200, "PUT", mlw+"mlw-two", own)
}
