package blob

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	dfssas "github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/sas"
	dfs "github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/service"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// sasLine is how a service SAS of a version is signed.
func serviceSASText(sv string, f map[string]string) string {
	lines := []string{f["sp"], f["st"], f["se"], f["resource"], f["si"]}
	if sv >= "2015-04-05" {
		lines = append(lines, f["sip"], f["spr"])
	}
	lines = append(lines, sv)
	if sv >= "2018-11-09" {
		lines = append(lines, f["sr"], f["time"])
	}
	if sv >= "2020-12-06" {
		lines = append(lines, f["ses"])
	}
	return strings.Join(append(lines, f["rscc"], f["rscd"], f["rsce"], f["rscl"], f["rsct"]), "\n")
}

// TestEveryFieldOfASAS signs service SAS of each layout with each field out of
// order, and account SAS likewise.
func TestEveryFieldOfASAS(t *testing.T) {
	w := newWorld(t)
	w.seed()
	other := w.addAccount("other", "uid-2")
	if err := w.svc.EnsureContainer(t.Context(), "other", "box"); err != nil {
		t.Fatal(err)
	}
	want(t, w.do("PUT", "box?restype=container&comp=acl", `<SignedIdentifiers><SignedIdentifier><Id>p</Id><AccessPolicy><Expiry>`+
		time.Now().UTC().Add(time.Hour).Format(time.RFC3339)+`</Expiry><Permission>r</Permission></AccessPolicy></SignedIdentifier>`+
		`<SignedIdentifier><Id>old</Id><AccessPolicy><Expiry>2020-01-01</Expiry><Permission>r</Permission></AccessPolicy></SignedIdentifier></SignedIdentifiers>`), 200, "")
	snapshot := w.do("PUT", "box/dir/file?comp=snapshot", "").Header.Get("x-ms-snapshot")
	stamp := func(d time.Duration) string { return time.Now().UTC().Add(d).Format("2006-01-02T15:04:05Z") }
	const blob, box = "/acct/box/dir/file", "/acct/box"
	type fields map[string]string
	for _, c := range []struct {
		name   string
		since  string // the first version with the field
		signed fields // over sp=r, se in an hour, sr=b of dir/file
		sent   fields // what is sent otherwise than signed
		key    []byte
		at     string // "" is the blob
		status int
		code   string
	}{
		{name: "as signed", status: 200},
		{name: "of the container", signed: fields{"sr": "c", "resource": box}, status: 200},
		{name: "of another blob", signed: fields{"resource": box + "/dir/other"}, status: 403, code: "AuthenticationFailed"},
		{name: "of another container", signed: fields{"sr": "c", "resource": "/acct/other"}, status: 403, code: "AuthenticationFailed"},
		{name: "a container's for a blob", signed: fields{"resource": box}, status: 403, code: "AuthenticationFailed"},
		{name: "expired", signed: fields{"se": stamp(-time.Minute)}, status: 403, code: "AuthenticationFailed"},
		{name: "without an expiry", signed: fields{"se": ""}, status: 403, code: "AuthenticationFailed"},
		{name: "not yet valid", signed: fields{"st": stamp(time.Minute)}, status: 403, code: "AuthenticationFailed"},
		{name: "valid since", signed: fields{"st": stamp(-time.Minute)}, status: 200},
		{name: "without permission", signed: fields{"sp": "wdl"}, status: 403, code: "AuthorizationPermissionMismatch"},
		{name: "without any", signed: fields{"sp": ""}, status: 403, code: "AuthorizationPermissionMismatch"},
		{name: "permission added", sent: fields{"sp": "rw"}, status: 403, code: "AuthenticationFailed"},
		{name: "expiry moved", sent: fields{"se": stamp(2 * time.Hour)}, status: 403, code: "AuthenticationFailed"},
		{name: "sr changed", sent: fields{"sr": "c"}, status: 403, code: "AuthenticationFailed"},
		{name: "sr unknown", signed: fields{"sr": "x"}, status: 403, code: "AuthenticationFailed"},
		{name: "version moved", sent: fields{"sv": "2013-08-15"}, since: "2015-04-05", status: 403, code: "AuthenticationFailed"},
		{name: "https", since: "2015-04-05", signed: fields{"spr": "https"}, status: 200},
		{name: "no protocol", since: "2015-04-05", signed: fields{"spr": "ftp"}, status: 403, code: "AuthenticationFailed"},
		{name: "right address", since: "2015-04-05", signed: fields{"sip": "127.0.0.1"}, status: 200},
		{name: "right range", since: "2015-04-05", signed: fields{"sip": "127.0.0.0-127.0.0.9"}, status: 200},
		{name: "wrong address", since: "2015-04-05", signed: fields{"sip": "168.1.5.65"}, status: 403, code: "AuthorizationSourceIPMismatch"},
		{name: "no address", since: "2015-04-05", signed: fields{"sip": "localhost"}, status: 403, code: "AuthenticationFailed"},
		{name: "address removed", since: "2015-04-05", signed: fields{"sip": "168.1.5.65"}, sent: fields{"sip": ""}, status: 403, code: "AuthenticationFailed"},
		{name: "policy", signed: fields{"si": "p", "sp": "", "se": "", "sr": "c", "resource": box}, status: 200},
		{name: "expired policy", signed: fields{"si": "old", "sp": "", "se": "", "sr": "c", "resource": box}, status: 403, code: "AuthenticationFailed"},
		{name: "policy that is not there", signed: fields{"si": "q", "sp": "", "se": "", "sr": "c", "resource": box}, status: 403, code: "AuthenticationFailed"},
		{name: "policy and own expiry", signed: fields{"si": "p", "sp": "", "sr": "c", "resource": box}, status: 403, code: "AuthenticationFailed"},
		{name: "snapshot", since: "2018-11-09", signed: fields{"sr": "bs", "time": snapshot}, at: "snapshot=" + url.QueryEscape(snapshot), status: 200},
		{name: "snapshot for the blob", since: "2018-11-09", signed: fields{"sr": "bs", "time": snapshot}, status: 403, code: "AuthenticationFailed"},
		{name: "directory without a hierarchy", since: "2020-02-10", signed: fields{"sr": "d", "resource": box + "/dir"}, sent: fields{"sdd": "1"}, status: 403, code: "AuthenticationFailed"},
		{name: "encryption scope", since: "2020-12-06", signed: fields{"ses": "scope"}, status: 501, code: "NotImplementedByAzimuth"},
		{name: "header override", signed: fields{"rsct": "a/b"}, status: 200},
		{name: "header override forged", sent: fields{"rscd": "attachment"}, status: 403, code: "AuthenticationFailed"},
		{name: "second key", key: w.accounts["acct"].Keys[1], status: 200},
		{name: "another account's key", key: other.Keys[0], status: 403, code: "AuthenticationFailed"},
		{name: "another account's name", signed: fields{"resource": "/other/box/dir/file"}, status: 403, code: "AuthenticationFailed"},
		{name: "no key", key: []byte{}, status: 403, code: "AuthenticationFailed"},
	} {
		for _, sv := range []string{"2013-08-15", "2014-02-14", "2015-04-05", "2017-11-09", "2018-11-09", "2020-02-10", "2020-12-06", "2023-11-03", "2026-04-06"} {
			if sv < c.since {
				continue
			}
			f := fields{"sp": "r", "se": stamp(time.Hour), "sr": "b", "resource": blob}
			for k, v := range c.signed {
				f[k] = v
			}
			if sv >= "2015-02-21" {
				f["resource"] = "/blob" + f["resource"]
			}
			key := c.key
			if key == nil {
				key = w.accounts["acct"].Keys[0]
			}
			q := url.Values{"sv": {sv}, "sig": {storage.Sign(key, serviceSASText(sv, f))}}
			for _, k := range []string{"sp", "st", "se", "sr", "si", "sip", "spr", "ses", "rscc", "rscd", "rsce", "rscl", "rsct"} {
				if f[k] != "" {
					q.Set(k, f[k])
				}
			}
			for k, v := range c.sent {
				q.Set(k, v)
				if v == "" {
					q.Del(k)
				}
			}
			target := blobURL + "?" + q.Encode()
			if c.at != "" {
				target += "&" + c.at
			}
			resp := w.get("GET", target, "")
			if resp.StatusCode != c.status || resp.Header.Get("x-ms-error-code") != c.code {
				t.Errorf("%s, version %s: HTTP %d %s, want %d %s", c.name, sv, resp.StatusCode, resp.Header.Get("x-ms-error-code"), c.status, c.code)
			}
			if c.signed["rsct"] != "" && resp.Header.Get("Content-Type") != c.signed["rsct"] {
				t.Errorf("%s, version %s: %v", c.name, sv, resp.Header)
			}
		}
	}
}

