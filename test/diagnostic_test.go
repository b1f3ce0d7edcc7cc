package test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// TestDiagnosticSettings has a vault, a storage account, a workspace and the
// subscription log to a Log Analytics workspace and to a storage account, and reads
// what came with the SDKs and KQL.
func TestDiagnosticSettings(t *testing.T) {
	need(t, "python3")
	e, dir := smallEnv(t)
	ctx, in := t.Context(), e.insights()
	w := in.w
	opts := policy.ClientOptions{Transport: w.http}
	clients, err := armmonitor.NewClientFactory(strings.TrimPrefix(subscription, "/subscriptions/"), fixedToken(w.tokens[forARM]), &arm.ClientOptions{ClientOptions: opts})
	if err != nil {
		t.Fatal(err)
	}
	settings := clients.NewDiagnosticSettingsClient()
	const (
		vault   = smallGroup + "/providers/Microsoft.KeyVault/vaults/kv-small"
		account = smallGroup + "/providers/Microsoft.Storage/storageAccounts/stsmall001"
		blobs   = account + "/blobServices/default"
		ml      = smallGroup + "/providers/Microsoft.MachineLearningServices/workspaces/mlw-small"
	)
	setting := func(workspace, storage string, categories ...string) armmonitor.DiagnosticSettingsResource {
		p := &armmonitor.DiagnosticSettings{}
		if workspace != "" {
			p.WorkspaceID = &workspace
		}
		if storage != "" {
			p.StorageAccountID = &storage
		}
		for _, c := range categories {
			l := &armmonitor.LogSettings{Enabled: to.Ptr(true), Category: to.Ptr(c)}
			if c == "audit" || c == "allLogs" {
				l.Category, l.CategoryGroup = nil, to.Ptr(c)
			}
			p.Logs = append(p.Logs, l)
		}
		return armmonitor.DiagnosticSettingsResource{Properties: p}
	}
	put := func(resource, name string, r armmonitor.DiagnosticSettingsResource) error {
		_, err := settings.CreateOrUpdate(ctx, resource, name, r, nil)
		return err
	}
	code := func(err error) string {
		var e *azcore.ResponseError
		if errors.As(err, &e) {
			return e.ErrorCode
		}
		return ""
	}

	// What can be sent, and what cannot.
	list := got[armmonitor.DiagnosticSettingsCategoryClientListResponse](t, "categories")(clients.NewDiagnosticSettingsCategoryClient().NewListPager(blobs, nil).NextPage(ctx))
	var names []string
	for _, c := range list.Value {
		names = append(names, *c.Name+"/"+string(*c.Properties.CategoryType))
	}
	if have, want := strings.Join(names, " "), "StorageRead/Logs StorageWrite/Logs StorageDelete/Logs Capacity/Metrics Transaction/Metrics"; have != want {
		t.Errorf("categories %s, want %s", have, want)
	}
	metrics := setting(smallLogs, "")
	metrics.Properties.Metrics = []*armmonitor.MetricSettings{{Enabled: to.Ptr(true), Category: to.Ptr("Transaction")}}
	hub := setting(smallLogs, "", "AuditEvent")
	hub.Properties.EventHubAuthorizationRuleID = to.Ptr(smallGroup + "/providers/Microsoft.EventHub/namespaces/n/authorizationRules/r")
	for what, c := range map[string]struct {
		resource, want string
		setting        armmonitor.DiagnosticSettingsResource
	}{
		"a category of others": {vault, "BadRequest", setting(smallLogs, "", "StorageRead")},
		"no destination":       {vault, "BadRequest", setting("", "", "AuditEvent")},
		"no such workspace":    {vault, "ResourceNotFound", setting(smallLogs+"-none", "", "AuditEvent")},
		"metrics":              {blobs, "NotImplementedByAzimuth", metrics},
		"an event hub":         {vault, "NotImplementedByAzimuth", hub},
		"what is not sent":     {ml, "NotImplementedByAzimuth", setting(smallLogs, "", "RunEvent")},
		"a type without logs":  {smallGroup, "ResourceTypeNotSupported", setting(smallLogs, "", "AuditEvent")},
	} {
		if have := code(put(c.resource, "bad", c.setting)); have != c.want {
			t.Errorf("%s: %q, want %q", what, have, c.want)
		}
	}

	for _, s := range []struct {
		resource, name string
		setting        armmonitor.DiagnosticSettingsResource
	}{
		{vault, "audit", setting(smallLogs, account, "audit")},
		{blobs, "changes", setting(smallLogs, "", "StorageWrite", "StorageDelete")},
		{blobs, "reads", setting("", account, "StorageRead")},
		{ml, "jobs", setting("", account, "allLogs")},
		{subscription, "activity", setting("", account, "Administrative")},
	} {
		if err := put(s.resource, s.name, s.setting); err != nil {
			t.Fatal(err)
		}
	}
	if have := code(put(blobs, "again", setting(smallLogs, "", "StorageWrite"))); have != "Conflict" {
		t.Errorf("a destination twice: %q", have)
	}

	// Things happen.
	secrets, err := azsecrets.NewClient("https://kv-small.vault.azure.net", fixedToken(w.tokens[forVault]), &azsecrets.ClientOptions{ClientOptions: opts})
	if err != nil {
		t.Fatal(err)
	}
	got[azsecrets.SetSecretResponse](t, "set a secret")(secrets.SetSecret(ctx, "db", azsecrets.SetSecretParameters{Value: to.Ptr("swordfish")}, nil))
	got[azsecrets.GetSecretResponse](t, "get it")(secrets.GetSecret(ctx, "db", "", nil))
	if _, err := secrets.GetSecret(ctx, "none", "", nil); err == nil {
		t.Error("there is a secret named none")
	}
	store, err := azblob.NewClient("https://stsmall001.blob.core.windows.net", fixedToken(w.tokens[forStorage]), &azblob.ClientOptions{ClientOptions: opts})
	if err != nil {
		t.Fatal(err)
	}
	got[azblob.UploadBufferResponse](t, "upload")(store.UploadBuffer(ctx, "data", "a/b.txt", []byte("hello"), nil))
	got[azblob.DownloadStreamResponse](t, "download")(store.DownloadStream(ctx, "data", "a/b.txt", nil))
	got[azblob.DeleteBlobResponse](t, "delete")(store.DeleteBlob(ctx, "data", "a/b.txt", nil))
	if _, err := store.DeleteBlob(ctx, "data", "a/b.txt", nil); err == nil {
		t.Error("deleted twice")
	}
	e.run("ml", "job", "create", "-f", jobFile(t, "echo hello", "name: logged\n", nil), "--stream")
	if _, err := w.arm(ctx, http.MethodPatch, vault, "2023-07-01", `{"tags":{"a":"b"}}`); err != nil {
		t.Fatal(err)
	}

	w.logRegistry(t, put, setting(smallLogs, account, "allLogs"))

	// KQL sees them.
	in.want(t, `AzureDiagnostics | where Category == "AuditEvent" | where isnotempty(identity_claim_oid_g) | project OperationName, ResultSignature, toint(httpStatusCode_d), Resource | order by OperationName asc, httpStatusCode_d asc`,
		"SecretGet | OK | 200 | KV-SMALL", "SecretGet | SecretNotFound | 404 | KV-SMALL", "SecretSet | OK | 200 | KV-SMALL", "VaultPatch | OK | 200 | KV-SMALL")
	in.want(t, `StorageBlobLogs | where ObjectKey endswith "a/b.txt" | order by TimeGenerated asc | project Category, OperationName, StatusCode, StatusText, AuthenticationType, AccountName`,
		"StorageWrite | PutBlob | 201 | Success | OAuth | stsmall001", "StorageDelete | DeleteBlob | 202 | Success | OAuth | stsmall001",
		"StorageDelete | DeleteBlob | 404 | BlobNotFound | OAuth | stsmall001")

	in.want(t, `ContainerRegistryRepositoryEvents | order by TimeGenerated asc | project OperationName, Repository, Tag, ResultType, isnotempty(Digest), isnotempty(Identity)`,
		"Push | team/empty | v1 | 201 | true | true", "Pull | team/empty | v1 | 200 | true | true", "Untag | team/empty | v1 | 202 | false | true")
	in.want(t, `ContainerRegistryLoginEvents | summarize count() by OperationName, ResultType, LoginServer`, "Login | 200 | crlogged.azurecr.io | 2")

	// And the account has them.
	lines := func(box, part string) (out []map[string]any) {
		t.Helper()
		cc := store.ServiceClient().NewContainerClient(box)
		for p := cc.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: to.Ptr("resourceId=/SUBSCRIPTIONS/")}); p.More(); {
			for _, b := range got[container.ListBlobsFlatResponse](t, "list "+box)(p.NextPage(ctx)).Segment.BlobItems {
				if !strings.HasSuffix(*b.Name, "/m=00/PT1H.json") || !strings.Contains(*b.Name, part) {
					t.Errorf("blob %s", *b.Name)
				}
				r := got[azblob.DownloadStreamResponse](t, "read "+*b.Name)(store.DownloadStream(ctx, box, *b.Name, nil))
				text, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(string(text)) {
					var doc map[string]any
					if err := json.Unmarshal([]byte(line), &doc); err != nil {
						t.Fatalf("%s: %v", line, err)
					}
					out = append(out, doc)
				}
			}
		}
		return out
	}
	operations := func(docs []map[string]any) string {
		var out []string
		for _, d := range docs {
			out = append(out, d["operationName"].(string))
		}
		return " " + strings.Join(out, " ") + " "
	}
	in.query(t, "print 1") // writes what waits
	for box, c := range map[string]struct{ part, want string }{
		"insights-logs-auditevent":                   {"/VAULTS/KV-SMALL/", " SecretSet "},
		"insights-logs-storageread":                  {"/BLOBSERVICES/DEFAULT/", " GetBlob "},
		"insights-logs-amlcomputejobevent":           {"/WORKSPACES/MLW-SMALL/", " JobSucceeded "},
		"insights-logs-amlrunstatuschangedevent":     {"/WORKSPACES/MLW-SMALL/", ""},
		"insights-logs-containerregistryloginevents": {"/REGISTRIES/CRLOGGED/", " Login "},
		"insights-activity-logs":                     {"", " MICROSOFT.KEYVAULT/VAULTS/WRITE "},
	} {
		if have := operations(lines(box, c.part)); !strings.Contains(have, c.want) {
			t.Errorf("%s has %s, want %s", box, have, c.want)
		}
	}

	// They are still there after a restart, and gone with the setting.
	e.run("stop")
	e.run("up", dir)
	w = e.insights().w
	if err := w.putBlob(ctx, "/data/again", "x"); err != nil {
		t.Fatal(err)
	}
	e.insights().want(t, `StorageBlobLogs | where ObjectKey endswith "/again" | project OperationName`, "PutBlob")
	clients, err = armmonitor.NewClientFactory(strings.TrimPrefix(subscription, "/subscriptions/"), fixedToken(w.tokens[forARM]), &arm.ClientOptions{ClientOptions: policy.ClientOptions{Transport: w.http}})
	if err != nil {
		t.Fatal(err)
	}
	got[armmonitor.DiagnosticSettingsClientDeleteResponse](t, "delete the setting")(clients.NewDiagnosticSettingsClient().Delete(ctx, blobs, "changes", nil))
	if err := w.putBlob(ctx, "/data/silent", "x"); err != nil {
		t.Fatal(err)
	}
	e.insights().want(t, `StorageBlobLogs | where ObjectKey endswith "/silent" | count`, "0")
}

