package blob

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

// seed makes a container with a blob.
func (w *world) seed() {
	w.tb.Helper()
	if err := w.svc.EnsureContainer(w.tb.Context(), "acct", "box"); err != nil {
		w.tb.Fatal(err)
	}
	if _, err := w.svc.PutBlob(w.tb.Context(), "acct", "box", "dir/file", strings.NewReader("0123456789"), Headers{ContentType: "text/plain"}); err != nil {
		w.tb.Fatal(err)
	}
}

// get sends an unsigned request.
func (w *world) get(method, rawURL, body string, headers ...string) *http.Response {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), method, rawURL, strings.NewReader(body))
	if err != nil {
		w.tb.Fatal(err)
	}
	req.Header.Set("x-ms-version", "2024-08-04")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if req.Header.Get("x-ms-version") == "none" {
		req.Header.Del("x-ms-version")
	}
	return w.send(req)
}

const blobURL = acctURL + "box/dir/file"

func TestServiceSASOfTheSDK(t *testing.T) {
	w := newWorld(t)
	w.seed()
	now := time.Now().UTC()
	for _, tc := range []struct {
		name   string
		v      sas.BlobSignatureValues
		method string
		url    string
		status int
		code   string
	}{
		{"read blob", sas.BlobSignatureValues{BlobName: "dir/file", Permissions: "r"}, "GET", blobURL, 200, ""},
		{"read container", sas.BlobSignatureValues{Permissions: "r"}, "GET", blobURL, 200, ""},
		{"read of other blob", sas.BlobSignatureValues{BlobName: "dir/other", Permissions: "r"}, "GET", blobURL, 403, "AuthenticationFailed"},
		{"list", sas.BlobSignatureValues{Permissions: "rl"}, "GET", acctURL + "box?restype=container&comp=list", 200, ""},
		{"list without l", sas.BlobSignatureValues{Permissions: "r"}, "GET", acctURL + "box?restype=container&comp=list", 403, "AuthorizationPermissionMismatch"},
		{"list with a blob's", sas.BlobSignatureValues{BlobName: "dir/file", Permissions: "r"}, "GET", acctURL + "box?restype=container&comp=list", 403, "AuthorizationFailure"},
		{"delete container", sas.BlobSignatureValues{Permissions: "rwdl"}, "DELETE", acctURL + "box?restype=container", 403, "AuthorizationFailure"},
		{"write with r", sas.BlobSignatureValues{Permissions: "r"}, "PUT", blobURL, 403, "AuthorizationPermissionMismatch"},
		{"create over existing", sas.BlobSignatureValues{Permissions: "c"}, "PUT", blobURL, 403, "UnauthorizedBlobOverwrite"},
		{"create new", sas.BlobSignatureValues{Permissions: "c"}, "PUT", acctURL + "box/new1", 201, ""},
		{"write", sas.BlobSignatureValues{Permissions: "w"}, "PUT", acctURL + "box/new1", 201, ""},
		{"delete", sas.BlobSignatureValues{Permissions: "d"}, "DELETE", acctURL + "box/new1", 202, ""},
		{"expired", sas.BlobSignatureValues{Permissions: "r", ExpiryTime: now.Add(-time.Minute)}, "GET", blobURL, 403, "AuthenticationFailed"},
		{"not yet", sas.BlobSignatureValues{Permissions: "r", StartTime: now.Add(time.Minute)}, "GET", blobURL, 403, "AuthenticationFailed"},
		{"right address", sas.BlobSignatureValues{Permissions: "r", IPRange: sas.IPRange{Start: []byte{127, 0, 0, 0}, End: []byte{127, 0, 0, 9}}}, "GET", blobURL, 200, ""},
		{"wrong address", sas.BlobSignatureValues{Permissions: "r", IPRange: sas.IPRange{Start: []byte{10, 0, 0, 1}}}, "GET", blobURL, 403, "AuthorizationSourceIPMismatch"},
		{"policy", sas.BlobSignatureValues{Identifier: "p1"}, "GET", blobURL, 200, ""},
		{"policy without w", sas.BlobSignatureValues{Identifier: "p1"}, "PUT", blobURL, 403, "AuthorizationPermissionMismatch"},
		{"unknown policy", sas.BlobSignatureValues{Identifier: "p2"}, "GET", blobURL, 403, "AuthenticationFailed"},
		{"policy and sp", sas.BlobSignatureValues{Identifier: "p1", Permissions: "r"}, "GET", blobURL, 403, "AuthenticationFailed"},
		{"directory without namespace", sas.BlobSignatureValues{Directory: "dir", Permissions: "r"}, "GET", blobURL, 403, "AuthenticationFailed"},
	} {
		cc := w.client().ServiceClient().NewContainerClient("box")
		if _, err := cc.SetAccessPolicy(t.Context(), &container.SetAccessPolicyOptions{ContainerACL: []*container.SignedIdentifier{{ID: to.Ptr("p1"),
			AccessPolicy: &container.AccessPolicy{Permission: to.Ptr("r"), Expiry: to.Ptr(now.Add(time.Hour))}}}}); err != nil {
			t.Fatal(err)
		}
		for _, https := range []bool{false, true} {
			v := tc.v
			v.ContainerName = "box"
			if https {
				v.Protocol = sas.ProtocolHTTPS
			}
			if v.ExpiryTime.IsZero() && v.Identifier == "" {
				v.ExpiryTime = now.Add(time.Hour)
			}
			q, err := v.SignWithSharedKey(w.key())
			if err != nil {
				t.Fatal(tc.name, err)
			}
			sep := "?"
			if strings.Contains(tc.url, "?") {
				sep = "&"
			}
			if tc.name == "create new" && https {
				want(t, w.do("DELETE", "box/new1", ""), 202, "")
			}
			if tc.name == "delete" && https {
				want(t, w.do("PUT", "box/new1", "", "x-ms-blob-type", "BlockBlob"), 201, "")
			}
			resp := w.get(tc.method, tc.url+sep+q.Encode(), "", "x-ms-blob-type", "BlockBlob")
			if resp.StatusCode != tc.status || resp.Header.Get("x-ms-error-code") != tc.code {
				t.Errorf("%s: status %d %s, want %d %s: %s", tc.name, resp.StatusCode, resp.Header.Get("x-ms-error-code"), tc.status, tc.code, text(resp))
			}
		}
	}
}

