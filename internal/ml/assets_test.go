package ml_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func TestDatastores(t *testing.T) {
	h := newHarness(t)
	r := h.Want(200, "GET", wsID+"/datastores", nil)
	if !slices.Equal(r.Names(), []string{"workspaceartifactstore", "workspaceblobstore", "workspacefilestore", "workspaceworkingdirectory"}) {
		t.Errorf("datastores are %v", r.Names())
	}
	d := h.Want(200, "GET", wsID+"/datastores/workspaceblobstore", nil).Body
	for path, want := range map[string]any{
		"datastoreType": "AzureBlob", "accountName": account, "containerName": "azureml-blobstore-" + wsGUID, "isDefault": true,
		"credentials.credentialsType": "AccountKey", "credentials.secrets": nil, "endpoint": "core.windows.net", "protocol": "https",
	} {
		if got := d.Get("properties." + path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 64))
	if s := h.Want(200, "POST", wsID+"/datastores/workspaceblobstore/listSecrets", nil).Body; s.String("secretsType") != "AccountKey" || s.String("key") != key {
		t.Errorf("secrets are %v", s)
	}
	h.Refused(400, "UserError", "cannot be deleted", "DELETE", wsID+"/datastores/workspaceblobstore", nil)

	put := func(props map[string]any) map[string]any { return map[string]any{"properties": props} }
	id := wsID + "/datastores/lake"
	r = h.Want(201, "PUT", id, put(map[string]any{
		"datastoreType": "AzureDataLakeGen2", "accountName": "lake", "filesystem": "fs", "isDefault": true, "x": "y",
		"credentials": map[string]any{"credentialsType": "ServicePrincipal", "clientId": "c", "tenantId": "t", "secrets": map[string]any{"secretsType": "ServicePrincipal", "clientSecret": "hush"}},
	}))
	for _, raw := range []string{r.Raw, h.Want(200, "GET", id, nil).Raw, h.Want(200, "GET", wsID+"/datastores", nil).Raw} {
		if strings.Contains(raw, "hush") {
			t.Errorf("the secret is shown: %s", raw)
		}
	}
	if r.Body.Get("properties.isDefault") != false || r.Body.Get("properties.x") != "y" {
		t.Errorf("datastore is %s", r.Raw)
	}
	if s := h.Want(200, "POST", id+"/listSecrets", nil).Body; s.String("clientSecret") != "hush" || s.String("secretsType") != "ServicePrincipal" {
		t.Errorf("secrets are %v", s)
	}
	// an update without the secret keeps it; None forgets it
	body := h.Want(200, "GET", id, nil).Body
	h.Want(200, "PUT", id, body)
	if s := h.Want(200, "POST", id+"/listSecrets", nil).Body; s.String("clientSecret") != "hush" {
		t.Errorf("secrets after an update are %v", s)
	}
	body.Set("properties.credentials", map[string]any{"credentialsType": "None"})
	h.Want(200, "PUT", id, body)
	if s := h.Want(200, "POST", id+"/listSecrets", nil).Body; s.String("clientSecret") != "" || s.String("secretsType") != "None" {
		t.Errorf("secrets of None are %v", s)
	}
	h.Want(200, "DELETE", id, nil)

	for _, c := range []struct {
		name  string
		code  int
		text  string
		props map[string]any
	}{
		{"Upper", 400, "datastore name", map[string]any{"datastoreType": "AzureBlob"}},
		{"d", 400, "'datastoreType' is missing", map[string]any{}},
		{"d", 400, "type 'Tape' is unknown", map[string]any{"datastoreType": "Tape"}},
		{"d", 501, "OneLake", map[string]any{"datastoreType": "OneLake"}},
		{"d", 400, "'containerName' is missing", map[string]any{"datastoreType": "AzureBlob", "accountName": "a"}},
		{"d", 400, "'credentials' is missing", map[string]any{"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c"}},
		{"d", 400, "no 'key'", map[string]any{"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c", "credentials": map[string]any{"credentialsType": "AccountKey"}}},
		{"d", 400, "Base64", map[string]any{"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c", "credentials": map[string]any{"credentialsType": "AccountKey", "secrets": map[string]any{"key": "?"}}}},
	} {
		if r := h.Do("PUT", wsID+"/datastores/"+c.name, put(c.props)); r.Status != c.code || !strings.Contains(r.Message(), c.text) {
			t.Errorf("%v = %d %s, want %d with %q", c.props, r.Status, r.Raw, c.code, c.text)
		}
	}
}

