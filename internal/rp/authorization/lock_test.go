package authorization_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/rp/authorization"
	"github.com/azimuth-ml/azimuth/internal/rp/managedidentity"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func lock(level string) map[string]any {
	return map[string]any{"properties": map[string]any{"level": level, "notes": "keep"}}
}

func newLockEnv(t *testing.T) *rptest.Env {
	var e *rptest.Env
	dir := &rptest.Directory{}
	e = rptest.New(t, rptest.Options{RBAC: true}, resources.Provider(), managedidentity.Provider(dir), authorization.Provider(authorization.Deps{
		Directory: dir, Roles: func() authorization.Roles { return e.RBAC },
	}))
	e.NewGroup()
	return e
}

const identity = rptest.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-one"

func TestLocks(t *testing.T) {
	locked := func(what, scope string) string {
		return "cannot perform " + what + " operation because following scope(s) are locked: '" + scope + "'"
	}
	for _, tc := range []struct {
		name, at, level string
		write, delete   bool // allowed
	}{
		{"the resource, CanNotDelete", identity, "CanNotDelete", true, false},
		{"the resource, ReadOnly", identity, "readonly", false, false},
		{"the group, CanNotDelete", rptest.Group, "CanNotDelete", true, false},
		{"the group, ReadOnly", rptest.Group, "ReadOnly", false, false},
		{"the subscription, ReadOnly", rptest.Sub, "ReadOnly", false, false},
		{"NotSpecified", rptest.Group, "NotSpecified", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newLockEnv(t)
			body := `{"location":"eastus"}`
			e.Want(http.StatusCreated, "PUT", identity, body)
			path := tc.at + auth + "locks/l1"
			r := e.Want(http.StatusCreated, "PUT", path, lock(tc.level))
			if got := r.Body.String("type"); got != authorization.LockType {
				t.Errorf("type = %q", got)
			}
			e.Want(http.StatusOK, "PUT", path, lock(tc.level)) // a lock is not locked
			if tc.write {
				e.Want(http.StatusOK, "PATCH", identity, `{"tags":{"a":"b"}}`)
			} else {
				e.Refused(http.StatusConflict, "ScopeLocked", locked("write", tc.at), "PATCH", identity, `{"tags":{"a":"b"}}`)
				e.Refused(http.StatusConflict, "ScopeLocked", locked("write", tc.at), "PUT", identity+auth+"roleAssignments/"+uuid.NewString(),
					assign(rptest.ObjectID(rptest.Guest), reader))
			}
			e.Want(http.StatusOK, "GET", identity, nil)
			if !tc.delete {
				e.Refused(http.StatusConflict, "ScopeLocked", locked("delete", tc.at), "DELETE", identity, nil)
				e.Refused(http.StatusConflict, "ScopeLocked", locked("delete", tc.at), "DELETE", rptest.Group, nil)
				e.Want(http.StatusOK, "GET", identity, nil)
				e.Want(http.StatusOK, "DELETE", path, nil)
			}
			e.Want(http.StatusOK, "DELETE", identity, nil)
		})
	}
}

func TestLockRules(t *testing.T) {
	e := newLockEnv(t)
	path := rptest.Group + auth + "locks/l1"
	e.Refused(http.StatusBadRequest, "InvalidLockLevel", "CanNotDelete", "PUT", path, lock("Never"))
	e.Refused(http.StatusBadRequest, "InvalidResourceName", "260", "PUT", rptest.Group+auth+"locks/a%3Ab", lock("ReadOnly"))
	e.Refused(http.StatusNotFound, "ResourceNotFound", "", "PUT", identity+auth+"locks/l1", lock("ReadOnly"))
	// a Contributor neither sets nor lifts one
	contributor := "b24988ac-6180-42a0-ab88-20f7382dd24c"
	e.Want(http.StatusCreated, "PUT", rptest.Sub+auth+"roleAssignments/"+uuid.NewString(), assign(rptest.ObjectID(rptest.Guest), contributor))
	if r := e.As(rptest.Guest, "PUT", path, lock("ReadOnly")); r.Status != http.StatusForbidden {
		t.Errorf("a Contributor set a lock: %d", r.Status)
	}
	e.Want(http.StatusCreated, "PUT", path, lock("ReadOnly"))
	if r := e.As(rptest.Guest, "DELETE", path, nil); r.Status != http.StatusForbidden {
		t.Errorf("a Contributor lifted a lock: %d", r.Status)
	}
	e.Want(http.StatusNotFound, "GET", rptest.Group+auth+"locks/l2", nil)
	e.Want(http.StatusNoContent, "DELETE", rptest.Group+auth+"locks/l2", nil)
}

func TestLockLists(t *testing.T) {
	e := newLockEnv(t)
	e.Want(http.StatusCreated, "PUT", identity, `{"location":"eastus"}`)
	for name, scope := range map[string]string{"a": rptest.Sub, "b": rptest.Group, "c": identity, "d": identity} {
		e.Want(http.StatusCreated, "PUT", scope+auth+"locks/"+name, lock("CanNotDelete"))
	}
	for _, tc := range []struct {
		scope, filter string
		want          []string
	}{
		{rptest.Sub, "", []string{"a", "b", "c", "d"}},
		{rptest.Group, "", []string{"b", "c", "d"}},
		{identity, "", []string{"c", "d"}},
		{rptest.Group, "atScope()", []string{"b"}},
	} {
		for _, top := range []string{"", "$top=1&"} {
			var got []string
			for path := tc.scope + auth + "locks?" + top + "$filter=" + tc.filter; path != ""; {
				r := e.Want(http.StatusOK, "GET", path, nil)
				got = append(got, r.Names()...)
				path = r.Body.String("nextLink")
			}
			slices.Sort(got)
			if !slices.Equal(got, tc.want) {
				t.Errorf("list %q with %q %q = %v, want %v", tc.scope, tc.filter, top, got, tc.want)
			}
		}
	}
}
