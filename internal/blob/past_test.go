package blob

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	sdkblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// keeping is a container of an account with a retention policy.
func (w *world) keeping(p RetentionPolicy) *container.Client {
	w.tb.Helper()
	w.retain(p)
	cc := w.client().ServiceClient().NewContainerClient("box")
	if _, err := cc.Create(w.tb.Context(), nil); err != nil {
		w.tb.Fatal(err)
	}
	return cc
}

func (w *world) retain(p RetentionPolicy) {
	w.tb.Helper()
	if err := w.store.Update(w.tb.Context(), func(tx store.Tx) error { return w.svc.SetRetentionIn(tx, "uid-1", p) }); err != nil {
		w.tb.Fatal(err)
	}
}

func upload(tb testing.TB, cc *container.Client, name, content string) blockblob.UploadResponse {
	tb.Helper()
	return must[blockblob.UploadResponse](tb)(cc.NewBlockBlobClient(name).Upload(tb.Context(), sbody(content), nil))
}

func content(ctx context.Context, b *sdkblob.Client) string {
	r, err := b.DownloadStream(ctx, nil)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

var everything = container.ListBlobsInclude{Snapshots: true, Versions: true, Deleted: true}

// listed lists a container: name, then + for a snapshot, @ for an old version, !
// for the current one, and - for what is deleted.
func listed(tb testing.TB, cc *container.Client, include container.ListBlobsInclude, page int32) string {
	tb.Helper()
	var out []string
	for p := cc.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: include, MaxResults: &page}); p.More(); {
		for _, it := range must[container.ListBlobsFlatResponse](tb)(p.NextPage(tb.Context())).Segment.BlobItems {
			s := *it.Name
			if it.Snapshot != nil {
				s += "+"
			}
			switch {
			case it.IsCurrentVersion != nil:
				s += "!"
			case it.VersionID != nil:
				s += "@"
			}
			if it.Deleted != nil && *it.Deleted {
				s += "-"
			}
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

func wantNames(tb testing.TB, cc *container.Client, include container.ListBlobsInclude, want string) {
	tb.Helper()
	for _, page := range []int32{1, 2, 3, 5000} {
		if got := listed(tb, cc, include, page); got != want {
			tb.Errorf("list by %d: %q, want %q", page, got, want)
		}
	}
}

func TestSoftDelete(t *testing.T) {
	w := newWorld(t)
	cc := w.keeping(RetentionPolicy{Days: 7})
	ctx := t.Context()
	long := strings.Repeat("0123456789", 4000) // more than is kept inline
	upload(t, cc, "a", "one")
	upload(t, cc, "a", long)
	upload(t, cc, "a", "three")
	upload(t, cc, "a.b", "x")
	upload(t, cc, "a/b", "x")
	a := cc.NewBlobClient("a")
	wantNames(t, cc, container.ListBlobsInclude{}, "a a.b a/b")
	wantNames(t, cc, everything, "a+- a+- a a.b a/b")
	resp := w.do("DELETE", "box/a", "")
	if want(t, resp, 202, ""); resp.Header.Get("x-ms-delete-type-permanent") != "false" {
		t.Errorf("deletion: %v", resp.Header)
	}
	if got := content(ctx, a); !strings.Contains(got, "BlobNotFound") {
		t.Errorf("deleted blob: %.60s", got)
	}
	wantNames(t, cc, container.ListBlobsInclude{Deleted: true}, "a- a.b a/b")
	wantNames(t, cc, everything, "a+- a+- a- a.b a/b")
	for p := cc.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: everything}); p.More(); {
		it := must[container.ListBlobsFlatResponse](t)(p.NextPage(ctx)).Segment.BlobItems[2]
		if *it.Properties.RemainingRetentionDays != 6 || it.Properties.DeletedTime == nil {
			t.Errorf("deleted %+v", it.Properties)
		}
	}
	must[sdkblob.UndeleteResponse](t)(a.Undelete(ctx, nil))
	if got := content(ctx, a); got != "three" {
		t.Errorf("undeleted: %.60s", got)
	}
	wantNames(t, cc, everything, "a+ a+ a a.b a/b")
	_, err := a.Delete(ctx, nil)
	wantCode(t, err, bloberror.SnapshotsPresent)
	must[sdkblob.DeleteResponse](t)(a.Delete(ctx, &sdkblob.DeleteOptions{DeleteSnapshots: to.Ptr(sdkblob.DeleteSnapshotsOptionTypeInclude)}))
	// A new blob under the name makes the old one a deleted snapshot of it.
	upload(t, cc, "a", "four")
	wantNames(t, cc, everything, "a+- a+- a+- a a.b a/b")
	must[sdkblob.UndeleteResponse](t)(a.Undelete(ctx, nil))
	wantNames(t, cc, everything, "a+ a+ a+ a a.b a/b")
	for p := cc.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: everything}); p.More(); {
		var got []string
		for _, it := range must[container.ListBlobsFlatResponse](t)(p.NextPage(ctx)).Segment.BlobItems[:3] {
			s := must[*sdkblob.Client](t)(a.WithSnapshot(*it.Snapshot))
			got = append(got, fmt.Sprintf("%.5s", content(ctx, s)))
			// A snapshot can be promoted.
			if len(got) == 2 {
				must[sdkblob.CopyFromURLResponse](t)(a.CopyFromURL(ctx, s.URL(), nil))
			}
		}
		if s := strings.Join(got, " "); s != "one 01234 three" {
			t.Errorf("snapshots %s", s)
		}
	}
	if got := content(ctx, a); got != long {
		t.Errorf("promoted: %.60s", got)
	}
	w.sound()

	// Deletion through the endpoint of files, and time.
	must[sdkblob.DeleteResponse](t)(a.Delete(ctx, &sdkblob.DeleteOptions{DeleteSnapshots: to.Ptr(sdkblob.DeleteSnapshotsOptionTypeOnly)}))
	wantNames(t, cc, everything, "a+- a+- a+- a+- a a.b a/b")
	if err := w.svc.DeleteBlob(ctx, "acct", "box", "a.b"); err != nil {
		t.Fatal(err)
	}
	upload(t, cc, "d/x", "x")
	fs := w.dfsWithKey("acct").NewFileSystemClient("box")
	if _, err := fs.NewDirectoryClient("d").Delete(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.NewFileClient("a/b").Delete(ctx, nil); err != nil {
		t.Fatal(err)
	}
	wantNames(t, cc, container.ListBlobsInclude{Deleted: true}, "a a.b- a/b- d/x-")
	w.clock.Advance(8 * 24 * time.Hour)
	if err := w.svc.eng.expirePast(ctx); err != nil {
		t.Fatal(err)
	}
	wantNames(t, cc, everything, "a")
	w.sound()
	if r := must[*Report](t)(w.svc.Check(ctx)); r.Blobs != 1 || r.Files != 1 || r.Bytes != int64(len(long)) {
		t.Errorf("left %+v", r)
	}
}

