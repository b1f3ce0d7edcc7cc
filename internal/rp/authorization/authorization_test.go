package authorization_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/rp/authorization"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	auth   = "/providers/Microsoft.Authorization/"
	reader = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
	blob   = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
)

func newEnv(t *testing.T) *rptest.Env {
	var e *rptest.Env
	e = rptest.New(t, rptest.Options{RBAC: true}, resources.Provider(), authorization.Provider(authorization.Deps{
		Directory: &rptest.Directory{}, Roles: func() authorization.Roles { return e.RBAC },
	}))
	e.NewGroup()
	return e
}

func assign(principal, role string) map[string]any {
	return map[string]any{"properties": map[string]any{
		"principalId": principal, "roleDefinitionId": "/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/" + role, "description": "",
	}}
}

func TestAssignmentLifecycle(t *testing.T) {
	e := newEnv(t)
	guest := rptest.ObjectID(rptest.Guest)
	if r := e.As(rptest.Guest, "GET", rptest.Group, nil); r.Status != http.StatusForbidden || r.Code() != "AuthorizationFailed" {
		t.Fatalf("before: %d %s", r.Status, r.Raw)
	}
	name := uuid.NewString()
	path := rptest.Group + auth + "roleAssignments/" + name
	e.Want(http.StatusNotFound, "GET", path, nil)
	r := e.Want(http.StatusCreated, "PUT", path, assign(guest, reader))
	for field, want := range map[string]string{
		"name": name, "type": "Microsoft.Authorization/roleAssignments", "properties.scope": rptest.Group,
		"properties.principalType": "ServicePrincipal", "properties.createdBy": rptest.ObjectID(rptest.Owner),
		"properties.roleDefinitionId": rptest.Sub + auth + "roleDefinitions/" + reader,
		"properties.createdOn":        "2026-06-01T12:00:00.0000000Z",
	} {
		if got := r.Body.String(field); got != want {
			t.Errorf("%s = %q, want %q", field, got, want)
		}
	}
	if _, has := r.Body.Object("properties")["provisioningState"]; has {
		t.Error("a role assignment has no provisioningState")
	}
	if r := e.As(rptest.Guest, "GET", rptest.Group, nil); r.Status != http.StatusOK {
		t.Errorf("with Reader: %d %s", r.Status, r.Raw)
	}
	if r := e.As(rptest.Guest, "PUT", rptest.Group, `{"location":"eastus"}`); r.Status != http.StatusForbidden {
		t.Errorf("a Reader wrote: %d", r.Status)
	}
	perms := e.As(rptest.Guest, "GET", rptest.Group+auth+"permissions", nil)
	if perms.Status != http.StatusOK || len(perms.Body.List("value")) != 1 || !strings.Contains(perms.Raw, "*/read") {
		t.Errorf("permissions = %d %s", perms.Status, perms.Raw)
	}

	e.Want(http.StatusCreated, "PUT", path, assign(guest, reader)) // the same again
	e.Refused(http.StatusBadRequest, "RoleAssignmentUpdateNotPermitted", "not allowed to be updated", "PUT", path, assign(guest, blob))
	other := rptest.Group + auth + "roleAssignments/" + uuid.NewString()
	e.Refused(http.StatusConflict, "RoleAssignmentExists", "already exists", "PUT", other, assign(guest, reader))
	e.Refused(http.StatusBadRequest, "PrincipalNotFound", "does not exist in the directory "+rptest.Tenant, "PUT", other, assign(uuid.NewString(), reader))
	e.Refused(http.StatusBadRequest, "InvalidPrincipalId", "", "PUT", other, assign("me", reader))
	e.Refused(http.StatusNotFound, "RoleDefinitionDoesNotExist", "", "PUT", other, assign(guest, uuid.NewString()))
	e.Refused(http.StatusBadRequest, "InvalidRoleAssignmentId", "GUID", "PUT", rptest.Group+auth+"roleAssignments/mine", assign(guest, reader))
	e.Refused(http.StatusNotFound, "ResourceGroupNotFound", "", "PUT", rptest.Sub+"/resourceGroups/none"+auth+"roleAssignments/"+uuid.NewString(), assign(guest, reader))
	wrong := assign(guest, blob)
	wrong["properties"].(map[string]any)["principalType"] = "User"
	e.Refused(http.StatusBadRequest, "UnmatchedPrincipalType", "ServicePrincipal", "PUT", other, wrong)

	if r := e.Want(http.StatusOK, "DELETE", path, nil); r.Body.String("name") != name {
		t.Errorf("deleted: %s", r.Raw)
	}
	e.Want(http.StatusNoContent, "DELETE", path, nil)
	if r := e.As(rptest.Guest, "GET", rptest.Group, nil); r.Status != http.StatusForbidden {
		t.Errorf("after: %d", r.Status)
	}
}

