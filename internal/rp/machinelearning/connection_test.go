package machinelearning_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func TestConnections(t *testing.T) {
	e, _ := newEnv(t, false)
	at := func(name string) string { return ws + "/connections/" + name }
	const git = `{"properties":{"authType":"pat","category":"Git","target":"https://example.com/repo","metadata":{"a":"b"},"credentials":{"pat":"s3cret-token"}}}`
	r := e.Want(200, "PUT", at("code"), git)
	for field, want := range map[string]any{
		"name": "code", "type": "Microsoft.MachineLearningServices/workspaces/connections", "properties.authType": "PAT", "properties.category": "Git",
		"properties.target": "https://example.com/repo", "properties.metadata.a": "b", "properties.credentials": nil,
		"properties.createdByWorkspaceArmId": ws, "properties.provisioningState": nil,
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if r := e.Want(200, "GET", at("code"), nil); strings.Contains(r.Raw, "s3cret") {
		t.Errorf("the secret is shown: %s", r.Raw)
	}
	if r := e.Want(200, "POST", at("code")+"/listSecrets", nil); r.Body.String("properties.credentials.pat") != "s3cret-token" || r.Body.String("name") != "code" {
		t.Errorf("secrets: %s", r.Raw)
	}
	// at rest, it is nowhere in the clear
	err := e.Store.View(t.Context(), func(tx store.Tx) error {
		r, err := e.Kernel.Resources().Get(tx, arm.Key(at("code")))
		if err == nil && (strings.Contains(string(r.Sealed), "s3cret") || r.Body.Has("properties.credentials")) {
			t.Errorf("stored: %+v", r)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// a PATCH keeps what it does not name, a PUT does not
	e.Want(200, "PATCH", at("code"), `{"properties":{"authType":"PAT","target":"https://example.com/other"}}`)
	if r := e.Want(200, "POST", at("code")+"/listsecrets", nil); r.Body.String("properties.credentials.pat") != "s3cret-token" || r.Body.String("properties.target") != "https://example.com/other" {
		t.Errorf("after PATCH: %s", r.Raw)
	}
	e.Want(200, "PATCH", at("code"), `{"properties":{"credentials":{"pat":"another"}}}`)
	if r := e.Want(200, "POST", at("code")+"/listsecrets", nil); r.Body.String("properties.credentials.pat") != "another" {
		t.Errorf("after PATCH: %s", r.Raw)
	}
	e.Want(200, "PUT", at("code"), strings.Replace(git, `,"credentials":{"pat":"s3cret-token"}`, "", 1))
	if r := e.Want(200, "POST", at("code")+"/listsecrets", nil); r.Body.Has("properties.credentials") {
		t.Errorf("after PUT: %s", r.Raw)
	}
	e.Want(200, "PUT", at("feed"), `{"properties":{"authType":"ManagedIdentity","category":"PythonFeed","target":"https://example.com/feed","credentials":{"clientId":"c","resourceId":"r"},"value":"{}"}}`)
	if r := e.Want(200, "GET", at("feed"), nil); r.Body.String("properties.credentials.clientId") != "c" || r.Body.Has("properties.value") {
		t.Errorf("identity: %s", r.Raw)
	}
	for query, want := range map[string][]string{"": {"code", "feed"}, "?category=git": {"code"}, "?target=https://example.com/feed": {"feed"}, "?category=Git&target=x": nil} {
		if got := e.Want(200, "GET", ws+"/connections"+query, nil).Names(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	for _, tc := range []struct {
		name, body string
		status     int
		code, text string
	}{
		{"code2", `{}`, 400, "ValidationError", "properties"},
		{"code2", `{"properties":{"category":"Git"}}`, 400, "ValidationError", "authType"},
		{"code2", `{"properties":{"authType":"Password"}}`, 400, "ValidationError", "Password"},
		{"code2", `{"properties":{"authType":"PAT","credentials":"x"}}`, 400, "ValidationError", "credentials"},
		{"code2", `{"properties":{"authType":"PAT","value":{}}}`, 400, "ValidationError", "value"},
		{"-x", git, 400, "InvalidResourceName", ""},
	} {
		e.Refused(tc.status, tc.code, tc.text, "PUT", at(tc.name), tc.body)
	}
	e.Want(200, "DELETE", at("code"), nil)
	e.Want(204, "DELETE", at("code"), nil)
	e.Refused(404, "ResourceNotFound", "code", "POST", at("code")+"/listsecrets", nil)
}