func TestSASResponseHeadersAndTampering(t *testing.T) {
	w := newWorld(t)
	w.seed()
	v := sas.BlobSignatureValues{ContainerName: "box", BlobName: "dir/file", Permissions: "r", ExpiryTime: time.Now().Add(time.Hour),
		ContentDisposition: "attachment", ContentType: "a/b", CacheControl: "no-store", ContentEncoding: "x", ContentLanguage: "de"}
	q := must[sas.QueryParameters](t)(v.SignWithSharedKey(w.key()))
	resp := w.get("GET", blobURL+"?"+q.Encode(), "")
	want(t, resp, 200, "")
	for k, v := range map[string]string{"Content-Disposition": "attachment", "Content-Type": "a/b", "Cache-Control": "no-store", "Content-Language": "de"} {
		if got := resp.Header.Get(k); got != v {
			t.Errorf("%s = %q, want %q", k, got, v)
		}
	}
	good := must[url.Values](t)(url.ParseQuery(q.Encode()))
	for k := range good {
		bad := url.Values{}
		for k, vs := range good {
			bad[k] = append([]string(nil), vs...)
		}
		if k == "sv" {
			bad.Set(k, "2020-10-02") // another layout
		} else {
			bad.Set(k, bad.Get(k)+"1")
		}
		if resp := w.get("GET", blobURL+"?"+bad.Encode(), ""); resp.StatusCode != 403 && resp.StatusCode != 401 {
			t.Errorf("%s changed: status %d", k, resp.StatusCode)
		}
		bad = url.Values{}
		for k, vs := range good {
			bad[k] = vs
		}
		bad[k] = []string{good.Get(k), good.Get(k)}
		if resp := w.get("GET", blobURL+"?"+bad.Encode(), ""); resp.StatusCode != 403 && resp.StatusCode != 400 {
			t.Errorf("%s given twice: status %d", k, resp.StatusCode)
		}
	}
	w.addAccount("other", "uid-2")
	want(t, w.get("GET", "https://other.blob.core.windows.net/box/dir/file?"+q.Encode(), ""), 403, "AuthenticationFailed")
	w.accounts["acct"].AllowSharedKey = false
	want(t, w.get("GET", blobURL+"?"+q.Encode(), ""), 403, "KeyBasedAuthenticationNotPermitted")
}

