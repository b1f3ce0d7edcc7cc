package files

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/directory"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/file"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/fileerror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/service"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/share"

	"github.com/azimuth-ml/azimuth/internal/fileshare"
	"github.com/azimuth-ml/azimuth/internal/storage/storagetest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const base = "https://acct.file.core.windows.net/"

type world struct {
	*storagetest.World
	svc  *Service
	dirs *fileshare.Shares
}

func newWorld(tb testing.TB) *world {
	w := &world{World: storagetest.New(tb)}
	var err error
	if w.dirs, err = fileshare.Open(w.Dir); err != nil {
		tb.Fatal(err)
	}
	w.svc = Open(tb.Context(), Config{Config: w.Config(), Dirs: w.dirs})
	w.Serve(w.svc)
	return w
}

func (w *world) key() *service.SharedKeyCredential {
	cred, err := service.NewSharedKeyCredential("acct", w.Key("acct"))
	if err != nil {
		w.TB.Fatal(err)
	}
	return cred
}

func (w *world) client() *service.Client {
	c, err := service.NewClientWithSharedKeyCredential(base, w.key(), &service.ClientOptions{ClientOptions: w.ClientOptions()})
	if err != nil {
		w.TB.Fatal(err)
	}
	return c
}

// box makes a share and returns its client and its directory on this disk.
func (w *world) box() (*share.Client, string) {
	w.TB.Helper()
	c := w.client().NewShareClient("box")
	if _, err := c.Create(w.TB.Context(), nil); err != nil {
		w.TB.Fatal(err)
	}
	return c, filepath.Join(w.Dir, "uid-1", "box")
}