func TestVersions(t *testing.T) {
	w := newWorld(t)
	cc := w.keeping(RetentionPolicy{Versioning: true})
	ctx := t.Context()
	v := cc.NewBlobClient("v")
	first := upload(t, cc, "v", "one")
	if first.VersionID == nil {
		t.Fatal("no version")
	}
	second := upload(t, cc, "v", "two")
	meta := must[sdkblob.SetMetadataResponse](t)(v.SetMetadata(ctx, map[string]*string{"m": to.Ptr("x")}, nil))
	if *meta.VersionID == *second.VersionID || *second.VersionID == *first.VersionID {
		t.Error("one ID twice")
	}
	wantNames(t, cc, everything, "v@ v@ v!")
	version := func(id *string) *sdkblob.Client { return must[*sdkblob.Client](t)(v.WithVersionID(*id)) }
	if got := content(ctx, version(first.VersionID)) + content(ctx, version(second.VersionID)) + content(ctx, version(meta.VersionID)); got != "onetwotwo" {
		t.Errorf("versions %q", got)
	}
	p := must[sdkblob.GetPropertiesResponse](t)(v.GetProperties(ctx, nil))
	if *p.VersionID != *meta.VersionID || !*p.IsCurrentVersion || *p.Metadata["M"] != "x" {
		t.Errorf("current %+v", p)
	}
	old := must[sdkblob.GetPropertiesResponse](t)(version(second.VersionID).GetProperties(ctx, nil))
	if *old.VersionID != *second.VersionID || old.IsCurrentVersion != nil || len(old.Metadata) != 0 {
		t.Errorf("old %+v", old)
	}
	_, err := version(meta.VersionID).Delete(ctx, nil)
	wantCode(t, err, bloberror.OperationNotAllowedOnRootBlob)
	// Deleted, it has only earlier versions; one of them can come back.
	must[sdkblob.DeleteResponse](t)(v.Delete(ctx, nil))
	wantNames(t, cc, container.ListBlobsInclude{}, "")
	wantNames(t, cc, everything, "v@ v@ v@")
	must[sdkblob.CopyFromURLResponse](t)(v.CopyFromURL(ctx, version(first.VersionID).URL(), nil))
	if got := content(ctx, v); got != "one" {
		t.Errorf("restored %q", got)
	}
	must[sdkblob.DeleteResponse](t)(version(first.VersionID).Delete(ctx, nil))
	wantNames(t, cc, everything, "v@ v@ v!")
	if got := content(ctx, v); got != "one" {
		t.Errorf("after its version went: %q", got)
	}
	// A snapshot begins a version. Soft delete keeps versions that are deleted.
	w.retain(RetentionPolicy{Versioning: true, Days: 1})
	snap := must[sdkblob.CreateSnapshotResponse](t)(v.CreateSnapshot(ctx, nil))
	wantNames(t, cc, everything, "v@ v@ v@ v+ v!")
	if got := content(ctx, must[*sdkblob.Client](t)(v.WithSnapshot(*snap.Snapshot))); got != "one" {
		t.Errorf("snapshot %q", got)
	}
	must[sdkblob.DeleteResponse](t)(version(second.VersionID).Delete(ctx, nil))
	wantNames(t, cc, everything, "v@- v@ v@ v+ v!")
	wantNames(t, cc, container.ListBlobsInclude{Versions: true}, "v@ v@ v!")
	if got := content(ctx, version(second.VersionID)); !strings.Contains(got, "BlobNotFound") {
		t.Errorf("deleted version: %.60s", got)
	}
	must[sdkblob.UndeleteResponse](t)(v.Undelete(ctx, nil))
	if got := content(ctx, version(second.VersionID)); got != "two" {
		t.Errorf("undeleted version: %.60s", got)
	}
	// Without versioning what was a version stays one, and what comes is none.
	w.retain(RetentionPolicy{})
	upload(t, cc, "v", "plain")
	upload(t, cc, "v", "plainer")
	wantNames(t, cc, container.ListBlobsInclude{Versions: true}, "v@ v@ v@ v@ v")
	if got := content(ctx, must[*sdkblob.Client](t)(v.WithSnapshot(*snap.Snapshot))); got != "one" {
		t.Errorf("snapshot %q", got)
	}
	if n := len(strings.Fields(listed(t, cc, everything, 5000))); n != 6 {
		t.Errorf("%d of everything", n)
	}
	// All of it goes with the container.
	w.retain(RetentionPolicy{Days: 5})
	upload(t, cc, "w", "one")
	upload(t, cc, "w", "two")
	must[container.DeleteResponse](t)(cc.Delete(ctx, nil))
	w.sound()
	if r := must[*Report](t)(w.svc.Check(ctx)); r.Blobs != 0 || r.Files != 0 || r.Bytes != 0 {
		t.Errorf("left %+v", r)
	}
	if n := w.count(bucketPast) + w.count(bucketDue); n != 0 {
		t.Errorf("%d rows left", n)
	}
}

