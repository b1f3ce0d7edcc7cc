package blob

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func TestRanges(t *testing.T) {
	w := newWorld(t)
	w.seed()
	for _, tc := range []struct {
		header, value string
		status        int
		code, body    string
		contentRange  string
	}{
		{"Range", "bytes=0-3", 206, "", "0123", "bytes 0-3/10"},
		{"Range", "bytes=4-", 206, "", "456789", "bytes 4-9/10"},
		{"Range", "bytes=8-100", 206, "", "89", "bytes 8-9/10"},
		{"Range", "bytes=10-11", 416, "InvalidRange", "", "bytes */10"},
		{"Range", "bytes=-3", 200, "", "0123456789", ""},
		{"Range", "bytes=1-2,4-5", 200, "", "0123456789", ""},
		{"Range", "items=1-2", 200, "", "0123456789", ""},
		{"x-ms-range", "bytes=9-9", 206, "", "9", "bytes 9-9/10"},
		{"x-ms-range", "bytes=3-2", 400, "InvalidHeaderValue", "", ""},
		{"x-ms-range", "junk", 400, "InvalidHeaderValue", "", ""},
	} {
		resp := w.do("GET", "box/dir/file", "", tc.header, tc.value)
		want(t, resp, tc.status, tc.code)
		if got := resp.Header.Get("Content-Range"); got != tc.contentRange {
			t.Errorf("%s: Content-Range %q, want %q", tc.value, got, tc.contentRange)
		}
		if got := text(resp); tc.code == "" && got != tc.body {
			t.Errorf("%s: body %q, want %q", tc.value, got, tc.body)
		}
	}
	resp := w.do("GET", "box/dir/file", "", "Range", "bytes=2-4", "x-ms-range-get-content-md5", "true")
	sum := md5.Sum([]byte("234"))
	if got := resp.Header.Get("Content-MD5"); got != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("MD5 of the range %q", got)
	}
	resp = w.do("GET", "box/dir/file", "", "x-ms-range", "bytes=2-4", "Range", "bytes=0-1", "x-ms-range-get-content-crc64", "true")
	if got := resp.Header.Get("x-ms-content-crc64"); text(resp) != "234" || got != base64.StdEncoding.EncodeToString(crcBytes(crcUpdate(0, []byte("234")))) {
		t.Errorf("CRC64 of the range %q", got)
	}
	want(t, w.do("GET", "box/dir/file", "", "x-ms-range-get-content-md5", "true"), 400, "MissingRequiredHeader")
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	w.seed()
	resp := w.do("HEAD", "box/dir/file", "")
	tag, modified := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	at, err := http.ParseTime(modified)
	if err != nil || !strings.HasPrefix(tag, `"0x`) {
		t.Fatal(tag, modified)
	}
	before, after := at.Add(-time.Second).Format(http.TimeFormat), at.Add(time.Second).Format(http.TimeFormat)
	for _, tc := range []struct {
		name, value string
		read, write int // status of Get Blob and of Set Blob Metadata
	}{
		{"If-Match", tag, 200, 200},
		{"If-Match", strings.Trim(tag, `"`), 200, 200},
		{"If-Match", `"0x1", ` + tag, 200, 200},
		{"If-Match", "*", 200, 200},
		{"If-Match", `"0x1"`, 412, 412},
		{"If-None-Match", `"0x1"`, 200, 200},
		{"If-None-Match", tag, 304, 412},
		{"If-None-Match", "*", 400, 412},
		{"If-Modified-Since", before, 200, 200},
		{"If-Modified-Since", modified, 304, 412},
		{"If-Unmodified-Since", before, 412, 412},
		{"If-Unmodified-Since", modified, 200, 200},
		{"If-Unmodified-Since", after, 200, 200},
		{"If-Modified-Since", "yesterday", 400, 400},
	} {
		if resp := w.do("GET", "box/dir/file", "", tc.name, tc.value); resp.StatusCode != tc.read {
			t.Errorf("read %s: %s: %d, want %d", tc.name, tc.value, resp.StatusCode, tc.read)
		}
		// Each write is on a blob of its own, with the same ETag in the condition
		// only where it fails anyway.
		if tc.write != 200 {
			if resp := w.do("PUT", "box/dir/file?comp=metadata", "", tc.name, tc.value); resp.StatusCode != tc.write {
				t.Errorf("write %s: %s: %d, want %d", tc.name, tc.value, resp.StatusCode, tc.write)
			}
		}
	}
	want(t, w.do("PUT", "box/dir/file", "x", "x-ms-blob-type", "BlockBlob", "If-None-Match", "*"), 409, "BlobAlreadyExists")
	want(t, w.do("PUT", "box/new", "x", "x-ms-blob-type", "BlockBlob", "If-None-Match", "*"), 201, "")
	want(t, w.do("PUT", "box/new2", "x", "x-ms-blob-type", "BlockBlob", "If-Match", "*"), 412, "ConditionNotMet")
	want(t, w.do("DELETE", "box/dir/file", "", "If-Match", `"0x1"`), 412, "ConditionNotMet")
	want(t, w.do("DELETE", "box/dir/file", "", "If-Match", tag), 202, "")
	want(t, w.do("DELETE", "box?restype=container", "", "If-Unmodified-Since", at.Add(-time.Hour).Format(http.TimeFormat)), 412, "ConditionNotMet")
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.seed()
	wrong := base64.StdEncoding.EncodeToString(make([]byte, 16))
	block := "x-ms-blob-type"
	for _, tc := range []struct {
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		{"PUT", "UPPER?restype=container", "", nil, 400, "InvalidResourceName"},
		{"PUT", "ab?restype=container", "", nil, 400, "OutOfRangeInput"},
		{"PUT", "a--b?restype=container", "", nil, 400, "InvalidResourceName"},
		{"PUT", "-ab?restype=container", "", nil, 400, "InvalidResourceName"},
		{"PUT", "box?restype=container", "", nil, 409, "ContainerAlreadyExists"},
		{"GET", "gone?restype=container", "", nil, 404, "ContainerNotFound"},
		{"GET", "gone/x", "", nil, 404, "ContainerNotFound"},
		{"GET", "box/gone", "", nil, 404, "BlobNotFound"},
		{"GET", "gone", "", nil, 404, "ContainerNotFound"}, // a blob of $root
		{"PUT", "box/" + strings.Repeat("n", 1025), "", nil, 400, "OutOfRangeInput"},
		{"PUT", "box/b", "x", nil, 400, "MissingRequiredHeader"},
		{"PUT", "box/b", "x", []string{block, "Blob"}, 400, "InvalidHeaderValue"},
		{"PUT", "box/b", "x", []string{block, "AppendBlob"}, 413, "RequestBodyTooLarge"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "Content-MD5", wrong}, 400, "Md5Mismatch"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "x-ms-blob-content-md5", wrong}, 400, "Md5Mismatch"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "Content-MD5", "AAAA"}, 400, "InvalidMd5"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "x-ms-content-crc64", "AAAAAAAAAAA="}, 400, "Crc64Mismatch"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "x-ms-meta-1a", "v"}, 400, "InvalidMetadata"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "x-ms-meta-a", strings.Repeat("v", 9000)}, 400, "MetadataTooLarge"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "x-ms-access-tier", "Archive"}, 501, "NotImplementedByAzimuth"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "x-ms-lease-id", "a"}, 412, "LeaseNotPresentWithBlobOperation"},
		{"PUT", "box/b", "x", []string{block, "BlockBlob", "x-ms-version", "tomorrow"}, 400, "InvalidHeaderValue"},
		{"PUT", "box/b?comp=block", "x", nil, 400, "MissingRequiredQueryParameter"},
		{"PUT", "box/b?comp=block&blockid=!", "x", nil, 400, "InvalidBlockId"},
		{"PUT", "box/b?comp=block&blockid=AAAA", "", nil, 400, "InvalidHeaderValue"},
		{"PUT", "box/b?comp=blocklist", "<BlockList><Latest>AAAA</Latest></BlockList>", nil, 400, "InvalidBlockList"},
		{"PUT", "box/b?comp=blocklist", "<BlockList><Latest>AAAA</Latest>", nil, 400, "InvalidXmlDocument"},
		{"PUT", "box/b?comp=blocklist", "<BlockList/>", []string{"Content-MD5", wrong}, 400, "Md5Mismatch"},
		{"PUT", "box/dir/file?comp=appendblock", "x", nil, 409, "InvalidBlobType"},
		{"PUT", "box/b?comp=incrementalcopy", "", nil, 501, "NotImplementedByAzimuth"},
		{"PUT", "box/b?comp=incrementalcopy", "", nil, 501, "NotImplementedByAzimuth"},
		{"PUT", "box/b?comp=nonsense", "", nil, 400, "InvalidQueryParameterValue"},
		{"OPTIONS", "box/b", "", nil, 400, "MissingRequiredHeader"},
		{"POST", "box/b", "", nil, 405, "UnsupportedHttpVerb"},
		{"GET", "box?restype=container&comp=list&maxresults=0", "", nil, 400, "OutOfRangeQueryParameterValue"},
		{"GET", "box?restype=container&comp=list&marker=x", "", nil, 400, "InvalidQueryParameterValue"},
		{"GET", "box?restype=container&comp=list&include=nonsense", "", nil, 400, "InvalidQueryParameterValue"},
		{"GET", "box/dir/file?snapshot=2020-01-01T00:00:00.0000000Z", "", nil, 404, "BlobNotFound"},
		{"GET", "box/dir/file?versionid=2020-01-01T00:00:00.0000000Z", "", nil, 404, "BlobNotFound"},
		{"GET", "box/dir/file?snapshot=2020-01-01", "", nil, 400, "InvalidQueryParameterValue"},
		{"PUT", "box/dir/file?comp=metadata&versionid=2020-01-01T00:00:00.0000000Z", "", nil, 400, "UnsupportedQueryParameter"},
		{"GET", "box?restype=container&comp=list&include=snapshots&delimiter=/", "", nil, 400, "InvalidQueryParameterValue"},
		{"PUT", "box/gone?comp=undelete", "", nil, 404, "BlobNotFound"},
		{"GET", "?restype=service&comp=stats", "", nil, 400, "InvalidQueryParameterValue"},
	} {
		resp := w.do(tc.method, tc.path, tc.body, tc.headers...)
		want(t, resp, tc.status, tc.code)
		doc := text(resp)
		var e struct{ Code, Message string }
		if err := xml.Unmarshal([]byte(strings.TrimPrefix(doc, "\ufeff")), &e); err != nil || e.Code != tc.code || !strings.Contains(e.Message, "\nRequestId:"+resp.Header.Get("x-ms-request-id")+"\nTime:") {
			t.Errorf("%s %s: document %q: %v", tc.method, tc.path, doc, err)
		}
	}
	resp := w.do("HEAD", "box/gone", "")
	want(t, resp, 404, "BlobNotFound")
	if text(resp) != "" {
		t.Error("HEAD has a body")
	}
	want(t, w.do("PUT", "box/back%5Cslash", "x", block, "BlockBlob"), 201, "")
	want(t, w.do("GET", "box/back/slash", ""), 200, "")
	if r := must[*Report](t)(w.svc.Check(t.Context())); r.Orphans != 0 || len(r.Problems) != 0 {
		t.Errorf("refused uploads left %+v", r)
	}
}

