package blob

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// ask sends a request that nobody signed.
func (w *world) ask(method, url string, headers ...string) *http.Response {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), method, url, nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.send(req)
}

func (w *world) configure(p *service.SetPropertiesOptions) {
	w.tb.Helper()
	if _, err := w.client().ServiceClient().SetProperties(w.tb.Context(), p); err != nil {
		w.tb.Fatal(err)
	}
}

func TestCrossOriginRequests(t *testing.T) {
	w := newWorld(t)
	w.seed()
	const good, other = "https://good.example", "https://other.example"
	ask := func(origin, method, headers string) *http.Response {
		return w.ask("OPTIONS", acctURL+"box/none", "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	}
	want(t, ask(good, "GET", ""), 403, "CorsPreflightFailure")
	w.configure(&service.SetPropertiesOptions{CORS: []*service.CORSRule{
		{AllowedOrigins: to.Ptr(good + ",https://too.example"), AllowedMethods: to.Ptr("PUT,GET"), AllowedHeaders: to.Ptr("x-ms-meta-*, Content-Type"), ExposedHeaders: to.Ptr("x-ms-request-id"), MaxAgeInSeconds: to.Ptr[int32](60)},
		{AllowedOrigins: to.Ptr("*"), AllowedMethods: to.Ptr("HEAD"), AllowedHeaders: to.Ptr("*"), ExposedHeaders: to.Ptr("*"), MaxAgeInSeconds: to.Ptr[int32](5)},
	}})
	for _, c := range []struct {
		origin, method, headers string
		allowed                 bool
		as, age                 string
	}{
		{good, "PUT", "x-ms-meta-a, content-type", true, good, "60"},
		{good, "PUT", "x-ms-blob-type", false, "", ""},
		{good, "DELETE", "", false, "", ""},
		{other, "GET", "", false, "", ""},
		{other, "HEAD", "x-anything", true, "*", "5"},
		{"https://good.example:444", "GET", "", false, "", ""},
	} {
		resp := ask(c.origin, c.method, c.headers)
		if !c.allowed {
			want(t, resp, 403, "CorsPreflightFailure")
			continue
		}
		want(t, resp, 200, "")
		h := resp.Header
		if h.Get("Access-Control-Allow-Origin") != c.as || h.Get("Access-Control-Max-Age") != c.age || h.Get("Access-Control-Allow-Methods") != c.method ||
			(h.Get("Access-Control-Allow-Credentials") == "true") != (c.as != "*") {
			t.Errorf("%+v: %v", c, h)
		}
	}
	want(t, w.ask("OPTIONS", acctURL+"box"), 400, "MissingRequiredHeader")
	for _, c := range []struct{ method, origin, as, vary string }{
		{"GET", good, good, "Origin"}, {"GET", other, "", "Origin"}, {"HEAD", other, "*", ""}, {"GET", "", "", ""},
	} {
		// Refusals can be read by the page, too.
		resp := w.ask(c.method, acctURL+"box/none", "Origin", c.origin)
		if resp.Header.Get("Access-Control-Allow-Origin") != c.as || resp.Header.Get("Vary") != c.vary {
			t.Errorf("%+v: %v", c, resp.Header)
		}
	}
	if h := w.do("GET", "box?restype=container&comp=list", "", "Origin", good).Header; h.Get("Access-Control-Expose-Headers") != "x-ms-request-id" {
		t.Error(h)
	}
	for _, body := range []string{
		"<CorsRule><AllowedOrigins></AllowedOrigins><AllowedMethods>GET</AllowedMethods><MaxAgeInSeconds>1</MaxAgeInSeconds></CorsRule>",
		"<CorsRule><AllowedOrigins>*</AllowedOrigins><AllowedMethods>FETCH</AllowedMethods><MaxAgeInSeconds>1</MaxAgeInSeconds></CorsRule>",
		"<CorsRule><AllowedOrigins>*</AllowedOrigins><AllowedMethods>GET</AllowedMethods><MaxAgeInSeconds>-1</MaxAgeInSeconds></CorsRule>",
	} {
		want(t, w.do("PUT", "?restype=service&comp=properties", "<StorageServiceProperties><Cors>"+body+"</Cors></StorageServiceProperties>"), 400, "InvalidXmlNodeValue")
	}
}

func TestStaticWebsite(t *testing.T) {
	w := newWorld(t)
	w.accounts["acct"].AllowPublicAccess = false
	const site = "https://acct.z13.web.core.windows.net/"
	want(t, w.ask("GET", site), 404, "WebContentNotFound")
	w.configure(&service.SetPropertiesOptions{StaticWebsite: &service.StaticWebsite{Enabled: to.Ptr(true), IndexDocument: to.Ptr("index.html"), ErrorDocument404Path: to.Ptr("errors/404.html")}})
	want(t, w.ask("GET", site), 404, "WebContentNotFound")
	for name, body := range map[string]string{"index.html": "home", "a/index.html": "inner", "errors/404.html": "lost", "a/file.txt": "0123456789"} {
		want(t, w.do("PUT", "$web/"+name, body, "x-ms-blob-type", "BlockBlob", "x-ms-blob-content-type", "text/html"), 201, "")
	}
	for _, c := range []struct {
		path, rg string
		status   int
		body     string
	}{
		{"", "", 200, "home"}, {"index.html", "", 200, "home"}, {"a/", "", 200, "inner"}, {"a/file.txt", "", 200, "0123456789"},
		{"a/file.txt", "bytes=2-4", 206, "234"}, {"a", "", 404, "lost"}, {"none", "bytes=1-2", 404, "lost"}, {"none/", "", 404, "lost"},
		{"%2e%2e/box/secret", "", 404, "lost"}, {strings.Repeat("x", 1100), "", 404, "lost"},
	} {
		resp := w.ask("GET", site+c.path, "Range", c.rg)
		want(t, resp, c.status, "")
		if body := text(resp); body != c.body || resp.Header.Get("Content-Type") != "text/html" {
			t.Errorf("%s: %q %v", c.path, body, resp.Header)
		}
	}
	if resp := w.ask("GET", site, "If-None-Match", w.ask("HEAD", site).Header.Get("ETag")); resp.StatusCode != 304 {
		t.Error(resp.Status)
	}
	want(t, w.ask("PUT", site+"x"), 405, "UnsupportedHttpVerb")
	want(t, w.ask("GET", "https://none.z13.web.core.windows.net/"), 404, "ResourceNotFound")
	want(t, w.ask("GET", acctURL+"$web/index.html"), 409, "PublicAccessNotPermitted")
	w.configure(&service.SetPropertiesOptions{StaticWebsite: &service.StaticWebsite{Enabled: to.Ptr(false)}})
	want(t, w.ask("GET", site), 404, "WebContentNotFound")
}

func TestSecondaryEndpoint(t *testing.T) {
	w := newWorld(t)
	w.seed()
	const second = "https://acct-secondary.blob.core.windows.net/"
	want(t, w.ask("GET", second+"?restype=service&comp=stats"), 404, "ResourceNotFound")
	w.accounts["acct"].SKU = "Standard_RAGRS"
	want(t, w.do("GET", "?restype=service&comp=stats", ""), 400, "InvalidQueryParameterValue")
	want(t, w.do("PUT", "box/b", "bytes", "x-ms-blob-type", "BlockBlob"), 201, "")
	c, err := service.NewClientWithSharedKeyCredential(second, w.key(), (*service.ClientOptions)(w.options()))
	if err != nil {
		t.Fatal(err)
	}
	stats, err := c.GetStatistics(t.Context(), nil)
	if err != nil || *stats.GeoReplication.Status != service.BlobGeoReplicationStatusLive || stats.GeoReplication.LastSyncTime.IsZero() {
		t.Error(stats, err)
	}
	down, err := c.NewContainerClient("box").NewBlobClient("b").DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(down.Body); string(b) != "bytes" {
		t.Errorf("%q", b)
	}
	if _, err := c.NewContainerClient("box").NewBlobClient("b").Delete(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "InsufficientAccountPermissions") {
		t.Errorf("err = %v", err)
	}
}

func TestDefaultServiceVersion(t *testing.T) {
	w := newWorld(t)
	w.seed()
	want(t, w.ask("GET", acctURL+"box/none"), 404, "ResourceNotFound")
	w.configure(&service.SetPropertiesOptions{DefaultServiceVersion: to.Ptr("2020-10-02")})
	resp := w.ask("GET", acctURL+"box/none")
	want(t, resp, 401, "NoAuthenticationInformation")
	if v := resp.Header.Get("x-ms-version"); v != "2020-10-02" {
		t.Error(v)
	}
}
