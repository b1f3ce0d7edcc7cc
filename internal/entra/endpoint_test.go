package entra_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func msi(query string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:4443"+entra.MSIPath+"?"+query, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestMSI(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	var secret string
	grant := func() {
		t.Helper()
		h.update(t, func(tx store.Tx) (err error) {
			secret, err = h.GrantIdentity(tx, "node-1/job-1", id.PrincipalID)
			return err
		})
	}
	grant()
	old := secret
	grant() // replaces it
	h.reopen(t)

	const v2019, v2017 = "api-version=2019-08-01&resource=https://storage.azure.com", "api-version=2017-09-01&resource=https://storage.azure.com"
	for name, r := range map[string]*http.Request{
		"App Service": msi(v2019, "X-IDENTITY-HEADER", secret),
		"Azure ML":    msi(v2017, "secret", secret),
		"named":       msi(v2019+"&client_id="+id.ClientID, "X-IDENTITY-HEADER", secret),
		"named of old": msi(v2017+"&clientid="+strings.ToUpper(id.ClientID)+"&mi_res_id="+url.QueryEscape(clusterID),
			"Secret", secret),
	} {
		status, doc, header := do(t, h.MSIHandler(), r)
		now := h.clock.Now().Unix()
		if status != 200 || doc["token_type"] != "Bearer" || doc["resource"] != "https://storage.azure.com" || doc["client_id"] != id.ClientID ||
			doc["expires_on"] != fmt.Sprint(now+24*3600) || doc["not_before"] != fmt.Sprint(now-300) || !strings.Contains(header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: %d %v", name, status, doc)
			continue
		}
		p, err := h.Authenticate(t.Context(), request("Bearer "+doc["access_token"].(string)), "https://storage.azure.com/")
		if err != nil || p.ObjectID != id.PrincipalID {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	post := msi(v2019, "X-IDENTITY-HEADER", secret)
	post.Method = http.MethodPost
	refusals := map[string]struct {
		r      *http.Request
		status int
	}{
		"no secret":           {msi(v2019), 401},
		"wrong secret":        {msi(v2019, "X-IDENTITY-HEADER", "nope"), 401},
		"an old secret":       {msi(v2019, "X-IDENTITY-HEADER", old), 401},
		"the other header":    {msi(v2019, "Secret", secret), 401},
		"through a server":    {msi(v2019, "X-IDENTITY-HEADER", secret, "X-Forwarded-For", "10.0.0.1"), 401},
		"no version":          {msi("resource=https://storage.azure.com", "X-IDENTITY-HEADER", secret), 400},
		"another version":     {msi("api-version=2018-02-01&resource=https://storage.azure.com", "X-IDENTITY-HEADER", secret), 400},
		"no resource":         {msi("api-version=2019-08-01", "X-IDENTITY-HEADER", secret), 400},
		"an unknown resource": {msi("api-version=2019-08-01&resource=https://example.com", "X-IDENTITY-HEADER", secret), 400},
		"another identity":    {msi(v2019+"&client_id=00000000-0000-0000-0000-00000000dead", "X-IDENTITY-HEADER", secret), 400},
		"POST":                {post, 405},
	}
	for name, c := range refusals {
		status, doc, _ := do(t, h.MSIHandler(), c.r)
		if status != c.status || doc["statusCode"] != float64(c.status) || doc["message"] == "" {
			t.Errorf("%s: %d %v, want %d", name, status, doc, c.status)
		}
	}
	h.update(t, func(tx store.Tx) error { return h.RevokeIdentity(tx, "node-1/job-1") })
	h.update(t, func(tx store.Tx) error { return h.RevokeIdentity(tx, "never there") })
	if status, doc, _ := do(t, h.MSIHandler(), msi(v2019, "X-IDENTITY-HEADER", secret)); status != 401 {
		t.Errorf("revoked: %d %v", status, doc)
	}
	grant()
	h.update(t, func(tx store.Tx) error { return h.DeleteManagedIdentity(tx, clusterID) })
	if status, doc, _ := do(t, h.MSIHandler(), msi(v2019, "X-IDENTITY-HEADER", secret)); status != 401 {
		t.Errorf("a deleted identity: %d %v", status, doc)
	}
}

func TestIMDS(t *testing.T) {
	h := newHome(t)
	id := h.identity(t, clusterID)
	var secret string
	h.update(t, func(tx store.Tx) (err error) { secret, err = h.GrantIdentity(tx, "node-1", id.PrincipalID); return err })
	ask := func(node, path string, header ...string) (int, map[string]any) {
		r := httptest.NewRequest(http.MethodGet, "http://"+entra.IMDSHost+path, http.NoBody)
		if node != "" {
			r = r.WithContext(context.WithValue(r.Context(), nodeKey{}, node))
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		status, doc, _ := do(t, h.IMDSHandler(), r)
		return status, doc
	}
	const path = entra.IMDSPath + "?api-version=2018-02-01&resource=https://vault.azure.net"
	status, doc := ask(secret, path, "Metadata", "true")
	if status != 200 || doc["client_id"] != id.ClientID || doc["expires_in"] != "86399" || doc["resource"] != "https://vault.azure.net" || doc["access_token"] == "" {
		t.Errorf("a node: %d %v", status, doc)
	}
	for name, c := range map[string]struct {
		node, path string
		header     []string
		status     int
		want       string
	}{
		"not a node":       {"", path, []string{"Metadata", "true"}, 400, "Identity not found"},
		"an odd node":      {"nope", path, []string{"Metadata", "true"}, 400, "Identity not found"},
		"another identity": {secret, path + "&client_id=x", []string{"Metadata", "true"}, 400, "Identity not found"},
		"no header":        {secret, path, nil, 400, "Required metadata header not specified"},
		"forwarded":        {secret, path, []string{"Metadata", "true", "X-Forwarded-For", "1.2.3.4"}, 400, "Required metadata header not specified"},
		"no resource":      {secret, entra.IMDSPath, []string{"Metadata", "true"}, 400, "Required audience parameter not specified"},
		"another document": {secret, "/metadata/instance", []string{"Metadata", "true"}, 501, "not implemented by Azimuth"},
		"unknown resource": {secret, entra.IMDSPath + "?resource=https://example.com", []string{"Metadata", "true"}, 400, "AADSTS500011"},
	} {
		status, doc := ask(c.node, c.path, c.header...)
		if status != c.status || !strings.Contains(fmt.Sprint(doc["error_description"]), c.want) {
			t.Errorf("%s: %d %v", name, status, doc)
		}
	}
}

func TestGraph(t *testing.T) {
	h := newHome(t)
	c, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := h.identity(t, clusterID)
	var ada *entra.Principal
	h.update(t, func(tx store.Tx) (err error) { ada, err = h.CreateUser(tx, "ada", "Ada"); return err })
	owner := h.token(t, c.ObjectID, "https://graph.microsoft.com")
	ask := func(token, method, path, body string) (int, map[string]any) {
		r := httptest.NewRequest(method, "https://"+entra.GraphHost+path, strings.NewReader(body))
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		status, doc, _ := do(t, h.GraphHandler(), r)
		return status, doc
	}
	byIDs := func(body string) string {
		status, doc := ask(owner, http.MethodPost, "/v1.0/directoryObjects/getByIds", body)
		if status != 200 {
			return fmt.Sprint(status, doc)
		}
		var out []string
		for _, v := range doc["value"].([]any) {
			v := v.(map[string]any)
			out = append(out, fmt.Sprint(v["@odata.type"], " ", v["displayName"], " ", v["id"] != ""))
		}
		return strings.Join(out, ", ")
	}
	all := fmt.Sprintf(`"ids":[%q,%q,%q,%q,"00000000-0000-0000-0000-00000000dead"]`, c.ObjectID, strings.ToUpper(id.PrincipalID), ada.ObjectID, ada.ObjectID)
	const ownerObject, clusterObject, adaObject = "#microsoft.graph.servicePrincipal azimuth-owner true", "#microsoft.graph.servicePrincipal cpu-cluster true", "#microsoft.graph.user Ada true"
	for body, want := range map[string]string{
		"{" + all + "}":                                ownerObject + ", " + clusterObject + ", " + adaObject,
		"{" + all + `,"types":["user"]}`:               adaObject,
		"{" + all + `,"types":["servicePrincipal"]}`:   ownerObject + ", " + clusterObject,
		"{" + all + `,"types":["group"]}`:              "",
		`{"ids":["00000000-0000-0000-0000-0000dead"]}`: "",
	} {
		if got := byIDs(body); got != want {
			t.Errorf("%s:\n%s, want\n%s", body, got, want)
		}
	}
	for _, bad := range []string{"", "{}", `{"ids":[]}`, `{"ids":["` + strings.Repeat(`x","`, 1000) + `x"]}`} {
		if got := byIDs(bad); !strings.HasPrefix(got, "400") {
			t.Errorf("%.40s: %s", bad, got)
		}
	}
	find := func(filter string) (int, []any) {
		status, doc := ask(owner, http.MethodGet, "/v1.0/servicePrincipals?"+url.Values{"$filter": {filter}}.Encode(), "")
		value, _ := doc["value"].([]any)
		return status, value
	}
	for _, filter := range []string{"appId eq '" + c.ClientID + "'", "servicePrincipalNames/any(c:c eq '" + c.ClientID + "')"} {
		status, value := find(filter)
		if status != 200 || len(value) != 1 || value[0].(map[string]any)["id"] != c.ObjectID {
			t.Errorf("%s: %d %v", filter, status, value)
		}
	}
	if status, value := find("appId eq 'nobody'"); status != 200 || len(value) != 0 {
		t.Errorf("nobody: %d %v", status, value)
	}
	if status, value := find("startswith(displayName,'AZ')"); status != 200 || len(value) != 1 {
		t.Errorf("by name: %d %v", status, value)
	}
	if status, value := find("endswith(displayName,'a')"); status != 501 {
		t.Errorf("another filter: %d %v", status, value)
	}
	status, doc := ask(owner, http.MethodGet, "/v1.0/users?"+url.Values{"$filter": {"userPrincipalName eq '" + ada.UPN + "'"}, "$select": {"id"}}.Encode(), "")
	if status != 200 || fmt.Sprint(doc["value"]) != fmt.Sprintf("[map[id:%s]]", ada.ObjectID) {
		t.Errorf("a user: %d %v", status, doc)
	}
	for path, name := range map[string]string{
		"servicePrincipals/" + c.ObjectID: entra.OwnerName, "servicePrincipals/" + strings.ToUpper(id.PrincipalID): "cpu-cluster",
		"users/" + ada.ObjectID: "Ada", "users/" + ada.UPN: "Ada", "users/" + ada.UPN + "?$select=displayName": "Ada",
	} {
		status, doc := ask(owner, http.MethodGet, "/v1.0/"+path, "")
		if status != 200 || doc["displayName"] != name || (doc["id"] == nil) != strings.Contains(path, "select") {
			t.Errorf("%s: %d %v", path, status, doc)
		}
	}
	refused := func(name, token, path string, status int, code string) {
		t.Helper()
		got, doc := ask(token, http.MethodGet, path, "")
		e, _ := doc["error"].(map[string]any)
		inner, _ := e["innerError"].(map[string]any)
		if got != status || e["code"] != code || e["message"] == "" || inner["request-id"] == nil {
			t.Errorf("%s: %d %v", name, got, doc)
		}
	}
	const list = "/v1.0/servicePrincipals?%24filter=appId+eq+'x'"
	refused("no token", "", list, 401, "InvalidAuthenticationToken")
	refused("another audience", h.token(t, c.ObjectID, armAudience), list, 401, "InvalidAuthenticationToken")
	refused("no role", h.token(t, id.PrincipalID, "https://graph.microsoft.com"), list, 403, "Authorization_RequestDenied")
	refused("no operation", owner, "/v1.0/organization", 501, "NotImplementedByAzimuth")
	refused("no user", owner, "/v1.0/me", 400, "BadRequest")
	refused("a user as another kind", owner, "/v1.0/servicePrincipals/"+ada.ObjectID, 404, "Request_ResourceNotFound")
	refused("nobody", owner, "/v1.0/users/nobody", 404, "Request_ResourceNotFound")
	refused("below one", owner, "/v1.0/users/"+ada.ObjectID+"/manager", 501, "NotImplementedByAzimuth")
	refused("no parameter", owner, list+"&%24expand=owners", 501, "NotImplementedByAzimuth")
}