// TestKeysOfAnAccountAreUselessOnAnother tries keys, SAS and tokens of one account
// on another, and keys that the account does not take.
func TestKeysOfAnAccountAreUselessOnAnother(t *testing.T) {
	w := newWorld(t)
	w.seed()
	acct, other := w.accounts["acct"], w.addAccount("other", "uid-2")
	if err := w.svc.EnsureContainer(t.Context(), "other", "box"); err != nil {
		t.Fatal(err)
	}
	const list = "restype=container&comp=list"
	sas := must[string](t)(storage.SignAccountSAS(acct, storage.AccountSAS{Services: "b", ResourceTypes: "sco", Permissions: "rwdl", Expiry: time.Now().Add(time.Hour)}))
	want(t, w.get("GET", acctURL+"box?"+list+"&"+sas, ""), 200, "")
	want(t, w.get("GET", "https://other.blob.core.windows.net/box?"+list+"&"+sas, ""), 403, "AuthenticationFailed")
	// Signed for this account with the other's key, and the other way round.
	for _, keys := range []*storage.Account{{Name: "acct", Keys: other.Keys}, {Name: "other", Keys: acct.Keys}} {
		q := must[string](t)(storage.SignAccountSAS(keys, storage.AccountSAS{Services: "b", ResourceTypes: "sco", Permissions: "rwdl", Expiry: time.Now().Add(time.Hour)}))
		for _, host := range []string{"acct", "other"} {
			want(t, w.get("GET", "https://"+host+".blob.core.windows.net/box?"+list+"&"+q, ""), 403, "AuthenticationFailed")
		}
	}
	// An account that was made again under its name has new keys.
	acct.Keys = [2][]byte{[]byte("new one"), []byte("new two")}
	want(t, w.get("GET", acctURL+"box?"+list+"&"+sas, ""), 403, "AuthenticationFailed")
	sas = must[string](t)(storage.SignAccountSAS(acct, storage.AccountSAS{Services: "b", ResourceTypes: "sco", Permissions: "rwdl", Expiry: time.Now().Add(time.Hour)}))
	want(t, w.get("GET", acctURL+"box?"+list+"&"+sas, ""), 200, "")
	acct.AllowSharedKey = false
	want(t, w.get("GET", acctURL+"box?"+list+"&"+sas, ""), 403, "KeyBasedAuthenticationNotPermitted")
	want(t, w.do("GET", "box?"+list, ""), 403, "KeyBasedAuthenticationNotPermitted")
	w.grant("ann", "data "+rbacPrefix+"containers/blobs/read", acct.ID)
	want(t, w.get("GET", acctURL+"box?"+list, "", "Authorization", "Bearer good-ann"), 200, "")
	want(t, w.get("GET", "https://other.blob.core.windows.net/box?"+list, "", "Authorization", "Bearer good-ann"), 403, "AuthorizationPermissionMismatch")
	want(t, w.get("GET", acctURL+"box?"+list, "", "Authorization", "Bearer bad"), 401, "InvalidAuthenticationInfo")
}

