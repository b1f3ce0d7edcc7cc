package blob

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

func FuzzPageRange(f *testing.F) {
	f.Add("bytes=0-511", "7", "max", "512")
	f.Add("bytes=-1-", "-1", "increment", "9223372036854775807")
	f.Fuzz(func(t *testing.T, rg, number, action, length string) {
		r := &http.Request{Header: http.Header{"X-Ms-Range": {rg}, "X-Ms-Blob-Sequence-Number": {number}, "X-Ms-Sequence-Number-Action": {action},
			"X-Ms-Blob-Content-Length": {length}, "X-Ms-If-Sequence-Number-Le": {number}}}
		c := &call{r: r, acct: &Account{}}
		if p, err := parsePageRange(c, maxPageWrite); err == nil && (p.offset < 0 || p.length <= 0 || p.length > maxPageWrite || (p.offset|p.length)%pageUnit != 0) {
			t.Errorf("%s is taken as %+v", rg, p)
		}
		if n, err := pageLength(c); err == nil && (n < -1 || n > maxPageBlob || n >= 0 && n%pageUnit != 0) {
			t.Errorf("%s is taken as %d", length, n)
		}
		b := &blobRec{Sequence: 3}
		if apply, err := sequenceAction(c); err == nil && apply != nil {
			if apply(b); b.Sequence < 0 {
				t.Errorf("%s %s leads to %d", action, number, b.Sequence)
			}
		}
		if check, err := sequenceConditions(c); err == nil {
			_ = check(b)
		}
	})
}

func FuzzBatch(f *testing.F) {
	f.Add("multipart/mixed; boundary=x", "--x\r\nContent-ID: 0\r\n\r\nDELETE /box/b HTTP/1.1\r\n\r\n\r\n--x--\r\n")
	f.Add("multipart/mixed; boundary=x", "--x\r\n\r\nPUT /box/b?comp=tier HTTP/1.1\r\nContent-Length: -1\r\n\r\n--x")
	f.Fuzz(func(t *testing.T, kind, body string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, acctURL+"?comp=batch", strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header["Content-Type"] = []string{kind}
		items, err := readBatch(&call{r: r, container: "box"})
		if err != nil {
			return
		}
		for _, it := range items {
			if box, name := splitPath(it.req.URL); box != "box" || name == "" || it.req.Method != http.MethodDelete && it.req.Method != http.MethodPut {
				t.Errorf("%s %s is taken", it.req.Method, it.req.URL)
			}
		}
	})
}

func FuzzDocuments(f *testing.F) {
	f.Add("<Tags><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tags>")
	f.Add("<SignedIdentifiers><SignedIdentifier><Id>x</Id><AccessPolicy><Start>2020-01-01</Start></AccessPolicy></SignedIdentifier></SignedIdentifiers>")
	f.Add(`<StorageServiceProperties><Cors><CorsRule><AllowedOrigins>*</AllowedOrigins><AllowedMethods>GET</AllowedMethods><MaxAgeInSeconds>1</MaxAgeInSeconds></CorsRule></Cors></StorageServiceProperties>`)
	f.Fuzz(func(t *testing.T, body string) {
		request := func() *http.Request {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, acctURL, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		var tags tagDocument
		_ = storage.ReadXML(request(), &tags)
		if p, err := storage.ReadPolicies(request(), "rwdl"); err == nil && len(p) > 5 {
			t.Errorf("%d policies are taken", len(p))
		}
		var props storage.ServiceProperties
		if storage.ReadXML(request(), &props) == nil && props.Check("blob") == nil {
			if _, err := xml.Marshal(&props); err != nil {
				t.Errorf("what was taken cannot be written: %v", err)
			}
		}
	})
}

func FuzzCopySource(f *testing.F) {
	f.Add("a?deletionid=7", "/tree/a?sig=x")
	f.Fuzz(func(t *testing.T, undelete, rename string) {
		for _, raw := range []string{undelete, rename} {
			u, err := url.Parse(raw)
			if err != nil {
				continue
			}
			if box, name := dfsPath(u); strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(box, "/") {
				t.Errorf("%q is taken as %q, %q", raw, box, name)
			}
		}
	})
}
