package authorization_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

const (
	rbacAdmin = "f58310d9-a9f6-439a-9e8d-f62e7b41a168" // Role Based Access Control Administrator
	owner     = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
)

// delegated lets its holder assign and remove only some roles, and only to service
// principals: what Microsoft's "constrained delegation" has as its template.
func delegated(roles ...string) string {
	return fmt.Sprintf(`(
 (
  !(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})
 )
 OR
 (
  @Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {%[1]s}
  AND
  @Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEqualsIgnoreCase 'ServicePrincipal'
 )
)
AND
(
 (
  !(ActionMatches{'Microsoft.Authorization/roleAssignments/delete'})
 )
 OR
 (
  @Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {%[1]s}
 )
)`, strings.Join(roles, ", "))
}

func conditional(principal, role, condition string) map[string]any {
	out := assign(principal, role)
	out["properties"].(map[string]any)["condition"] = condition
	out["properties"].(map[string]any)["conditionVersion"] = "2.0"
	return out
}

// A principal that may assign some roles assigns no others.
func TestConstrainedDelegation(t *testing.T) {
	e := newEnv(t)
	guest := rptest.ObjectID(rptest.Guest)
	path := func() string { return rptest.Group + auth + "roleAssignments/" + uuid.NewString() }
	theirs := path()
	e.Want(http.StatusCreated, "PUT", theirs, assign(rptest.ObjectID(rptest.Owner), owner))
	mine := path()
	r := e.Want(http.StatusCreated, "PUT", mine, conditional(guest, rbacAdmin, delegated(reader, blob)))
	if r.Body.String("properties.condition") != delegated(reader, blob) || r.Body.String("properties.conditionVersion") != "2.0" {
		t.Errorf("stored: %s", r.Raw)
	}
	given := path()
	refused := func(method, at string, body any) {
		t.Helper()
		r := e.As(rptest.Guest, method, at, body)
		if r.Status != http.StatusForbidden || r.Code() != "AuthorizationFailed" || !strings.Contains(r.Raw, "or an ABAC condition not fulfilled") {
			t.Errorf("%s %v: %d %s", method, body, r.Status, r.Raw)
		}
	}
	refused("PUT", given, assign(guest, owner))
	refused("PUT", given, `{"properties":{"principalId":"`+guest+`"}}`)
	refused("PUT", given, assign(uuid.NewString(), blob)) // of no known type
	if r := e.As(rptest.Guest, "PUT", given, assign(guest, blob)); r.Status != http.StatusCreated {
		t.Fatalf("a role that may be given: %d %s", r.Status, r.Raw)
	}
	refused("DELETE", theirs, nil)
	refused("DELETE", mine, nil) // the way out of one's own condition
	refused("PUT", mine, assign(guest, rbacAdmin))
	if r := e.As(rptest.Guest, "GET", rptest.Group+auth+"roleAssignments", nil); r.Status != http.StatusOK {
		t.Errorf("what the condition is not about: %d %s", r.Status, r.Raw)
	}
	if r := e.As(rptest.Guest, "DELETE", given, nil); r.Status != http.StatusOK {
		t.Errorf("remove what was given: %d %s", r.Status, r.Raw)
	}
	if r := e.As(rptest.Guest, "GET", rptest.Group+auth+"permissions", nil); !strings.Contains(r.Raw, `"conditionVersion":"2.0"`) {
		t.Errorf("permissions: %s", r.Raw)
	}
}

// What is not understood is refused, never ignored.
func TestConditionsThatAreRefused(t *testing.T) {
	e := newEnv(t)
	guest := rptest.ObjectID(rptest.Guest)
	path := rptest.Group + auth + "roleAssignments/" + uuid.NewString()
	const invalid = "The given role assignment condition is invalid."
	e.Refused(http.StatusBadRequest, "BadRequest", invalid, "PUT", path, conditional(guest, blob, "@Resource[x StringEquals 'y'"))
	old := conditional(guest, blob, "ActionMatches{'a/b'}")
	old["properties"].(map[string]any)["conditionVersion"] = "1.0"
	e.Refused(http.StatusBadRequest, "BadRequest", invalid, "PUT", path, old)
	for _, attribute := range []string{
		"@Principal[Microsoft.Directory/CustomSecurityAttributes/Id:Engineering_Project]",
		"@Environment[Microsoft.Network/virtualHubs]", "@Resource[Microsoft.ServiceBus/namespaces/queues:Name]",
	} {
		e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", attribute[1:9], "PUT", path,
			conditional(guest, blob, attribute+" StringEquals 'x'"))
	}
	e.Want(http.StatusNotFound, "GET", path, nil)
}