// TestDelegatesOfTheLake signs user delegation SAS on behalf of others.
func TestDelegatesOfTheLake(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	write(t, fs, "dir/file", "x")
	lake := w.accounts["lake"].ID
	w.grant("ann", "action "+rbacPrefix+"generateUserDelegationKey/action", lake)
	for _, a := range []string{"read", "write", "add/action"} {
		w.grant("ann", "data "+rbacPrefix+"containers/blobs/"+a, lake)
	}
	svc, err := dfs.NewClient(lakeURL, fixedToken("good-ann"), &dfs.ClientOptions{ClientOptions: w.options().ClientOptions})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	cred, err := svc.GetUserDelegationCredential(t.Context(), dfs.KeyInfo{Start: to.Ptr(now.Format(dfssas.TimeFormat)), Expiry: to.Ptr(now.Add(time.Hour).Format(dfssas.TimeFormat))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const bob, eve = "11111111-1111-1111-1111-11111111b0b0", "11111111-1111-1111-1111-1111111111e0"
	sign := func(authorized, unauthorized string) string {
		q, err := dfssas.DatalakeSignatureValues{FileSystemName: "tree", Permissions: "racwl", ExpiryTime: now.Add(time.Hour),
			AuthorizedObjectID: authorized, UnauthorizedObjectID: unauthorized}.SignWithUserDelegation(cred)
		if err != nil {
			t.Fatal(err)
		}
		return q.Encode()
	}
	ask := func(method, path, query string) *http.Response {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		return w.get(method, lakeURL+path+sep+query, "")
	}
	// bob is vouched for, and owns what is made.
	want(t, ask("PUT", "tree/dir/of-bob?resource=file", sign(bob, "")), 201, "")
	resp := ask("HEAD", "tree/dir/of-bob?action=getAccessControl", sign(bob, ""))
	want(t, resp, 200, "")
	if got := resp.Header.Get("x-ms-owner"); got != bob {
		t.Errorf("owner %s", got)
	}
	// eve has what the lists say.
	want(t, ask("GET", "tree/dir/file", sign("", eve)), 403, "AuthorizationPermissionMismatch")
	for _, path := range []string{"tree/", "tree/dir", "tree/dir/file"} {
		want(t, w.dfs("PATCH", path+"?action=setAccessControl", "", "x-ms-acl", "user::rwx,user:"+eve+":r-x,group::---,other::---"), 200, "")
	}
	want(t, ask("GET", "tree/dir/file", sign("", eve)), 200, "")
	want(t, ask("PUT", "tree/dir/of-eve?resource=file", sign("", eve)), 403, "AuthorizationPermissionMismatch")
	// Neither can be added to a signature.
	want(t, ask("GET", "tree/dir/file", sign("", eve)+"&saoid="+bob), 403, "AuthenticationFailed")
	want(t, ask("GET", "tree/dir/file", strings.ReplaceAll(sign("", eve), "e0", "b0")), 403, "AuthenticationFailed")
}

// TestHostileDocuments sends XML that would read files, call out or grow.
func TestHostileDocuments(t *testing.T) {
	w := newWorld(t)
	w.seed()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("do not show"), 0o600); err != nil {
		t.Fatal(err)
	}
	lol := `<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">`
	for i := range 12 {
		lol += fmt.Sprintf(`<!ENTITY %c "%s">`, 'b'+i, strings.Repeat(fmt.Sprintf("&%c;", 'a'+i), 10))
	}
	lol += "]>"
	file := `<!DOCTYPE l [<!ENTITY a SYSTEM "file://` + secret + `">]>`
	docs := map[string]string{
		"?restype=service&comp=properties":   "<StorageServiceProperties><DefaultServiceVersion>%s</DefaultServiceVersion></StorageServiceProperties>",
		"box?restype=container&comp=acl":     "<SignedIdentifiers><SignedIdentifier><Id>%s</Id><AccessPolicy/></SignedIdentifier></SignedIdentifiers>",
		"box/dir/file?comp=tags":             "<Tags><TagSet><Tag><Key>k</Key><Value>%s</Value></Tag></TagSet></Tags>",
		"box/dir/file?comp=blocklist":        "<BlockList><Latest>%s</Latest></BlockList>",
		"box/dir/file?comp=blocklist&deeply": strings.Repeat("<BlockList>", 50_000) + "%s",
	}
	for target, doc := range docs {
		for name, body := range map[string]string{
			"entities": lol + fmt.Sprintf(doc, "&m;"), "file": file + fmt.Sprintf(doc, "&a;"), "parameter": `<!DOCTYPE l SYSTEM "http://127.0.0.1:1/x">` + fmt.Sprintf(doc, "&x;"),
			"no end": fmt.Sprintf(doc, "x")[:len(doc)/2], "deep": strings.Repeat("<a>", 100_000), "not XML": "\x00\xff{}", "nothing": "",
		} {
			if body == "" && strings.HasSuffix(target, "acl") {
				continue // no policies
			}
			resp := w.do("PUT", target, body)
			if resp.StatusCode < 400 || resp.StatusCode >= 500 || strings.Contains(text(resp), "do not show") {
				t.Errorf("%s, %s: HTTP %d", target, name, resp.StatusCode)
			}
		}
		if resp := w.do("PUT", target, strings.Repeat(" ", 9<<20)); resp.StatusCode != 400 && resp.StatusCode != 413 {
			t.Errorf("%s, 9 MiB: HTTP %d", target, resp.StatusCode)
		}
	}
	// What says that it is compressed is kept as it is and never unpacked.
	bomb := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + strings.Repeat("\x00", 100)
	want(t, w.do("PUT", "box/bomb", bomb, "x-ms-blob-type", "BlockBlob", "Content-Encoding", "gzip"), 201, "")
	resp := w.do("GET", "box/bomb", "", "Accept-Encoding", "identity")
	if text(resp) != bomb || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Error("the bytes are not those sent")
	}
	want(t, w.do("PUT", "box/dir/file?comp=tags", bomb, "Content-Encoding", "gzip"), 400, "InvalidXmlDocument")
	w.sound()
}