func TestListDatastores(t *testing.T) {
	h := newHarness(t)
	h.Clock.Step(1e9)
	for _, name := range []string{"one", "two"} {
		h.Want(201, "PUT", wsID+"/datastores/"+name, map[string]any{"properties": map[string]any{
			"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c", "credentials": map[string]any{"credentialsType": "None"},
		}})
	}
	for query, want := range map[string]string{
		"?isDefault=true":                              "workspaceblobstore",
		"?isDefault=false&searchText=STORE":            "workspaceartifactstore workspacefilestore",
		"?names=two,ONE":                               "one two",
		"?names=one,two&orderBy=name":                  "two one",
		"?orderBy=createdtime&orderByAsc=true&count=1": "workspaceartifactstore",
		"?orderBy=ModifiedTime&orderByAsc=false&names=one,workspaceblobstore": "one workspaceblobstore",
		"?names=none": "",
	} {
		if got := strings.Join(h.Want(200, "GET", wsID+"/datastores"+query, nil).Names(), " "); got != want {
			t.Errorf("datastores%s are %q, want %q", query, got, want)
		}
	}
	var got []string
	for next := wsID + "/datastores?count=4"; next != ""; {
		r := h.Want(200, "GET", next, nil)
		got, next = append(got, r.Names()...), r.Body.String("nextLink")
	}
	if strings.Join(got, " ") != "one two workspaceartifactstore workspaceblobstore workspacefilestore workspaceworkingdirectory" {
		t.Errorf("page by page: %v", got)
	}
	for _, query := range []string{"count=0", "isDefault=maybe", "orderBy=size", "$skip=x"} {
		h.Refused(400, "UserError", strings.SplitN(query, "=", 2)[0], "GET", wsID+"/datastores?"+query, nil)
	}
}