func TestAccountSASOfTheSDK(t *testing.T) {
	w := newWorld(t)
	w.seed()
	for _, tc := range []struct {
		types, permissions, method, url string
		status                          int
		code                            string
	}{
		{"s", "l", "GET", acctURL + "?comp=list", 200, ""},
		{"c", "l", "GET", acctURL + "?comp=list", 403, "AuthorizationResourceTypeMismatch"},
		{"s", "r", "GET", acctURL + "?comp=list", 403, "AuthorizationPermissionMismatch"},
		{"s", "r", "GET", acctURL + "?comp=properties&restype=service", 200, ""},
		{"c", "r", "GET", acctURL + "box?restype=container", 200, ""},
		{"c", "l", "GET", acctURL + "box?restype=container&comp=list", 200, ""},
		{"sco", "rwdl", "GET", acctURL + "box?restype=container&comp=acl", 403, "AuthorizationFailure"},
		{"o", "r", "GET", blobURL, 200, ""},
		{"c", "r", "GET", blobURL, 403, "AuthorizationResourceTypeMismatch"},
		{"o", "w", "PUT", acctURL + "box/new", 201, ""},
		{"o", "c", "PUT", acctURL + "box/new", 403, "UnauthorizedBlobOverwrite"},
		{"c", "c", "PUT", acctURL + "fresh?restype=container", 201, ""},
	} {
		q, err := sas.AccountSignatureValues{ResourceTypes: tc.types, Permissions: tc.permissions, ExpiryTime: time.Now().Add(time.Hour)}.SignWithSharedKey(w.key())
		if err != nil {
			t.Fatal(err)
		}
		sep := "?"
		if strings.Contains(tc.url, "?") {
			sep = "&"
		}
		want(t, w.get(tc.method, tc.url+sep+q.Encode(), "", "x-ms-blob-type", "BlockBlob"), tc.status, tc.code)
		if tc.types == "s" {
			want(t, w.get("GET", "https://acct.queue.core.windows.net/?restype=service&comp=properties&"+q.Encode(), ""), 403, "AuthorizationServiceMismatch")
		}
	}
}

func TestSASSignedHere(t *testing.T) {
	w := newWorld(t)
	w.seed()
	a := w.accounts["acct"]
	exp := w.clock.Now().Add(time.Hour)
	q := must[string](t)(storage.SignServiceSAS(a, storage.ServiceSAS{Container: "box", Permissions: "rwl", Start: exp.Add(-2 * time.Hour), Expiry: exp, HTTPSOnly: true}))
	cc := must[*container.Client](t)(container.NewClientWithNoCredential(acctURL+"box?"+q, (*container.ClientOptions)(w.options())))
	if _, err := cc.NewBlockBlobClient("up").Upload(t.Context(), body("x"), nil); err != nil {
		t.Error(err)
	}
	want(t, w.get("GET", acctURL+"box?restype=container&comp=list&"+q, ""), 200, "")
	q = must[string](t)(storage.SignServiceSAS(a, storage.ServiceSAS{Container: "box", Blob: "dir/file", Permissions: "r", Expiry: exp, ContentType: "x/y"}))
	want(t, w.get("GET", blobURL+"?"+q, ""), 200, "")
	q = must[string](t)(storage.SignAccountSAS(a, storage.AccountSAS{Services: "bq", ResourceTypes: "sco", Permissions: "rl", Expiry: exp}))
	want(t, w.get("GET", "https://acct.queue.core.windows.net/?restype=service&comp=properties&"+q, ""), 200, "")
	w.clock.Advance(2 * time.Hour)
	want(t, w.get("GET", blobURL+"?"+q, ""), 403, "AuthenticationFailed")
	// The client's own clock has not moved; its signed requests still count.
	want(t, w.do("GET", "box/dir/file", ""), 200, "")
}

