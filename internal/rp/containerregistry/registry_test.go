package containerregistry_test

import (
	"net/http"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/containerregistry"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const registry = rptest.Group + "/providers/Microsoft.ContainerRegistry/registries/acrOne"

// what azurerm 3.117.1 and 5.2.0 send
const (
	body3 = `{"identity":{"type":"None","userAssignedIdentities":null},"location":"eastus","properties":{"adminUserEnabled":false,"anonymousPullEnabled":false,"dataEndpointEnabled":false,"encryption":{"status":"disabled"},"networkRuleBypassOptions":"AzureServices","policies":{"exportPolicy":{"status":"enabled"},"quarantinePolicy":{"status":"disabled"},"retentionPolicy":{"status":"disabled"},"trustPolicy":{"status":"disabled"}},"publicNetworkAccess":"Enabled","zoneRedundancy":"Disabled"},"sku":{"name":"Standard","tier":"Standard"},"tags":{}}`
	body5 = `{"identity":{"type":"None","userAssignedIdentities":null},"location":"eastus","properties":{"adminUserEnabled":true,"anonymousPullEnabled":false,"dataEndpointEnabled":false,"networkRuleBypassAllowedForTasks":false,"networkRuleBypassOptions":"AzureServices","policies":{"azureADAuthenticationAsArmPolicy":{"status":"enabled"},"exportPolicy":{"status":"enabled"},"quarantinePolicy":{"status":"disabled"},"retentionPolicy":{}},"publicNetworkAccess":"Enabled","roleAssignmentMode":"LegacyRegistryPermissions","zoneRedundancy":"Disabled"},"sku":{"name":"Standard","tier":"Standard"}}`
)

func newEnv(t *testing.T) *rptest.Env {
	e := rptest.New(t, rptest.Options{}, resources.Provider(), containerregistry.Provider(containerregistry.Deps{}))
	e.NewGroup()
	return e
}

func TestRegistry(t *testing.T) {
	e := newEnv(t)
	r := e.Want(http.StatusOK, "PUT", registry, body3)
	if r.Body.String("properties.loginServer") != "acrone.azurecr.io" || r.Body.String("name") != "acrOne" || r.Body.String("sku.tier") != "Standard" {
		t.Errorf("registry: %s", r.Raw)
	}
	e.Refused(http.StatusBadRequest, "UnAuthorizedForCredentialOperations", "admin user is disabled", "POST", registry+"/listCredentials", nil)
	e.Want(http.StatusOK, "PUT", registry, body5)
	first := e.Want(http.StatusOK, "POST", registry+"/listCredentials", nil)
	if first.Body.String("username") != "acrOne" || len(first.Body.List("passwords")) != 2 {
		t.Errorf("credentials: %s", first.Raw)
	}
	second := e.Want(http.StatusOK, "POST", registry+"/regenerateCredential", `{"name":"password2"}`)
	if second.Raw == first.Raw || second.Body.List("passwords")[0].(map[string]any)["value"] != first.Body.List("passwords")[0].(map[string]any)["value"] {
		t.Error("regenerate must change the named password and no other")
	}
	if n := len(e.Want(http.StatusOK, "GET", registry+"/replications", nil).Body.List("value")); n != 0 {
		t.Errorf("a Standard registry has %d replications", n)
	}
	r = e.Want(http.StatusOK, "PATCH", registry, `{"sku":{"name":"premium"}}`)
	if r.Body.String("sku.tier") != "Premium" || !r.Body.Bool("properties.adminUserEnabled", false) {
		t.Errorf("PATCH: %s", r.Raw)
	}
	if n := len(e.Want(http.StatusOK, "GET", registry+"/replications", nil).Body.List("value")); n != 1 {
		t.Errorf("a Premium registry has %d replications, want its own region", n)
	}
}

func TestNames(t *testing.T) {
	e := newEnv(t)
	check := func(name string) bool {
		return e.Want(http.StatusOK, "POST", rptest.Sub+"/providers/Microsoft.ContainerRegistry/checkNameAvailability",
			`{"name":"`+name+`","type":"Microsoft.ContainerRegistry/registries"}`).Body.Bool("nameAvailable", false)
	}
	if !check("acrOne") || check("acr") || check("acr-one") {
		t.Error("before there is any")
	}
	e.Want(http.StatusOK, "PUT", registry, body3)
	if check("ACRONE") {
		t.Error("a taken name is available")
	}
	other := rptest.Sub + "/resourceGroups/other"
	e.Want(http.StatusCreated, "PUT", other, `{"location":"eastus"}`)
	e.Refused(http.StatusConflict, "AlreadyInUse", "acrone.azurecr.io", "PUT", other+"/providers/Microsoft.ContainerRegistry/registries/acrone", body3)
	e.Refused(http.StatusBadRequest, "InvalidName", "", "PUT", rptest.Group+"/providers/Microsoft.ContainerRegistry/registries/a-b-c", body3)
	e.Refused(http.StatusBadRequest, "InvalidParameterValue", "Gold", "PUT", registry+"2", `{"location":"eastus","sku":{"name":"Gold"}}`)
	e.Refused(http.StatusBadRequest, "BadRequest", "Premium", "PUT", registry+"2", `{"location":"eastus","sku":{"name":"Standard"},"properties":{"publicNetworkAccess":"Disabled"}}`)
	e.Refused(http.StatusBadRequest, "BadRequest", "Premium", "PUT", registry+"2", `{"location":"eastus","sku":{"name":"Basic"},"properties":{"networkRuleSet":{"defaultAction":"Deny"}}}`)
}

// contents stands in for the data plane.
type contents struct {
	bytes     map[string]int64
	deleted   []string
	reclaimed int
}

func (c *contents) DeleteRegistry(_ store.Tx, uid string) error {
	c.deleted = append(c.deleted, uid)
	return nil
}

func (c *contents) Usage(_ store.Tx, uid string) (int64, error) { return c.bytes[uid], nil }
func (c *contents) Reclaim()                                    { c.reclaimed++ }

func TestContents(t *testing.T) {
	c := &contents{}
	e := rptest.New(t, rptest.Options{}, resources.Provider(), containerregistry.Provider(containerregistry.Deps{Contents: c}))
	e.NewGroup()
	e.Want(http.StatusOK, "PUT", registry, body5)
	var found *arm.Resource
	if err := e.Store.View(t.Context(), func(tx store.Tx) (err error) {
		found, err = containerregistry.Registry(tx, e.Kernel.Resources(), "acrone")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if user, passwords, ok := containerregistry.Admin(found); !ok || user != "acrOne" || len(passwords) != 2 {
		t.Errorf("the admin user is %q with %d passwords, %v", user, len(passwords), ok)
	}
	c.bytes = map[string]int64{found.UID: 12345}
	usage := e.Want(http.StatusOK, "GET", registry+"/listUsages", nil)
	if size := usage.Body.List("value")[0].(map[string]any); size["name"] != "Size" || size["currentValue"] != 12345.0 || size["limit"] != float64(100<<30) {
		t.Errorf("usage: %s", usage.Raw)
	}
	e.Want(http.StatusOK, "DELETE", registry, nil)
	if len(c.deleted) != 1 || c.deleted[0] != found.UID || c.reclaimed != 1 {
		t.Errorf("deleted %q, reclaimed %d times", c.deleted, c.reclaimed)
	}
}
