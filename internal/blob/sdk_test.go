package blob

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

func body(s string) io.ReadSeekCloser { return streaming.NopCloser(strings.NewReader(s)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func download(t *testing.T, b *blob.Client) []byte {
	t.Helper()
	resp, err := b.DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestUploadAndDownloadOfEverySize(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.client()
	if _, err := c.CreateContainer(ctx, "data", nil); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, inlineLimit, inlineLimit + 1, copyBuffer, copyBuffer + 1, 3<<20 + 17} {
		data := randomBytes(n)
		name := fmt.Sprintf("dir/size %d+ü.bin", n)
		bb := c.ServiceClient().NewContainerClient("data").NewBlockBlobClient(name)
		for range 2 { // the second replaces the first
			if _, err := bb.Upload(ctx, streaming.NopCloser(bytes.NewReader(data)), nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := download(t, bb.BlobClient()); !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: got back %d other bytes", n, len(got))
		}
		p := must[blob.GetPropertiesResponse](t)(bb.GetProperties(ctx, nil))
		sum := md5.Sum(data)
		if *p.ContentLength != int64(n) || !bytes.Equal(p.ContentMD5, sum[:]) || *p.BlobType != blob.BlobTypeBlockBlob {
			t.Errorf("%d bytes: properties %d %x %s", n, *p.ContentLength, p.ContentMD5, *p.BlobType)
		}
	}
	data := randomBytes(5<<20 + 3)
	for _, block := range []int64{1 << 20, 700_001} {
		if _, err := c.UploadBuffer(ctx, "data", "blocks", data, &azblob.UploadBufferOptions{BlockSize: block, Concurrency: 3}); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(data))
		if _, err := c.DownloadBuffer(ctx, "data", "blocks", got, &azblob.DownloadBufferOptions{BlockSize: 1<<20 - 7}); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("download of blocks: %v", err)
		}
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); len(r.Problems) > 0 || r.Blobs != 8 {
		t.Errorf("check: %+v", r)
	}
}

func TestContainers(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	svc := w.client().ServiceClient()
	for i := range 7 {
		if _, err := svc.CreateContainer(ctx, fmt.Sprintf("c-%d", i), &service.CreateContainerOptions{Metadata: map[string]*string{"n": to.Ptr(fmt.Sprint(i))}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := svc.CreateContainer(ctx, "c-1", nil)
	wantCode(t, err, bloberror.ContainerAlreadyExists)
	var names []string
	pager := svc.NewListContainersPager(&service.ListContainersOptions{Prefix: to.Ptr("c-"), MaxResults: to.Ptr(int32(3)), Include: service.ListContainersInclude{Metadata: true}})
	pages := 0
	for pager.More() {
		page := must[service.ListContainersResponse](t)(pager.NextPage(ctx))
		pages++
		for _, it := range page.ContainerItems {
			names = append(names, *it.Name+*it.Metadata["n"])
		}
	}
	if got := strings.Join(names, " "); pages != 3 || got != "c-00 c-11 c-22 c-33 c-44 c-55 c-66" {
		t.Errorf("%d pages: %s", pages, got)
	}
	cc := svc.NewContainerClient("c-1")
	if _, err := cc.SetMetadata(ctx, &container.SetMetadataOptions{Metadata: map[string]*string{"hello": to.Ptr("world")}}); err != nil {
		t.Fatal(err)
	}
	p := must[container.GetPropertiesResponse](t)(cc.GetProperties(ctx, nil))
	if *p.Metadata["Hello"] != "world" || *p.LeaseState != "available" {
		t.Errorf("properties %v", p.Metadata)
	}
	if _, err := cc.SetAccessPolicy(ctx, &container.SetAccessPolicyOptions{Access: to.Ptr(container.PublicAccessTypeBlob),
		ContainerACL: []*container.SignedIdentifier{{ID: to.Ptr("p1"), AccessPolicy: &container.AccessPolicy{Permission: to.Ptr("r")}}}}); err != nil {
		t.Fatal(err)
	}
	acl := must[container.GetAccessPolicyResponse](t)(cc.GetAccessPolicy(ctx, nil))
	if len(acl.SignedIdentifiers) != 1 || *acl.SignedIdentifiers[0].ID != "p1" || *acl.BlobPublicAccess != "blob" {
		t.Errorf("acl %+v", acl)
	}
	if _, err := cc.NewBlockBlobClient("x").Upload(ctx, body("old"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cc.Delete(ctx, nil); err != nil {
		t.Fatal(err)
	}
	_, err = cc.GetProperties(ctx, nil)
	wantCode(t, err, bloberror.ContainerNotFound)
	if _, err := cc.Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	_, err = cc.NewBlobClient("x").GetProperties(ctx, nil)
	wantCode(t, err, bloberror.BlobNotFound)
}

func TestListing(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	cc := w.client().ServiceClient().NewContainerClient("list")
	must[container.CreateResponse](t)(cc.Create(ctx, nil))
	for _, n := range []string{"a.txt", "a/1", "a/2", "a/b/1", "b/1", "b/2", "c", "c\u0001d", "e/f/g", "z<&>"} {
		if _, err := cc.NewBlockBlobClient(n).Upload(ctx, body(n), &blockblob.UploadOptions{Metadata: map[string]*string{"m": to.Ptr("v")}}); err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := cc.NewBlockBlobClient("d/uncommitted").StageBlock(ctx, "AAAA", body("x"), nil); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		prefix, delimiter, want string
		uncommitted             bool
	}{
		{want: "a.txt a/1 a/2 a/b/1 b/1 b/2 c c\u0001d e/f/g z<&>"},
		{prefix: "a/", want: "a/1 a/2 a/b/1"},
		{prefix: "nothing", want: ""},
		{delimiter: "/", want: "a.txt [a/] [b/] c c\u0001d [e/] z<&>"},
		{delimiter: "/", uncommitted: true, want: "a.txt [a/] [b/] c c\u0001d [d/] [e/] z<&>"},
		{prefix: "a/", delimiter: "/", want: "a/1 a/2 [a/b/]"},
		{prefix: "a", delimiter: "/", want: "a.txt [a/]"},
		{prefix: "d/", uncommitted: true, want: "d/uncommitted"},
	} {
		for _, size := range []int32{1, 2, 5000} {
			var got []string
			inc := container.ListBlobsInclude{UncommittedBlobs: tc.uncommitted, Metadata: true}
			blobs := func(items []*container.BlobItem) {
				for _, it := range items {
					got = append(got, *it.Name)
				}
			}
			if tc.delimiter == "" {
				p := cc.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &tc.prefix, MaxResults: &size, Include: inc})
				for p.More() {
					blobs(must[container.ListBlobsFlatResponse](t)(p.NextPage(ctx)).Segment.BlobItems)
				}
			} else {
				p := cc.NewListBlobsHierarchyPager(tc.delimiter, &container.ListBlobsHierarchyOptions{Prefix: &tc.prefix, MaxResults: &size, Include: inc})
				for p.More() {
					seg := must[container.ListBlobsHierarchyResponse](t)(p.NextPage(ctx)).Segment
					// The document has blobs and prefixes in one order; the SDK
					// gives two lists, so order is checked below for size 1 only.
					blobs(seg.BlobItems)
					for _, bp := range seg.BlobPrefixes {
						got = append(got, "["+*bp.Name+"]")
					}
				}
			}
			if size != 1 {
				if len(got) != len(strings.Fields(tc.want)) {
					t.Errorf("%+v by %d: %q", tc, size, got)
				}
				continue
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("%+v: %q", tc, s)
			}
		}
	}
}

func TestBlocks(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	cc := w.client().ServiceClient().NewContainerClient("blocks")
	must[container.CreateResponse](t)(cc.Create(ctx, nil))
	bb := cc.NewBlockBlobClient("b")
	id := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	big := string(randomBytes(inlineLimit * 3))
	for k, v := range map[string]string{"one": "first-", "two": big, "six": "unused"} {
		if _, err := bb.StageBlock(ctx, id(k), body(v), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := bb.StageBlock(ctx, id("longer"), body("x"), nil)
	wantCode(t, err, bloberror.InvalidBlobOrBlock)
	_, err = bb.GetProperties(ctx, nil)
	wantCode(t, err, bloberror.BlobNotFound)
	_, err = bb.CommitBlockList(ctx, []string{id("not")}, nil)
	wantCode(t, err, bloberror.InvalidBlockList)
	l := must[blockblob.GetBlockListResponse](t)(bb.GetBlockList(ctx, blockblob.BlockListTypeAll, nil))
	if len(l.UncommittedBlocks) != 3 || len(l.CommittedBlocks) != 0 {
		t.Errorf("block list %+v", l.BlockList)
	}
	if _, err := bb.CommitBlockList(ctx, []string{id("one"), id("two"), id("one"), id("two")}, nil); err != nil {
		t.Fatal(err)
	}
	if got := download(t, bb.BlobClient()); string(got) != "first-"+big+"first-"+big {
		t.Fatalf("committed %d bytes", len(got))
	}
	// Committed blocks are used again, in another order, with a new one between.
	if _, err := bb.StageBlock(ctx, id("new"), body("-new-"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := bb.CommitBlockList(ctx, []string{id("two"), id("new"), id("one")}, nil); err != nil {
		t.Fatal(err)
	}
	if got := download(t, bb.BlobClient()); string(got) != big+"-new-"+"first-" {
		t.Fatalf("committed again %d bytes", len(got))
	}
	l = must[blockblob.GetBlockListResponse](t)(bb.GetBlockList(ctx, blockblob.BlockListTypeAll, nil))
	if len(l.UncommittedBlocks) != 0 || len(l.CommittedBlocks) != 3 || *l.CommittedBlocks[0].Size != int64(len(big)) {
		t.Errorf("block list %+v", l.BlockList)
	}
	_, err = bb.CommitBlockList(ctx, []string{id("six")}, nil)
	wantCode(t, err, bloberror.InvalidBlockList)
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); len(r.Problems) > 0 || r.Files != 1 || r.Orphans != 0 {
		t.Errorf("check: %+v", r)
	}
	if _, err := bb.Delete(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); len(r.Problems) > 0 || r.Files+r.Orphans+r.Blobs != 0 {
		t.Errorf("check after delete: %+v", r)
	}
}

func TestAppend(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	cc := w.client().ServiceClient().NewContainerClient("logs")
	must[container.CreateResponse](t)(cc.Create(ctx, nil))
	ab := cc.NewAppendBlobClient("log")
	_, err := ab.AppendBlock(ctx, body("x"), nil)
	wantCode(t, err, bloberror.BlobNotFound)
	if _, err := ab.Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	_, err = cc.NewBlockBlobClient("log").StageBlock(ctx, "AAAA", body("x"), nil)
	wantCode(t, err, bloberror.InvalidBlobType)
	long := string(randomBytes(copyBuffer + 100))
	var all string
	for _, s := range []string{"one\n", long, "two\n"} {
		resp, err := ab.AppendBlock(ctx, body(s), &appendblob.AppendBlockOptions{AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr(int64(len(all)))}})
		if err != nil {
			t.Fatal(err)
		}
		if *resp.BlobAppendOffset != fmt.Sprint(len(all)) {
			t.Errorf("offset %s, want %d", *resp.BlobAppendOffset, len(all))
		}
		all += s
	}
	if got := download(t, ab.BlobClient()); string(got) != all {
		t.Errorf("got %d bytes, want %d", len(got), len(all))
	}
	_, err = ab.AppendBlock(ctx, body("x"), &appendblob.AppendBlockOptions{AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr(int64(3))}})
	wantCode(t, err, bloberror.AppendPositionConditionNotMet)
	_, err = ab.AppendBlock(ctx, body("xyz"), &appendblob.AppendBlockOptions{AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{MaxSize: to.Ptr(int64(len(all) + 2))}})
	wantCode(t, err, bloberror.MaxBlobSizeConditionNotMet)
	for range 3 {
		if _, err := w.svc.AppendBlob(ctx, "acct", "logs", "in/process", []byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	if got := download(t, cc.NewBlobClient("in/process")); string(got) != "line\nline\nline\n" {
		t.Errorf("got %q", got)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); len(r.Problems) > 0 || r.Files != 2 {
		t.Errorf("check: %+v", r)
	}
}

func TestPropertiesAndMetadata(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	cc := w.client().ServiceClient().NewContainerClient("props")
	must[container.CreateResponse](t)(cc.Create(ctx, nil))
	bb := cc.NewBlockBlobClient("b")
	if _, err := bb.Upload(ctx, body("text"), &blockblob.UploadOptions{
		Metadata: map[string]*string{"Key": to.Ptr("v")}, Tier: to.Ptr(blob.AccessTierCool),
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: to.Ptr("text/plain"), BlobCacheControl: to.Ptr("no-cache"), BlobContentLanguage: to.Ptr("en")}}); err != nil {
		t.Fatal(err)
	}
	p := must[blob.GetPropertiesResponse](t)(bb.GetProperties(ctx, nil))
	if *p.ContentType != "text/plain" || *p.CacheControl != "no-cache" || *p.Metadata["Key"] != "v" || *p.AccessTier != "Cool" {
		t.Errorf("properties %+v", p)
	}
	if _, err := bb.SetHTTPHeaders(ctx, blob.HTTPHeaders{BlobContentType: to.Ptr("a/b")}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := bb.SetMetadata(ctx, map[string]*string{"other": to.Ptr("x")}, nil); err != nil {
		t.Fatal(err)
	}
	q := must[blob.GetPropertiesResponse](t)(bb.GetProperties(ctx, nil))
	if *q.ContentType != "a/b" || q.CacheControl != nil || q.ContentLanguage != nil || len(q.Metadata) != 1 || *q.Metadata["Other"] != "x" || *q.ETag == *p.ETag || !q.CreationTime.Equal(*p.CreationTime) {
		t.Errorf("properties %+v", q)
	}
	if _, err := bb.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: to.Ptr(blob.DeleteSnapshotsOptionTypeInclude)}); err != nil {
		t.Fatal(err)
	}
	_, err := bb.Delete(ctx, nil)
	wantCode(t, err, bloberror.BlobNotFound)
}

func TestCopy(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.addAccount("other", "uid-2")
	cc := w.client().ServiceClient().NewContainerClient("copy")
	must[container.CreateResponse](t)(cc.Create(ctx, nil))
	data := randomBytes(inlineLimit * 2)
	contents := map[string][]byte{"small": []byte("small"), "file": data, "list": append(append([]byte(nil), data...), "tail"...), "log": []byte("line\n")}
	for _, n := range []string{"small", "file"} {
		must[blockblob.UploadResponse](t)(cc.NewBlockBlobClient(n).Upload(ctx, streaming.NopCloser(bytes.NewReader(contents[n])), nil))
	}
	bb := cc.NewBlockBlobClient("list")
	must[blockblob.StageBlockResponse](t)(bb.StageBlock(ctx, "AAAA", streaming.NopCloser(bytes.NewReader(data)), nil))
	must[blockblob.StageBlockResponse](t)(bb.StageBlock(ctx, "BBBB", body("tail"), nil))
	must[blockblob.CommitBlockListResponse](t)(bb.CommitBlockList(ctx, []string{"AAAA", "BBBB"}, nil))
	if _, err := w.svc.AppendBlob(ctx, "acct", "copy", "log", contents["log"]); err != nil {
		t.Fatal(err)
	}
	for n, want := range contents {
		dst := cc.NewBlobClient(n + "-copy")
		for range 2 {
			r, err := dst.StartCopyFromURL(ctx, cc.NewBlobClient(n).URL(), nil)
			if err != nil || *r.CopyStatus != blob.CopyStatusTypeSuccess {
				t.Fatal(n, err)
			}
		}
		must[blob.DeleteResponse](t)(cc.NewBlobClient(n).Delete(ctx, nil))
		if err := w.svc.eng.reapAll(ctx); err != nil {
			t.Fatal(err)
		}
		if got := download(t, dst); !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes, want %d", n, len(got), len(want))
		}
	}
	if _, err := w.svc.AppendBlob(ctx, "acct", "copy", "log-copy", []byte("more\n")); err != nil {
		t.Fatal(err)
	}
	_, err := cc.NewBlobClient("x").StartCopyFromURL(ctx, cc.NewBlobClient("gone").URL(), nil)
	wantCode(t, err, bloberror.CannotVerifyCopySource)
	_, err = cc.NewBlobClient("x").StartCopyFromURL(ctx, "https://other.blob.core.windows.net/c/b", nil)
	wantCode(t, err, bloberror.CannotVerifyCopySource)
	if _, err := cc.NewBlockBlobClient("put").UploadBlobFromURL(ctx, cc.NewBlobClient("file-copy").URL(), nil); err != nil {
		t.Error(err)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); len(r.Problems) > 0 || r.Orphans != 0 {
		t.Errorf("check: %+v", r)
	}
}