func TestAssets(t *testing.T) {
	h := newHarness(t)
	put := func(path string, props map[string]any) *rptest.Result {
		t.Helper()
		h.Clock.Step(1e9)
		return h.Want(201, "PUT", wsID+path, map[string]any{"properties": props})
	}
	h.Want(404, "GET", wsID+"/data/iris", nil)
	h.Want(404, "GET", wsID+"/data/iris/versions/1", nil)
	put("/data/iris/versions/1", map[string]any{"dataType": "uri_file", "dataUri": "azureml://datastores/d/paths/1"})
	put("/data/iris/versions/7", map[string]any{"dataType": "uri_file", "dataUri": "azureml://datastores/d/paths/7"})
	c := h.Want(200, "GET", wsID+"/data/iris", nil).Body
	for path, want := range map[string]any{"latestVersion": "7", "nextVersion": "8", "dataType": "uri_file", "isArchived": false, "provisioningState": "Succeeded"} {
		if got := c.Get("properties." + path); got != want {
			t.Errorf("container's %s = %v, want %v", path, got, want)
		}
	}
	if got := h.Want(200, "GET", wsID+"/data/iris/versions?$orderBy=createdtime+desc&$top=1", nil); !slices.Equal(got.Names(), []string{"7"}) {
		t.Errorf("newest version is %v", got.Names())
	}
	h.Refused(400, "UserError", "Asset paths cannot be updated.", "PUT", wsID+"/data/iris/versions/7", map[string]any{"properties": map[string]any{"dataType": "uri_file", "dataUri": "azureml://datastores/d/paths/8"}})
	h.Refused(400, "UserError", "is of dataType", "PUT", wsID+"/data/iris/versions/8", map[string]any{"properties": map[string]any{"dataType": "mltable", "dataUri": "x"}})
	h.Refused(400, "UserError", "'dataUri' is missing", "PUT", wsID+"/data/iris/versions/8", map[string]any{"properties": map[string]any{"dataType": "uri_file"}})
	h.Want(200, "PUT", wsID+"/data/iris/versions/7", map[string]any{"properties": map[string]any{"dataType": "uri_file", "dataUri": "azureml://datastores/d/paths/7", "isArchived": true, "tags": map[string]any{"a": "b"}}})
	for query, want := range map[string]string{"": "1", "?listViewType=ArchivedOnly": "7", "?listViewType=All": "7 1", "?listViewType=All&$top=1": "7"} {
		if got := strings.Join(h.Want(200, "GET", wsID+"/data/iris/versions"+query, nil).Names(), " "); got != want {
			t.Errorf("versions%s are %s, want %s", query, got, want)
		}
	}
	// page by page
	r := h.Want(200, "GET", wsID+"/data/iris/versions?listViewType=All&$top=1", nil)
	if r = h.Want(200, "GET", r.Body.String("nextLink"), nil); !slices.Equal(r.Names(), []string{"1"}) || r.Body.String("nextLink") != "" {
		t.Errorf("second page is %s", r.Raw)
	}
	h.Clock.Step(1e9)
	h.Want(200, "PUT", wsID+"/data/iris/versions/1", map[string]any{"properties": map[string]any{
		"dataType": "uri_file", "dataUri": "azureml://datastores/d/paths/1", "tags": map[string]any{"a": "c"}, "description": "first",
		"properties": map[string]any{"hash_sha256": "h", "hash_version": "202208"},
	}})
	put("/data/iris/versions/9", map[string]any{"dataType": "uri_file", "dataUri": "azureml://datastores/d/paths/9", "isAnonymous": true, "properties": map[string]any{"hash_sha256": "h9"}})
	for query, want := range map[string]string{
		"tags=a": "7 1", "$tags=a%3Dc": "1", "tags=a%3Dc": "1", "tags=a,b": "", "properties=hash_sha256": "1", "version=7": "7", "description=FIRST": "1",
		"hash=h": "1", "hash=h&hashVersion=1": "", "hash=h9": "9", "offset=1": "1", "offset=5": "",
		"$orderBy=createdtime": "1 7", "$orderBy=createdtime+asc&$top=1": "1", "$orderBy=modifiedtime+desc": "1 7", "$orderBy=modifiedtime": "7 1",
	} {
		if got := strings.Join(h.Want(200, "GET", wsID+"/data/iris/versions?listViewType=All&"+query, nil).Names(), " "); got != want {
			t.Errorf("versions?%s are %q, want %q", query, got, want)
		}
	}
	r = h.Want(200, "GET", wsID+"/data/iris/versions?listViewType=All&$orderBy=createdtime&$top=1", nil)
	if r = h.Want(200, "GET", r.Body.String("nextLink"), nil); !slices.Equal(r.Names(), []string{"7"}) || r.Body.String("nextLink") != "" {
		t.Errorf("second page of the oldest first is %s", r.Raw)
	}
	for _, query := range []string{"$orderBy=name", "offset=-1", "count=x", "$skip=%3F", "listViewType=Some"} {
		h.Refused(400, "UserError", "", "GET", wsID+"/data/iris/versions?"+query, nil)
	}
	h.Want(200, "DELETE", wsID+"/data/iris/versions/9", nil)
	h.Want(200, "DELETE", wsID+"/data/iris/versions/7", nil)
	if got := h.Want(200, "GET", wsID+"/data/iris", nil).Body.String("properties.latestVersion"); got != "1" {
		t.Errorf("latest version after a delete is %s", got)
	}
	// a container on its own, then archived
	h.Want(201, "PUT", wsID+"/models/m", map[string]any{"properties": map[string]any{"description": "d"}})
	h.Want(200, "PUT", wsID+"/models/m", map[string]any{"properties": map[string]any{"isArchived": true}})
	if got := h.Want(200, "GET", wsID+"/models", nil).Names(); len(got) != 0 {
		t.Errorf("archived models are listed: %v", got)
	}
	if m := put("/models/m/versions/1", map[string]any{"modelUri": "azureml://jobs/j/outputs/o"}); m.Body.Object("properties.flavors") == nil {
		t.Errorf("a model without flavors, which azure-ai-ml needs: %s", m.Raw)
	}
	put("/components/c/versions/1", map[string]any{"componentSpec": map[string]any{"command": "x"}})
	// anonymous ones are not listed
	put("/environments/CliV2AnonymousEnvironment/versions/abc", map[string]any{"image": "i", "isAnonymous": true})
	if got := h.Want(200, "GET", wsID+"/environments", nil).Names(); !slices.Equal(got, []string{"plain"}) {
		t.Errorf("environments are %v", got)
	}
	// labels, wherever an asset is named
	put("/data/labelled/versions/1", map[string]any{"dataType": "uri_file", "dataUri": "azureml://datastores/workspaceblobstore/paths/1"})
	names := 0
	for uri, code := range map[string]int{
		"azureml:labelled@latest": 201, wsID + "/data/labelled/labels/latest": 201,
		"azureml:none@latest": 400, wsID + "/data/labelled/labels/stable": 501, "azureml:labelled@other": 501,
	} {
		names++
		if r := h.Do("PUT", h.jobID("labelled"+strconv.Itoa(names)), job("inputs.x", map[string]any{"jobInputType": "uri_file", "uri": uri})); r.Status != code {
			t.Errorf("a job with %s = %d %s, want %d", uri, r.Status, r.Raw, code)
		}
	}
	h.Want(200, "DELETE", wsID+"/data/iris", nil)
	h.Want(404, "GET", wsID+"/data/iris/versions/1", nil)
	h.Refused(501, "NotImplementedByAzimuth", "PATCH", "PATCH", wsID+"/models/m", map[string]any{"properties": map[string]any{}})
}