func TestUserDelegationSAS(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	acct := w.accounts["acct"].ID
	svc := w.serviceAs("ann")
	now := time.Now().UTC()
	info := service.KeyInfo{Start: to.Ptr(now.Format(sas.TimeFormat)), Expiry: to.Ptr(now.Add(time.Hour).Format(sas.TimeFormat))}
	_, err := svc.GetUserDelegationCredential(ctx, info, nil)
	wantCode(t, err, bloberror.AuthorizationPermissionMismatch)
	w.grant("ann", "action "+rbacPrefix+"generateUserDelegationKey/action", acct)
	cred := must[*service.UserDelegationCredential](t)(svc.GetUserDelegationCredential(ctx, info, nil))
	v := sas.BlobSignatureValues{ContainerName: "box", BlobName: "dir/file", Permissions: "r", ExpiryTime: now.Add(time.Hour)}
	q := must[sas.QueryParameters](t)(v.SignWithUserDelegation(cred))
	want(t, w.get("GET", blobURL+"?"+q.Encode(), ""), 403, "AuthorizationPermissionMismatch")
	w.grant("ann", "data "+rbacPrefix+"containers/blobs/read", acct+"/blobServices/default/containers/box")
	want(t, w.get("GET", blobURL+"?"+q.Encode(), ""), 200, "")
	want(t, w.get("DELETE", blobURL+"?"+q.Encode(), ""), 403, "AuthorizationPermissionMismatch")
	// What is signed beside the plain fields.
	v.SignedRequestHeaders = map[string]string{"x-ms-version": "2024-08-04"}
	v.SignedDelegatedUserObjectID = "bob"
	v.CorrelationID = "11111111-1111-1111-1111-111111111111"
	q = must[sas.QueryParameters](t)(v.SignWithUserDelegation(cred))
	want(t, w.get("GET", blobURL+"?"+q.Encode(), ""), 401, "InvalidAuthenticationInfo")
	want(t, w.get("GET", blobURL+"?"+q.Encode(), "", "Authorization", "Bearer good-eve"), 403, "AuthenticationFailed")
	want(t, w.get("GET", blobURL+"?"+q.Encode(), "", "Authorization", "Bearer good-bob"), 200, "")
	want(t, w.get("GET", blobURL+"?"+q.Encode(), "", "Authorization", "Bearer good-bob", "x-ms-version", "2024-11-04"), 403, "AuthenticationFailed")
	// A forged owner and a forged lifetime do not verify.
	for k, f := range map[string]string{"skoid": "root", "ske": now.Add(48 * time.Hour).Format(sas.TimeFormat), "sktid": "t", "skv": "2020-02-10"} {
		u := must[url.Values](t)(url.ParseQuery(q.Encode()))
		u.Set(k, f)
		want(t, w.get("GET", blobURL+"?"+u.Encode(), "", "Authorization", "Bearer good-bob"), 403, "AuthenticationFailed")
	}
	// Older layouts, by an independent description of each.
	key, _ := base64.StdEncoding.DecodeString(userKey(t, w, now))
	exp := now.Add(time.Hour).Format(sas.TimeFormat)
	start := now.Format(sas.TimeFormat)
	for sv, lines := range map[string][]string{
		"2018-11-09": {"r", "", exp, "/blob/acct/box", "ann", testTenant, start, exp, "b", "2024-08-04", "", "", "2018-11-09", "c", "", "", "", "", "", ""},
		"2020-02-10": {"r", "", exp, "/blob/acct/box", "ann", testTenant, start, exp, "b", "2024-08-04", "", "", "", "", "", "2020-02-10", "c", "", "", "", "", "", ""},
		"2020-12-06": {"r", "", exp, "/blob/acct/box", "ann", testTenant, start, exp, "b", "2024-08-04", "", "", "", "", "", "2020-12-06", "c", "", "", "", "", "", "", ""},
		"2025-07-05": {"r", "", exp, "/blob/acct/box", "ann", testTenant, start, exp, "b", "2024-08-04", "", "", "", "", "", "", "", "2025-07-05", "c", "", "", "", "", "", "", ""},
	} {
		u := url.Values{"sv": {sv}, "sr": {"c"}, "sp": {"r"}, "se": {exp}, "skoid": {"ann"}, "sktid": {testTenant}, "skt": {start}, "ske": {exp}, "sks": {"b"}, "skv": {"2024-08-04"},
			"sig": {storage.Sign(key, strings.Join(lines, "\n"))}}
		want(t, w.get("GET", blobURL+"?"+u.Encode(), ""), 200, "")
	}
	if err := w.svc.RevokeUserDelegationKeys(ctx, "uid-1"); err != nil {
		t.Fatal(err)
	}
	want(t, w.get("GET", blobURL+"?"+q.Encode(), "", "Authorization", "Bearer good-bob"), 403, "AuthenticationFailed")
	// An account key cannot ask for a user delegation key.
	want(t, w.do("POST", "?restype=service&comp=userdelegationkey", "<KeyInfo/>"), 403, "AuthenticationFailed")
}

