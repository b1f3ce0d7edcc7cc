package ml_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// TestJobsReachDataWithWhatTheyAreGiven reads the same data by every kind of right.
func TestJobsReachDataWithWhatTheyAreGiven(t *testing.T) {
	h := newHarness(t)
	h.putBlob("box", "dir/a.txt", "alpha")
	sign := func(permissions string) string {
		q, err := storage.SignServiceSAS(testAccount(), storage.ServiceSAS{Container: "box", Permissions: permissions, Expiry: h.Clock.Now().Add(time.Hour)})
		h.must(err)
		return q
	}
	store := func(name, kind string, creds map[string]any) {
		t.Helper()
		props := map[string]any{"datastoreType": kind, "accountName": account, "containerName": "box", "filesystem": "box", "credentials": creds}
		h.Want(201, "PUT", wsID+"/datastores/"+name, map[string]any{"properties": props})
	}
	sas := func(token string) map[string]any {
		return map[string]any{"credentialsType": "Sas", "secrets": map[string]any{"secretsType": "Sas", "sasToken": token}}
	}
	principal := func(secret string) map[string]any {
		return map[string]any{"credentialsType": "ServicePrincipal", "tenantId": "t", "clientId": "c", "secrets": map[string]any{"secretsType": "ServicePrincipal", "clientSecret": secret}}
	}
	store("signed", "AzureBlob", sas(sign("rl")))
	store("unlisted", "AzureDataLakeGen2", sas("?"+sign("r")))
	store("forged", "AzureBlob", sas(sign("rl")+"x"))
	store("principal", "AzureDataLakeGen2", principal("right"))
	store("mistaken", "AzureBlob", principal("wrong"))
	store("nobody", "AzureBlob", map[string]any{"credentialsType": "None"})
	read := "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
	h.Roles["principal-of-c "+read] = true
	in := func(store string) string { return "azureml://datastores/" + store + "/paths/dir/" }
	web := "https://" + account + ".blob.core.windows.net/box/dir/a.txt"
	n := 0
	for _, c := range []struct {
		kind, uri, want string // "" for data, else a part of the refusal
	}{
		{"uri_folder", in("signed"), ""},
		{"mltable", in("signed"), ""},
		{"uri_file", in("unlisted") + "a.txt", ""},
		{"uri_folder", in("unlisted"), "AuthorizationPermissionMismatch"},
		{"uri_folder", in("forged"), "signature of the datastore 'forged' gives no access"},
		{"uri_folder", in("principal"), ""},
		{"uri_folder", in("mistaken"), "datastore 'mistaken' cannot sign in: The client ID or secret is invalid."},
		{"uri_folder", in("nobody"), "AuthorizationPermissionMismatch"},
		{"uri_file", web + "?" + sign("r"), ""},
		{"uri_file", web + "?" + url.Values{"sig": {"x"}}.Encode(), "gives no access"},
		{"uri_file", web, "AuthorizationPermissionMismatch"},
		{"uri_file", "wasbs://data@azuremlexamples.blob.core.windows.net/iris.csv", "make an account of that name here"},
		{"uri_folder", "abfss://data@azuremlexamples.dfs.core.windows.net/x", "make an account of that name here"},
	} {
		n++
		name := fmt.Sprintf("j%d", n)
		h.submit(name, "inputs.data", map[string]any{"jobInputType": c.kind, "uri": c.uri}, "command", "cat ${{inputs.data}}")
		specs, err := h.ML.Prepare(t.Context(), h.item(name, 1), h.nodes(1))
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.uri, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
			continue
		}
		path := strings.TrimPrefix(specs[0].Argv[2], "cat ")
		if c.kind != "uri_file" {
			path = filepath.Join(path, "a.txt")
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "alpha" {
			t.Errorf("%s: %q, %v", c.uri, b, err)
		}
	}
	// an output needs the right to write
	h.submit("out", "outputs.o", map[string]any{"jobOutputType": "uri_folder", "uri": in("signed")})
	if _, err := h.ML.Prepare(t.Context(), h.item("out", 1), h.nodes(1)); err == nil || !strings.Contains(err.Error(), "AuthorizationPermissionMismatch") {
		t.Errorf("output: %v", err)
	}
}
