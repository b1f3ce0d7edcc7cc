package authorization_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func TestListingsOfWhatCannotBe(t *testing.T) {
	e := newEnv(t)
	for _, path := range []string{
		rptest.Sub + auth + "denyAssignments", rptest.Group + auth + "denyAssignments?$filter=atScope()",
		rptest.Sub + auth + "classicAdministrators", rptest.Sub + auth + "eligibleChildResources?$filter=resourceType+eq+'resourcegroup'",
	} {
		if r := e.Want(http.StatusOK, "GET", path, nil); r.Raw != `{"value":[]}` {
			t.Errorf("%s: %s", path, r.Raw)
		}
		if r := e.As(rptest.Guest, "GET", path, nil); r.Status != http.StatusForbidden {
			t.Errorf("%s as a guest: %d %s", path, r.Status, r.Raw)
		}
	}
	one := rptest.Group + auth + "denyAssignments/" + uuid.NewString()
	e.Want(http.StatusNotFound, "GET", one, nil)
	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "", "PUT", one, `{"properties":{}}`)
	e.Refused(http.StatusNotFound, "ResourceGroupNotFound", "", "GET", rptest.Sub+"/resourceGroups/none"+auth+"denyAssignments", nil)
}

func TestProviderOperations(t *testing.T) {
	e := newEnv(t)
	all := e.Want(http.StatusOK, "GET", auth+"providerOperations?$expand=resourceTypes", nil)
	if len(all.Body.List("value")) < 2 {
		t.Errorf("providers: %s", all.Raw)
	}
	r := e.As(rptest.Guest, "GET", auth+"providerOperations/microsoft.authorization?$expand=resourceTypes", nil)
	for _, want := range []string{
		`"name":"Microsoft.Authorization"`, `"id":"/providers/Microsoft.Authorization/providerOperations/Microsoft.Authorization"`,
		`"Microsoft.Authorization/roleAssignments/write"`, `"name":"roleDefinitions"`, `"isDataAction":false`,
	} {
		if r.Status != http.StatusOK || !strings.Contains(r.Raw, want) {
			t.Errorf("%d without %s: %s", r.Status, want, r.Raw)
		}
	}
	e.Refused(http.StatusNotFound, "ProviderNotFound", "", "GET", auth+"providerOperations/Microsoft.None", nil)
}

// Who has a role somewhere in a subscription sees the subscription, and what of it
// the role lets be read.
func TestListsShowWhatMayBeRead(t *testing.T) {
	e := newEnv(t)
	guest := rptest.ObjectID(rptest.Guest)
	e.Want(http.StatusCreated, "PUT", rptest.Sub+"/resourceGroups/rg-other", `{"location":"eastus"}`)
	seen := func(path string) string {
		t.Helper()
		r := e.As(rptest.Guest, "GET", path, nil)
		if r.Status != http.StatusOK {
			return r.Code()
		}
		var names []string
		for _, v := range r.Body.List("value") {
			m := v.(map[string]any)
			if m["subscriptionId"] != nil {
				names = append(names, "subscription")
			} else {
				names = append(names, m["name"].(string))
			}
		}
		return strings.Join(names, " ")
	}
	lists := []string{"/subscriptions", rptest.Sub + "/resourceGroups", rptest.Sub + "/resources"}
	want := func(what ...string) {
		t.Helper()
		for i, path := range lists {
			if got := seen(path); got != what[i] {
				t.Errorf("%s: %q, not %q", path, got, what[i])
			}
		}
	}
	group := rptest.Group[strings.LastIndexByte(rptest.Group, '/')+1:]
	want("", "AuthorizationFailed", "AuthorizationFailed")
	in := rptest.Group + auth + "roleAssignments/" + uuid.NewString()
	e.Want(http.StatusCreated, "PUT", in, assign(guest, reader))
	want("subscription", group, "")
	e.Want(http.StatusOK, "DELETE", in, nil)
	want("", "AuthorizationFailed", "AuthorizationFailed")
	e.Want(http.StatusCreated, "PUT", rptest.Sub+auth+"roleAssignments/"+uuid.NewString(), assign(guest, reader))
	want("subscription", group+" rg-other", "")
}