// userKey asks for ann's user delegation key of an hour, by version 2024-08-04.
func userKey(t *testing.T, w *world, now time.Time) string {
	t.Helper()
	doc := "<KeyInfo><Start>" + now.Format(sas.TimeFormat) + "</Start><Expiry>" + now.Add(time.Hour).Format(sas.TimeFormat) + "</Expiry></KeyInfo>"
	resp := w.get("POST", acctURL+"?restype=service&comp=userdelegationkey", doc, "Authorization", "Bearer good-ann")
	want(t, resp, 200, "")
	_, rest, _ := strings.Cut(text(resp), "<Value>")
	value, _, _ := strings.Cut(rest, "</Value>")
	return value
}

func TestServiceSASLayouts(t *testing.T) {
	w := newWorld(t)
	w.seed()
	key := w.accounts["acct"].Keys[0]
	exp := time.Now().UTC().Add(time.Hour).Format(sas.TimeFormat)
	for sv, lines := range map[string][]string{
		"2014-02-14": {"r", "", exp, "/acct/box", "", "2014-02-14", "", "", "", "", ""},
		"2015-02-21": {"r", "", exp, "/blob/acct/box", "", "2015-02-21", "", "", "", "", ""},
		"2015-04-05": {"r", "", exp, "/blob/acct/box", "", "", "", "2015-04-05", "", "", "", "", ""},
		"2018-03-28": {"r", "", exp, "/blob/acct/box", "", "", "", "2018-03-28", "", "", "", "", ""},
		"2018-11-09": {"r", "", exp, "/blob/acct/box", "", "", "", "2018-11-09", "c", "", "", "", "", "", ""},
		"2020-02-10": {"r", "", exp, "/blob/acct/box", "", "", "", "2020-02-10", "c", "", "", "", "", "", ""},
		"2020-12-06": {"r", "", exp, "/blob/acct/box", "", "", "", "2020-12-06", "c", "", "", "", "", "", "", ""},
		"2026-12-06": {"r", "", exp, "/blob/acct/box", "", "", "", "2026-12-06", "c", "", "", "", "", "", "", ""},
	} {
		u := url.Values{"sv": {sv}, "sr": {"c"}, "sp": {"r"}, "se": {exp}, "sig": {storage.Sign(key, strings.Join(lines, "\n"))}}
		want(t, w.get("GET", blobURL+"?"+u.Encode(), ""), 200, "")
	}
	for sv, lines := range map[string][]string{
		"2015-04-05": {"acct", "r", "b", "o", "", exp, "", "", "2015-04-05", ""},
		"2020-12-06": {"acct", "r", "b", "o", "", exp, "", "", "2020-12-06", "", ""},
	} {
		u := url.Values{"sv": {sv}, "ss": {"b"}, "srt": {"o"}, "sp": {"r"}, "se": {exp}, "sig": {storage.Sign(key, strings.Join(lines, "\n"))}}
		want(t, w.get("GET", blobURL+"?"+u.Encode(), ""), 200, "")
	}
}