func TestEnvironments(t *testing.T) {
	h := newHarness(t)
	v := h.Want(200, "GET", wsID+"/environments/AzureML-sklearn-1.5/versions/12", nil).Body
	if v.String("properties.environmentType") != "Curated" || v.String("name") != "12" {
		t.Errorf("curated environment is %v", v)
	}
	if c := h.Want(200, "GET", wsID+"/environments/AzureML-sklearn-1.5", nil).Body; c.String("properties.latestVersion") != "1" {
		t.Errorf("curated container is %v", c)
	}
	h.Want(404, "GET", wsID+"/environments/AzureML-nope/versions/1", nil)
	for text, props := range map[string]map[string]any{
		"needs an image": {}, "not both": {"image": "i", "build": map[string]any{"contextUri": "x"}}, "contextUri": {"build": map[string]any{"dockerfilePath": "D"}},
	} {
		h.Refused(400, "UserError", text, "PUT", wsID+"/environments/e/versions/1", map[string]any{"properties": props})
	}
	h.Refused(400, "UserError", "reserved", "PUT", wsID+"/environments/AzureML-sklearn-1.5/versions/99", map[string]any{"properties": map[string]any{"image": "i"}})
	h.Refused(501, "NotImplementedByAzimuth", "Windows", "PUT", wsID+"/environments/e/versions/1", map[string]any{"properties": map[string]any{"image": "i", "osType": "Windows"}})
	for i, ref := range []string{
		"azureml://registries/azureml/environments/sklearn-1.5/labels/latest", wsID + "/environments/AzureML-sklearn-1.5/versions/3",
		wsID + "/environments/plain/labels/latest", "azureml://registries/azureml/environments/AzureML-sklearn-1.5/versions/2",
		"azureml:AzureML-sklearn-1.5@latest", "azureml:plain:1", "azureml:plain@latest",
	} {
		name := "job" + string(rune('a'+i))
		h.submit(name, "environmentId", ref)
		h.prepare(name, 1, 1)
	}
}

func TestPendingUpload(t *testing.T) {
	h := newHarness(t)
	version := wsID + "/codes/0a/versions/1"
	r := h.Want(200, "POST", version+"/startPendingUpload", map[string]any{"pendingUploadType": "TemporaryBlobReference"})
	uri := r.Body.String("blobReferenceForConsumption.blobUri")
	sas := r.Body.String("blobReferenceForConsumption.credential.sasUri")
	if r.Body.String("blobReferenceForConsumption.storageAccountArmId") != accountID || r.Body.String("blobReferenceForConsumption.credential.credentialType") != "SAS" || r.Body.String("pendingUploadId") == "" {
		t.Errorf("answer is %s", r.Raw)
	}
	_, query, _ := strings.Cut(sas, "?")
	path := strings.TrimPrefix(uri, "https://"+account+".blob.core.windows.net")
	req, err := http.NewRequestWithContext(t.Context(), "PUT", h.Storage.URL+path+"/src/a.py?"+query, strings.NewReader("print(1)"))
	h.must(err)
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	req.Header.Set("x-ms-version", "2022-11-02")
	resp, err := h.Storage.Client().Do(req)
	h.must(err)
	resp.Body.Close()
	if resp.StatusCode != 201 {
		t.Fatalf("upload is answered %s", resp.Status)
	}
	h.Want(201, "PUT", version, map[string]any{"properties": map[string]any{"codeUri": uri + "/src"}})
	h.submit("j1", "codeId", version)
	s := h.prepare("j1", 1, 1)[0]
	if got := read(t, s.Dir+"/a.py"); got != "print(1)" {
		t.Errorf("code is %q", got)
	}
	if r := h.Do("POST", version+"/startPendingUpload", map[string]any{"pendingUploadId": "../x"}); r.Status != 400 {
		t.Errorf("a strange ID is answered %d", r.Status)
	}
	if r := h.Do("POST", strings.Replace(version, "ws-One", "nope", 1)+"/startPendingUpload", map[string]any{}); r.Status != 404 {
		t.Errorf("a workspace that is not there is answered %d", r.Status)
	}
	var _ arm.Doc = r.Body
}
