package keyvault_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

type contents struct{ gone []string }

func (c *contents) DeleteVault(_ store.Tx, uid string) error {
	c.gone = append(c.gone, uid)
	return nil
}

const (
	kv      = rptest.Group + "/providers/Microsoft.KeyVault/vaults/kv-one"
	deleted = rptest.Sub + "/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv-one"
	oid     = "11111111-2222-3333-4444-555555555555"
)

func newEnv(t *testing.T, hold bool) (*rptest.Env, *contents) {
	c := &contents{}
	e := rptest.New(t, rptest.Options{}, resources.Provider(), keyvault.Provider(keyvault.Deps{Contents: c, HoldNames: hold}))
	e.NewGroup()
	return e, c
}

func body(props string) string {
	return `{"location":"eastus","tags":{"a":"b"},"properties":{"tenantId":"` + rptest.Tenant + `","sku":{"family":"A","name":"standard"}` + props + `}}`
}

func TestVault(t *testing.T) {
	e, _ := newEnv(t, true)
	r := e.Want(http.StatusOK, "PUT", kv, body(`,"createMode":"default","accessPolicies":[],"enableSoftDelete":true`))
	for field, want := range map[string]any{
		"properties.vaultUri": "https://kv-one.vault.azure.net/", "properties.sku.name": "standard",
		"properties.enableRbacAuthorization": false, "properties.softDeleteRetentionInDays": 90.0,
		"properties.publicNetworkAccess": "Enabled", "properties.createMode": nil, "properties.enablePurgeProtection": nil,
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if r := e.Want(http.StatusOK, "PUT", rptest.Group+"/providers/Microsoft.KeyVault/vaults/kv-new?api-version=2026-02-01", body("")); !r.Body.Bool("properties.enableRbacAuthorization", false) {
		t.Errorf("a vault of 2026: %s", r.Raw)
	}
	e.Want(http.StatusCreated, "PUT", rptest.Sub+"/resourceGroups/rg2", `{"location":"eastus"}`)
	at := func(name string) string { return rptest.Group + "/providers/Microsoft.KeyVault/vaults/" + name }
	for _, tc := range []struct {
		path, body string
		status     int
		code, text string
	}{
		{at("1kv"), body(`,"accessPolicies":[]`), 400, "VaultNameNotValid", "begin with a letter"},
		{at("kv--x"), body(`,"accessPolicies":[]`), 400, "VaultNameNotValid", ""},
		{at("kv-a-very-long-name-of-25"), body(`,"accessPolicies":[]`), 400, "VaultNameNotValid", ""},
		{rptest.Sub + "/resourceGroups/rg2/providers/Microsoft.KeyVault/vaults/KV-ONE", body(`,"accessPolicies":[]`), 409, "VaultAlreadyExists", "globaly unique"},
		{at("kv-two"), body(``), 400, "BadRequest", "accessPolicies"},
		{at("kv-two"), body(`,"accessPolicies":[{"objectId":"me"}]`), 400, "BadRequest", "GUID"},
		{at("kv-two"), body(`,"accessPolicies":[{"objectId":"` + oid + `","permissions":{"keys":["fly"]}}]`), 400, "BadRequest", "fly"},
		{at("kv-two"), body(`,"accessPolicies":[],"softDeleteRetentionInDays":5`), 400, "BadRequest", "7 to 90"},
		{at("kv-two"), body(`,"accessPolicies":[],"createMode":"recover"`), 404, "DeletedVaultNotFound", ""},
		{at("kv-two"), `{"location":"eastus","properties":{"tenantId":"` + rptest.Tenant + `","sku":{"name":"gold"}}}`, 400, "BadRequest", "gold"},
		{kv, body(`,"softDeleteRetentionInDays":7`), 400, "BadRequest", "can't be modified"},
		{kv, body(`,"enablePurgeProtection":false`), 400, "BadRequest", "irreversible"},
		{kv, body(`,"enableSoftDelete":false`), 400, "BadRequest", "irreversible"},
	} {
		e.Refused(tc.status, tc.code, tc.text, "PUT", tc.path, tc.body)
	}
	if r := e.Want(http.StatusOK, "PATCH", kv, `{"properties":{"enabledForDeployment":true}}`); !r.Body.Bool("properties.enabledForDeployment", false) {
		t.Errorf("patch: %s", r.Raw)
	}
}

func TestAccessPolicies(t *testing.T) {
	e, _ := newEnv(t, true)
	e.Want(http.StatusOK, "PUT", kv, body(`,"accessPolicies":[]`))
	policy := func(perms string) string {
		return `{"properties":{"accessPolicies":[{"tenantId":"` + rptest.Tenant + `","objectId":"` + oid + `","permissions":{` + perms + `}}]}}`
	}
	secrets := func() string {
		r := e.Want(http.StatusOK, "GET", kv, nil)
		list := r.Body.List("properties.accessPolicies")
		if len(list) == 0 {
			return "none"
		}
		return fmt.Sprint(list[0].(map[string]any)["permissions"].(map[string]any)["secrets"])
	}
	for _, tc := range []struct{ op, perms, want string }{
		{"add", `"secrets":["get"]`, "[get]"},
		{"add", `"secrets":["list","Get"]`, "[get list]"},
		{"replace", `"secrets":["set"],"keys":["get"]`, "[set]"},
		{"remove", `"secrets":["set"]`, "[]"},
		{"remove", `"keys":["all"]`, "none"},
	} {
		e.Want(http.StatusOK, "PUT", kv+"/accessPolicies/"+tc.op, policy(tc.perms))
		if got := secrets(); got != tc.want {
			t.Errorf("after %s %s: %s, want %s", tc.op, tc.perms, got, tc.want)
		}
	}
	e.Refused(501, "NotImplementedByAzimuth", "", "PUT", kv+"/accessPolicies/dance", policy(`"secrets":["get"]`))
	if r := e.As(rptest.Guest, "PUT", kv+"/accessPolicies/add", policy(`"secrets":["get"]`)); r.Status != http.StatusForbidden {
		t.Errorf("a guest changed policies: %d", r.Status)
	}
}

func TestSoftDelete(t *testing.T) {
	e, data := newEnv(t, true)
	e.Refused(404, "DeletedVaultNotFound", "kv-one", "GET", deleted, nil)
	before := e.Want(http.StatusOK, "PUT", kv, body(`,"accessPolicies":[],"softDeleteRetentionInDays":7`))
	e.Want(http.StatusOK, "DELETE", kv, nil)
	r := e.Want(http.StatusOK, "GET", deleted, nil)
	if r.Body.String("properties.vaultId") != before.Body.String("id") || r.Body.String("properties.scheduledPurgeDate") != "2026-06-08T12:00:00Z" || r.Body.String("properties.tags.a") != "b" {
		t.Errorf("deleted: %s", r.Raw)
	}
	if r := e.Want(http.StatusOK, "GET", rptest.Sub+"/providers/Microsoft.KeyVault/deletedManagedHSMs", nil); len(r.Names()) != 0 {
		t.Errorf("deleted HSMs: %s", r.Raw)
	}
	if r := e.Want(http.StatusOK, "GET", rptest.Sub+"/providers/Microsoft.KeyVault/deletedVaults", nil); !slices.Equal(r.Names(), []string{"kv-one"}) {
		t.Errorf("list: %s", r.Raw)
	}
	check := func(want bool) {
		t.Helper()
		r := e.Want(http.StatusOK, "POST", rptest.Sub+"/providers/Microsoft.KeyVault/checkNameAvailability", `{"name":"kv-one","type":"Microsoft.KeyVault/vaults"}`)
		if r.Body.Bool("nameAvailable", !want) != want {
			t.Errorf("checkNameAvailability: %s", r.Raw)
		}
	}
	check(false)
	e.Refused(409, "ConflictError", "deleted state", "PUT", kv, body(`,"accessPolicies":[]`))
	e.Refused(400, "BadRequest", "cannot be recovered", "PUT", kv, `{"location":"westus","properties":{"createMode":"recover"}}`)
	r = e.Want(http.StatusOK, "PUT", kv, `{"location":"eastus","properties":{"createMode":"recover","tenantId":"`+rptest.Tenant+`","sku":{"name":"standard"}}}`)
	if r.Body.Int("properties.softDeleteRetentionInDays", 0) != 7 || r.Body.String("tags.a") != "b" {
		t.Errorf("recovered: %s", r.Raw)
	}
	e.Want(http.StatusNotFound, "GET", deleted, nil)

	e.Want(http.StatusOK, "DELETE", kv, nil)
	r = e.Want(http.StatusAccepted, "POST", deleted+"/purge", nil)
	if r := e.Want(http.StatusOK, "GET", r.Header.Get("Azure-AsyncOperation"), nil); r.Body.String("status") != "Succeeded" {
		t.Errorf("purge: %s", r.Raw)
	}
	e.Want(http.StatusNotFound, "POST", deleted+"/purge", nil)
	if len(data.gone) != 1 {
		t.Errorf("contents of %v are gone", data.gone)
	}
	check(true)

	e.Want(http.StatusOK, "PUT", kv, body(`,"accessPolicies":[],"softDeleteRetentionInDays":7,"enablePurgeProtection":true`))
	e.Want(http.StatusOK, "DELETE", kv, nil)
	e.Refused(405, "MethodNotAllowed", "'DeletedVaultPurge' is not allowed", "POST", deleted+"/purge", nil)
	e.Clock.Step(7 * 24 * time.Hour)
	e.Want(http.StatusNotFound, "GET", deleted, nil)
	check(true)
	e.Want(http.StatusOK, "PUT", kv, body(`,"accessPolicies":[]`))
	e.Want(http.StatusOK, "DELETE", kv, nil)
	if len(data.gone) != 2 {
		t.Errorf("contents of %v are gone", data.gone)
	}
}

// Without HoldNames a name is free at once, and what the old vault held goes.
func TestNamesAreFree(t *testing.T) {
	e, data := newEnv(t, false)
	e.Want(http.StatusOK, "PUT", kv, body(`,"accessPolicies":[],"enablePurgeProtection":true`))
	e.Want(http.StatusAccepted, "DELETE", rptest.Group, nil)
	e.Want(http.StatusOK, "GET", deleted, nil)
	e.NewGroup()
	e.Want(http.StatusOK, "PUT", kv, body(`,"accessPolicies":[]`))
	e.Want(http.StatusNotFound, "GET", deleted, nil)
	if len(data.gone) != 1 {
		t.Errorf("contents of %v are gone", data.gone)
	}
}