func TestBearer(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	acct := w.accounts["acct"].ID
	ann := w.serviceAs("ann")
	bb := ann.NewContainerClient("box").NewBlockBlobClient("dir/file")
	_, err := bb.GetProperties(ctx, nil)
	wantCode(t, err, bloberror.AuthorizationPermissionMismatch)
	w.grant("ann", "data "+rbacPrefix+"containers/blobs/read", acct)
	must[blob.GetPropertiesResponse](t)(bb.GetProperties(ctx, nil))
	_, err = bb.Upload(ctx, body("x"), nil)
	wantCode(t, err, bloberror.AuthorizationPermissionMismatch)
	// add/action makes new blobs and overwrites none.
	w.grant("ann", "data "+rbacPrefix+"containers/blobs/add/action", acct)
	_, err = bb.Upload(ctx, body("x"), nil)
	wantCode(t, err, bloberror.AuthorizationPermissionMismatch)
	must[blockblob.UploadResponse](t)(ann.NewContainerClient("box").NewBlockBlobClient("new").Upload(ctx, body("x"), nil))
	// Containers are listed by an action, not a data action.
	_, err = ann.NewListContainersPager(nil).NextPage(ctx)
	wantCode(t, err, bloberror.AuthorizationPermissionMismatch)
	w.grant("ann", "action "+rbacPrefix+"containers/read", acct)
	must[service.ListContainersResponse](t)(ann.NewListContainersPager(nil).NextPage(ctx))

	resp := w.get("GET", blobURL, "", "Authorization", "Bearer stale")
	want(t, resp, 401, "InvalidAuthenticationInfo")
	if !strings.Contains(text(resp), "Lifetime validation failed") {
		t.Error("the reason is missing")
	}
	want(t, w.get("GET", blobURL, "", "Authorization", "Bearer good-ann", "x-ms-version", "none"), 403, "AuthenticationFailed")
	want(t, w.get("GET", blobURL, "", "Authorization", "Basic x"), 400, "InvalidAuthenticationInfo")
}

// TestRequestID checks that an answer has one ID, also behind a server that
// gave it one.
func TestRequestID(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	rec.Header().Set("x-ms-request-id", "of-the-gateway")
	w.svc.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, blobURL, nil))
	var ids []string
	for name, values := range rec.Header() {
		if strings.EqualFold(name, "x-ms-request-id") {
			ids = append(ids, values...)
		}
	}
	if len(ids) != 1 || ids[0] == "of-the-gateway" {
		t.Errorf("IDs %v", ids)
	}
}

func TestAnonymous(t *testing.T) {
	w := newWorld(t)
	w.seed()
	list := acctURL + "box?restype=container&comp=list"
	resp := w.get("GET", blobURL, "")
	want(t, resp, 401, "NoAuthenticationInformation")
	if got := resp.Header.Get("WWW-Authenticate"); got != "Bearer authorization_uri=https://login.microsoftonline.com/"+testTenant+"/oauth2/authorize resource_id=https://storage.azure.com" {
		t.Errorf("challenge %q", got)
	}
	want(t, w.get("GET", blobURL, "", "x-ms-version", "none"), 404, "ResourceNotFound")
	want(t, w.get("GET", acctURL+"nobox/x", ""), 401, "NoAuthenticationInformation")
	want(t, w.do("PUT", "box?restype=container&comp=acl", "", "x-ms-blob-public-access", "blob"), 200, "")
	want(t, w.get("GET", blobURL, ""), 200, "")
	want(t, w.get("GET", list, ""), 401, "NoAuthenticationInformation")
	want(t, w.get("DELETE", blobURL, ""), 401, "NoAuthenticationInformation")
	want(t, w.do("PUT", "box?restype=container&comp=acl", "", "x-ms-blob-public-access", "container"), 200, "")
	want(t, w.get("GET", list, ""), 200, "")
	w.accounts["acct"].AllowPublicAccess = false
	want(t, w.get("GET", blobURL, "", "x-ms-version", "none"), 409, "PublicAccessNotPermitted")
	want(t, w.do("PUT", "box?restype=container&comp=acl", "", "x-ms-blob-public-access", "blob"), 409, "PublicAccessNotPermitted")
}