func TestSnapshotsStayAsTheyWere(t *testing.T) {
	w := newWorld(t)
	cc := w.keeping(RetentionPolicy{})
	ctx := t.Context()
	ab := cc.NewAppendBlobClient("log")
	must[appendblob.CreateResponse](t)(ab.Create(ctx, nil))
	must[appendblob.AppendBlockResponse](t)(ab.AppendBlock(ctx, sbody("one "), nil))
	log := cc.NewBlobClient("log")
	first := must[sdkblob.CreateSnapshotResponse](t)(log.CreateSnapshot(ctx, &sdkblob.CreateSnapshotOptions{Metadata: map[string]*string{"of": to.Ptr("log")}}))
	must[appendblob.AppendBlockResponse](t)(ab.AppendBlock(ctx, sbody("two"), nil))
	bb := cc.NewBlockBlobClient("blocks")
	for _, id := range []string{"AAAA", "BBBB"} {
		must[blockblob.StageBlockResponse](t)(bb.StageBlock(ctx, id, sbody(strings.Repeat(id, 5000)), nil))
	}
	must[blockblob.CommitBlockListResponse](t)(bb.CommitBlockList(ctx, []string{"AAAA", "BBBB"}, nil))
	blocks := cc.NewBlobClient("blocks")
	second := must[sdkblob.CreateSnapshotResponse](t)(blocks.CreateSnapshot(ctx, nil))
	must[blockblob.CommitBlockListResponse](t)(bb.CommitBlockList(ctx, []string{"BBBB"}, nil))
	w.sound()
	s1 := must[*sdkblob.Client](t)(log.WithSnapshot(*first.Snapshot))
	s2 := must[*sdkblob.Client](t)(blocks.WithSnapshot(*second.Snapshot))
	if got := content(ctx, s1) + "|" + content(ctx, log); got != "one |one two" {
		t.Errorf("append blob %q", got)
	}
	if p := must[sdkblob.GetPropertiesResponse](t)(s1.GetProperties(ctx, nil)); *p.Metadata["Of"] != "log" {
		t.Errorf("metadata %v", p.Metadata)
	}
	if content(ctx, s2) != strings.Repeat("AAAA", 5000)+strings.Repeat("BBBB", 5000) || content(ctx, blocks) != strings.Repeat("BBBB", 5000) {
		t.Error("block blob")
	}
	// Without soft delete, deleted is gone.
	must[sdkblob.DeleteResponse](t)(log.Delete(ctx, &sdkblob.DeleteOptions{DeleteSnapshots: to.Ptr(sdkblob.DeleteSnapshotsOptionTypeInclude)}))
	must[sdkblob.DeleteResponse](t)(s2.Delete(ctx, nil))
	wantNames(t, cc, everything, "blocks")
	w.sound()
	if r := must[*Report](t)(w.svc.Check(ctx)); r.Blobs != 1 || r.Files != 1 {
		t.Errorf("left %+v", r)
	}
}