func TestRootContainer(t *testing.T) {
	w := newWorld(t)
	want(t, w.do("PUT", "$root?restype=container", ""), 201, "")
	want(t, w.do("PUT", "top.txt", "x", "x-ms-blob-type", "BlockBlob"), 201, "")
	want(t, w.do("GET", "$root/top.txt", ""), 200, "")
	want(t, w.do("GET", "top.txt", ""), 200, "")
}

func TestCRC64(t *testing.T) {
	// The check value of CRC-64/NVME.
	if got := crcUpdate(0, []byte("123456789")); got != 0xAE8B14860A799888 {
		t.Errorf("crc = %X", got)
	}
	data := bytes.Repeat([]byte("some bytes "), 100)
	crc := uint64(0)
	for i := 0; i < len(data); i += 7 {
		crc = crcUpdate(crc, data[i:min(i+7, len(data))])
	}
	if crc != crcUpdate(0, data) {
		t.Error("pieces and whole differ")
	}
}

func TestServiceProperties(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	svc := w.client().ServiceClient()
	p := must[service.GetPropertiesResponse](t)(svc.GetProperties(ctx, nil))
	if *p.StaticWebsite.Enabled || *p.DeleteRetentionPolicy.Enabled || *p.Logging.Read {
		t.Errorf("defaults %+v", p)
	}
	if _, err := svc.SetProperties(ctx, &service.SetPropertiesOptions{
		CORS:          []*service.CORSRule{{AllowedOrigins: to.Ptr("*"), AllowedMethods: to.Ptr("GET"), MaxAgeInSeconds: to.Ptr(int32(5)), AllowedHeaders: to.Ptr(""), ExposedHeaders: to.Ptr("")}},
		StaticWebsite: &service.StaticWebsite{Enabled: to.Ptr(true), IndexDocument: to.Ptr("index.html")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.SetProperties(ctx, &service.SetPropertiesOptions{Logging: &service.Logging{Version: to.Ptr("1.0"), Read: to.Ptr(true), Write: to.Ptr(false), Delete: to.Ptr(false),
		RetentionPolicy: &service.RetentionPolicy{Enabled: to.Ptr(true), Days: to.Ptr(int32(7))}}}); err != nil {
		t.Fatal(err)
	}
	p = must[service.GetPropertiesResponse](t)(svc.GetProperties(ctx, nil))
	if *p.StaticWebsite.IndexDocument != "index.html" || len(p.CORS) != 1 || *p.CORS[0].MaxAgeInSeconds != 5 || !*p.Logging.Read || *p.Logging.RetentionPolicy.Days != 7 {
		t.Errorf("properties %+v", p)
	}
	want(t, w.do("GET", "$web?restype=container", ""), 200, "")
	for days, code := range map[int32]bloberror.Code{0: bloberror.InvalidXMLNodeValue, 366: bloberror.InvalidXMLNodeValue, 7: ""} {
		_, err := svc.SetProperties(ctx, &service.SetPropertiesOptions{DeleteRetentionPolicy: &service.RetentionPolicy{Enabled: to.Ptr(true), Days: &days}})
		if code == "" && err == nil {
			continue
		}
		wantCode(t, err, code)
	}
	if p = must[service.GetPropertiesResponse](t)(svc.GetProperties(ctx, nil)); !*p.DeleteRetentionPolicy.Enabled || *p.DeleteRetentionPolicy.Days != 7 || !*p.Logging.Read {
		t.Errorf("properties %+v", p)
	}

	q := must[string](t)(storage.SignAccountSAS(w.accounts["acct"], storage.AccountSAS{Services: "bqtf", ResourceTypes: "sco", Permissions: "rw", Expiry: time.Now().Add(time.Hour)}))
	for _, svc := range []string{"queue", "table", "file"} {
		u := "https://acct." + svc + ".core.windows.net/?restype=service&comp=properties&" + q
		resp := w.get("GET", u, "")
		want(t, resp, 200, "")
		if doc := text(resp); !strings.Contains(doc, "<HourMetrics><Version>1.0</Version><Enabled>false</Enabled>") {
			t.Errorf("%s: %s", svc, doc)
		}
		want(t, w.get("PUT", u, "<StorageServiceProperties><MinuteMetrics><Version>1.0</Version><Enabled>true</Enabled><IncludeAPIs>true</IncludeAPIs><RetentionPolicy><Enabled>true</Enabled><Days>9</Days></RetentionPolicy></MinuteMetrics></StorageServiceProperties>"), 202, "")
		if doc := text(w.get("GET", u, "")); !strings.Contains(doc, "<Days>9</Days>") {
			t.Errorf("%s: %s", svc, doc)
		}
		want(t, w.get("PUT", u, "<StorageServiceProperties><Nonsense/></StorageServiceProperties>"), 400, "UnsupportedXmlNode")
		want(t, w.get("GET", "https://acct."+svc+".core.windows.net/?comp=list&"+q, ""), 501, "NotImplementedByAzimuth")
	}
	want(t, w.get("GET", "https://nobody.blob.core.windows.net/", ""), 404, "ResourceNotFound")
	w.accounts["acct"].HTTPSOnly = true
	want(t, w.do("GET", "?comp=list", ""), 200, "")
}

func TestAccountInstancesDoNotShareData(t *testing.T) {
	w := newWorld(t)
	w.seed()
	w.addAccount("acct", "uid-again")
	want(t, w.do("GET", "box?restype=container", ""), 404, "ContainerNotFound")
	if err := w.store.Update(t.Context(), func(tx store.Tx) error { return w.svc.DeleteAccountIn(tx, "uid-1") }); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.eng.reapAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := must[*Report](t)(w.svc.Check(t.Context())); r.Blobs+r.Files+r.Orphans != 0 {
		t.Errorf("left %+v", r)
	}
}

func TestListBlobsInProcess(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	for i := range 1002 {
		if _, err := w.svc.PutBlob(ctx, "acct", "box", "n/"+strconv.Itoa(10000+i), strings.NewReader("x"), Headers{}); err != nil {
			t.Fatal(err)
		}
	}
	n, last := 0, ""
	for p, err := range w.svc.ListBlobs(ctx, "acct", "box", "n/") {
		if err != nil {
			t.Fatal(err)
		}
		if p.Name <= last {
			t.Fatalf("%s after %s", p.Name, last)
		}
		last = p.Name
		n++
	}
	if n != 1002 {
		t.Errorf("%d blobs", n)
	}
	if err := w.svc.DeleteBlob(ctx, "acct", "box", "n/10000"); err != nil {
		t.Error(err)
	}
	if _, err := w.svc.StatBlob(ctx, "acct", "box", "n/10000"); !HasCode(err, "BlobNotFound") {
		t.Errorf("err = %v", err)
	}
	for _, err := range w.svc.ListBlobs(ctx, "acct", "gone", "") {
		if !HasCode(err, "ContainerNotFound") {
			t.Errorf("err = %v", err)
		}
	}
}

func FuzzBlockList(f *testing.F) {
	f.Add("<BlockList><Latest>AAAA</Latest><Committed>BBBB</Committed></BlockList>")
	f.Add(`<!DOCTYPE a [<!ENTITY x "y">]><BlockList><Latest>&x;</Latest></BlockList>`)
	f.Fuzz(func(t *testing.T, doc string) {
		list, err := parseBlockList(strings.NewReader(doc))
		if err != nil {
			return
		}
		for _, c := range list {
			if checkBlockID(c.ID) != nil || !storage.HasWord("Latest Committed Uncommitted", c.From) {
				t.Errorf("accepted %+v", c)
			}
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=9-", int64(9))
	f.Fuzz(func(t *testing.T, v string, size int64) {
		if size < 0 {
			return
		}
		for _, name := range []string{"Range", "x-ms-range"} {
			r, err := parseRange(http.Header{http.CanonicalHeaderKey(name): {v}}, size)
			if err == nil && r != nil && (r.offset < 0 || r.length < 1 || r.offset+r.length > size) {
				t.Errorf("%q of %d: %+v", v, size, r)
			}
		}
	})
}

func TestOperations(t *testing.T) {
	done, open := 0, 0
	for _, op := range Operations() {
		if op.Implemented {
			done++
		} else {
			open++
		}
	}
	if done < 35 || open == 0 {
		t.Errorf("%d implemented, %d not", done, open)
	}
}
