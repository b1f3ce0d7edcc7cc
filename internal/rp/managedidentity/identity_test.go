package managedidentity_test

import (
	"net/http"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
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

func TestFederated(t *testing.T) {
	dir := &rptest.Directory{}
	e := rptest.New(t, rptest.Options{}, resources.Provider(), managedidentity.Provider(dir))
	e.NewGroup()
	const id = rptest.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uai-1"
	const path = id + "/federatedIdentityCredentials/github"
	body := map[string]any{"properties": map[string]any{"issuer": "https://idp.example.com", "subject": "repo:o/r", "audiences": []string{"api://AzureADTokenExchange"}}}
	e.Refused(http.StatusNotFound, "ParentResourceNotFound", "", "PUT", path, body)
	client := e.Want(http.StatusCreated, "PUT", id, `{"location":"eastus"}`).Body.String("properties.clientId")
	r := e.Want(http.StatusCreated, "PUT", path, body)
	if f := dir.Federated[client+"/github"]; f.Issuer != "https://idp.example.com" || f.Subject != "repo:o/r" || len(f.Audiences) != 1 {
		t.Errorf("credential: %+v, %s", f, r.Raw)
	}
	e.Want(http.StatusOK, "PUT", path, body)
	e.Refused(http.StatusBadRequest, "BadRequest", "subject", "PUT", id+"/federatedIdentityCredentials/other", `{"properties":{}}`)
	e.Refused(http.StatusBadRequest, "InvalidResourceName", "", "PUT", id+"/federatedIdentityCredentials/a", body)
	if r := e.Want(http.StatusOK, "GET", id+"/federatedIdentityCredentials", nil); len(r.Names()) != 1 {
		t.Errorf("list: %s", r.Raw)
	}
	e.Want(http.StatusOK, "DELETE", path, nil)
	e.Want(http.StatusNoContent, "DELETE", path, nil)
	e.Want(http.StatusCreated, "PUT", path, body)
	e.Want(http.StatusOK, "DELETE", id, nil) // with what is in it
	if len(dir.Federated) != 0 {
		t.Errorf("left: %v", dir.Federated)
	}
}

// The identity that a resource has of its own is read at the resource.
func TestSystemAssigned(t *testing.T) {
	host := &arm.Provider{Namespace: "Contoso.Test", Types: []*arm.ResourceType{
		{Type: "Contoso.Test/hosts", Tracked: true, Identity: []string{"SystemAssigned", "UserAssigned"}},
	}}
	e := rptest.New(t, rptest.Options{}, resources.Provider(), host, managedidentity.Provider(&rptest.Directory{}))
	e.NewGroup()
	path := rptest.Group + "/providers/Contoso.Test/hosts/one"
	at := path + "/providers/Microsoft.ManagedIdentity/identities/default"
	e.Want(http.StatusNotFound, "GET", at, nil)
	e.Want(http.StatusCreated, "PUT", path, `{"location":"eastus"}`)
	e.Want(http.StatusNotFound, "GET", at, nil)
	made := e.Want(http.StatusOK, "PUT", path, `{"location":"eastus","tags":{"a":"b"},"identity":{"type":"SystemAssigned"}}`)
	r := e.Want(http.StatusOK, "GET", at, nil)
	if r.Body.String("properties.principalId") != made.Body.String("identity.principalId") || r.Body.String("properties.clientId") == "" ||
		r.Body.String("name") != "default" || r.Body.String("tags.a") != "b" || r.Body.String("location") != "eastus" || r.Body.String("id") != at {
		t.Errorf("%s", r.Raw)
	}
	e.Want(http.StatusNotFound, "GET", path+"/providers/Microsoft.ManagedIdentity/identities/other", nil)
	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "", "PUT", at, `{}`)
}