// TestNamesThatPointElsewhere puts blobs whose names would leave the directory.
func TestNamesThatPointElsewhere(t *testing.T) {
	w := newWorld(t)
	w.seed()
	long := strings.Repeat("x", inlineLimit+1)
	for _, name := range []string{"..%2F..%2F..%2Fescaped", "%2e%2e/%2e%2e/escaped", "..%5C..%5Cescaped", "a%2F..%2F..%2Fescaped", "%2Fetc%2Fpasswd", "C:%5Cescaped", "CON"} {
		want(t, w.do("PUT", "box/"+name, long, "x-ms-blob-type", "BlockBlob"), 201, "")
		if got := text(w.do("GET", "box/"+name, "")); got != long {
			t.Errorf("%s has %d bytes", name, len(got))
		}
	}
	for _, box := range []string{"..", "%2e%2e", ".", "a..b", "box%2F..%2Fbox", "Box", "-box", "box%00"} {
		if resp := w.do("PUT", box+"?restype=container", ""); resp.StatusCode != 400 {
			t.Errorf("container %s: HTTP %d", box, resp.StatusCode)
		}
	}
	want(t, w.do("PUT", "box/a%00b", "x", "x-ms-blob-type", "BlockBlob"), 400, "InvalidUri")
	err := filepath.WalkDir(filepath.Dir(w.dir), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.Contains(path, "escaped") || strings.Contains(path, "passwd")) {
			t.Errorf("there is %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.sound()
}

// TestSlowBodiesAreCutOff sends less than it says and waits.
func TestSlowBodiesAreCutOff(t *testing.T) {
	w := newWorld(t)
	w.seed()
	w.svc.patience = 30 * time.Millisecond
	q := must[string](t)(storage.SignServiceSAS(w.accounts["acct"], storage.ServiceSAS{Container: "box", Permissions: "rw", Expiry: time.Now().Add(time.Hour)}))
	for _, length := range []int{100, 1 << 20} {
		c, err := tls.Dial("tcp", w.srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "PUT /box/slow?%s HTTP/1.1\r\nHost: acct.blob.core.windows.net\r\nx-ms-version: 2023-11-03\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: %d\r\n\r\nsome", q, length)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 500 || resp.Header.Get("x-ms-error-code") != "OperationTimedOut" {
			t.Errorf("HTTP %d %v", resp.StatusCode, resp.Header)
		}
	}
	want(t, w.do("GET", "box/slow", ""), 404, "BlobNotFound")
	w.sound()
}