// logRegistry makes a registry with a setting, pushes and pulls an image without
// layers, and takes its tag away.
func (w *wire) logRegistry(t *testing.T, put func(resource, name string, r armmonitor.DiagnosticSettingsResource) error, setting armmonitor.DiagnosticSettingsResource) {
	t.Helper()
	const id, host = smallGroup + "/providers/Microsoft.ContainerRegistry/registries/crlogged", "crlogged.azurecr.io"
	if _, err := w.arm(t.Context(), http.MethodPut, id, "2023-07-01", `{"location":"westeurope","sku":{"name":"Basic"}}`); err != nil {
		t.Fatal(err)
	}
	if err := put(id, "all", setting); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "service": {host}, "refresh_token": {w.refreshToken(t, host)}, "scope": {"repository:team/empty:pull,push,delete"}}
	a, err := w.do(t.Context(), "", http.MethodPost, "https://"+host+"/oauth2/token", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, form.Encode())
	var token struct {
		Value string `json:"access_token"`
	}
	if err == nil {
		err = json.Unmarshal(a.body, &token)
	}
	if err != nil {
		t.Fatal(err)
	}
	const kind = "application/vnd.oci.image.index.v1+json"
	for _, step := range []struct {
		method, body string
		status       int
	}{
		{http.MethodPut, `{"schemaVersion":2,"mediaType":"` + kind + `","manifests":[]}`, 201}, {http.MethodGet, "", 200}, {http.MethodDelete, "", 202},
	} {
		path, header := "/v2/team/empty/manifests/v1", map[string]string{"Accept": kind}
		if step.body != "" {
			header["Content-Type"] = kind
		}
		if step.method == http.MethodDelete {
			path = "/acr/v1/team/empty/_tags/v1"
		}
		a, err := w.do(t.Context(), token.Value, step.method, "https://"+host+path, header, step.body)
		if err != nil || a.status != step.status {
			t.Fatalf("%s %s: %d %s, %v", step.method, path, a.status, a.body, err)
		}
	}
}
