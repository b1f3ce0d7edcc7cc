package managedidentity_test

import (
	"net/http"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/managedidentity"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func TestIdentity(t *testing.T) {
	e := rptest.New(t, rptest.Options{}, resources.Provider(), managedidentity.Provider(&rptest.Directory{}))
	e.NewGroup()
	const id = rptest.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uai-1"
	r := e.Want(http.StatusCreated, "PUT", id, `{"location":"eastus","properties":{"principalId":"forged"}}`)
	if r.Body.String("properties.principalId") != rptest.IdentityOf(id) || r.Body.String("properties.clientId") == "" || r.Body.String("properties.tenantId") != rptest.Tenant {
		t.Errorf("identity: %s", r.Raw)
	}
	again := e.Want(http.StatusOK, "PUT", id, `{"location":"eastus","tags":{"a":"b"}}`)
	if again.Body.Get("properties.principalId") != r.Body.Get("properties.principalId") {
		t.Error("an update changed the principal")
	}
	e.Want(http.StatusOK, "DELETE", id, nil)
	e.Refused(http.StatusBadRequest, "InvalidResourceName", "", "PUT", rptest.Group+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/-x", `{"location":"eastus"}`)
}