func TestSharedKey(t *testing.T) {
	w := newWorld(t)
	w.seed()
	signed := func(change func(*http.Request), lite bool) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "GET", blobURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-ms-version", "2024-08-04")
		req.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
		text := strings.Join([]string{"GET", "", "", "", "", "", "", "", "", "", "", "",
			"x-ms-date:" + req.Header.Get("x-ms-date"), "x-ms-version:2024-08-04", "/acct/box/dir/file"}, "\n")
		scheme := "SharedKey"
		if lite {
			scheme = "SharedKeyLite"
			text = strings.Join([]string{"GET", "", "", "", "x-ms-date:" + req.Header.Get("x-ms-date"), "x-ms-version:2024-08-04", "/acct/box/dir/file"}, "\n")
		}
		req.Header.Set("Authorization", scheme+" acct:"+storage.Sign(w.accounts["acct"].Keys[0], text))
		change(req)
		return w.send(req)
	}
	want(t, signed(func(*http.Request) {}, false), 200, "")
	want(t, signed(func(*http.Request) {}, true), 200, "")
	want(t, signed(func(r *http.Request) { r.Header.Set("x-ms-extra", "1") }, false), 403, "AuthenticationFailed")
	want(t, signed(func(r *http.Request) { r.URL.RawQuery = "comp=metadata" }, false), 403, "AuthenticationFailed")
	want(t, signed(func(r *http.Request) { r.Header.Set("Authorization", "SharedKey acct:AAAA") }, false), 403, "AuthenticationFailed")
	want(t, signed(func(r *http.Request) { r.Header.Set("Authorization", "SharedKey acct") }, false), 403, "AuthenticationFailed")
	w.addAccount("other", "uid-2")
	want(t, signed(func(r *http.Request) {
		r.Host, r.URL.Host = "other.blob.core.windows.net", "other.blob.core.windows.net"
	}, false), 403, "AuthenticationFailed")
	old := time.Now().Add(-16 * time.Minute).UTC().Format(http.TimeFormat)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", blobURL, nil)
	req.Header.Set("x-ms-version", "2024-08-04")
	w.signRequest(req)
	req.Header.Set("x-ms-date", old)
	want(t, w.send(req), 403, "AuthenticationFailed")
	w.accounts["acct"].AllowSharedKey = false
	want(t, w.do("GET", "box/dir/file", ""), 403, "KeyBasedAuthenticationNotPermitted")
	w.accounts["acct"].AllowSharedKey, w.accounts["acct"].PublicNetwork = true, false
	want(t, w.do("GET", "box/dir/file", ""), 403, "AuthorizationFailure")
}

func TestCulturalOrderOfHeaders(t *testing.T) {
	w := newWorld(t)
	w.seed()
	// The SDK sorts as Azure does, which is not the order of bytes here.
	bb := w.client().ServiceClient().NewContainerClient("box").NewBlockBlobClient("m")
	if _, err := bb.Upload(t.Context(), body("x"), &blockblob.UploadOptions{Metadata: map[string]*string{
		"a": to.Ptr("1"), "a_b": to.Ptr("2"), "ab": to.Ptr("3"), "a1": to.Ptr("4"), "aB_c": to.Ptr("5"), "_x": to.Ptr("6")}}); err != nil {
		t.Error(err)
	}
}