// What is assigned at the tenant holds everywhere.
func TestTenantAssignment(t *testing.T) {
	e := newEnv(t)
	guest := rptest.ObjectID(rptest.Guest)
	e.Want(http.StatusCreated, "PUT", auth+"roleAssignments/"+uuid.NewString(), assign(guest, reader))
	if r := e.As(rptest.Guest, "GET", rptest.Group, nil); r.Status != http.StatusOK {
		t.Errorf("a group: %d %s", r.Status, r.Raw)
	}
}

// What a group is assigned, its members have.
func TestGroupAssignments(t *testing.T) {
	e := newEnv(t)
	// stands for a group: the directory of these tests has but service principals
	guest, group := rptest.ObjectID(rptest.Guest), rptest.ObjectID(rptest.Owner)
	names := map[string]string{group: uuid.NewString(), guest: uuid.NewString()}
	e.Want(http.StatusCreated, "PUT", rptest.Group+auth+"roleAssignments/"+names[group], assign(group, reader))
	e.Want(http.StatusCreated, "PUT", rptest.Sub+auth+"roleAssignments/"+names[guest], assign(guest, blob))
	list := func(path string) []string {
		var got []string
		for path != "" {
			r := e.Want(http.StatusOK, "GET", path, nil)
			got = append(got, r.Names()...)
			path = r.Body.String("nextLink")
		}
		slices.Sort(got)
		return got
	}
	for _, member := range []bool{false, true, false} {
		e.Directory.Memberships = nil
		want, status := []string{names[guest]}, http.StatusForbidden
		if member {
			e.Directory.Memberships = map[string][]string{guest: {group}}
			want, status = append(want, names[group]), http.StatusOK
			slices.Sort(want)
		}
		if r := e.As(rptest.Guest, "GET", rptest.Group, nil); r.Status != status {
			t.Errorf("member %v: %d %s", member, r.Status, r.Raw)
		}
		if r := e.As(rptest.Guest, "GET", rptest.Group+auth+"permissions", nil); member && len(r.Body.List("value")) != 2 {
			t.Errorf("permissions of a member: %d %s", r.Status, r.Raw)
		}
		for _, top := range []string{"", "$top=1&"} {
			for _, scope := range []string{rptest.Sub, rptest.Group} {
				if got := list(scope + auth + "roleAssignments?" + top + "$filter=assignedTo('" + guest + "')"); !slices.Equal(got, want) {
					t.Errorf("member %v: assignedTo at %s %s= %v, want %v", member, scope, top, got, want)
				}
			}
		}
	}
}

func TestAssignmentLists(t *testing.T) {
	e := newEnv(t)
	guest, owner := rptest.ObjectID(rptest.Guest), rptest.ObjectID(rptest.Owner)
	guid := func(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }
	e.Want(201, "PUT", rptest.Sub+auth+"roleAssignments/"+guid(1), assign(guest, reader))
	e.Want(201, "PUT", rptest.Group+auth+"roleAssignments/"+guid(2), assign(guest, blob))
	e.Want(201, "PUT", rptest.Group+auth+"roleAssignments/"+guid(3), assign(owner, reader))
	e.Want(201, "PUT", rptest.Sub+"/resourceGroups/rg-One2", `{"location":"eastus"}`)
	e.Want(201, "PUT", rptest.Sub+"/resourceGroups/rg-One2"+auth+"roleAssignments/"+guid(4), assign(owner, reader))
	for _, tc := range []struct {
		scope, filter string
		want          []int
	}{
		{rptest.Sub, "", []int{1, 2, 3, 4}},
		{rptest.Group, "", []int{1, 2, 3}},
		{rptest.Sub, "atScope()", []int{1}},
		{rptest.Group, "atScope()", []int{1, 2, 3}},
		{rptest.Sub, "principalId eq '" + owner + "'", []int{3, 4}},
		{rptest.Group, "assignedTo('" + guest + "')", []int{1, 2}},
		{rptest.Group, "atScope() and assignedTo('" + owner + "')", []int{3}},
		{"", "", []int{1, 2, 3, 4}},
		{"", "principalId eq '" + guest + "'", []int{1, 2}},
	} {
		var want []string
		for _, n := range tc.want {
			want = append(want, guid(n))
		}
		for _, top := range []string{"", "$top=1&"} {
			path := tc.scope + auth + "roleAssignments?" + top + "$filter=" + tc.filter
			var got []string
			for path != "" {
				r := e.Want(http.StatusOK, "GET", path, nil)
				got = append(got, r.Names()...)
				path = r.Body.String("nextLink")
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("list %q with %q, %q = %v, want %v", tc.scope, tc.filter, top, got, want)
			}
		}
	}
	e.Refused(http.StatusBadRequest, "InvalidFilter", "", "GET", rptest.Sub+auth+"roleAssignments?$filter=nonsense", nil)
	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "roleDefinitionId", "GET", rptest.Sub+auth+"roleAssignments?$filter=roleDefinitionId eq 'x'", nil)
}

