package blob

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sdkblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func (w *world) wantFound(where, want string) {
	w.tb.Helper()
	svc := w.client().ServiceClient()
	for _, page := range []int32{1, 2, 5000} {
		var got []string
		o := &service.FilterBlobsOptions{MaxResults: &page}
		for {
			r := must[service.FilterBlobsResponse](w.tb)(svc.FilterBlobs(w.tb.Context(), where, o))
			for _, b := range r.Blobs {
				got = append(got, *b.ContainerName+"/"+*b.Name)
			}
			if r.NextMarker == nil || *r.NextMarker == "" {
				break
			}
			o.Marker = r.NextMarker
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			w.tb.Errorf("%s by %d: %q, want %q", where, page, s, want)
		}
	}
}

func TestTags(t *testing.T) {
	w := newWorld(t)
	box := w.keeping(RetentionPolicy{Days: 7})
	ctx := t.Context()
	other := w.client().ServiceClient().NewContainerClient("other")
	must[container.CreateResponse](t)(other.Create(ctx, nil))
	put := func(c *container.Client, name string, tags map[string]string) {
		t.Helper()
		must[blockblob.UploadResponse](t)(c.NewBlockBlobClient(name).Upload(ctx, sbody("x"), &blockblob.UploadOptions{Tags: tags}))
	}
	put(box, "a", map[string]string{"model": "m 1", "stage": "dev"})
	put(box, "b/c", map[string]string{"model": "m 1", "stage": "prod"})
	put(box, "none", nil)
	put(other, "d", map[string]string{"model": "m 1", "date": "2026-11-23"})
	w.wantFound(`"model" = 'm 1'`, "box/a box/b/c other/d")
	w.wantFound(`model = 'm 1' AND stage='prod'`, "box/b/c")
	w.wantFound(`@container = 'box' AND "model" >= 'm'`, "box/a box/b/c")
	w.wantFound(`date > '2026-11-01' and date <= '2026-11-23'`, "other/d")
	w.wantFound(`model = 'm'`, "")
	for _, bad := range []string{"x", "x=y", "x='y", `"x='y'`, "@container='box'", "@container>'box' AND x='y'", "x='y' OR z='y'", "x!='y'", "='y'", "x='*'"} {
		want(t, w.do("GET", "?comp=blobs&where="+strings.NewReplacer("%", "%25", " ", "%20", "&", "%26", "'", "%27", `"`, "%22", "+", "%2B", "<", "%3C", ">", "%3E", "=", "%3D").Replace(bad), ""), 400, "InvalidQueryParameterValue")
	}
	want(t, w.do("GET", "?comp=blobs", ""), 400, "MissingRequiredQueryParameter")
	want(t, w.do("GET", "none?restype=container&comp=blobs&where=x%3D%27y%27", ""), 404, "ContainerNotFound")

	a := box.NewBlobClient("a")
	before := must[sdkblob.GetPropertiesResponse](t)(a.GetProperties(ctx, nil))
	must[sdkblob.SetTagsResponse](t)(a.SetTags(ctx, map[string]string{"stage": "test"}, nil))
	got := must[sdkblob.GetTagsResponse](t)(a.GetTags(ctx, nil))
	if len(got.BlobTagSet) != 1 || *got.BlobTagSet[0].Key != "stage" || *got.BlobTagSet[0].Value != "test" {
		t.Errorf("tags %+v", got.BlobTagSet)
	}
	after := must[sdkblob.GetPropertiesResponse](t)(a.GetProperties(ctx, nil))
	if *after.TagCount != 1 || *before.TagCount != 2 || *after.ETag != *before.ETag {
		t.Errorf("properties %d %d", *before.TagCount, *after.TagCount)
	}
	w.wantFound(`"model" = 'm 1'`, "box/b/c other/d")
	w.wantFound(`stage = 'test'`, "box/a")
	for p := box.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Tags: true}}); p.More(); {
		items := must[container.ListBlobsFlatResponse](t)(p.NextPage(ctx)).Segment.BlobItems
		if len(items[0].BlobTags.BlobTagSet) != 1 || items[2].BlobTags != nil || *items[0].Properties.TagCount != 1 {
			t.Errorf("list %+v", items[0])
		}
	}
	for _, bad := range []map[string]string{{"": "x"}, {"k": "*"}, {"k": strings.Repeat("x", 257)}, {strings.Repeat("x", 129): "v"}} {
		_, err := a.SetTags(ctx, bad, nil)
		wantCode(t, err, "InvalidInput")
	}
	many := map[string]string{}
	for i := range 11 {
		many[fmt.Sprint("k", i)] = "v"
	}
	_, err := a.SetTags(ctx, many, nil)
	wantCode(t, err, "InvalidInput")

	// The index follows deletion, what is undone of it, and replacement.
	must[sdkblob.DeleteResponse](t)(a.Delete(ctx, nil))
	w.wantFound(`stage = 'test'`, "")
	must[sdkblob.UndeleteResponse](t)(a.Undelete(ctx, nil))
	w.wantFound(`stage = 'test'`, "box/a")
	put(box, "a", map[string]string{"stage": "new"})
	w.wantFound(`stage >= 'a'`, "box/a box/b/c")
	if _, err := w.dfsWithKey("acct").NewFileSystemClient("box").NewFileClient("a").Rename(ctx, "z", nil); err != nil {
		t.Fatal(err)
	}
	w.wantFound(`stage = 'new'`, "box/z")
	must[sdkblob.SetTierResponse](t)(box.NewBlobClient("z").SetTier(ctx, sdkblob.AccessTierCool, nil))
	if p := must[sdkblob.GetPropertiesResponse](t)(box.NewBlobClient("z").GetProperties(ctx, nil)); *p.AccessTier != "Cool" || *p.TagCount != 1 {
		t.Errorf("tier %s", *p.AccessTier)
	}
	must[container.DeleteResponse](t)(box.Delete(ctx, nil))
	w.wantFound(`stage = 'new'`, "")
	w.sound()
	must[container.DeleteResponse](t)(other.Delete(ctx, nil))
	w.sound()
	if err := w.store.View(ctx, func(tx store.Tx) error {
		for row, err := range tx.Scan(bucketTags, store.Range{}) {
			if err != nil {
				return err
			}
			t.Errorf("left %q", row.Key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWhoMayTag(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	w.grant("writer", "data "+rbacPrefix+"containers/blobs/write", "")
	bb := w.serviceAs("writer").NewContainerClient("box").NewBlockBlobClient("tagged")
	_, err := bb.Upload(ctx, sbody("x"), &blockblob.UploadOptions{Tags: map[string]string{"a": "b"}})
	wantCode(t, err, "AuthorizationPermissionMismatch")
	_, err = bb.Upload(ctx, sbody("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.grant("writer", "data "+rbacPrefix+"containers/blobs/tags/write", "")
	if _, err := bb.Upload(ctx, sbody("x"), &blockblob.UploadOptions{Tags: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	_, err = bb.GetTags(ctx, nil)
	wantCode(t, err, "AuthorizationPermissionMismatch")
	for permissions, status := range map[string]int{"rw": 403, "rwt": 201} {
		q := must[string](t)(storage.SignServiceSAS(w.accounts["acct"], storage.ServiceSAS{Container: "box", Permissions: permissions, Expiry: time.Now().Add(time.Hour)}))
		resp := w.get("PUT", acctURL+"box/t?"+q, "x", "x-ms-blob-type", "BlockBlob", "x-ms-tags", "a=b%20c")
		if resp.StatusCode != status {
			t.Errorf("%s: %d", permissions, resp.StatusCode)
		}
	}
	w.wantFound("a = 'b c'", "box/t")
	// Public access is not to tags.
	want(t, w.do("PUT", "box?restype=container&comp=acl", "", "x-ms-blob-public-access", "container"), 200, "")
	list := acctURL + "box?restype=container&comp=list"
	want(t, w.get("GET", list, "", "x-ms-version", "2022-11-02"), 200, "")
	want(t, w.get("GET", list+"&include=tags", "", "x-ms-version", "2022-11-02"), 401, "NoAuthenticationInformation")
	// They are not for a hierarchical namespace.
	w.lake()
	resp := w.lakeBlob("PUT", "tree/x", "x-ms-blob-type", "BlockBlob", "x-ms-tags", "a=b")
	want(t, resp, 501, "NotImplementedByAzimuth")
	_, err = w.blobOfLake().NewBlobClient("x").SetTags(ctx, map[string]string{"a": "b"}, nil)
	wantCode(t, err, "NotImplementedByAzimuth")
}

// FuzzParseTagQuery looks for crashes, and for queries about no tag.
func FuzzParseTagQuery(f *testing.F) {
	for _, s := range []string{`"a" = 'b'`, `@container='c' AND a>='b'`, `"`, `a<='b' and `} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := parseTagQuery(s)
		if err == nil && (q.lead().key == "" || q.lead().op == "") {
			t.Errorf("%q: %+v", s, q)
		}
	})
}