func ok[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, code fileerror.Code) {
	t.Helper()
	if !fileerror.HasCode(err, code) {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestShares(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.client()
	box := c.NewShareClient("box")
	made := ok[share.CreateResponse](t)(box.Create(ctx, &share.CreateOptions{Quota: to.Ptr[int32](7), AccessTier: to.Ptr(share.AccessTierHot), Metadata: map[string]*string{"owner": to.Ptr("ann")}}))
	_, err := box.Create(ctx, nil)
	wantCode(t, err, fileerror.ShareAlreadyExists)
	p := ok[share.GetPropertiesResponse](t)(box.GetProperties(ctx, nil))
	if *p.Quota != 7 || *p.AccessTier != "Hot" || *p.ETag != *made.ETag || *p.Metadata["Owner"] != "ann" || *p.LeaseState != "available" {
		t.Errorf("properties %+v", p)
	}
	ok[share.SetPropertiesResponse](t)(box.SetProperties(ctx, &share.SetPropertiesOptions{Quota: to.Ptr[int32](9), AccessTier: to.Ptr(share.AccessTierCool)}))
	ok[share.SetMetadataResponse](t)(box.SetMetadata(ctx, &share.SetMetadataOptions{Metadata: map[string]*string{"a": to.Ptr("b")}}))
	exp := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	ok[share.SetAccessPolicyResponse](t)(box.SetAccessPolicy(ctx, &share.SetAccessPolicyOptions{ShareACL: []*share.SignedIdentifier{{ID: to.Ptr("p"),
		AccessPolicy: &share.AccessPolicy{Permission: to.Ptr("rl"), Expiry: &exp}}}}))
	if acl := ok[share.GetAccessPolicyResponse](t)(box.GetAccessPolicy(ctx, nil)); len(acl.SignedIdentifiers) != 1 || *acl.SignedIdentifiers[0].AccessPolicy.Permission != "rl" {
		t.Errorf("policies %v", acl.SignedIdentifiers)
	}
	for i := range 5 {
		ok[service.CreateShareResponse](t)(c.CreateShare(ctx, fmt.Sprintf("box-%d", i), nil))
	}
	// a program's share is one, too
	if _, err := w.dirs.Share("uid-1", "code-1"); err != nil {
		t.Fatal(err)
	}
	var names []string
	pages := 0
	for p := c.NewListSharesPager(&service.ListSharesOptions{MaxResults: to.Ptr[int32](4), Include: service.ListSharesInclude{Metadata: true}}); p.More(); pages++ {
		for _, s := range ok[service.ListSharesSegmentResponse](t)(p.NextPage(ctx)).Shares {
			names = append(names, fmt.Sprint(*s.Name, " ", *s.Properties.Quota))
			if *s.Name == "box" && *s.Metadata["a"] != "b" {
				t.Errorf("metadata %v", s.Metadata)
			}
		}
	}
	if strings.Join(names, ",") != "box 9,box-0 5120,box-1 5120,box-2 5120,box-3 5120,box-4 5120,code-1 5120" || pages != 2 {
		t.Errorf("listed %v in %d pages", names, pages)
	}
	key := ok[share.CreatePermissionResponse](t)(box.CreatePermission(ctx, "O:S-1-5-21G:S-1-5-21D:(A;;FA;;;SY)", nil))
	if got := ok[share.GetPermissionResponse](t)(box.GetPermission(ctx, *key.FilePermissionKey, nil)); *got.Permission != "O:S-1-5-21G:S-1-5-21D:(A;;FA;;;SY)" {
		t.Errorf("permission %q", *got.Permission)
	}
	lc := ok[*lease.ShareClient](t)(lease.NewShareClient(box, nil))
	ok[lease.ShareAcquireResponse](t)(lc.Acquire(ctx, -1, nil))
	_, err = box.Delete(ctx, nil)
	wantCode(t, err, "LeaseIdMissing")
	ok[lease.ShareReleaseResponse](t)(lc.Release(ctx, nil))
	ok[share.DeleteResponse](t)(box.Delete(ctx, nil))
	_, err = box.GetProperties(ctx, nil)
	wantCode(t, err, fileerror.ShareNotFound)
	ok[share.CreateResponse](t)(box.Create(ctx, nil))
	if p := ok[share.GetPropertiesResponse](t)(box.GetProperties(ctx, nil)); *p.Quota != 5120 || len(p.Metadata) != 0 {
		t.Errorf("a new share has the old one's properties: %+v", p)
	}
	ok[service.SetPropertiesResponse](t)(c.SetProperties(ctx, &service.SetPropertiesOptions{HourMetrics: &service.Metrics{Version: to.Ptr("1.0"), Enabled: to.Ptr(false), RetentionPolicy: &service.RetentionPolicy{Enabled: to.Ptr(false)}}}))
	ok[service.GetPropertiesResponse](t)(c.GetProperties(ctx, nil))
	_, err = box.CreateSnapshot(ctx, nil)
	wantCode(t, err, "NotImplementedByAzimuth")
}

func TestFiles(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	box, disk := w.box()
	dir := box.NewDirectoryClient("Data")
	ok[directory.CreateResponse](t)(dir.Create(ctx, &directory.CreateOptions{Metadata: map[string]*string{"k": to.Ptr("v")}}))
	_, err := dir.Create(ctx, nil)
	wantCode(t, err, fileerror.ResourceAlreadyExists)
	_, err = box.NewDirectoryClient("no/where").Create(ctx, nil)
	wantCode(t, err, fileerror.ParentNotFound)
	f := dir.NewFileClient("a b.txt")
	created := time.Date(2020, 1, 2, 3, 4, 5, 600, time.UTC)
	ok[file.CreateResponse](t)(f.Create(ctx, 10, &file.CreateOptions{
		HTTPHeaders: &file.HTTPHeaders{ContentType: to.Ptr("text/plain"), CacheControl: to.Ptr("no-store")}, Metadata: map[string]*string{"x": to.Ptr("y")},
		SMBProperties: &file.SMBProperties{CreationTime: &created, Attributes: &file.NTFSFileAttributes{ReadOnly: true, Hidden: true}},
	}))
	_, err = f.UploadRange(ctx, 0, streaming.NopCloser(strings.NewReader("0123456789")), nil)
	wantCode(t, err, fileerror.ReadOnlyAttribute)
	ok[file.SetHTTPHeadersResponse](t)(f.SetHTTPHeaders(ctx, &file.SetHTTPHeadersOptions{SMBProperties: &file.SMBProperties{Attributes: &file.NTFSFileAttributes{None: true}},
		HTTPHeaders: &file.HTTPHeaders{ContentType: to.Ptr("text/plain")}}))
	up := ok[file.UploadRangeResponse](t)(f.UploadRange(ctx, 0, streaming.NopCloser(strings.NewReader("0123456789")), nil))
	if b, err := os.ReadFile(filepath.Join(disk, "Data", "a b.txt")); err != nil || string(b) != "0123456789" {
		t.Errorf("on the disk: %q %v", b, err)
	}
	p := ok[file.GetPropertiesResponse](t)(f.GetProperties(ctx, nil))
	if *p.ContentLength != 10 || *p.ContentType != "text/plain" || *p.Metadata["X"] != "y" || *p.ETag != *up.ETag || !p.FileCreationTime.Equal(created.Truncate(100)) ||
		*p.FileAttributes != "Archive" || *p.ID == "" || *p.ParentID == "" || *p.FilePermissionKey == "" || *p.FileType != "File" {
		t.Errorf("properties %+v", p)
	}
	got := ok[file.DownloadStreamResponse](t)(f.DownloadStream(ctx, &file.DownloadStreamOptions{Range: file.HTTPRange{Offset: 3, Count: 4}, RangeGetContentMD5: to.Ptr(true)}))
	if b, _ := io.ReadAll(got.Body); string(b) != "3456" || len(got.ContentMD5) != 16 {
		t.Errorf("range %q", b)
	}
	// in any case, it is the same file
	other := box.NewDirectoryClient("DATA").NewFileClient("A B.TXT")
	if p := ok[file.GetPropertiesResponse](t)(other.GetProperties(ctx, nil)); *p.ContentLength != 10 {
		t.Errorf("in another case: %+v", p)
	}
	ok[file.ResizeResponse](t)(f.Resize(ctx, 20000, nil))
	ok[file.ClearRangeResponse](t)(f.ClearRange(ctx, file.HTTPRange{Offset: 0, Count: 8192}, nil))
	if r := ok[file.GetRangeListResponse](t)(f.GetRangeList(ctx, nil)); *r.FileContentLength != 20000 {
		t.Errorf("ranges %+v", r)
	}
	_, err = f.UploadRange(ctx, 19999, streaming.NopCloser(strings.NewReader("xx")), nil)
	wantCode(t, err, fileerror.InvalidRange)
	_, err = f.UploadRange(ctx, 0, streaming.NopCloser(strings.NewReader("xx")), &file.UploadRangeOptions{TransactionalValidation: file.TransferValidationTypeMD5(make([]byte, 16))})
	wantCode(t, err, fileerror.MD5Mismatch)
	ok[file.SetMetadataResponse](t)(f.SetMetadata(ctx, &file.SetMetadataOptions{Metadata: map[string]*string{"n": to.Ptr("1")}}))
	// large files go in parts
	big := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	bf := dir.NewFileClient("big")
	ok[file.CreateResponse](t)(bf.Create(ctx, int64(len(big)), nil))
	if err := bf.UploadBuffer(ctx, big, nil); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len(big))
	if n, err := bf.DownloadBuffer(ctx, back, nil); err != nil || n != int64(len(big)) || !bytes.Equal(back, big) {
		t.Errorf("downloaded %d (%v)", n, err)
	}
	// copies and renames
	cf := box.NewRootDirectoryClient().NewFileClient("copy")
	if cp := ok[file.StartCopyFromURLResponse](t)(cf.StartCopyFromURL(ctx, f.URL(), nil)); *cp.CopyStatus != "success" {
		t.Errorf("copy %+v", cp)
	}
	if p := ok[file.GetPropertiesResponse](t)(cf.GetProperties(ctx, nil)); *p.ContentLength != 20000 || *p.Metadata["N"] != "1" || *p.CopySource == "" {
		t.Errorf("the copy: %+v", p)
	}
	_, err = cf.AbortCopy(ctx, "x", nil)
	wantCode(t, err, "NoPendingCopyOperation")
	ok[file.RenameResponse](t)(cf.Rename(ctx, "Data/moved", nil))
	_, err = bf.Rename(ctx, "Data/moved", nil)
	wantCode(t, err, fileerror.ResourceAlreadyExists)
	ok[file.RenameResponse](t)(bf.Rename(ctx, "Data/moved", &file.RenameOptions{ReplaceIfExists: to.Ptr(true)}))
	ok[directory.RenameResponse](t)(dir.Rename(ctx, "New", nil))
	nf := box.NewDirectoryClient("New").NewFileClient("a b.txt")
	if p := ok[file.GetPropertiesResponse](t)(nf.GetProperties(ctx, nil)); *p.ContentType != "text/plain" || *p.Metadata["N"] != "1" {
		t.Errorf("after the rename: %+v", p)
	}
	if d := ok[directory.GetPropertiesResponse](t)(box.NewDirectoryClient("New").GetProperties(ctx, nil)); *d.Metadata["K"] != "v" || *d.FileAttributes != "Directory" {
		t.Errorf("the directory after the rename: %+v", d)
	}
	_, err = box.NewDirectoryClient("New").Delete(ctx, nil)
	wantCode(t, err, fileerror.DirectoryNotEmpty)
	// leases
	lc := ok[*lease.FileClient](t)(lease.NewFileClient(nf, nil))
	ok[lease.FileAcquireResponse](t)(lc.Acquire(ctx, nil))
	_, err = nf.Delete(ctx, nil)
	wantCode(t, err, "LeaseIdMissing")
	ok[file.DeleteResponse](t)(nf.Delete(ctx, &file.DeleteOptions{LeaseAccessConditions: &file.LeaseAccessConditions{LeaseID: lc.LeaseID()}}))
	ok[file.DeleteResponse](t)(box.NewDirectoryClient("New").NewFileClient("MOVED").Delete(ctx, nil))
	if h := ok[directory.ForceCloseHandlesResponse](t)(box.NewDirectoryClient("New").ForceCloseHandles(ctx, "*", nil)); *h.NumberOfHandlesClosed != 0 {
		t.Errorf("handles %+v", h)
	}
	if h := ok[directory.ListHandlesResponse](t)(box.NewDirectoryClient("New").ListHandles(ctx, nil)); len(h.Handles) != 0 {
		t.Errorf("handles %+v", h)
	}
	ok[directory.DeleteResponse](t)(box.NewDirectoryClient("New").Delete(ctx, nil))
	w.empty(bucketMeta)
	stats := ok[share.GetStatisticsResponse](t)(box.GetStatistics(ctx, nil))
	if *stats.ShareUsageBytes != 0 {
		t.Errorf("%d bytes are left", *stats.ShareUsageBytes)
	}
}

func (w *world) empty(buckets ...string) {
	w.TB.Helper()
	if err := w.Store.View(w.TB.Context(), func(tx store.Tx) error {
		for _, b := range buckets {
			for row, err := range tx.Scan(b, store.Range{Limit: 1}) {
				if err != nil {
					return err
				}
				w.TB.Errorf("%s has %s", b, row.Key)
			}
		}
		return nil
	}); err != nil {
		w.TB.Fatal(err)
	}
}

// TestPrograms checks that programs and clients share their files, whatever the
// programs do.
func TestPrograms(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	box, disk := w.box()
	outside := filepath.Join(w.Dir, "secret")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(outside, "secret")
	write(filepath.Join(disk, "note.ipynb"), "{}")
	root := box.NewRootDirectoryClient()
	f := root.NewFileClient("note.ipynb")
	p := ok[file.GetPropertiesResponse](t)(f.GetProperties(ctx, nil))
	if *p.ContentLength != 2 || *p.ContentType != "application/octet-stream" || *p.ETag == "" {
		t.Errorf("a program's file: %+v", p)
	}
	ok[file.SetMetadataResponse](t)(f.SetMetadata(ctx, &file.SetMetadataOptions{Metadata: map[string]*string{"n": to.Ptr("1")}}))
	ok[file.SetHTTPHeadersResponse](t)(f.SetHTTPHeaders(ctx, &file.SetHTTPHeadersOptions{HTTPHeaders: &file.HTTPHeaders{ContentType: to.Ptr("a/b"), ContentMD5: make([]byte, 16)}}))
	before := ok[file.GetPropertiesResponse](t)(f.GetProperties(ctx, nil))
	write(filepath.Join(disk, "note.ipynb"), "{ }")
	if err := os.Chtimes(filepath.Join(disk, "note.ipynb"), time.Now(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	after := ok[file.GetPropertiesResponse](t)(f.GetProperties(ctx, nil))
	if *after.ETag == *before.ETag || *after.ContentLength != 3 || after.ContentMD5 != nil || *after.Metadata["N"] != "1" || *after.ContentType != "a/b" {
		t.Errorf("after a program's change: %+v", after)
	}
	// links out of the share, pipes and devices are not followed
	for name, target := range map[string]string{"abs": outside, "rel": "../../secret", "up": "../..", "loop": "loop", "inside": "note.ipynb"} {
		if err := os.Symlink(target, filepath.Join(disk, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := mkfifo(filepath.Join(disk, "pipe")); err != nil {
		t.Skip("no pipes here")
	}
	for _, name := range []string{"abs", "rel", "loop", "pipe", "up/secret", "up"} {
		f := root.NewFileClient(name)
		if r, err := f.DownloadStream(ctx, nil); err == nil {
			b, _ := io.ReadAll(r.Body)
			t.Errorf("%s was read: %q", name, b)
		}
		if _, err := f.Create(ctx, 5, nil); err == nil {
			t.Errorf("%s was written", name)
		}
		if _, err := f.UploadRange(ctx, 0, streaming.NopCloser(strings.NewReader("x")), nil); err == nil {
			t.Errorf("a range of %s was written", name)
		}
	}
	if _, err := box.NewDirectoryClient("up/new").Create(ctx, nil); err == nil {
		t.Error("a directory was made through a link")
	}
	if r, err := root.NewFileClient("inside").DownloadStream(ctx, nil); err != nil {
		t.Errorf("a link in the share: %v", err)
	} else {
		_ = r.Body.Close()
	}
	var names []string
	for p := root.NewListFilesAndDirectoriesPager(&directory.ListFilesAndDirectoriesOptions{Include: directory.ListFilesInclude{Timestamps: true, ETag: true, Attributes: true, PermissionKey: true}}); p.More(); {
		seg := ok[directory.ListFilesAndDirectoriesResponse](t)(p.NextPage(ctx)).Segment
		for _, f := range seg.Files {
			names = append(names, *f.Name)
			if f.Properties.ETag == nil || f.Properties.LastModified == nil || f.Attributes == nil || f.PermissionKey == nil {
				t.Errorf("listed %+v", f)
			}
		}
		for _, d := range seg.Directories {
			names = append(names, *d.Name+"/")
		}
	}
	if !slices.Equal(names, []string{"inside", "note.ipynb"}) {
		t.Errorf("listed %v", names)
	}
	// deleting a link deletes the link
	ok[file.DeleteResponse](t)(root.NewFileClient("abs").Delete(ctx, nil))
	if b, err := os.ReadFile(outside); err != nil || string(b) != "secret" {
		t.Errorf("the file outside: %q %v", b, err)
	}
	for _, bad := range []string{"..", "../x", "a/../b", "a:b", "x*", "NUL", "com1", "a\x01b", strings.Repeat("x", 256)} {
		resp := w.Do("PUT", base+"box/"+strings.ReplaceAll(strings.ReplaceAll(escaped(bad), "+", "%20"), "%2F", "/"), "", "x-ms-type", "file", "x-ms-content-length", "1")
		if resp.StatusCode < 400 {
			t.Errorf("%q was made", bad)
		}
	}
	if entries, err := os.ReadDir(w.Dir); err != nil || len(entries) != 2 {
		t.Errorf("beside the share: %v %v", entries, err)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	box, disk := w.box()
	for i := range 25 {
		if err := os.WriteFile(filepath.Join(disk, fmt.Sprintf("F%02d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(disk, "f-dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	n, pages := 0, 0
	for p := box.NewRootDirectoryClient().NewListFilesAndDirectoriesPager(&directory.ListFilesAndDirectoriesOptions{Prefix: to.Ptr("f"), MaxResults: to.Ptr[int32](10)}); p.More(); pages++ {
		seg := ok[directory.ListFilesAndDirectoriesResponse](t)(p.NextPage(ctx)).Segment
		n += len(seg.Files) + len(seg.Directories)
	}
	if n != 26 || pages != 3 {
		t.Errorf("%d in %d pages", n, pages)
	}
}

func TestQuota(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	box := w.client().NewShareClient("box")
	ok[share.CreateResponse](t)(box.Create(ctx, &share.CreateOptions{Quota: to.Ptr[int32](1)}))
	root := box.NewRootDirectoryClient()
	ok[file.CreateResponse](t)(root.NewFileClient("a").Create(ctx, 1<<29, nil)) // a hole
	_, err := root.NewFileClient("b").Create(ctx, 1<<30, nil)
	wantCode(t, err, fileerror.ShareSizeLimitReached)
	ok[file.CreateResponse](t)(root.NewFileClient("b").Create(ctx, 1<<29, nil))
	_, err = root.NewFileClient("c").Create(ctx, 1, nil)
	wantCode(t, err, fileerror.ShareSizeLimitReached)
	_, err = root.NewFileClient("a").Resize(ctx, 1<<29+1, nil)
	wantCode(t, err, fileerror.ShareSizeLimitReached)
	ok[file.DeleteResponse](t)(root.NewFileClient("b").Delete(ctx, nil))
	ok[file.CreateResponse](t)(root.NewFileClient("c").Create(ctx, 1, nil))
}

func TestWhoMayDoWhat(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	box, _ := w.box()
	ok[directory.CreateResponse](t)(box.NewDirectoryClient("d").Create(ctx, nil))
	f := box.NewDirectoryClient("d").NewFileClient("f")
	ok[file.CreateResponse](t)(f.Create(ctx, 3, nil))
	ok[share.SetAccessPolicyResponse](t)(box.SetAccessPolicy(ctx, &share.SetAccessPolicyOptions{ShareACL: []*share.SignedIdentifier{{ID: to.Ptr("p"),
		AccessPolicy: &share.AccessPolicy{Permission: to.Ptr("r"), Expiry: to.Ptr(time.Now().Add(time.Hour))}}}}))
	send := func(method, path, query string, headers ...string) *http.Response {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		if query != "" {
			path += sep + query
		}
		return w.Send(w.Request(method, base+path, "", headers...))
	}
	sign := func(v sas.SignatureValues) string {
		v.ShareName = "box"
		if v.Identifier == "" {
			v.ExpiryTime = time.Now().Add(time.Hour)
		}
		q, err := v.SignWithSharedKey(w.key())
		if err != nil {
			t.Fatal(err)
		}
		return q.Encode()
	}
	storagetest.Want(t, send("GET", "box/d/f", ""), 401, "NoAuthenticationInformation")
	one := sign(sas.SignatureValues{FilePath: "d/f", Permissions: "r", ContentType: "x/y"})
	resp := send("GET", "box/d/f", one)
	storagetest.Want(t, resp, 200, "")
	if resp.Header.Get("Content-Type") != "x/y" {
		t.Error("rsct is not honoured")
	}
	storagetest.Want(t, send("GET", "box/d/g", one), 403, "AuthenticationFailed")
	storagetest.Want(t, send("DELETE", "box/d/f", one), 403, "AuthorizationPermissionMismatch")
	storagetest.Want(t, send("GET", "box/d?restype=directory&comp=list", one), 403, "AuthenticationFailed")
	all := sign(sas.SignatureValues{Permissions: "rl"})
	storagetest.Want(t, send("GET", "box/d?restype=directory&comp=list", all), 200, "")
	storagetest.Want(t, send("GET", "box/d/f", all), 200, "")
	storagetest.Want(t, send("DELETE", "box?restype=share", all), 403, "AuthorizationFailure")
	policy := sign(sas.SignatureValues{Identifier: "p"})
	storagetest.Want(t, send("GET", "box/d/f", policy), 200, "")
	storagetest.Want(t, send("GET", "box/d?restype=directory&comp=list", policy), 403, "AuthorizationPermissionMismatch")

	bearer := []string{"Authorization", "Bearer good-ann"}
	storagetest.Want(t, send("GET", "box/d/f", "", bearer...), 400, "MissingRequiredHeader")
	bearer = append(bearer, "x-ms-file-request-intent", "backup")
	storagetest.Want(t, send("GET", "box/d/f", "", bearer...), 403, "AuthorizationPermissionMismatch")
	a, _ := w.Account(ctx, "acct")
	w.Grant("ann", "data", "fileServices/fileshares/files/read", a.ID+"/fileServices/default/fileshares/box")
	storagetest.Want(t, send("GET", "box/d/f", "", bearer...), 403, "AuthorizationPermissionMismatch")
	w.Grant("ann", "data", "fileServices/readFileBackupSemantics/action", a.ID)
	storagetest.Want(t, send("GET", "box/d/f", "", bearer...), 200, "")
	storagetest.Want(t, send("DELETE", "box/d/f", "", bearer...), 403, "AuthorizationPermissionMismatch")
	storagetest.Want(t, send("GET", "box?restype=share", "", bearer...), 403, "FileOAuthManagementApiRestrictedToSrp")
	w.Grant("ann", "action", "fileServices/shares/read", a.ID)
	storagetest.Want(t, send("GET", "box?restype=share", "", append(bearer, "x-ms-version", "2024-11-04")...), 200, "")

	// a user delegation SAS is good for as long as its user may
	c, err := service.NewClient(base, storagetest.Token("ann"), &service.ClientOptions{ClientOptions: w.ClientOptions(), FileRequestIntent: to.Ptr(service.ShareTokenIntentBackup)})
	if err != nil {
		t.Fatal(err)
	}
	ann := c.NewShareClient("box").NewDirectoryClient("d").NewFileClient("f")
	ok[file.GetPropertiesResponse](t)(ann.GetProperties(ctx, nil))
}

// TestManyWriters checks that writes to one file and to many do not disturb each
// other.
func TestManyWriters(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	box, disk := w.box()
	root := box.NewRootDirectoryClient()
	const parts = 40
	f := root.NewFileClient("shared")
	ok[file.CreateResponse](t)(f.Create(ctx, parts*1000, nil))
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			for k := i; k < parts; k += 8 {
				if _, err := f.UploadRange(ctx, int64(k*1000), streaming.NopCloser(bytes.NewReader(bytes.Repeat([]byte{byte('a' + k%26)}, 1000))), nil); err != nil {
					t.Error(err)
				}
				own := root.NewFileClient(fmt.Sprintf("own-%d", k))
				if _, err := own.Create(ctx, 4, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	g.Wait()
	b, err := os.ReadFile(filepath.Join(disk, "shared"))
	if err != nil || len(b) != parts*1000 {
		t.Fatal(len(b), err)
	}
	for k := range parts {
		if want := bytes.Repeat([]byte{byte('a' + k%26)}, 1000); !bytes.Equal(b[k*1000:][:1000], want) {
			t.Errorf("part %d is %.5q…", k, b[k*1000:])
		}
	}
}

// TestDeletedSharesAreReclaimed checks that a crash after a deletion, at any point
// of it, brings nothing back.
func TestDeletedSharesAreReclaimed(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	box, disk := w.box()
	root := box.NewRootDirectoryClient()
	ok[file.CreateResponse](t)(root.NewFileClient("a").Create(ctx, 4, nil))
	if err := w.Store.Update(ctx, func(tx store.Tx) error { return w.svc.SetRetentionIn(tx, "uid-1", 0) }); err != nil {
		t.Fatal(err)
	}
	// deleted, and the process ends before the directory goes
	if err := w.Store.Update(ctx, func(tx store.Tx) error {
		return w.svc.eng.removeIn(tx, "uid-1", "box", func(*shareRec) error { return nil })
	}); err != nil {
		t.Fatal(err)
	}
	_, err := root.NewFileClient("a").GetProperties(ctx, nil)
	wantCode(t, err, fileerror.ShareNotFound)
	_ = w.svc.Close()
	w.svc = Open(ctx, Config{Config: w.Config(), Dirs: w.dirs})
	w.Serve(w.svc)
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(disk); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
	w.empty(bucketShares, bucketMeta, bucketGarbage)
	ok[share.CreateResponse](t)(box.Create(ctx, nil))
	_, err = root.NewFileClient("a").GetProperties(ctx, nil)
	wantCode(t, err, fileerror.ResourceNotFound)
}

// TestDeletedSharesAreKept checks that a share can be restored for as long as its
// account keeps it.
func TestDeletedSharesAreKept(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	box, disk := w.box()
	f := box.NewRootDirectoryClient().NewFileClient("a")
	ok[file.CreateResponse](t)(f.Create(ctx, 4, nil))
	deleted := func() (version string) {
		for p := w.client().NewListSharesPager(&service.ListSharesOptions{Include: service.ListSharesInclude{Deleted: true}}); p.More(); {
			for _, s := range ok[service.ListSharesSegmentResponse](t)(p.NextPage(ctx)).Shares {
				if s.Deleted != nil && *s.Deleted {
					version = *s.Version
				}
			}
		}
		return version
	}
	ok[share.DeleteResponse](t)(box.Delete(ctx, nil))
	_, err := f.GetProperties(ctx, nil)
	wantCode(t, err, fileerror.ShareNotFound)
	w.Clock.Advance(6 * 24 * time.Hour)
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	ok[service.RestoreShareResponse](t)(w.client().RestoreShare(ctx, "box", deleted(), nil))
	ok[file.GetPropertiesResponse](t)(f.GetProperties(ctx, nil))
	ok[share.DeleteResponse](t)(box.Delete(ctx, nil))
	w.Clock.Advance(8 * 24 * time.Hour)
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(disk); !os.IsNotExist(err) || deleted() != "" {
		t.Errorf("after its time the share is there: %v", err)
	}
}

func FuzzPath(f *testing.F) {
	f.Add("a/b", true)
	f.Add("../../etc/passwd", false)
	f.Add("a//b../.", false)
	f.Fuzz(func(t *testing.T, path string, dots bool) {
		got, err := cleanPath(path, dots)
		if err != nil {
			return
		}
		if got != "" && !filepath.IsLocal(got) {
			t.Errorf("%q leads to %q", path, got)
		}
		if again, err := cleanPath(got, dots); err != nil || again != got {
			t.Errorf("%q became %q, then %q (%v)", path, got, again, err)
		}
	})
}

func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}