func TestWhoMayDeleteVersions(t *testing.T) {
	w := newWorld(t)
	cc := w.keeping(RetentionPolicy{Versioning: true})
	ctx := t.Context()
	first := upload(t, cc, "v", "one")
	upload(t, cc, "v", "two")
	w.grant("writer", "data "+rbacPrefix+"containers/blobs/delete", "")
	w.grant("owner", "data "+rbacPrefix+"containers/blobs/deleteBlobVersion/action", "")
	del := func(who string) error {
		b := must[*sdkblob.Client](t)(w.serviceAs(who).NewContainerClient("box").NewBlobClient("v").WithVersionID(*first.VersionID))
		_, err := b.Delete(ctx, nil)
		return err
	}
	wantCode(t, del("writer"), "AuthorizationPermissionMismatch")
	if err := del("owner"); err != nil {
		t.Error(err)
	}
}

// FuzzParseTicks looks for times that do not come back as they were written.
func FuzzParseTicks(f *testing.F) {
	f.Add("2026-11-23T11:51:36.5313947Z")
	f.Add("0001-01-01T00:00:00.0000000Z")
	f.Fuzz(func(t *testing.T, s string) {
		if ticks, ok := parseTicks(s); ok && tickTime(ticks) != s {
			t.Errorf("%q is %q", s, tickTime(ticks))
		}
	})
}
