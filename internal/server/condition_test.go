package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/reach"
)

// direct hands the requests of a client to what serves a host.
type direct struct {
	handler func(host string) http.Handler
}

// Do implements policy.Transporter.
func (d direct) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Host, r.TLS = r.URL.Host, &tls.ConnectionState{}
	for name, v := range r.Header { // as they arrive
		delete(r.Header, name)
		r.Header[http.CanonicalHeaderKey(name)] = v
	}
	d.handler(r.URL.Host).ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// handler is what serves a host.
func (s *Server) handler(host string) http.Handler {
	for _, r := range s.routes() {
		if suffix, wild := strings.CutPrefix(r.Pattern, "*"); wild && strings.HasSuffix(host, suffix) || r.Pattern == host {
			return r.Handler
		}
	}
	return http.NotFoundHandler()
}

// credential is that of a principal.
type credential struct {
	s        *Server
	objectID string
}

// GetToken implements azcore.TokenCredential.
func (c credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	t, err := c.s.dir.Token(ctx, c.objectID, strings.TrimSuffix(o.Scopes[0], "/.default"))
	return azcore.AccessToken{Token: t.AccessToken, ExpiresOn: t.ExpiresOn}, err
}

// own does something as the owner of the subscription, and returns the answer.
func (s *Server) own(tb testing.TB, method, path string, body string) arm.Doc {
	tb.Helper()
	r := httptest.NewRequest(method, "https://"+arm.Host+"/subscriptions/"+entra.DefaultSubscriptionID+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+s.token(tb, s.owner.ObjectID, audienceManagement))
	w := httptest.NewRecorder()
	s.kernel.ServeHTTP(w, r)
	if w.Code >= 300 {
		tb.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	var doc arm.Doc
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil && w.Body.Len() > 0 {
		tb.Fatal(err)
	}
	return doc
}

const (
	group     = "/resourceGroups/rg-one"
	oneStore  = group + "/providers/Microsoft.Storage/storageAccounts/stone001"
	blobRoles = "/providers/Microsoft.Authorization/roleAssignments/"
	blobData  = "/providers/Microsoft.Authorization/roleDefinitions/b7e6dc6d-f1e8-4753-8033-0f276bb0955b" // Storage Blob Data Owner
)

// The condition of a role assignment decides what azblob may do with blobs.
func TestConditionsDecideBlobs(t *testing.T) {
	const (
		of      = "Microsoft.Storage/storageAccounts/blobServices/containers"
		project = "blobs/tags:Project<$key_case_sensitive$>"
	)
	s := open(t)
	s.own(t, "PUT", group+"?api-version=2021-04-01", `{"location":"westeurope"}`)
	s.own(t, "PUT", oneStore+"?api-version=2023-05-01", `{"location":"westeurope","kind":"StorageV2","sku":{"name":"Standard_LRS"},"properties":{}}`)
	assign := func(name, principal, condition string) {
		t.Helper()
		body := `{"properties":{"roleDefinitionId":"` + blobData + `","principalId":"` + principal + `"`
		if condition != "" {
			body += `,"conditionVersion":"2.0","condition":"` + condition + `"`
		}
		s.own(t, "PUT", oneStore+blobRoles+name+"?api-version=2022-04-01", body+`}}`)
	}
	clientOf := func(principal string, handler func(host string) http.Handler) *azblob.Client {
		c, err := azblob.NewClient("https://stone001.blob.core.windows.net/", credential{s, principal}, &azblob.ClientOptions{
			ClientOptions: azcore.ClientOptions{Transport: direct{handler}, Retry: policy.RetryOptions{MaxRetries: -1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	client := func(principal string) *azblob.Client { return clientOf(principal, s.handler) }
	assign("11111111-2222-4333-8444-000000000001", s.owner.ObjectID, "")
	who := s.stranger(t)
	assign("11111111-2222-4333-8444-000000000002", who, strings.Join(strings.Fields(`
		(
			(
				!(ActionMatches{'`+of+`/blobs/read'} AND NOT SubOperationMatches{'Blob.List'})
			)
			OR
			(
				@Resource[`+of+`:name] StringEquals 'open'
				OR
				@Resource[`+of+`/`+project+`] StringEquals 'Cascade'
			)
		)
		AND
		(
			!(ActionMatches{'`+of+`/blobs/read'} AND SubOperationMatches{'Blob.List'})
			OR
			@Request[`+of+`/blobs:prefix] StringStartsWith 'mine/'
		)
		AND
		(
			(!(ActionMatches{'`+of+`/blobs/write'} && SubOperationMatches{'Blob.Write.WithTagHeaders'})
				AND !(ActionMatches{'`+of+`/blobs/add/action'} && SubOperationMatches{'Blob.Write.WithTagHeaders'}))
			OR
			(@Request[`+of+`/`+project+`] ForAnyOfAnyValues:StringEquals {'Cascade', 'Baker'})
		)
		AND
		(
			!(ActionMatches{'`+of+`/blobs/tags/write'})
			OR
			(@Request[`+of+`/blobs/tags&$keys$&] ForAllOfAnyValues:StringEquals {'Project'} AND NOT Exists @Request[`+of+`/blobs:versionId])
		)
		AND
		(
			!(ActionMatches{'`+of+`/blobs/delete'})
			OR
			(@Resource[`+of+`/blobs:path] StringLike 'mine/*' AND @Resource[Microsoft.Storage/storageAccounts:isHnsEnabled] BoolEquals false)
		)`), " "))

	ctx := t.Context()
	owner, mine := client(s.owner.ObjectID), client(who)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		if e := (*azcore.ResponseError)(nil); !errors.As(err, &e) || e.StatusCode != http.StatusForbidden || e.ErrorCode != "AuthorizationPermissionMismatch" {
			t.Errorf("%s: %v", what, err)
		}
	}
	put := func(c *azblob.Client, box, name string, tags map[string]string) error {
		_, err := c.UploadBuffer(ctx, box, name, []byte("text"), &azblob.UploadBufferOptions{Tags: tags})
		return err
	}
	read := func(box, name string) error {
		r, err := mine.DownloadStream(ctx, box, name, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r.Body)
		return errors.Join(err, r.Body.Close())
	}
	for _, box := range []string{"open", "shut"} {
		_, err := owner.CreateContainer(ctx, box, nil)
		must("create "+box, err)
		must("write", put(owner, box, "plain", nil))
		must("write", put(owner, box, "mine/tagged", map[string]string{"Project": "Cascade"}))
		must("write", put(owner, box, "mine/other", map[string]string{"Project": "cascade"}))
	}

	must("read by container", read("open", "plain"))
	must("read by tag", read("shut", "mine/tagged"))
	refused("read without a tag", read("shut", "plain"))
	refused("read with another value", read("shut", "mine/other"))
	refused("read what is not there", read("shut", "none"))

	list := func(prefix string) error {
		_, err := mine.NewListBlobsFlatPager("shut", &container.ListBlobsFlatOptions{Prefix: &prefix}).NextPage(ctx)
		return err
	}
	must("list a prefix", list("mine/"))
	refused("list all", list(""))
	refused("list another prefix", list("min"))

	must("write without tags", put(mine, "shut", "new", nil))
	must("write with a tag", put(mine, "shut", "baker", map[string]string{"Project": "Baker"}))
	refused("write with another tag", put(mine, "shut", "skagit", map[string]string{"Project": "Skagit"}))

	tag := func(name string, tags map[string]string) error {
		_, err := mine.ServiceClient().NewContainerClient("open").NewBlobClient(name).SetTags(ctx, tags, nil)
		return err
	}
	must("tag", tag("plain", map[string]string{"Project": "x"}))
	refused("tag with another key", tag("plain", map[string]string{"Project": "x", "Other": "y"}))

	_, err := mine.DeleteBlob(ctx, "shut", "mine/other", nil)
	must("delete below a path", err)
	_, err = mine.DeleteBlob(ctx, "shut", "plain", nil)
	refused("delete elsewhere", err)
	// where a request comes from
	const endpoint = "/subscriptions/" + entra.DefaultSubscriptionID + group + "/providers/Microsoft.Network/privateEndpoints/pe"
	const subnet = "/subscriptions/" + entra.DefaultSubscriptionID + group + "/providers/Microsoft.Network/virtualNetworks/net/subnets/sub"
	inside := s.managed(t, "/inside")
	assign("11111111-2222-4333-8444-000000000005", inside, "(@Environment[isPrivateLink] BoolEquals true AND @Environment[Microsoft.Network/privateEndpoints] StringEqualsIgnoreCase '"+
		strings.ToUpper(endpoint)+"') OR @Environment[Microsoft.Network/virtualNetworks/subnets] StringEqualsIgnoreCase '"+subnet+"'")
	// where it comes from has been decided by then
	behind := clientOf(inside, func(string) http.Handler { return s.blobs })
	for what, tc := range map[string]struct {
		verdict reach.Verdict
		allowed bool
	}{
		"the endpoint":               {reach.Verdict{Via: endpoint}, true},
		"another endpoint":           {reach.Verdict{Via: endpoint + "-two"}, false},
		"a service endpoint":         {reach.Verdict{Via: reach.Public, Subnet: subnet}, true},
		"the public address":         {reach.Verdict{Via: reach.Public}, false},
		"another's service endpoint": {reach.Verdict{Via: reach.Public, Subnet: subnet + "-two"}, false},
	} {
		tc.verdict.Allowed = true
		at := context.WithValue(ctx, arrivalKey{}, &arrival{host: "stone001.blob.core.windows.net", verdict: &tc.verdict})
		_, err := behind.ServiceClient().NewContainerClient("shut").NewBlobClient("plain").GetProperties(at, nil)
		if (err == nil) != tc.allowed {
			t.Errorf("over %s: %v", what, err)
		}
	}
	// the source of a copy is read
	to := mine.ServiceClient().NewContainerClient("open").NewBlobClient("copy")
	if _, err := to.CopyFromURL(ctx, "https://stone001.blob.core.windows.net/shut/plain", &blob.CopyFromURLOptions{}); err == nil {
		t.Error("copied what may not be read")
	}
	_, err = to.CopyFromURL(ctx, "https://stone001.blob.core.windows.net/shut/mine/tagged", nil)
	must("copy", err)
}