func TestRoleDefinitions(t *testing.T) {
	e := newEnv(t)
	defs := auth + "roleDefinitions"
	r := e.Want(http.StatusOK, "GET", rptest.Group+defs+"?$filter=roleName eq 'Storage Blob Data Contributor'", nil)
	if got := r.Names(); !slices.Equal(got, []string{blob}) || !strings.Contains(r.Raw, rptest.Sub+defs+"/"+blob) {
		t.Fatalf("by name: %s", r.Raw)
	}
	// azurerm before 4.0 reads definitions in a subscription that it calls "s"
	r = e.Want(http.StatusOK, "GET", "/subscriptions/s"+defs+"/"+blob, nil)
	if r.Body.String("properties.roleName") != "Storage Blob Data Contributor" || r.Body.String("properties.type") != "BuiltInRole" {
		t.Errorf("by GUID: %s", r.Raw)
	}
	if r := e.Want(http.StatusOK, "GET", defs+"/"+blob, nil); r.Body.String("id") != defs+"/"+blob {
		t.Errorf("at the tenant: %s", r.Raw)
	}
	e.Refused(http.StatusNotFound, "RoleDefinitionDoesNotExist", "", "GET", rptest.Sub+defs+"/"+uuid.NewString(), nil)
	e.Refused(http.StatusBadRequest, "RoleDefinitionUpdateNotPermitted", "built-in", "PUT", rptest.Sub+defs+"/"+blob, `{"properties":{}}`)

	guid := uuid.NewString()
	body := func(name string, scopes ...string) map[string]any {
		return map[string]any{"properties": map[string]any{
			"roleName": name, "description": "d", "assignableScopes": scopes,
			"permissions": []any{map[string]any{"actions": []any{"Microsoft.Resources/subscriptions/resourceGroups/read"}}},
		}}
	}
	path := rptest.Sub + defs + "/" + guid
	r = e.Want(http.StatusCreated, "PUT", path, body("Group Looker", rptest.Group))
	if r.Body.String("properties.type") != "CustomRole" || r.Body.String("properties.createdBy") != rptest.ObjectID(rptest.Owner) {
		t.Errorf("custom: %s", r.Raw)
	}
	e.Want(http.StatusCreated, "PUT", rptest.Group+defs+"/"+guid, body("Group Looker", rptest.Group)) // the same one, by another scope
	e.Refused(http.StatusConflict, "RoleDefinitionWithSameNameExists", "", "PUT", rptest.Sub+defs+"/"+uuid.NewString(), body("group looker", rptest.Sub))
	e.Refused(http.StatusConflict, "RoleDefinitionWithSameNameExists", "", "PUT", rptest.Sub+defs+"/"+uuid.NewString(), body("Reader", rptest.Sub))
	e.Refused(http.StatusBadRequest, "LinkedInvalidPropertyId", "", "PUT", rptest.Sub+defs+"/"+uuid.NewString(), body("x", "/"))
	for _, tc := range []struct {
		path string
		want int
	}{
		{rptest.Group + defs + "?$filter=type eq 'CustomRole'", 1},
		{rptest.Sub + defs + "?$filter=type eq 'CustomRole'", 0},
		{rptest.Sub + defs + "?$filter=atScopeAndBelow() and type eq 'CustomRole'", 1},
		{rptest.Sub + defs, len(mustCatalog(t).Roles())},
	} {
		if r := e.Want(http.StatusOK, "GET", tc.path, nil); len(r.Names()) != tc.want {
			t.Errorf("%s: %d definitions, want %d", tc.path, len(r.Names()), tc.want)
		}
	}

	guest := rptest.ObjectID(rptest.Guest)
	a := rptest.Group + auth + "roleAssignments/" + uuid.NewString()
	e.Refused(http.StatusNotFound, "RoleDefinitionDoesNotExist", "", "PUT", rptest.Sub+auth+"roleAssignments/"+uuid.NewString(), assign(guest, guid))
	e.Want(http.StatusCreated, "PUT", a, assign(guest, guid))
	if r := e.As(rptest.Guest, "GET", rptest.Group, nil); r.Status != http.StatusOK {
		t.Errorf("custom role: %d %s", r.Status, r.Raw)
	}
	e.Refused(http.StatusBadRequest, "RoleDefinitionHasAssignments", "", "DELETE", path, nil)
	e.Want(http.StatusOK, "DELETE", a, nil)
	e.Want(http.StatusOK, "DELETE", rptest.Group+defs+"/"+guid, nil)
	e.Want(http.StatusNotFound, "GET", path, nil)
	e.Want(http.StatusNoContent, "DELETE", path, nil)
}

// The assignments of others must not be read to answer for one principal.
func TestManyAssignments(t *testing.T) {
	e := newEnv(t)
	guest := rptest.ObjectID(rptest.Guest)
	err := e.Store.Update(t.Context(), func(tx store.Tx) error {
		for i := range 1_000 {
			r := &arm.Resource{
				ID: rptest.Group + auth + "roleAssignments/" + fmt.Sprintf("00000000-0000-0000-0000-%012d", i),
				Body: arm.Doc{"properties": map[string]any{
					"principalId": uuid.NewString(), "scope": rptest.Group, "roleDefinitionId": rptest.Sub + auth + "roleDefinitions/" + reader,
				}},
			}
			if err := e.Kernel.Resources().Put(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	counted := &countingStore{Store: e.Store}
	a := rbac.New(counted, e.Kernel.Resources(), mustCatalog(t), nil)
	if ok, err := a.Allowed(t.Context(), guest, "x/read", false, rptest.Group); err != nil || ok {
		t.Fatal(ok, err)
	}
	if counted.n > 100 {
		t.Errorf("a decision read %d entries", counted.n)
	}
	r := e.Want(http.StatusOK, "GET", rptest.Sub+auth+"roleAssignments?$filter=principalId eq '"+guest+"'", nil)
	if len(r.Names()) != 0 {
		t.Errorf("guest has %v", r.Names())
	}
	if r := e.Want(http.StatusOK, "GET", rptest.Sub+auth+"roleAssignments?$top=10", nil); len(r.Names()) != 10 || r.Body.String("nextLink") == "" {
		t.Errorf("page of %d", len(r.Names()))
	}
	// a list at a scope does not read what is below it or beside it
	e.Want(http.StatusCreated, "PUT", rptest.Group+"x?api-version=2021-04-01", `{"location":"westeurope"}`)
	beside := rptest.Group + "x" + auth + "roleAssignments"
	for _, tc := range []struct {
		path string
		want int
	}{
		{rptest.Sub + auth + "roleAssignments?$filter=atScope()", 0},
		{beside, 0},
		{rptest.Group + auth + "roleAssignments?$filter=atScope()&$top=10", 10},
	} {
		if r := e.Want(http.StatusOK, "GET", tc.path, nil); len(r.Names()) != tc.want {
			t.Errorf("%s: %d assignments, want %d", tc.path, len(r.Names()), tc.want)
		}
	}
	seen, next := 0, rptest.Sub+auth+"roleAssignments?$top=300"
	for next != "" {
		r := e.Want(http.StatusOK, "GET", next, nil)
		seen += len(r.Names())
		next = strings.TrimPrefix(r.Body.String("nextLink"), "https://management.azure.com")
	}
	if seen != 1_000 {
		t.Errorf("the pages hold %d assignments", seen)
	}
}

type countingStore struct {
	store.Store
	n int
}

func (c *countingStore) View(ctx context.Context, fn func(store.Tx) error) error {
	return c.Store.View(ctx, func(tx store.Tx) error { return fn(countingTx{tx, c}) })
}

type countingTx struct {
	store.Tx
	c *countingStore
}

func (t countingTx) Get(bucket, key string) ([]byte, error) {
	t.c.n++
	return t.Tx.Get(bucket, key)
}

func mustCatalog(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
